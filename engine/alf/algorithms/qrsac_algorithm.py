"""Soft actor-critic whose critics know the quantiles of the return (arXiv:1710.10044)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDQRLoss
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.config_util import configurable
from alf.nest import nest
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = ["QrsacAlgorithm"]


@configurable
class QrsacAlgorithm(SacAlgorithm):
    """``SacAlgorithm`` for continuous actions, with N quantiles in place of each value.

    N is the size of the critic's output, ``output_tensor_spec=TensorSpec((N,))``, and
    ``num_quantiles`` of the critic loss. The policy maximizes the mean of the quantiles; a vector
    reward has quantiles for each dimension, and their means are weighted.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] | None = ActorDistributionNetwork,
        critic_network_cls: Callable[..., Network] | None = CriticNetwork,
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
        prior_actor_ctor: Callable | None = None,
        target_kld_per_dim: float = 3.0,
        initial_log_alpha: float = 0.0,
        max_log_alpha: float | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        dqda_clipping: float | None = None,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        reproduce_locomotion: bool = False,
        name: str = "QrsacAlgorithm",
    ) -> None:
        """As ``SacAlgorithm``, and:

        Args:
            min_critic_by_critic_mean: of the replicas' distributions take the one with the lowest
                mean; else the least replica of each quantile.
            critic_loss_ctor: called with ``debug_summaries`` and ``name``; None is
                OneStepTDQRLoss.

        Raises:
            ValueError: an action is discrete, or the critic gives no quantiles.
        """
        if any(spec.is_discrete for spec in nest.flatten(action_spec)):
            raise ValueError(f"{name} needs continuous actions, got {action_spec}.")
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            actor_network_cls=actor_network_cls,
            critic_network_cls=critic_network_cls,
            epsilon_greedy=epsilon_greedy,
            use_entropy_reward=use_entropy_reward,
            normalize_entropy_reward=normalize_entropy_reward,
            calculate_priority=calculate_priority,
            num_critic_replicas=num_critic_replicas,
            env=env,
            config=config,
            critic_loss_ctor=critic_loss_ctor or OneStepTDQRLoss,
            target_entropy=target_entropy,
            prior_actor_ctor=prior_actor_ctor,
            target_kld_per_dim=target_kld_per_dim,
            initial_log_alpha=initial_log_alpha,
            max_log_alpha=max_log_alpha,
            target_update_tau=target_update_tau,
            target_update_period=target_update_period,
            dqda_clipping=dqda_clipping,
            actor_optimizer=actor_optimizer,
            critic_optimizer=critic_optimizer,
            alpha_optimizer=alpha_optimizer,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            reproduce_locomotion=reproduce_locomotion,
            name=name,
        )
        self._least_replica = _replica_of_least_mean if min_critic_by_critic_mean else _least
        if self._critic_networks is None:
            return
        shape = tuple(self._critic_networks.output_spec.shape)
        if len(shape) != 2:
            raise ValueError(
                f"The critics of {name} must give quantiles [N], e.g. by "
                "CriticNetwork.output_tensor_spec=TensorSpec((50,)); the output of all "
                f"{num_critic_replicas} replicas has the shape {shape}."
            )

    @staticmethod
    def _split_heads(output: Tensor, num_replicas: int, reward_shape: Sequence[int]) -> Tensor:
        """Critic output [B, R * n, N] as [B, R, n, N]; a scalar reward's [B, R, N] is kept."""
        return output.unflatten(1, (num_replicas, *reward_shape)) if reward_shape else output

    @staticmethod
    def _scalarize(values: Tensor, weights: Tensor | None) -> Tensor:
        means = values.mean(-1)
        return means if weights is None else (means * weights).sum(-1)


def _least(quantiles: Tensor, weights: Tensor | None) -> Tensor:
    """From quantiles [B, R, (n,) N] the least replica's of each, the greatest of a negative one."""
    weights = None if weights is None else weights.unsqueeze(-1)
    return sac_values.least_replica(quantiles, weights)


def _replica_of_least_mean(quantiles: Tensor, weights: Tensor | None) -> Tensor:
    """From quantiles [B, R, (n,) N] those of the replica whose mean is least, for each reward."""
    means = quantiles.detach().mean(-1)
    if weights is not None:
        means = means * torch.where(weights < 0, -1.0, 1.0)
    replica = means.argmin(1, keepdim=True).unsqueeze(-1)
    index = replica.expand(*replica.shape[:-1], quantiles.shape[-1])
    return quantiles.gather(1, index).squeeze(1)
