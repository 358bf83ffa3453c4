"""On-policy actor-critic on CartPole-v1."""

from functools import partial

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler

alf.config("create_environment", env_name="CartPole-v1", num_parallel_environments=8)

alf.config("ActorDistributionNetwork", fc_layer_params=(64, 64))
alf.config("ValueNetwork", fc_layer_params=(64, 64))
alf.config(
    "ActorCriticAlgorithm",
    loss_class=partial(ActorCriticLoss, use_gae=True, normalize_advantages=True),
    optimizer=Adam(lr=LinearScheduler("percent", [(0, 2e-3), (1, 0.0)])),
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=ActorCriticAlgorithm,
    num_iterations=2500,
    unroll_length=8,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=100,
    random_seed=0,
)
