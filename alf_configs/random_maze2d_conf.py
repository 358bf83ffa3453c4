"""Smoke run, seconds: random subgoals over random velocities in the U-maze."""

from functools import partial

from alf_configs.parts import run_hierarchy
from alf_configs.tasks.maze2d import maze
from alf_layered import RandomLevel, select, subgoal

maze("UMaze", steps=4000, dense_reward=True, terminate_at_goal=False, envs=8)

run_hierarchy(
    partial(RandomLevel, name="subgoals"),
    partial(RandomLevel, name="moves", control_interval=10),
    joints=[subgoal("achieved_goal")],
    observation_maps=[None, select("observation")],
    unroll_length=10,
    num_checkpoints=1,
)
