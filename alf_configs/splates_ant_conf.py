"""SPlaTES on MuJoCo's Ant: skills that run somewhere, learned without a task.

The planner tells random skills and learns where they lead: the place is its state. Its observation
is the place alone, that of the skills all but the place, so that they work anywhere.

Needs MuJoCo: pip install alf-layered[mujoco]
"""

from functools import partial

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered import (
    Exploration,
    HierarchyAgent,
    IdentityEncoder,
    ObservationMap,
    PlannerLevel,
    PredictorFactory,
    ProbabilisticEnsemble,
    RewardNet,
    SkillOptions,
    SPlaTESLevel,
    TrainingOptions,
    ValueNet,
    skill,
)
from alf_layered.environments import gymnasium_loader

# own transitions before a level's first update: --conf_param _CONFIG._USER.skills_warm_up=...
planner_warm_up = alf.define_config("planner_warm_up", 200)
skills_warm_up = alf.define_config("skills_warm_up", 5000)
# environment steps until which the planner expects made-up skills, as long as none are learned
made_up_start = alf.define_config("made_up_start", 160_000)

alf.config(
    "create_environment",
    env_name="Ant-v5",
    env_load_fn=gymnasium_loader.load,
    num_parallel_environments=8,
)
alf.config(
    "gymnasium_loader.load",
    # Without the 78 contact forces, most of them 0 in most steps. An ant on its back has fallen,
    # its torso mostly lies below 0.3 m. Episodes are short, so that many skills begin upright.
    make_kwargs={
        "exclude_current_positions_from_observation": False,
        "include_cfrc_ext_in_observation": False,
        "healthy_z_range": (0.3, 1.0),
        "max_episode_steps": 200,
    },
)

alf.config("ActorDistributionNetwork", fc_layer_params=(256, 256))
alf.config("CriticNetwork", joint_fc_layer_params=(256, 256))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.99)
alf.config("ProbFCDynamics", hidden=(64, 64), normalize_inputs=True)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            PlannerLevel,
            name="planner",
            predictor_factory=PredictorFactory(
                partial_model=partial(
                    ProbabilisticEnsemble,
                    symmetry_breaking_start=True,
                    sb_start_duration=made_up_start,
                    sb_start_factor=2.0,
                ),
                partial_val_func=ValueNet,
                partial_rew_func=RewardNet,
                partial_encoder=IdentityEncoder,
            ),
            exploration=Exploration(only_noise=True),
            training=TrainingOptions(warm_up=planner_warm_up, replay_buffer_length=2000),
            optimizer=Adam(lr=3e-4, gradient_clipping=20.0),
        ),
        partial(
            SPlaTESLevel,
            name="skills",
            algorithm_ctor=partial(
                SacAlgorithm,
                actor_optimizer=Adam(lr=3e-4),
                critic_optimizer=Adam(lr=3e-4),
                alpha_optimizer=Adam(lr=3e-4),
                reproduce_locomotion=True,
            ),
            control_interval=25,
            potential_diff_reward=True,
            potential_clipping_low=-30.0,
            # To fall over ends the episode: each step that does not is worth something.
            options=SkillOptions(n_skill_samples=16, fixed_std=1.0, offset=0.2),
            training=TrainingOptions(
                updates_per_transition=1.0,
                warm_up=skills_warm_up,
                mini_batch_size=128,
                replay_buffer_length=50_000,
            ),
        ),
    ],
    joints=[skill(2)],
    observation_maps=[
        ObservationMap(lambda seen: seen[..., :2]),
        ObservationMap(lambda seen: seen[..., 2:], -2),
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=200_000,
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
