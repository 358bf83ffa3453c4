"""Learners for levels: each call makes one with networks, losses and optimizers of its own.

`gamma` is the discount factor per environment step, `hidden` the widths of the hidden layers of
each network, `lr` a learning rate or a schedule of ALF. `options` are of the algorithm.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import alf
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.algorithms.dqn_algorithm import DqnAlgorithm
from alf.algorithms.iql_algorithm import IqlAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.ppo_algorithm import PPOAlgorithm
from alf.algorithms.ppo_loss import PPOLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.taac_algorithm import TaacAlgorithm, TAACTDLoss
from alf.nest.utils import NestConcat
from alf.networks import (
    ActorDistributionNetwork,
    ActorNetwork,
    CriticNetwork,
    NormalProjectionNetwork,
    QNetwork,
    ValueNetwork,
)
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

Layers = tuple[int, ...]
HIDDEN: Layers = (128, 128)


def squashed_normal() -> Callable:
    """Normal distribution that depends on the state and is squashed into the action's bounds."""
    return partial(
        NormalProjectionNetwork,
        state_dependent_std=True,
        scale_distribution=True,
        std_transform=clipped_exp,
    )


def adams(lr: Any, *names: str) -> dict[str, Adam]:
    """One optimizer for each name: two learners must not share one."""
    return {f"{name}_optimizer": Adam(lr=lr) for name in names}


def actor(hidden: Layers) -> Callable:
    """Policy network with `squashed_normal` actions."""
    return partial(
        ActorDistributionNetwork,
        fc_layer_params=hidden,
        continuous_projection_net_ctor=squashed_normal(),
    )


def critic(hidden: Layers, **options: Any) -> Callable:
    """Value of an observation and an action."""
    return partial(CriticNetwork, joint_fc_layer_params=hidden, **options)


def sac(gamma: float = 0.99, hidden: Layers = HIDDEN, lr: Any = 1e-3, **options: Any) -> Callable:
    """Soft actor-critic."""
    usual = {
        "actor_network_cls": actor(hidden),
        "critic_network_cls": critic(hidden),
        "critic_loss_ctor": partial(OneStepTDLoss, gamma=gamma),
        "target_update_tau": 0.01,
        **adams(lr, "actor", "critic", "alpha"),
    }
    return partial(SacAlgorithm, **(usual | options))


def taac(gamma: float) -> Callable:
    """Temporally abstract actor-critic: it keeps an action as long as a new one is no better."""
    loss = partial(TAACTDLoss, gamma=gamma)
    return partial(TaacAlgorithm, **sac(critic_loss_ctor=loss).keywords)


def ddpg(gamma: float) -> Callable:
    """Deep deterministic policy gradient with two critics."""
    return partial(
        DdpgAlgorithm,
        actor_network_ctor=partial(ActorNetwork, fc_layer_params=HIDDEN),
        critic_network_ctor=critic(HIDDEN),
        critic_loss_ctor=partial(OneStepTDLoss, gamma=gamma),
        num_critic_replicas=2,
        target_update_tau=0.01,
        rollout_random_action=0.1,
        **adams(1e-3, "actor", "critic"),
    )


def dqn(gamma: float) -> Callable:
    """Deep Q learning: one of ten decisions is random in training."""
    # The constructor does not take the settings of its base class.
    alf.config("SacAlgorithm", target_update_tau=0.01)
    return partial(
        DqnAlgorithm,
        q_network_cls=partial(QNetwork, fc_layer_params=HIDDEN),
        critic_loss_ctor=partial(OneStepTDLoss, gamma=gamma),
        rollout_epsilon_greedy=0.1,
        **adams(1e-3, "q"),
    )


def ppo(gamma: float) -> Callable:
    """Proximal policy optimization."""
    return partial(
        PPOAlgorithm,
        actor_network_ctor=actor(HIDDEN),
        value_network_ctor=partial(ValueNetwork, fc_layer_params=HIDDEN),
        loss_class=partial(PPOLoss, gamma=gamma, entropy_regularization=1e-2, td_loss_weight=0.5),
        optimizer=Adam(lr=1e-3, gradient_clipping=0.5, clip_by_global_norm=True),
    )


def iql(gamma: float, lr: Any, **options: Any) -> Callable:
    """Implicit Q learning from a nest of observations, with a policy that is not squashed."""
    merge = {"preprocessing_combiner": NestConcat()}
    return partial(
        IqlAlgorithm,
        actor_network_cls=partial(ActorDistributionNetwork, fc_layer_params=HIDDEN, **merge),
        critic_network_cls=critic(HIDDEN, observation_preprocessing_combiner=NestConcat()),
        v_network_cls=partial(ValueNetwork, fc_layer_params=HIDDEN, **merge),
        critic_loss_ctor=partial(OneStepTDLoss, gamma=gamma),
        **adams(lr, "actor", "critic", "value"),
        **options,
    )
