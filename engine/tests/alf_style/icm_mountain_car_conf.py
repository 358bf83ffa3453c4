"""Actor-critic with intrinsic curiosity and an entropy target on the discrete mountain car."""

import functools

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.agent import Agent
from alf.algorithms.icm_algorithm import ICMAlgorithm
from alf.networks import ActorDistributionNetwork, EncodingNetwork, ValueNetwork
from alf.optimizers import Adam

alf.config("create_environment", env_name="MountainCar-v0", num_parallel_environments=2)
observation_spec, action_spec = alf.get_observation_spec(), alf.get_action_spec()
features = EncodingNetwork(input_tensor_spec=observation_spec, fc_layer_params=(8,))
alf.config(
    "ICMAlgorithm",
    action_spec=action_spec,
    observation_spec=observation_spec,
    hidden_size=8,
    encoding_net=features,
)
alf.config(
    "ActorCriticAlgorithm",
    actor_network_ctor=functools.partial(ActorDistributionNetwork, fc_layer_params=(8,)),
    value_network_ctor=functools.partial(ValueNetwork, fc_layer_params=(8,)),
)
alf.config(
    "Agent",
    rl_algorithm_cls=ActorCriticAlgorithm,
    intrinsic_reward_module=ICMAlgorithm(),
    intrinsic_reward_coef=0.1,
    enforce_entropy_target=True,
    optimizer=Adam(lr=1e-3),
)
alf.config("EntropyTargetAlgorithm", initial_alpha=0.1)
alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=100,
    unroll_length=8,
    num_checkpoints=1,
    evaluate=False,
)
