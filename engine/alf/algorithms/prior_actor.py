"""Prior policies for algorithms that are regularized by the divergence from one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import constraints

from alf.algorithms.algorithm import Algorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, StepType, TimeStep
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.spec_utils import has_finite_bounds


def normcdf(a: Tensor, b: Tensor) -> Tensor:
    """The probability that a standard normal lies in [a, b], precise in both tails."""
    # Far out on one side both values of the CDF round to 1: mirrored they are small and exact.
    mirrored = a > 0
    low = torch.where(mirrored, -b, a)
    high = torch.where(mirrored, -a, b)
    return _cdf(high) - _cdf(low)


def _cdf(x: Tensor) -> Tensor:
    # torch.special.ndtr is 0 below -6 in float32.
    return 0.5 * torch.erfc(-math.sqrt(0.5) * x)


class TruncatedNormal(td.Distribution):
    """A normal distribution restricted to [low, high], one for each element."""

    has_rsample = True
    arg_constraints: ClassVar = {}  # pyright: ignore[reportAssignmentType] (as torch's classes do)

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        low: Tensor,
        high: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self._loc, self._scale, self._low, self._high = torch.broadcast_tensors(
            loc, scale, low, high
        )
        self._log_mass = normcdf(
            (self._low - self._loc) / self._scale, (self._high - self._loc) / self._scale
        ).log()
        super().__init__(batch_shape=self._loc.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.interval(self._low, self._high)

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value - self._loc) / self._scale
        density = -0.5 * z.square() - 0.5 * math.log(2 * math.pi) - self._scale.log()
        inside = (value >= self._low) & (value <= self._high)
        return torch.where(inside, density - self._log_mass, -torch.inf)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        low, high = (_cdf((bound - self._loc) / self._scale) for bound in (self._low, self._high))
        uniform = torch.rand(shape, dtype=self._loc.dtype, device=self._loc.device)
        z = torch.special.ndtri(low + (high - low) * uniform)
        # In float32 the quantile of 0 or 1 is infinite.
        return torch.maximum(torch.minimum(self._loc + self._scale * z, self._high), self._low)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)


class _ExecutedUniform(td.Uniform):
    """Uniform on [low, high]; a value outside counts as the bound that is executed instead.

    A policy that is not squashed draws such values, and -inf would end the learning.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        return -(self.high - self.low).log().expand_as(value)


class _ExecutedTruncatedNormal(TruncatedNormal):
    """As `_ExecutedUniform`: a value outside the bounds counts as the nearest inside."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(torch.maximum(torch.minimum(value, self._high), self._low))


def _open_bounds(spec: BoundedTensorSpec) -> tuple[np.ndarray, np.ndarray]:
    """Bounds between which there are densities: a dimension of one value counts as 2 wide.

    Raises:
        ValueError: they are not finite.
    """
    if not isinstance(spec, BoundedTensorSpec) or not has_finite_bounds(spec):
        raise ValueError(f"a prior needs actions with finite bounds, got {spec}")
    fixed = spec.minimum == spec.maximum
    return spec.minimum - fixed, spec.maximum + fixed


class _PriorActor(Algorithm):
    """A policy without parameters or state: one way to act, whatever the step is for."""

    def _prior(self, inputs: TimeStep) -> AlgStep:
        raise NotImplementedError

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return self._prior(inputs)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return self._prior(inputs)

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any = None) -> AlgStep:
        return self._prior(inputs)


@configurable
class SameActionPriorActor(_PriorActor):
    """The next action is probably the same as the previous one.

    Each action dimension is a mixture of a flat truncated normal around the middle of its range
    and a sharp one around the previous action; at FIRST there is only the flat one. An action
    outside the bounds is as probable as the nearest inside, which is executed in its place.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        same_action_noise: float = 0.1,
        same_action_prob: float = 0.9,
        debug_summaries: bool = False,
        name: str = "SameActionPriorActor",
    ) -> None:
        """Check the actions.

        Args:
            same_action_noise: deviation of the sharp component, in units of the action's range.
            same_action_prob: weight of the sharp component.

        Raises:
            ValueError: an action is discrete.
        """
        super().__init__(debug_summaries=debug_summaries, name=name)
        if any(spec.is_discrete for spec in nest.flatten(action_spec)):
            raise ValueError(
                f"SameActionPriorActor needs continuous actions; the action_spec is {action_spec}."
            )
        self._action_spec = action_spec
        self._noise = same_action_noise
        self._same_prob = same_action_prob

    def train_step(self, inputs: TimeStep, state: Any, unroll_info: Any = ()) -> AlgStep:
        return self._prior(inputs)

    def _prior(self, inputs: TimeStep) -> AlgStep:
        is_first = inputs.step_type == StepType.FIRST
        same = torch.where(is_first, 0.0, self._same_prob)
        weights = torch.stack([1 - same, same], dim=-1)

        def mixture(spec: BoundedTensorSpec, previous: Tensor) -> td.Distribution:
            low, high = (
                torch.as_tensor(bound, dtype=previous.dtype, device=previous.device)
                .expand(spec.shape)
                .unsqueeze(-1)
                for bound in _open_bounds(spec)
            )
            # a policy that is not squashed may have left the bounds
            previous = torch.minimum(torch.maximum(previous, low.squeeze(-1)), high.squeeze(-1))
            middle = (0.5 * (low + high)).squeeze(-1).expand_as(previous)
            scales = (high - low) * previous.new_tensor([1.0, self._noise])
            components = _ExecutedTruncatedNormal(
                torch.stack([middle, previous], -1), scales, low, high
            )
            rank = previous.dim() - 1
            probs = weights.reshape(-1, *(1,) * rank, 2).expand(*previous.shape, 2)
            dist = td.MixtureSameFamily(
                td.Categorical(probs=probs, validate_args=False), components, validate_args=False
            )
            return td.Independent(dist, rank, validate_args=False)

        output = nest.map_structure(mixture, self._action_spec, inputs.prev_action)
        return AlgStep(output=output)


@configurable
class UniformPriorActor(_PriorActor):
    """All actions are equally probable; one outside the bounds counts as the nearest inside."""

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        debug_summaries: bool = False,
        name: str = "UniformPriorActor",
    ) -> None:
        super().__init__(debug_summaries=debug_summaries, name=name)
        self._action_spec = action_spec

    def _prior(self, inputs: TimeStep) -> AlgStep:
        rows = inputs.step_type.shape
        device = inputs.step_type.device

        def uniform(spec: BoundedTensorSpec) -> td.Distribution:
            if spec.is_discrete:
                count = int(spec.maximum) - int(spec.minimum) + 1
                logits = torch.zeros(*rows, count, device=device)
                return td.Categorical(logits=logits, validate_args=False)
            low, high = (
                torch.as_tensor(bound, dtype=spec.dtype, device=device).expand(*rows, *spec.shape)
                for bound in _open_bounds(spec)
            )
            dist = _ExecutedUniform(low, high, validate_args=False)
            return td.Independent(dist, len(spec.shape), validate_args=False)

        return AlgStep(output=nest.map_structure(uniform, self._action_spec))
