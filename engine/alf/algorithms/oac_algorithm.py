"""Optimistic actor-critic: SAC that explores up the critics' upper bound (arXiv:1910.12807)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms._optimistic_exploration import (
    apply_transforms,
    optimistic_policy,
    upper_bound,
)
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac.data import SacActionState
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.config_util import configurable
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils

__all__ = ["OacAlgorithm", "dist_transform_action", "prepare_critic_action"]


@configurable
class OacAlgorithm(SacAlgorithm):
    """``SacAlgorithm`` for one continuous action, with optimistic exploration.

    Until training starts a rollout draws actions uniformly. Then it draws them from the policy
    with its mean, before the squashing, moved by ``explore_delta`` deviations up the gradient of
    ``Q_ub = mean(Q) + beta_ub * deviation(Q)`` over the replicas of the critic. As in ALF
    the environments of a rollout share the length of that move: the gradient is normalized over
    the whole batch, where the paper has one environment.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] | None = ActorDistributionNetwork,
        critic_network_cls: Callable[..., Network] | None = CriticNetwork,
        repr_alg_ctor: Callable | None = None,
        epsilon_greedy: float | None = None,
        use_entropy_reward: bool = True,
        calculate_priority: bool = False,
        num_critic_replicas: int = 2,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_ctor: Callable | None = None,
        target_entropy: float | Callable | tuple | list | None = None,
        prior_actor_ctor: Callable | None = None,
        target_kld_per_dim: float = 3.0,
        initial_log_alpha: float = 0.0,
        explore_delta: float = 6.8,
        beta_ub: float = 4.6,
        max_log_alpha: float | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        parameter_reset_period: int = -1,
        dqda_clipping: float | None = None,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        reproduce_locomotion: bool = False,
        name: str = "OacAlgorithm",
    ) -> None:
        """As ``SacAlgorithm``, and:

        Args:
            action_spec: one continuous action [A].
            actor_network_cls: must give a squashed diagonal normal distribution.
            explore_delta: how far the mean of the exploration moves, in units of the deviation.
            beta_ub: how much the replicas' deviation counts in the upper bound.
            dqda_clipping: holds for the gradient of the upper bound, too.

        Raises:
            ValueError: the action is discrete or a nest, or a critic has a state.
        """
        if not isinstance(action_spec, TensorSpec) or action_spec.is_discrete:
            raise ValueError(
                f"{name} needs one continuous action; the action_spec is {action_spec}."
            )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            actor_network_cls=actor_network_cls,
            critic_network_cls=critic_network_cls,
            repr_alg_ctor=repr_alg_ctor,
            epsilon_greedy=epsilon_greedy,
            use_entropy_reward=use_entropy_reward,
            calculate_priority=calculate_priority,
            num_critic_replicas=num_critic_replicas,
            env=env,
            config=config,
            critic_loss_ctor=critic_loss_ctor,
            target_entropy=target_entropy,
            prior_actor_ctor=prior_actor_ctor,
            target_kld_per_dim=target_kld_per_dim,
            initial_log_alpha=initial_log_alpha,
            max_log_alpha=max_log_alpha,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            parameter_reset_period=parameter_reset_period,
            dqda_clipping=dqda_clipping,
            actor_optimizer=actor_optimizer,
            critic_optimizer=critic_optimizer,
            alpha_optimizer=alpha_optimizer,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            reproduce_locomotion=reproduce_locomotion,
            name=name,
        )
        if self._has_critic_state:
            raise ValueError(
                f"{name}.critic_network_cls makes a critic with a state; allowed: none"
            )
        self._explore_delta = explore_delta
        self._beta_ub = beta_ub

    def _predict_action(
        self,
        observation: Any,
        state: SacActionState,
        epsilon_greedy: float | None = None,
        eps_greedy_sampling: bool = False,
        rollout: bool = False,
    ) -> tuple[Any, Any, Any, SacActionState]:
        step = super()._predict_action(
            observation, state, epsilon_greedy, eps_greedy_sampling, rollout
        )
        if not rollout:
            return step
        policy, action, values, state = step
        if not self._has_started_training():
            return policy, self._uniform_before_training(action, self.action_spec), values, state
        policy = optimistic_policy(
            policy,
            lambda a: self._upper_bound(observation, a),
            explore_delta=self._explore_delta,
            clipping=self._dqda_clipping,
        )
        return policy, dist_utils.sample_action_distribution(policy), values, state

    def _upper_bound(self, observation: Any, action: Tensor) -> Tensor:
        values = self._critics.values((observation, action), ())[0]
        return self._critics.scalarize(upper_bound(values, self._beta_ub, unbiased=False))


def prepare_critic_action(action: Tensor) -> Tensor:
    """Turns on the gradient of ``action`` in place, and returns it."""
    return action.requires_grad_()


def dist_transform_action(action: Tensor, dist: Any) -> Tensor:
    """What the transforms of ``dist``, one after the other, make of ``action``."""
    return apply_transforms(action, dist)
