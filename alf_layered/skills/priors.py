"""Where skills come from: distributions over a joint, to draw from.

Axis letters: L any axes of rows, Z skill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from alf.tensor_specs import BoundedTensorSpec
from alf_layered.allowed import AT_LEAST_1, POSITIVE, checked
from alf_layered.hierarchy.bounds import has_finite_bounds

Nest = Any


class SkillPrior(Protocol):
    """A distribution over skills."""

    def sample(
        self,
        rows: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Skills `[*rows, Z]`, or indices `[*rows]`."""
        ...

    def log_prob(self, skill: Tensor) -> Tensor:
        """Log density, or log probability of an index, `[*L]`; as if every skill were possible."""
        ...


class BoxPrior:
    """Uniform between the bounds of a vector of real numbers."""

    def __init__(self, spec: BoundedTensorSpec) -> None:
        if not isinstance(spec, BoundedTensorSpec) or not spec.dtype.is_floating_point:
            raise ValueError(f"a BoxPrior is of a bounded vector of real numbers, not of {spec}")
        if not has_finite_bounds(spec):
            raise ValueError(f"a BoxPrior needs finite bounds, not those of {spec}")
        self._low, self._high = (
            torch.as_tensor(bound, dtype=torch.float32, device="cpu").broadcast_to(spec.shape)
            for bound in (spec.minimum, spec.maximum)
        )

    def sample(
        self,
        rows: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        low, high = self._low.to(device), self._high.to(device)
        shape = (*rows, *low.shape)
        return low + (high - low) * torch.rand(shape, generator=generator, device=low.device)

    def log_prob(self, skill: Tensor) -> Tensor:
        width = self._high - self._low
        volume = torch.where(width > 0, width, 1.0).log().sum()  # one value has no density
        return torch.full(skill.shape[: skill.ndim - self._low.ndim], -float(volume)).to(skill)


@checked(dim=AT_LEAST_1, radius=POSITIVE)
class SpherePrior:
    """Uniform over the surface of a sphere in Z dimensions."""

    def __init__(self, dim: int, radius: float = 1.0) -> None:
        self._dim, self._radius = dim, radius

    def sample(
        self,
        rows: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        normal = torch.randn((*rows, self._dim), generator=generator, device=device)
        return self._radius * torch.nn.functional.normalize(normal, dim=-1)

    def log_prob(self, skill: Tensor) -> Tensor:
        half = self._dim / 2
        area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
        area += (self._dim - 1) * math.log(self._radius)
        return torch.full(skill.shape[:-1], -area).to(skill)


class CategoricalPrior:
    """Uniform over the options of an `option(count)`."""

    def __init__(self, spec: BoundedTensorSpec) -> None:
        if not isinstance(spec, BoundedTensorSpec) or spec.dtype.is_floating_point or spec.ndim:
            raise ValueError(f"a CategoricalPrior is of one bounded index, not of {spec}")
        self._first = int(spec.minimum)
        self._count = int(spec.maximum) - self._first + 1
        self._dtype = spec.dtype

    def sample(
        self,
        rows: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        last = self._first + self._count
        return torch.randint(
            self._first, last, tuple(rows), generator=generator, device=device, dtype=self._dtype
        )

    def log_prob(self, skill: Tensor) -> Tensor:
        return torch.full(skill.shape, -math.log(self._count), device=skill.device)


def prior_of(spec: Nest) -> SkillPrior:
    """The uniform distribution over a joint."""
    if not isinstance(spec, BoundedTensorSpec):
        raise ValueError(
            f"a skill is one bounded tensor, such as skill(2) or option(8), not {spec}"
        )
    return BoxPrior(spec) if spec.dtype.is_floating_point else CategoricalPrior(spec)
