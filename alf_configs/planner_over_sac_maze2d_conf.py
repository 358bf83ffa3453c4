"""Plans over what the level below can do: subgoals planned, reached by SAC, in the medium maze.

The planner learns where subgoals lead to (its own semi-MDP, walls included) and what a decision
earns; the reward is the dense one, minus the straight distance to the goal.
"""

import alf
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler
from alf_configs.parts import maze_model, planner_level, reach_level, run_hierarchy, sac
from alf_configs.tasks.maze2d import dense_medium_maze
from alf_layered import Goal, select, subgoal
from alf_layered.plots.plans import PlansOverEnvironment

# draws plans over the maze: play with --conf_param _CONFIG._USER.draw_plans=True
draw_plans = alf.define_config("draw_plans", False)

dense_medium_maze(steps=80_000, evals=8)

# Each level is a moving target for the other one; both slow down toward the end.
falling_rate = LinearScheduler("percent", [(0, 1e-3), (0.6, 1e-3), (1.0, 2e-4)])

run_hierarchy(
    planner_level(
        maze_model(layers=2, beta_nll=0.0),
        horizon=12,
        callback=PlansOverEnvironment() if draw_plans else None,
        updates_per_transition=1.0,
        replay_buffer_length=400,
        # One norm for all parameters: batches that the model finds impossible count for less.
        optimizer=Adam(lr=falling_rate, gradient_clipping=20.0, clip_by_global_norm=True),
    ),
    reach_level(
        sac(gamma=0.98, lr=falling_rate),
        control_interval=10,
        # Decisions last equally long: with costs per step, plans would prefer short ones.
        goal=Goal(radius=0.3, returns_control=False),
    ),
    joints=[subgoal("achieved_goal")],
    observation_maps=[select("achieved_goal", "desired_goal"), select("observation")],
)
