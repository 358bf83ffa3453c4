"""Something that pushes: actions are changed on their way, to see what a policy makes of it.

Axis letters: B instances, A action.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class ActionPush:
    """Adds a push of a random direction, the same for an episode, and noise of each step.

    Args:
        batch_size: B.
        action_dim: A.
        push: length of the push, in the unit of actions.
        noise: deviation of the noise.
        generator: of both.
    """

    def __init__(
        self,
        batch_size: int,
        action_dim: int,
        *,
        push: float,
        noise: float,
        generator: torch.Generator,
    ) -> None:
        for name, value in (("action_push", push), ("action_noise", noise)):
            if value < 0:
                raise ValueError(f"{name} is {value}, it must be at least 0")
        self._push, self._noise, self._generator = push, noise, generator
        self._shape = (batch_size, action_dim)
        self._wind: Tensor | None = None

    def __call__(self, action: Tensor, restart: Tensor, largest: float) -> Tensor:
        """Actions `[B, A]` within +- `largest`; where `restart` `[B]`, another push begins."""
        if self._push == 0 and self._noise == 0:
            return action
        direction = torch.nn.functional.normalize(self._normal(), dim=-1)
        if self._wind is None:
            self._wind = direction
        self._wind = torch.where(restart[:, None], direction, self._wind)
        changed = action + self._push * self._wind + self._noise * self._normal()
        return changed.clamp(-largest, largest)

    def state_dict(self) -> dict[str, Tensor]:
        """The present push, none before the first step."""
        return {} if self._wind is None else {"wind": self._wind}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Undo of `state_dict`."""
        wind = state.get("wind")
        self._wind = None if wind is None else wind.to(self._generator.device)

    def _normal(self) -> Tensor:
        device = self._generator.device
        return torch.randn(self._shape, generator=self._generator, device=device)
