"""Four skills (DIAYN) on Pendulum-v1, without any reward of the task."""

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.diayn_algorithm import DIAYNAlgorithm, create_discrete_skill_spec
from alf.algorithms.goal_generator import RandomCategoricalGoalGenerator
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

NUM_SKILLS = 4

# Before the environment is made below, whose specs the networks need.
alf.config("TrainerConfig", random_seed=0)
alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=4)

alf.config(
    "ActorDistributionNetwork", fc_layer_params=(128, 128), preprocessing_combiner=NestConcat()
)
alf.config(
    "CriticNetwork",
    joint_fc_layer_params=(128, 128),
    observation_preprocessing_combiner=NestConcat(),
)
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.98)
alf.config("SacAlgorithm", target_entropy=-1.0, target_update_tau=0.005)
observation_spec = alf.get_observation_spec()
alf.config(
    "Agent",
    rl_algorithm_cls=SacAlgorithm,
    goal_generator=RandomCategoricalGoalGenerator(observation_spec, NUM_SKILLS),
    intrinsic_reward_module=DIAYNAlgorithm(
        create_discrete_skill_spec(NUM_SKILLS),
        EncodingNetwork(observation_spec, fc_layer_params=(64,)),
    ),
    extrinsic_reward_coef=0.0,
    optimizer=Adam(lr=1e-3),
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=10_000,
    unroll_length=1,
    initial_collect_steps=100,
    mini_batch_length=2,
    mini_batch_size=128,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=20_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
)
