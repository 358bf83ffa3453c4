"""TD-MPC2 with goals and hindsight in Maze2D-Simple, whose reward is sparse."""

from alf_configs.parts import run_hierarchy, tdmpc2_level
from alf_configs.tasks.maze2d import maze
from alf_layered import Goal, select

maze("Simple", steps=24_000, dense_reward=False, envs=8, evals=6, eval_episodes=20)

run_hierarchy(
    tdmpc2_level(
        goal=Goal(radius=0.3, achieved="observation", hindsight=0.8),
        desired_goal="desired_goal",
        gamma=0.99,
        warm_up=2000,
        replay_buffer_length=10_000,
    ),
    observation_maps=[select("observation", "desired_goal")],
    unroll_length=2,
    num_checkpoints=2,
)
