"""Random subgoals, SAC reaches them: what a level that chooses subgoals has to beat."""

from functools import partial

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered import (
    AlgorithmLevel,
    Goal,
    HierarchyAgent,
    RandomLevel,
    TrainingOptions,
    select,
    subgoal,
)
from alf_layered.environments import maze2d_alf

# own transitions before its first update: --conf_param _CONFIG._USER.reach_warm_up=...
reach_warm_up = alf.define_config("reach_warm_up", 2000)

alf.config(
    "create_environment",
    env_name="Maze2D-UMaze-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=False, terminate_at_goal=True)

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


sac = partial(
    SacAlgorithm,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(RandomLevel, name="subgoals"),
        partial(
            AlgorithmLevel,
            name="reach",
            algorithm_ctor=sac,
            control_interval=15,
            goal=Goal(radius=0.3),
            random_warm_up=True,
            training=TrainingOptions(
                updates_per_transition=0.25, warm_up=reach_warm_up, replay_buffer_length=10_000
            ),
        ),
    ],
    joints=[subgoal("achieved_goal", minimum=1.0, maximum=4.0)],
    observation_maps=[select("observation", "desired_goal"), select("observation")],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=60_000,
    unroll_length=4,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=5,
    evaluate=True,
    num_evals=12,
    num_eval_episodes=100,
    num_eval_environments=20,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
