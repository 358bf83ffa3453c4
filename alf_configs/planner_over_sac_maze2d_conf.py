"""Plans over what the level below can do: subgoals planned, reached by SAC, in the medium maze.

The planner learns where subgoals lead to (its own semi-MDP, walls included) and what a decision
earns; the reward is the dense one, minus the distance as the crow flies.
"""

from functools import partial

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf.utils.schedulers import LinearScheduler
from alf_layered import (
    ICEM,
    AlgorithmLevel,
    Exploration,
    Goal,
    HierarchyAgent,
    PlannerLevel,
    PlanObjective,
    TrainingOptions,
    get_default_predictor_factory,
    select,
    subgoal,
)
from alf_layered.environments import maze2d_alf
from alf_layered.plots.plans import PlansOverEnvironment

# own transitions before a level's first update: --conf_param _CONFIG._USER.reach_warm_up=...
planner_warm_up = alf.define_config("planner_warm_up", 1000)
reach_warm_up = alf.define_config("reach_warm_up", 2000)
# whether plans are drawn over the maze: play with --conf_param _CONFIG._USER.draw_plans=True
draw_plans = alf.define_config("draw_plans", False)

alf.config(
    "create_environment",
    env_name="Maze2D-Medium-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=True, terminate_at_goal=True)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.98)
alf.config("SacAlgorithm", target_update_tau=0.01)

# Each level is a moving target for the other one: what they reach is steady where both slow down.
falling_rate = LinearScheduler("percent", [(0, 1e-3), (0.6, 1e-3), (1.0, 2e-4)])

# Positions and subgoals are numbers from 0 to 8.
alf.config("ProbFCDynamics", normalize_inputs=True)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            PlannerLevel,
            name="planner",
            predictor_factory=get_default_predictor_factory(sb_start_duration=0, n_modes=1),
            planner=ICEM(n_samples=128, n_iterations=5),
            horizon=12,
            callback=PlansOverEnvironment() if draw_plans else None,
            # The model does not see the goal, so it cannot tell where episodes end.
            objective=PlanObjective(use_term_prob=False),
            exploration=Exploration(
                alternate_with_noise=True,
                switch_random_prob=0.1,
                switch_planner_prob=0.1,
                resample_random_action_prob=0.5,
            ),
            training=TrainingOptions(
                updates_per_transition=1.0, warm_up=planner_warm_up, replay_buffer_length=400
            ),
            # One norm for all parameters: batches that the model finds impossible count for less.
            optimizer=Adam(lr=falling_rate, gradient_clipping=20.0, clip_by_global_norm=True),
        ),
        partial(
            AlgorithmLevel,
            name="reach",
            algorithm_ctor=partial(
                SacAlgorithm,
                actor_optimizer=Adam(lr=falling_rate),
                critic_optimizer=Adam(lr=falling_rate),
                alpha_optimizer=Adam(lr=falling_rate),
            ),
            control_interval=10,
            # Decisions last equally long: with costs per step, plans would else be of short ones.
            goal=Goal(radius=0.3, returns_control=False),
            random_warm_up=True,
            training=TrainingOptions(
                updates_per_transition=0.25, warm_up=reach_warm_up, replay_buffer_length=10_000
            ),
        ),
    ],
    joints=[subgoal("achieved_goal")],
    observation_maps=[select("achieved_goal", "desired_goal"), select("observation")],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=80_000,
    unroll_length=4,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=5,
    evaluate=True,
    num_evals=8,
    num_eval_episodes=100,
    num_eval_environments=50,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
