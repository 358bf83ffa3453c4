"""How the trajectories of the temporally abstract actor-critic go on, and how new ones begin.

A trajectory (``Tau``) holds an action ``a`` [B, A] and, where they are used, its first and second
difference ``v`` and ``u``, in half widths of the bounds. Source: arXiv:2104.06521, appendix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from alf.algorithms.taac.data import Tau
from alf.tensor_specs import BoundedTensorSpec
from alf.utils import spec_utils

__all__ = ["ConstantTrajectory", "LinearTrajectory", "QuadraticTrajectory"]


class ConstantTrajectory:
    """Repeats its action.

    Args:
        action_spec: of the action; bounded.
    """

    fields: tuple[str, ...] = ("a",)

    def __init__(self, action_spec: BoundedTensorSpec) -> None:
        self.action_spec = action_spec
        self.spec = Tau(**dict.fromkeys(self.fields, action_spec))

    def next(self, tau: Tau) -> Tau:
        """The trajectory one step later."""
        # An episode begins with zeros, which may lie outside of the bounds.
        return tau._replace(a=spec_utils.clip_to_spec(tau.a, self.action_spec))

    def new(self, tau: Tau, x: Tensor) -> Tau:
        """The trajectory that begins after ``tau`` with what the actor drew, ``x`` [B, A]."""
        return tau._replace(a=x)

    def sample(self, batch_size: int) -> Tau:
        """Trajectories drawn uniformly between the bounds."""
        drawn = {name: self.action_spec.sample(outer_dims=(batch_size,)) for name in self.fields}
        return Tau(**drawn)


class LinearTrajectory(ConstantTrajectory):
    """Adds ``2 v`` to its action in each step, within [-1, 1].

    Args:
        action_spec: has the bounds -1 and 1.
        inverse: the actor draws the action, and ``v`` is what leads to it; else it draws ``v``.

    Raises:
        ValueError: other bounds.
    """

    fields = ("a", "v")

    def __init__(self, action_spec: BoundedTensorSpec, *, inverse: bool) -> None:
        if not (np.all(action_spec.minimum == -1) and np.all(action_spec.maximum == 1)):
            raise ValueError(
                "TaacLAlgorithm and TaacQAlgorithm need an action within [-1, 1]; "
                f"the action_spec is {action_spec}."
            )
        super().__init__(action_spec)
        self._inverse = inverse

    def next(self, tau: Tau) -> Tau:
        return tau._replace(a=_moved(tau.a, tau.v))

    def new(self, tau: Tau, x: Tensor) -> Tau:
        if self._inverse:
            return tau._replace(a=x, v=(x - tau.a) / 2)
        return self.next(tau._replace(v=x))


class QuadraticTrajectory(LinearTrajectory):
    """Adds ``2 u`` to its difference ``v`` in each step, then ``2 v`` to its action.

    Args:
        action_spec: has the bounds -1 and 1.
        inverse: the actor draws the action, and ``u`` is what leads to it from ``v = 0``; else it
            draws ``u``.
    """

    fields = ("a", "v", "u")

    def next(self, tau: Tau) -> Tau:
        return super().next(tau._replace(v=_moved(tau.v, tau.u)))

    def new(self, tau: Tau, x: Tensor) -> Tau:
        if self._inverse:
            v: Any = (x - tau.a) / 2
            return tau._replace(a=x, v=v, u=v / 2)
        return self.next(tau._replace(v=torch.zeros_like(x), u=x))


def _moved(x: Tensor, half_step: Tensor) -> Tensor:
    """A step of 1 is one of 2, from one bound to the other."""
    return (x + 2 * half_step).clamp(-1.0, 1.0)
