"""TD-MPC2 on InvertedPendulum-v5: 18,000 environment steps on a CPU, with a small model.

Needs MuJoCo: pip install alf-layered[mujoco]
"""

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
    env_name="InvertedPendulum-v5",
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
                model=model_of_size("small"),
                planning=PlanningSettings(
                    mppi=MPPI(n_samples=64, n_iterations=3, elite_ratio=0.25), n_policy_plans=16
                ),
                lr=1e-3,
            ),
            training=TrainingOptions(
                mini_batch_size=128,
                updates_per_transition=0.5,
                warm_up=1000,
                replay_buffer_length=5000,
            ),
        )
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=18_000,
    unroll_length=2,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=4,
    num_eval_episodes=10,
    num_eval_environments=10,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
