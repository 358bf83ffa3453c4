"""Nero with momentum: each neuron is optimised on its own sphere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from alf.optimizers.utils import get_opt_arg

__all__ = ["NeroPlus"]

_NO_PARAMETERS: list[dict] = [{"params": []}]


class NeroPlus(torch.optim.Optimizer):
    """Adam on the spheres of Nero (Liu et al., arXiv:2102.07227, algorithm 1).

    The weights of a neuron, a row of a tensor with more than one axis, have mean 0 and a fixed or
    limited norm: they are projected when they are added and after each step. A step is that of
    Adam. A parameter may bring max_norm, fixed_norm, zero_mean or lr_scale, a factor of the
    learning rate, of its own in ``opt_args``.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        normalizing_grad_by_norm: the second moment is that of a neuron's whole gradient as in the
            paper (of a tensor with one axis all of it), else of each of its elements.
        max_norm: the norm of a neuron's weights, or its limit.
        weight_decay: decoupled weight decay, in units of the learning rate.
        l2_regularization: L2 penalty in the gradient.
        fixed_norm: norms are ``max_norm``, else at most that.
        zero_mean: means of weights are 0.
    """

    def __init__(
        self,
        params: Any = _NO_PARAMETERS,
        lr: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        normalizing_grad_by_norm: bool = False,
        max_norm: float = 1,
        weight_decay: float = 0,
        l2_regularization: float = 0,
        fixed_norm: bool = True,
        zero_mean: bool = True,
    ) -> None:
        if not (lr >= 0 and eps >= 0 and max_norm > 0 and all(0 <= b < 1 for b in betas)):
            raise ValueError(
                "lr and eps must not be negative, max_norm be positive and betas be within [0, 1), "
                f"got lr={lr}, eps={eps}, max_norm={max_norm}, betas={betas}"
            )
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "normalizing_grad_by_norm": normalizing_grad_by_norm,
            "max_norm": max_norm,
            "weight_decay": weight_decay,
            "l2_regularization": l2_regularization,
            "fixed_norm": fixed_norm,
            "zero_mean": zero_mean,
        }
        # torch writes into the groups it is given.
        super().__init__([{"params": []}] if params is _NO_PARAMETERS else params, options)

    def add_param_group(self, param_group: dict) -> None:
        """Add parameters and project them."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        _project(
            group["params"],
            group["max_norm"],
            group["fixed_norm"],
            group["zero_mean"],
            keep_projected=True,
        )

    @classmethod
    def initialize(
        cls,
        model: nn.Module,
        max_norm: float = 1,
        fixed_norm: bool = True,
        zero_mean: bool = True,
    ) -> None:
        """Project all parameters of ``model`` as an optimizer with these options would."""
        _project(model.parameters(), max_norm, fixed_norm, zero_mean)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """Make one step; parameters without gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [p for p in group["params"] if p.grad is not None]
            for p in trained:
                self._move(p, group)
            _project(trained, group["max_norm"], group["fixed_norm"], group["zero_mean"])
        return loss

    def _move(self, p: Tensor, group: dict) -> None:
        assert p.grad is not None
        lr, (beta1, beta2) = group["lr"] * get_opt_arg(p, "lr_scale", 1.0), group["betas"]
        grad = p.grad.add(p, alpha=group["l2_regularization"])
        if not group["normalizing_grad_by_norm"]:
            square = grad.square()
        elif p.ndim > 1:
            square = _neuron_norm(grad).square()
        else:
            square = grad.square().sum()
        state = self.state[p]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(grad)
            state["exp_avg_sq"] = torch.zeros_like(square)
        state["step"] += 1
        t = state["step"]
        first = state["exp_avg"].lerp_(grad, 1 - beta1) / (1 - beta1**t)
        second = state["exp_avg_sq"].lerp_(square, 1 - beta2) / (1 - beta2**t)
        p.mul_(1 - lr * group["weight_decay"])
        p.addcdiv_(first, second.sqrt() + group["eps"], value=-lr)


def _neuron_norm(x: Tensor) -> Tensor:
    """The norm of each row, with axes of size 1 in place of the others."""
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))


@torch.no_grad()
def _project(
    params: Iterable[Tensor],
    max_norm: float,
    fixed_norm: bool,
    zero_mean: bool,
    keep_projected: bool = False,
) -> None:
    """Project weights in place.

    Args:
        keep_projected: neurons which are where they should be, but for rounding, stay exactly as
            they are, so that a resumed training goes on exactly.
    """
    for p in params:
        if p.ndim < 2:
            continue
        new = p
        if get_opt_arg(p, "zero_mean", zero_mean):
            new = new - new.mean(dim=tuple(range(1, p.ndim)), keepdim=True)
        limit = get_opt_arg(p, "max_norm", max_norm) / _neuron_norm(new).clamp_min(1e-30)
        if not get_opt_arg(p, "fixed_norm", fixed_norm):
            limit = limit.clamp_max(1.0)
        new = new * limit
        if keep_projected:
            tolerance = 1e-5 * _neuron_norm(new)
            new = torch.where(_neuron_norm(new - p) <= tolerance, p, new)
        p.copy_(new)
