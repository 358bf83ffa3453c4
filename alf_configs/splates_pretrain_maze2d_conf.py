"""Skills without a task: SPlaTES in the medium maze, told at random what to do.

The reward of the environment is not used. `splates_reuse_maze2d_conf.py` plans with what is learned
here, in another maze: skills see where in a cell they are, but not in which.
"""

from functools import partial

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered import (
    Exploration,
    HierarchyAgent,
    ObservationMap,
    PlannerLevel,
    SkillOptions,
    SPlaTESLevel,
    TrainingOptions,
    get_default_predictor_factory,
    select,
    skill,
)
from alf_layered.environments import maze2d_alf

# own transitions before a level's first update: --conf_param _CONFIG._USER.skills_warm_up=...
planner_warm_up = alf.define_config("planner_warm_up", 1000)
skills_warm_up = alf.define_config("skills_warm_up", 2000)
made_up_start = alf.define_config("made_up_start", 30_000)
fixed_std = alf.define_config("fixed_std", 0.5)

alf.config(
    "create_environment",
    env_name="Maze2D-Medium-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=True, terminate_at_goal=False)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.99)
alf.config("SacAlgorithm", target_update_tau=0.01)

# Positions are numbers from 0 to 8.
alf.config("ProbFCDynamics", normalize_inputs=True)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            PlannerLevel,
            name="planner",
            predictor_factory=get_default_predictor_factory(
                sb_start_duration=made_up_start, sb_start_factor=2.0, n_modes=1
            ),
            exploration=Exploration(only_noise=True),
            training=TrainingOptions(
                updates_per_transition=1.0, warm_up=planner_warm_up, replay_buffer_length=400
            ),
            optimizer=Adam(lr=1e-3, gradient_clipping=20.0),
        ),
        partial(
            SPlaTESLevel,
            name="skills",
            algorithm_ctor=partial(
                SacAlgorithm,
                actor_optimizer=Adam(lr=1e-3),
                critic_optimizer=Adam(lr=1e-3),
                alpha_optimizer=Adam(lr=1e-3),
            ),
            control_interval=10,
            potential_diff_reward=True,
            potential_clipping_low=-10.0,
            options=SkillOptions(n_skill_samples=16, fixed_std=fixed_std, after_skill="nothing"),
            training=TrainingOptions(
                updates_per_transition=0.25, warm_up=skills_warm_up, replay_buffer_length=5_000
            ),
        ),
    ],
    joints=[skill(2)],
    observation_maps=[
        select("achieved_goal", "desired_goal"),
        # Where in a cell, but not in which: the same in every maze.
        ObservationMap(lambda seen: seen["observation"] % 1.0),
    ],
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
    evaluate=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
