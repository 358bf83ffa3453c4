"""The value of a state in its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import alf
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.networks.mlp import MLP
from alf_layered.networks.spaces import Space, as_spec, width


@alf.configurable
@checked(hidden=AT_LEAST_1)
class ValueNet(nn.Module):
    """Starts at the value 0 everywhere, so that plans are not judged by noise.

    Args:
        state_space: of the latent state.
        context_space: of what is constant in an episode.
        hidden: units of the hidden layers.
    """

    def __init__(
        self, state_space: Space, context_space: Space, hidden: Sequence[int] = (128, 128)
    ) -> None:
        super().__init__()
        self._net = MLP([width(as_spec(s)) for s in (state_space, context_space)], hidden, 1)
        nn.init.zeros_(self._net.last.weight)
        nn.init.zeros_(self._net.last.bias)

    def forward(
        self, state: torch.Tensor, context: torch.Tensor, action: Any = None
    ) -> torch.Tensor:
        """`[*L]` for `[*L, S]` and `[*L, C]`; an action is accepted and ignored."""
        return self._net(state, context).squeeze(-1)
