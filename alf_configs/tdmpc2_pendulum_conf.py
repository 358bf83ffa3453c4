"""TD-MPC2 on Pendulum-v1: 10,000 environment steps on a CPU, with a small model."""

from functools import partial

import alf
from alf_layered import (
    MPPI,
    HierarchyAgent,
    PlanningSettings,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    model_of_size,
)
from alf_layered.environments import gymnasium_loader

alf.config(
    "create_environment",
    env_name="Pendulum-v1",
    env_load_fn=gymnasium_loader.load,
    num_parallel_environments=4,
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            TDMPC2Level,
            name="tdmpc2",
            settings=TDMPC2Settings(
                model=model_of_size("small", terminates=False),
                planning=PlanningSettings(
                    mppi=MPPI(n_samples=64, n_iterations=3, elite_ratio=0.25), n_policy_plans=16
                ),
                lr=1e-3,
            ),
            gamma=0.975,  # the paper's rule for episodes of 200 steps
            training=TrainingOptions(
                mini_batch_size=128, warm_up=1000, replay_buffer_length=10_000
            ),
        )
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=10_000,
    unroll_length=1,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=4,
    num_eval_episodes=40,
    num_eval_environments=20,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
