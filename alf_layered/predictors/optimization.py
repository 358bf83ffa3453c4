"""The own optimizer of a predictor that learns without a trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import nn

from alf_layered.models.finite_update import check_update

LearningRate = float | Callable[[int], float]
"""A number, or a function of the environment steps of all environments together."""


class Part(NamedTuple):
    """Parameters that share a learning rate and whose gradient is clipped together."""

    parameters: Iterable[nn.Parameter]
    learning_rate: LearningRate


class PartsOptimizer:
    """Adam over the parts of a predictor.

    Args:
        parts: by name; those without parameters are left out.
        max_norm: limit of each part's gradient norm: one part's exploding gradient must not stop
            the others.
    """

    def __init__(self, parts: dict[str, Part], *, max_norm: float) -> None:
        groups = {name: (list(p.parameters), p.learning_rate) for name, p in parts.items()}
        groups = {name: group for name, group in groups.items() if group[0]}
        self._rates = [rate for _, rate in groups.values()]
        self._max_norm = max_norm
        self._adam = torch.optim.Adam(
            [{"params": parameters, "name": name} for name, (parameters, _) in groups.items()]
        )

    def set_learning_rates(self, n_total_env_steps: int) -> None:
        """Evaluates the schedules."""
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate(n_total_env_steps) if callable(rate) else rate

    def step(self, loss: torch.Tensor) -> None:
        """One update down the gradient of `loss`.

        Raises:
            ValueError: the loss or a part's gradient is not finite; nothing is changed.
        """
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        norms = {
            group["name"]: torch.nn.utils.clip_grad_norm_(group["params"], self._max_norm)
            for group in self._adam.param_groups
        }
        check_update(loss, norms)
        self._adam.step()

    def state_dict(self) -> dict:
        """Of the Adam."""
        return self._adam.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Of the Adam."""
        self._adam.load_state_dict(state)
