"""Functions of state, context and action: the reward, and the discount of a decision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import alf
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.networks.mlp import MLP
from alf_layered.networks.spaces import Space, as_spec, as_vector, width


@alf.configurable
@checked(hidden=AT_LEAST_1)
class RewardNet(nn.Module):
    """The reward of a decision.

    Args:
        state_space: of the latent state.
        context_space: of what is constant in an episode.
        action_space: discrete actions enter one-hot.
        hidden: units of the hidden layers.
    """

    def __init__(
        self,
        state_space: Space,
        context_space: Space,
        action_space: Space,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        self._action_spec = as_spec(action_space)
        spaces = (state_space, context_space, action_space)
        self._net = MLP([width(as_spec(s)) for s in spaces], hidden, 1)

    def forward(
        self, state: torch.Tensor, context: torch.Tensor, action: torch.Tensor
    ) -> torch.Tensor:
        """`[*L]` for `[*L, S]`, `[*L, C]` and actions; the axes L broadcast."""
        return self._net(state, context, as_vector(action, self._action_spec)).squeeze(-1)


@alf.configurable
@checked(hidden=AT_LEAST_1)
class DiscountNet(nn.Module):
    """The discount `gamma^k` in (0, 1) that follows a decision of k environment steps.

    The mean of `gamma^k` given state and action is what a plan's value needs of the duration.
    """

    def __init__(
        self,
        state_space: Space,
        context_space: Space,
        action_space: Space,
        hidden: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        self._net = RewardNet(state_space, context_space, action_space, hidden)

    def forward(
        self, state: torch.Tensor, context: torch.Tensor, action: torch.Tensor
    ) -> torch.Tensor:
        return torch.sigmoid(self._net(state, context, action))
