"""TD-MPC2 with goals and hindsight in Maze2D-Simple, whose reward is sparse."""

from functools import partial

import alf
from alf_layered import (
    MPPI,
    Goal,
    HierarchyAgent,
    PlanningSettings,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    model_of_size,
    select,
)
from alf_layered.environments import maze2d_alf

alf.config(
    "create_environment",
    env_name="Maze2D-Simple-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=8,
)
alf.config("maze2d_alf.load", dense_reward=False, terminate_at_goal=True)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            TDMPC2Level,
            name="tdmpc2",
            goal=Goal(radius=0.3, achieved="observation", hindsight=0.8),
            desired_goal="desired_goal",
            settings=TDMPC2Settings(
                model=model_of_size("small"),
                planning=PlanningSettings(
                    mppi=MPPI(n_samples=64, n_iterations=3, elite_ratio=0.25), n_policy_plans=16
                ),
                lr=1e-3,
            ),
            gamma=0.99,
            training=TrainingOptions(
                mini_batch_size=128,
                updates_per_transition=0.5,
                warm_up=2000,
                replay_buffer_length=10_000,
            ),
        )
    ],
    observation_maps=[select("observation", "desired_goal")],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=24_000,
    unroll_length=2,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=6,
    num_eval_episodes=20,
    num_eval_environments=20,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
