"""Soft actor-critic whose critics know the return at any quantile (arXiv:2004.14547)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDQRLoss
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import (
    SacActorInfo,
    SacCriticInfo,
    SacCriticState,
    SacInfo,
    SacState,
)
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticQuantileNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = ["AlgStep", "DSacAlgorithm", "DSacInfo", "LossInfo", "TauInfo", "TimeStep"]

# Quantile fractions [B, N] and their weights [B, N]: where the actor's value, the values of the
# actions taken and the target values are asked for.
TauInfo = namedtuple(
    "TauInfo",
    [
        "actor_tau_hat",
        "actor_delta_tau",
        "tau_hat",
        "delta_tau",
        "next_tau_hat",
        "next_delta_tau",
    ],
    default_value=(),
)
DSacInfo = namedtuple(
    "DSacInfo", [f for f in SacInfo._fields if f != "repr"] + ["tau_info"], default_value=()
)
_DSacInfoWithRepr = namedtuple("DSacInfoWithRepr", [*DSacInfo._fields, "repr"], default_value=())


@configurable
class DSacAlgorithm(SacAlgorithm):
    """``SacAlgorithm`` for continuous actions, with implicit quantile networks for critics.

    A critic answers with the return's quantiles at given fractions tau (arXiv:1806.06923); the
    policy maximizes their weighted mean. Of R critics it counts on the lesser quantile (R = 2), on
    mean minus standard deviation of each (R > 2), or on all quantiles of the one with the least
    mean.

    Without ``alpha_optimizer`` the temperature is "epistemic": the fixed initial alpha times the
    mean standard deviation of the quantiles over the critics, so that the policy is the more random
    the less the critics agree. Then entropy is no reward.
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
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        dqda_clipping: float | None = None,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "DSacAlgorithm",
    ) -> None:
        """As ``SacAlgorithm``, and:

        Args:
            num_quantiles: N.
            tau_type: "fixed": the midpoints of N equal parts of [0, 1]; "iqn": of N random parts,
                drawn anew for each row.
            critic_network_cls: called with ``input_tensor_spec=(observation, action)``,
                ``tau_spec`` and ``use_naive_parallel_network=True``; its input is
                ``((observation, action), tau)``.
            min_critic_by_critic_mean: count on the critic with the least mean.
            critic_loss_ctor: called with ``debug_summaries`` and ``name``; None is
                OneStepTDQRLoss.
            target_kld_per_dim: without effect: there is no prior.

        Raises:
            ValueError: an action is discrete, or settings do not go together.
        """
        if any(spec.is_discrete for spec in nest.flatten(action_spec)):
            raise ValueError(f"{name} needs continuous actions, got {action_spec}.")
        if tau_type not in ("fixed", "iqn"):
            raise ValueError(f"{name}.tau_type is {tau_type!r}; allowed: 'fixed', 'iqn'")
        if min_critic_by_critic_mean and reward_spec.numel > 1:
            raise ValueError(
                f"{name}.min_critic_by_critic_mean=True needs a single reward, there are "
                f"{reward_spec.numel}"
            )
        is_epistemic = alpha_optimizer is None
        if is_epistemic and critic_network_cls is not None and num_critic_replicas < 2:
            raise ValueError(
                f"{name}: without alpha_optimizer the temperature is the standard deviation of the "
                f"critics; num_critic_replicas is {num_critic_replicas}, allowed: at least 2"
            )
        if critic_network_cls is not None:
            critic_network_cls = partial(
                critic_network_cls,
                tau_spec=TensorSpec((num_quantiles,)),
                use_naive_parallel_network=True,
            )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            actor_network_cls=actor_network_cls,
            critic_network_cls=critic_network_cls,
            repr_alg_ctor=repr_alg_ctor,
            epsilon_greedy=epsilon_greedy,
            use_entropy_reward=use_entropy_reward and not is_epistemic,
            normalize_entropy_reward=normalize_entropy_reward,
            calculate_priority=calculate_priority,
            num_critic_replicas=num_critic_replicas,
            env=env,
            config=config,
            critic_loss_ctor=critic_loss_ctor
            or partial(OneStepTDQRLoss, num_quantiles=num_quantiles),
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
        self._num_quantiles = num_quantiles
        self._tau_type = tau_type
        self._min_critic_by_critic_mean = min_critic_by_critic_mean and not is_epistemic
        self._is_epistemic = is_epistemic
        if is_epistemic:
            constant = self._log_alpha.detach()
            del self._log_alpha
            self.register_buffer("_log_alpha", constant)
        self._taus = TauInfo()  # of the train step that is being made

    # Quantiles

    @staticmethod
    def _split_heads(output: Tensor, num_replicas: int, reward_shape: Sequence[int]) -> Tensor:
        """Critic output [B, R * n, N] as [B, R, n, N]; a scalar reward's [B, R, N] is kept."""
        return output.unflatten(1, (num_replicas, *reward_shape)) if reward_shape else output

    def _draw_taus(self, batch_size: int, tau_type: str | None = None) -> tuple[Tensor, Tensor]:
        """Fractions in the middle of N parts of [0, 1], and the sizes of the parts: [B, N]."""
        shape = (batch_size, self._num_quantiles)
        if (tau_type or self._tau_type) == "fixed":
            delta = torch.full(shape, 1 / self._num_quantiles)
        else:
            delta = torch.rand(*shape) + 0.1  # no part is much smaller than another
            delta = delta / delta.sum(-1, keepdim=True)
        return delta.cumsum(-1) - delta / 2, delta

    def _quantiles(self, critics: Network, observation: Any, action: Any, tau: Tensor) -> Tensor:
        """Quantiles [B, R, (n,) N] of all replicas."""
        values = critics(((observation, action), tau))[0]
        return self._split_heads(values, self._num_critic_replicas, self._reward_spec.shape)

    def _pessimistic(self, quantiles: Tensor, delta: Tensor) -> Tensor:
        """From quantiles [B, R, (n,) N] of all replicas those to count on: [B, (n,) N]."""
        if self._num_critic_replicas == 1:
            return quantiles.squeeze(1)
        if self._min_critic_by_critic_mean:
            means = (quantiles.detach() * delta.unsqueeze(1)).sum(-1)
            least = means.argmin(1).reshape(-1, 1, 1)
            return quantiles.gather(1, least.expand(-1, 1, quantiles.shape[-1])).squeeze(1)
        sign = self._signs()
        if self._num_critic_replicas == 2:
            return (quantiles * sign).amin(1) * sign
        return quantiles.mean(1) - quantiles.std(1) * sign

    def _signs(self) -> Any:
        """-1 for a reward with negative weight, whose high values are the bad ones; [n, 1] or 1."""
        if self.reward_weights is None:
            return 1.0
        return torch.where(self.reward_weights < 0, -1.0, 1.0).unsqueeze(-1)

    def _weighted(self, values: Tensor) -> Tensor:
        """The sum [...] of values [..., n] of all rewards by their weights; one as it is."""
        return values if self.reward_weights is None else (values * self.reward_weights).sum(-1)

    def _mean_of(self, quantiles: Tensor, delta: Tensor) -> Tensor:
        """From quantiles [B, (n,) N] the number [B] that the policy maximizes."""
        delta = delta.unsqueeze(1) if self.has_multidim_reward() else delta
        return self._weighted((quantiles * delta).sum(-1))

    # Training

    def train_step(self, inputs: TimeStep, state: SacState, rollout_info: DSacInfo) -> AlgStep:
        batch_size = inputs.step_type.shape[0]
        taus = [x for _ in range(3) for x in self._draw_taus(batch_size)]
        self._taus = TauInfo(*taus)
        step = super().train_step(inputs, state, rollout_info)
        fields = {f: getattr(step.info, f) for f in DSacInfo._fields[:-1]}
        info: Any = DSacInfo(**fields, tau_info=self._taus)
        if self._repr_alg is not None:
            info = _DSacInfoWithRepr(**info._asdict(), repr=step.info.repr)
        self._taus = TauInfo()
        return step._replace(info=info)

    def _actor_train_step(
        self,
        inputs: TimeStep,
        state: Any,
        action: Any,
        critics: Any,
        log_pi: Any,
        action_distribution: Any,
    ) -> tuple[Any, LossInfo]:
        tau, delta = self._taus.actor_tau_hat, self._taus.actor_delta_tau
        quantiles = self._quantiles(self._critic_networks, inputs.observation, action, tau)
        q = self._mean_of(self._pessimistic(quantiles, delta), delta)
        loss = sac_values.action_gradient_loss(q, nest.flatten(action), self._dqda_clipping)
        alpha = self._temperatures.alphas()[0]
        if self._is_epistemic:
            spread = quantiles.detach().std(1) * self._signs()
            alpha = alpha * self._mean_of(spread, delta)
        return state, LossInfo(
            loss=loss + alpha * log_pi,
            extra=SacActorInfo(actor_loss=loss, neg_entropy=log_pi),
        )

    def _critic_train_step(
        self,
        inputs: TimeStep,
        state: SacCriticState,
        rollout_info: Any,
        action: Any,
        action_distribution: Any,
        target_observation: Any = None,
    ) -> tuple[SacCriticState, SacCriticInfo]:
        if target_observation is None:
            target_observation = inputs.observation
        taus = self._taus
        critics = self._quantiles(
            self._critic_networks, inputs.observation, rollout_info.action, taus.tau_hat
        )
        with torch.no_grad():
            targets = self._quantiles(
                self._target_critic_networks, target_observation, action, taus.next_tau_hat
            )
            target = self._pessimistic(targets, taus.next_delta_tau)
        return state, SacCriticInfo(critics=critics, target_critic=target)

    def _alpha_train_step(self, log_pi: Any) -> Any:
        return () if self._is_epistemic else super()._alpha_train_step(log_pi)

    def _loss_of_replicas(self, info: DSacInfo) -> Tensor:
        taus = info.tau_info
        fractions = {
            "tau_hat": taus.tau_hat,
            "delta_tau": taus.delta_tau,
            "next_delta_tau": taus.next_delta_tau,
        }
        if self.has_multidim_reward():
            n = self._reward_spec.numel
            fractions = {k: x.unsqueeze(2).expand(-1, -1, n, -1) for k, x in fractions.items()}
        return sac_losses.loss_of_replicas(self._critic_losses, info, **fractions)
