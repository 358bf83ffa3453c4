"""The critics of soft actor-critic: online and target networks, and how their output is read.

B batch rows, R critic replicas; a vector reward adds a last axis to every value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import SacCriticState

__all__ = ["Critics"]


@dataclass(eq=False, slots=True)
class Critics:
    """Online and target critics, each all replicas as one network.

    Attributes:
        online: critics that are trained; None: the algorithm can only act.
        target: critics that follow slowly; None without ``online``.
        has_state: whether they are recurrent.
        num_replicas: R.
        reward_shape: () for one reward, (n,) for a vector.
        reward_weights: [n]; None: all ones.
        split_heads: as ``values.split_heads``.
        least_replica: as ``values.least_replica``.
        weighted_sum: as ``values.scalarize``.
    """

    online: Any
    target: Any
    has_state: bool
    num_replicas: int
    reward_shape: Sequence[int]
    reward_weights: Tensor | None
    split_heads: Callable[[Tensor, int, Sequence[int]], Tensor]
    least_replica: Callable[[Tensor, Tensor | None], Tensor]
    weighted_sum: Callable[[Tensor, Tensor | None], Tensor]

    def values(self, inputs: Any, state: Any) -> tuple[Tensor, Any]:
        """Values [B, R, ...] of all online replicas, and their next state."""
        return self._split(self.online(inputs, state))

    @torch.no_grad()
    def target_values(self, inputs: Any, state: Any) -> tuple[Tensor, Any]:
        """Pessimistic values [B, ...] of the target critics, and their next state."""
        values, state = self._split(self.target(inputs, state))
        return self.pessimistic(values), state

    def next_states(self, inputs: Any, state: SacCriticState) -> SacCriticState:
        """The states of all critics after they saw ``inputs``."""
        return SacCriticState(
            critics=self.online(inputs, state.critics)[1],
            target_critics=self.target(inputs, state.target_critics)[1],
        )

    def pessimistic(self, values: Tensor) -> Tensor:
        """From values [B, R, ...] of all replicas the one to count on."""
        return self.least_replica(values, self._weights())

    def scalarize(self, values: Tensor) -> Tensor:
        """From values for each reward (or quantile) the number to maximize."""
        return self.weighted_sum(values, self._weights())

    def policy_values(self, values: Tensor) -> Tensor:
        """What the policy maximizes: pessimistic over replicas, weighted over rewards."""
        return self.scalarize(self.pessimistic(values))

    def _split(self, step: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        output, state = step
        return self.split_heads(output, self.num_replicas, self.reward_shape), state

    def _weights(self) -> Tensor | None:
        return sac_values.reward_weights(self.reward_shape, self.reward_weights)
