"""A predictor of known dynamics, reward and value: nothing is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import alf
from alf_layered.allowed import POSITIVE, checked
from alf_layered.predictors.predictor import Predictor


@alf.configurable
@checked(change_std=POSITIVE)
class StaticPredictor(Predictor):
    """Serves wherever a learning predictor does; `learn` and `losses` do nothing.

    Args:
        change_std: deviations of the changes of state, `[S]` or a scalar: the unit of standardised
            changes, for skill levels below.
    """

    change_std: torch.Tensor

    def __init__(
        self, *args: Any, change_std: float | Sequence[float] = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("change_std", torch.as_tensor(change_std, dtype=torch.float32))
        if not bool((self.change_std > 0).all()):
            raise ValueError(f"change_std is {change_std}; deviations are positive")
        self.requires_grad_(False)

    def standardize_change(self, change: torch.Tensor) -> torch.Tensor:
        return change / self.change_std
