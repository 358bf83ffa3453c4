"""Three levels out of step: far subgoals over near subgoals over velocities, in the medium maze."""

from functools import partial

from alf_configs.parts import level, run_hierarchy, sac
from alf_configs.tasks.maze2d import maze
from alf_layered import AlgorithmLevel, Goal, select, subgoal

maze("Medium", steps=200_000, dense_reward=False, evals=10)

sac_level = partial(level, AlgorithmLevel)

run_hierarchy(
    sac_level("far", algorithm_ctor=sac(), warm_up=128, mini_batch_size=128),
    sac_level(
        "near",
        algorithm_ctor=sac(),
        control_interval=4,
        goal=Goal(radius=0.5),
        updates_per_transition=0.5,
        warm_up=300,
    ),
    sac_level(
        "reach",
        algorithm_ctor=sac(),
        control_interval=12,
        goal=Goal(radius=0.3),
        updates_per_transition=0.125,
        warm_up=2000,
    ),
    joints=[subgoal("achieved_goal"), subgoal("achieved_goal")],
    observation_maps=[
        select("observation", "desired_goal"),
        select("observation"),
        select("observation"),
    ],
)
