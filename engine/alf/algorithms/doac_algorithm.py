"""Distributional soft actor-critic with optimistic exploration (arXiv:1910.12807)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from alf.algorithms._optimistic_exploration import optimistic_policy, upper_bound
from alf.algorithms.config import TrainerConfig
from alf.algorithms.dsac_algorithm import DSacAlgorithm
from alf.config_util import configurable
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticQuantileNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils

__all__ = ["DOacAlgorithm"]


@configurable
class DOacAlgorithm(DSacAlgorithm):
    """``DSacAlgorithm`` that collects by a policy moved towards an upper bound of the value.

    The upper bound is mean plus ``beta_ub`` standard deviations, over the critics, of the mean of
    their quantiles at fixed fractions. Until training starts actions are uniform.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        num_quantiles: int = 32,
        tau_type: Literal["fixed", "iqn"] = "iqn",
        actor_network_cls: Callable[..., Network] | None = ActorDistributionNetwork,
        critic_network_cls: Callable[..., Network] | None = CriticQuantileNetwork,
        repr_alg_ctor: Callable | None = None,
        epsilon_greedy: float | None = None,
        use_entropy_reward: bool = False,
        normalize_entropy_reward: bool = False,
        calculate_priority: bool = False,
        num_critic_replicas: int = 2,
        min_critic_by_critic_mean: bool = False,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_ctor: Callable | None = None,
        target_entropy: float | Callable | tuple | list | None = None,
        target_kld_per_dim: float = 3.0,
        initial_log_alpha: float = 0.0,
        max_log_alpha: float | None = None,
        explore_delta: float = 6.86,
        beta_ub: float = 4.66,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        dqda_clipping: float | None = None,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "DOacAlgorithm",
    ) -> None:
        """As ``DSacAlgorithm``, and:

        Args:
            action_spec: one continuous action.
            explore_delta: how far the mean is moved.
            beta_ub: standard deviations above the mean.
        """
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            num_quantiles=num_quantiles,
            tau_type=tau_type,
            actor_network_cls=actor_network_cls,
            critic_network_cls=critic_network_cls,
            repr_alg_ctor=repr_alg_ctor,
            epsilon_greedy=epsilon_greedy,
            use_entropy_reward=use_entropy_reward,
            normalize_entropy_reward=normalize_entropy_reward,
            calculate_priority=calculate_priority,
            num_critic_replicas=num_critic_replicas,
            min_critic_by_critic_mean=min_critic_by_critic_mean,
            env=env,
            config=config,
            critic_loss_ctor=critic_loss_ctor,
            target_entropy=target_entropy,
            target_kld_per_dim=target_kld_per_dim,
            initial_log_alpha=initial_log_alpha,
            max_log_alpha=max_log_alpha,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            dqda_clipping=dqda_clipping,
            actor_optimizer=actor_optimizer,
            critic_optimizer=critic_optimizer,
            alpha_optimizer=alpha_optimizer,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._explore_delta = explore_delta
        self._beta_ub = beta_ub

    def _predict_action(
        self,
        observation: Any,
        state: Any,
        epsilon_greedy: float | None = None,
        eps_greedy_sampling: bool = False,
        rollout: bool = False,
    ) -> tuple[Any, Any, Any, Any]:
        step = super()._predict_action(
            observation, state, epsilon_greedy, eps_greedy_sampling, rollout
        )
        return self._explore(observation, *step) if rollout else step

    def _explore(
        self, observation: Any, policy: Any, action: Any, values: Any, state: Any
    ) -> tuple[Any, Any, Any, Any]:
        """What ``_predict_action()`` gave, with an optimistic policy and its action."""
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
        tau, _ = self._draw_taus(action.shape[0], "fixed")
        quantiles = self._quantiles(self._critic_networks, observation, action, tau)
        return upper_bound(self._weighted(quantiles.mean(-1)), self._beta_ub)
