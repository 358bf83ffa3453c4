"""Ornstein-Uhlenbeck noise for exploration."""

from __future__ import annotations

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec


@configurable
class OUProcess(Network):
    """``x' = (1 - damping) x + N(0, stddev^2)``, noise that is correlated in time.

    Uhlenbeck and Ornstein 1930; for exploration: Lillicrap et al., arXiv:1509.02971, section 3.
    Called as ``noise, new_state = process(state)`` with the state [B, ...], at first zeros.

    Args:
        state_spec: spec of the noise.
        damping: rate at which it returns to 0, between 0 and 1.
        stddev: standard deviation of its change in one step.
    """

    def __init__(self, state_spec: TensorSpec, damping: float = 0.15, stddev: float = 0.2) -> None:
        super().__init__((), state_spec, "OUProcess")
        self._damping, self._stddev = damping, stddev

    @property
    def state_spec(self) -> TensorSpec:
        """Spec of the noise."""
        return self._state_spec

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x = (1 - self._damping) * state + self._stddev * torch.randn_like(state)
        return x, x
