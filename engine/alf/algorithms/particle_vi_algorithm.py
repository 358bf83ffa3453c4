"""Particles that move towards a target distribution and repel each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.particles.kernels import (
    gfsf_direction,
    propagated,
    rbf,
    squares,
    svgd_direction,
)
from alf.algorithms.particles.stein_critic import CriticAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo
from alf.tensor_specs import TensorSpec

__all__ = ["AlgStep", "LossInfo", "ParVIAlgorithm", "loss_of"]

# Of GFSF: without it two particles at one place make the kernel matrix singular.
_RIDGE = 1e-4


def loss_of(result: Any) -> Tensor:
    """The loss in what a loss function gave: a tensor, or a tuple with a field ``loss``."""
    return result if isinstance(result, Tensor) else result.loss


@configurable
class ParVIAlgorithm(Algorithm):
    """Particles `[N, D]` that sample the distribution ``exp(-loss)``, up to a constant factor.

    ``particles`` are the parameters. A step moves them against the gradient of the loss, smoothed
    by a kernel (``svgd``, Liu and Wang, arXiv:1608.04471), and against that of their own log
    density. The kernel is an RBF whose width is the median of all squared distances by
    ``max(log N, 1)``.

    Args:
        particle_dim: D.
        num_particles: N.
        entropy_regularization: weight of the repulsion; 1 samples the target, 0 seeks its modes.
        par_vi: "svgd"; "gfsf" (Liu et al., arXiv:1807.01750), which estimates the density's
            gradient by inverting the kernel matrix; "minmax" (Hu et al., arXiv:1810.03545), where a
            critic learns the direction; None: gradient descent without repulsion.
        critic_input_dim: size of what the critic gets: D, or the size of the outputs of
            ``transform_func``; None: D. Only for "minmax".
        critic_hidden_layers: hidden layers of the critic.
        critic_l2_weight: weight of the critic's squared norm.
        critic_iter_num: gradient steps of the critic in each ``train_step()``.
        critic_use_bn: batch normalization in the critic.
        critic_optimizer: trains the critic; None is Adam with a learning rate of 1e-3.
        optimizer: trains the particles. Both must be without parameters; the algorithm uses its own
            copies.
        debug_summaries: write more summaries.
        name: used in summary tags and messages.
    """

    def __init__(
        self,
        particle_dim: int,
        num_particles: int = 10,
        entropy_regularization: float = 1.0,
        par_vi: Literal["gfsf", "svgd", "minmax"] | None = "gfsf",
        critic_input_dim: int | None = None,
        critic_hidden_layers: Sequence[int] = (100, 100),
        critic_l2_weight: float = 10.0,
        critic_iter_num: int = 2,
        critic_use_bn: bool = True,
        critic_optimizer: torch.optim.Optimizer | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        debug_summaries: bool = False,
        name: str = "ParVIAlgorithm",
    ) -> None:
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(
            train_state_spec=(), optimizer=optimizer, debug_summaries=debug_summaries, name=name
        )
        self._entropy_regularization = entropy_regularization
        self._par_vi = par_vi
        self._critic_iter_num = critic_iter_num
        self._critic_l2_weight = critic_l2_weight
        if par_vi == "minmax":
            size = particle_dim if critic_input_dim is None else critic_input_dim
            self._critic = CriticAlgorithm(
                TensorSpec((size,)),
                hidden_layers=critic_hidden_layers,
                use_bn=critic_use_bn,
                optimizer=critic_optimizer,
                name=f"{name}.critic",
            )
        self._particles = nn.Parameter(torch.randn(num_particles, particle_dim))

    def _trainable_attributes_to_ignore(self) -> list[str]:
        # It is trained inside of train_step().
        return ["_critic"]

    @property
    def num_particles(self) -> int:
        """Number of particles."""
        return self._particles.shape[0]

    @property
    def particles(self) -> nn.Parameter:
        """The particles `[N, D]`."""
        return self._particles

    def predict_step(self, state: Any = None) -> AlgStep:
        """The particles `[N, D]`."""
        return AlgStep(output=self._particles, state=(), info=())

    def train_step(
        self,
        loss_func: Callable[[Tensor], Any],
        transform_func: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
        entropy_regularization: float | None = None,
        loss_mask: Tensor | None = None,
        state: Any = None,
    ) -> AlgStep:
        """The loss [N] whose gradient moves the particles.

        Args:
            loss_func: called with the particles `[N, D]`, or the outputs of ``transform_func``. It
                returns the loss `[N]`, or their sum `[]`, or a tuple with such a field ``loss``.
            transform_func: called with the particles; returns outputs `[N, O]` and extra outputs
                `[N, E]`. Then losses are those of the outputs, and kernels compare both.
            entropy_regularization: as in the constructor, which is the default.
            loss_mask: [N], multiplied with the loss.
            state: not used.

        Returns:
            the particles; as info a `LossInfo` with the loss `[N]`, and as extra what ``loss_func``
            returned.
        """
        weight = self._entropy_regularization
        if entropy_regularization is not None:
            weight = entropy_regularization
        outputs: Tensor = self._particles
        seen = outputs
        if transform_func is not None:
            outputs, extra_outputs = transform_func(self._particles)
            seen = torch.cat([outputs, extra_outputs], dim=-1)
        result = loss_func(outputs)
        (loss_grad,) = torch.autograd.grad(loss_of(result).sum(), outputs)
        loss = self._propagated(outputs, seen, loss_grad, weight)
        if loss_mask is not None:
            loss = loss * loss_mask
        return AlgStep(output=self._particles, state=(), info=LossInfo(loss=loss, extra=result))

    def _propagated(self, outputs: Tensor, seen: Tensor, grad: Tensor, weight: float) -> Tensor:
        """The loss `[N]` from its gradient by the outputs and from the repulsion of ``seen``."""
        if self._par_vi is None:
            return propagated(grad, outputs)
        x = seen.detach()
        if self._par_vi == "minmax":
            if seen.shape[-1] > grad.shape[-1]:  # no loss depends on the extra outputs
                grad = torch.nn.functional.pad(grad, (0, seen.shape[-1] - grad.shape[-1]))
            for _ in range(self._critic_iter_num):
                self._critic.train_on_particles(x, grad, weight, self._critic_l2_weight)
            return propagated(-self._critic.predict_step(x).output, seen)
        kernel = rbf(x, x, squares(x, x).median() / max(math.log(len(x)), 1.0))
        if self._par_vi == "svgd":
            attraction, repulsion = svgd_direction(kernel, grad, weight)
        else:
            attraction, repulsion = grad, gfsf_direction(kernel, weight, _RIDGE)
        return propagated(attraction, outputs) - propagated(repulsion, seen)
