"""Training of a part of the parameters' elements only: a network of smaller capacity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from alf.utils.schedulers import Scheduler, as_scheduler


class Capacity:
    """Which elements of the parameters of an optimizer are trained.

    Each element has a random number in [0, 1) and is trained while that is below the ratio. So the
    same elements go on being trained while the ratio rises. The numbers follow from the place of a
    parameter in the optimizer: they are the same in all processes and after a restart.

    Args:
        ratio: share of the elements that are trained, in (0, 1]; may be a scheduler.
        min_capacity: at least so many elements of each parameter are trained.
        masked_out_value: what the other elements are set to in each step; None: they stay.
    """

    def __init__(
        self, ratio: float | Scheduler, min_capacity: int, masked_out_value: float | None
    ) -> None:
        if isinstance(ratio, float | int) and not 0 < ratio <= 1:
            raise ValueError(f"capacity_ratio has to be within (0, 1], got {ratio}")
        self._ratio = as_scheduler(ratio)
        self._min_capacity, self._masked_out_value = min_capacity, masked_out_value
        self._masks: dict[tuple[int, int], tuple[float, Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_masks": {}}

    @torch.no_grad()
    def mask_gradients(self, groups: list[dict]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Zero the gradients of elements that are not trained.

        Returns for each parameter that has such: itself, its mask and its present values.
        """
        masked = []
        for p, mask in self._partly_trained(groups):
            assert p.grad is not None
            p.grad.mul_(mask)
            masked.append((p, mask, p.detach().clone()))
        return masked

    @torch.no_grad()
    def restore(self, masked: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Undo what a step, for example by weight decay, did to elements that are not trained."""
        for p, mask, before in masked:
            if self._masked_out_value is None:
                p.copy_(torch.where(mask, p, before))
            else:
                p.masked_fill_(~mask, self._masked_out_value)

    def _partly_trained(self, groups: list[dict]) -> Iterator[tuple[Tensor, Tensor]]:
        ratio = float(self._ratio())
        for i, group in enumerate(groups):
            for j, p in enumerate(group["params"]):
                share = max(ratio, self._min_capacity / max(p.numel(), 1))
                if p.grad is not None and share < 1:
                    yield p, self._mask(i, j, p, share)

    def _mask(self, i: int, j: int, p: Tensor, share: float) -> Tensor:
        known, mask = self._masks.get((i, j), (None, None))
        if mask is None or known != share or mask.device != p.device:
            generator = torch.Generator().manual_seed(100_003 * i + j + 1)
            scores = torch.rand(p.shape, generator=generator, device="cpu")
            mask = (scores < share).to(p.device)
            self._masks[i, j] = share, mask
        return mask
