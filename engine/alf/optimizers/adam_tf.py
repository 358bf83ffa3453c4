"""Adam in the form that TensorFlow uses."""
# torch's foreach kernels have no public name.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["AdamTF"]

_NO_PARAMETERS: list[dict] = [{"params": []}]


class AdamTF(torch.optim.Optimizer):
    """Adam in the form at the end of section 2 of Kingma and Ba 2015, "Adam: A Method for
    Stochastic Optimization": epsilon is added to the second moment before its bias is corrected.

    Early steps are smaller than those of `torch.optim.Adam` where gradients are small.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: L2 penalty.
        amsgrad: use the largest second moment so far.
    """

    def __init__(
        self,
        params: Any = _NO_PARAMETERS,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ) -> None:
        if not (lr >= 0 and eps >= 0 and weight_decay >= 0 and all(0 <= b < 1 for b in betas)):
            raise ValueError(
                "lr, eps and weight_decay must not be negative and betas be within [0, 1), got "
                f"lr={lr}, eps={eps}, weight_decay={weight_decay}, betas={betas}"
            )
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        options["amsgrad"] = amsgrad
        # torch writes into the groups it is given.
        params = [{"params": []}] if params is _NO_PARAMETERS else params
        super().__init__(params, options)

    def reset_state(self) -> None:
        """Forget the moments and the number of steps."""
        self.state.clear()

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """Make one step; parameters without gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_group(group, params)
        return loss

    def _step_group(self, group: dict, params: list[torch.Tensor]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        if group["weight_decay"] != 0:
            grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
        states = [self._state_of(p, group["amsgrad"]) for p in params]
        firsts = [s["exp_avg"] for s in states]
        seconds = [s["exp_avg_sq"] for s in states]
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(firsts, grads, 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, grads, grads, 1 - beta2)
        if group["amsgrad"]:
            largest = [s["max_exp_avg_sq"] for s in states]
            torch._foreach_maximum_(largest, seconds)
            seconds = largest
        roots = torch._foreach_sqrt(seconds)
        torch._foreach_add_(roots, group["eps"])
        sizes = []
        for state in states:
            state["step"] += 1
            t = state["step"]
            sizes.append(-group["lr"] * (1 - beta2**t) ** 0.5 / (1 - beta1**t))
        torch._foreach_addcdiv_(params, firsts, roots, sizes)

    def _state_of(self, param: torch.Tensor, amsgrad: bool) -> dict:
        state = self.state[param]
        if not state:
            state["step"] = 0
            for key in ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if amsgrad else ())):
                state[key] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state
