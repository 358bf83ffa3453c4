"""Adam with a smaller learning rate for some of its parameters.

A parameter group with a rate of its own would do, but ALF makes the groups, all with one rate; and
an optimizer of its own would clip the gradients of these parameters apart from the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from alf.optimizers import Adam


class SlowAdam(Adam):
    """Adam that shortens its steps of some parameters, the same as a smaller learning rate.

    Args:
        kwargs: arguments of `alf.optimizers.Adam`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._slow: list[nn.Parameter] = []
        self._scale = 1.0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_slow": self._slow, "_scale": self._scale}

    def slow_down(self, parameters: Iterable[nn.Parameter], scale: float) -> None:
        """Lets parameters move by `scale` times Adam's step, from the next step on."""
        self._slow, self._scale = list(parameters), scale

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """Makes one step."""
        moved: list[Tensor] = [p for p in self._slow if p.grad is not None]
        before = [p.clone() for p in moved]
        result = super().step(closure)
        if moved:
            # after + (1 - scale) * (before - after)
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                moved, before, 1.0 - self._scale
            )
        return result
