"""Smoke run, seconds: random subgoals over random velocities in the U-maze."""

from functools import partial

import alf
from alf_layered import HierarchyAgent, RandomLevel, select, subgoal
from alf_layered.environments import maze2d_alf

alf.config(
    "create_environment",
    env_name="Maze2D-UMaze-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=8,
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(RandomLevel, name="subgoals"),
        partial(RandomLevel, name="moves", control_interval=10),
    ],
    joints=[subgoal("achieved_goal")],
    observation_maps=[None, select("observation")],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=50,
    unroll_length=10,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=1,
    confirm_checkpoint_upon_crash=False,
    random_seed=0,
)
