"""Three levels out of step: far subgoals over near subgoals over velocities, in the medium maze."""

from functools import partial

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered import AlgorithmLevel, Goal, HierarchyAgent, TrainingOptions, select, subgoal
from alf_layered.environments import maze2d_alf

alf.config(
    "create_environment",
    env_name="Maze2D-Medium-v0",
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
alf.config("OneStepTDLoss", gamma=0.99)
alf.config("SacAlgorithm", target_update_tau=0.01)


def sac() -> partial:
    """SAC with optimizers of its own: levels must not share one."""
    return partial(
        SacAlgorithm,
        actor_optimizer=Adam(lr=1e-3),
        critic_optimizer=Adam(lr=1e-3),
        alpha_optimizer=Adam(lr=1e-3),
    )


alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            AlgorithmLevel,
            name="far",
            algorithm_ctor=sac(),
            training=TrainingOptions(updates_per_transition=1.0, warm_up=100, mini_batch_size=128),
        ),
        partial(
            AlgorithmLevel,
            name="near",
            algorithm_ctor=sac(),
            control_interval=4,
            goal=Goal(radius=0.5),
            training=TrainingOptions(updates_per_transition=0.5, warm_up=300),
        ),
        partial(
            AlgorithmLevel,
            name="reach",
            algorithm_ctor=sac(),
            control_interval=12,
            goal=Goal(radius=0.3),
            training=TrainingOptions(updates_per_transition=0.125, warm_up=2000),
        ),
    ],
    joints=[subgoal("achieved_goal"), subgoal("achieved_goal")],
    observation_maps=[
        select("observation", "desired_goal"),
        select("observation"),
        select("observation"),
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
    evaluate=True,
    num_evals=10,
    num_eval_episodes=100,
    num_eval_environments=20,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=100,
    random_seed=0,
)
