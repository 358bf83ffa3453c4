"""Adam with weight decay that bypasses the moments."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["AdamW"]


class AdamW(torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization").

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: weight decay, in units of the learning rate.
        amsgrad: use the largest second moment so far.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad
        )
