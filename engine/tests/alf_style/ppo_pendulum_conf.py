"""PPO with normalized observations, clipped rewards and generalized advantages."""

import functools

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.data_transformer import ObservationNormalizer, RewardClipping, RewardScaling
from alf.algorithms.ppo_algorithm import PPOAlgorithm
from alf.algorithms.ppo_loss import PPOLoss
from alf.networks import (
    ActorDistributionNetwork,
    StableNormalProjectionNetwork,
    ValueNetwork,
)
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=3)
alf.config("RewardScaling", scale=0.1)
alf.config("RewardClipping", minmax=(-1.0, 1.0))
alf.config("ObservationNormalizer", clipping=5.0)
alf.config(
    "Agent",
    rl_algorithm_cls=PPOAlgorithm,
    optimizer=Adam(
        lr=LinearScheduler(progress_type="percent", schedule=[(0.0, 1e-3), (1.0, 1e-4)]),
        gradient_clipping=0.5,
        clip_by_global_norm=True,
    ),
)
alf.config(
    "ActorCriticAlgorithm",
    actor_network_ctor=functools.partial(
        ActorDistributionNetwork,
        fc_layer_params=(16,),
        continuous_projection_net_ctor=functools.partial(
            StableNormalProjectionNetwork, scale_distribution=True
        ),
    ),
    loss_class=PPOLoss,
    value_network_ctor=functools.partial(ValueNetwork, fc_layer_params=(16,)),
)
alf.config(
    "PPOLoss",
    entropy_regularization=1e-3,
    gamma=0.98,
    td_lambda=0.95,
    td_loss_weight=0.5,
    normalize_advantages=True,
)
alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    data_transformer_ctor=[ObservationNormalizer, RewardScaling, RewardClipping],
    num_iterations=100,
    unroll_length=8,
    mini_batch_length=1,
    mini_batch_size=8,
    num_updates_per_train_iter=2,
    use_rollout_state=True,
    num_checkpoints=1,
    evaluate=False,
    summary_interval=1,
)
