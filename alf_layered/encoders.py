"""Encoders split an observation into a state and a context, which is constant in an episode.

Axis letters: L any axes of rows, B spans, T time, O observation, S state, C context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

import alf
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, SHARE, UNIT, checked
from alf_layered.networks.running_moments import RunningMoments


class Encoder(nn.Module, ABC):
    """Maps flat observations `[*L, O]` to states `[*L, S]` and contexts `[*L, C]`.

    Args:
        mapped_env_obs_shape: `(O,)`.
        latent_state_dim: S.
        context_dim: C.
    """

    def __init__(
        self, mapped_env_obs_shape: Sequence[int], latent_state_dim: int, context_dim: int
    ) -> None:
        super().__init__()
        if len(mapped_env_obs_shape) != 1:
            raise ValueError(
                f"an encoder takes vectors, the observation's shape is "
                f"{tuple(mapped_env_obs_shape)}; flatten it first"
            )
        self.observation_dim = int(mapped_env_obs_shape[0])
        self.latent_state_dim = latent_state_dim
        self.context_dim = context_dim

    @abstractmethod
    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """State and context."""

    def observe(self, obs: torch.Tensor, follows: torch.Tensor) -> None:
        """Takes a batch to learn from into account; most encoders have nothing to.

        Args:
            obs: `[B, T, O]`.
            follows: `[B, T - 1]`, where step t + 1 follows step t in one episode.
        """
        return


@alf.configurable
@checked(mapped_env_obs_shape=AT_LEAST_0)
class IdentityEncoder(Encoder):
    """The observation is the state, and there is no context."""

    def __init__(self, mapped_env_obs_shape: Sequence[int]) -> None:
        super().__init__(mapped_env_obs_shape, int(mapped_env_obs_shape[0]), 0)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return obs, obs[..., :0]

    def decode(self, state: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """The observation `[*L, O]`."""
        return state


@alf.configurable
@checked(latent_state_dims=AT_LEAST_0, context_dims=AT_LEAST_0)
class FixedEncoderNet(Encoder):
    """State and context are chosen dimensions of the observation.

    Args:
        mapped_env_obs_shape: `(O,)`.
        latent_state_dims: which dimensions make up the state.
        context_dims: which make up the context.
    """

    state_index: torch.Tensor
    context_index: torch.Tensor

    def __init__(
        self,
        mapped_env_obs_shape: Sequence[int],
        latent_state_dims: Sequence[int],
        context_dims: Sequence[int] = (),
    ) -> None:
        super().__init__(mapped_env_obs_shape, len(latent_state_dims), len(context_dims))
        for what, dims in (
            ("latent_state_dims", latent_state_dims),
            ("context_dims", context_dims),
        ):
            wrong = [d for d in dims if not 0 <= d < self.observation_dim]
            if wrong:
                raise ValueError(
                    f"{what} has {wrong}, but the observation has {self.observation_dim} dimensions"
                )
        for name, dims in (("state_index", latent_state_dims), ("context_index", context_dims)):
            self.register_buffer(name, torch.tensor(list(dims), dtype=torch.int64))

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return obs[..., self.state_index], obs[..., self.context_index]

    def decode(self, state: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """The observation `[*L, O]`, with zeros where it is neither state nor context."""
        obs = state.new_zeros(*state.shape[:-1], self.observation_dim)
        obs[..., self.state_index] = state
        obs[..., self.context_index] = context
        return obs


@alf.configurable
@checked(
    latent_state_dim=AT_LEAST_1,
    context_dim=AT_LEAST_0,
    bn_momentum=SHARE,
    freeze_after=AT_LEAST_0,
    tolerance=AT_LEAST_0,
    least_rate=UNIT,
)
class EncoderNet(Encoder):
    """Learned linear maps: the state from what changes within episodes, the context from the rest.

    Which dimensions change is measured on transitions within episodes. Until there are any, all
    dimensions count as changing, so the state is never empty. A dimension that no longer changes
    becomes context again.

    Args:
        mapped_env_obs_shape: `(O,)`.
        latent_state_dim: S.
        context_dim: C.
        standardize: whether the observation is standardised by running moments first.
        bn_momentum: weight of a new batch in the running moments and in the rates of change.
        freeze_after: batches after which moments and rates no longer change; None: never.
        tolerance: a smaller difference, relative to the dimension's deviation, is no change:
            observation noise must not turn a constant into state.
        least_rate: share of transitions in which a dimension of the state changes at least.
    """

    mask: torch.Tensor
    change_rate: torch.Tensor
    batches: torch.Tensor

    def __init__(
        self,
        mapped_env_obs_shape: Sequence[int],
        latent_state_dim: int,
        context_dim: int,
        standardize: bool = False,
        bn_momentum: float = 0.1,
        freeze_after: int | None = None,
        *,
        tolerance: float = 1e-6,
        least_rate: float = 1e-4,
    ) -> None:
        super().__init__(mapped_env_obs_shape, latent_state_dim, context_dim)
        size = self.observation_dim
        self.to_state = nn.Linear(size, latent_state_dim, bias=False)
        self.to_context = nn.Linear(size, context_dim, bias=False) if context_dim else None
        self.moments = RunningMoments(size, momentum=bn_momentum)
        self._standardize = standardize
        self._momentum = bn_momentum
        self._freeze_after = freeze_after
        self._tolerance = tolerance
        self._least_rate = least_rate
        self.register_buffer("mask", torch.ones(size, dtype=torch.bool))
        self.register_buffer("change_rate", torch.ones(size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._standardize:
            obs = (obs - self.moments.mean) / self.moments.scale
        state = self.to_state(obs * self.mask)
        if self.to_context is None:
            return state, state[..., :0]
        return state, self.to_context(obs * ~self.mask)

    @torch.no_grad()
    def observe(self, obs: torch.Tensor, follows: torch.Tensor) -> None:
        active = torch.ones_like(self.batches, dtype=torch.bool)
        if self._freeze_after is not None:
            active = self.batches < self._freeze_after
        rows = obs.flatten(0, -2)
        self.moments.update(rows, active.expand(rows.shape[:1]))
        changed = (obs[:, 1:] - obs[:, :-1]).abs() > self._tolerance * self.moments.scale
        weight = follows.to(obs.dtype).unsqueeze(-1)
        count = weight.sum()
        rate = (weight * changed).sum((0, 1)) / count.clamp(min=1)
        known = active & (count > 0)
        share = torch.where(self.batches > 0, self._momentum, 1.0) * known
        self.change_rate.lerp_(rate, share)
        self.mask.copy_(self.change_rate >= self._least_rate)
        self.batches.add_(known)
