"""Normalisation of nested tensors by running statistics of their values."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.config_util import configurable
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils.averager import AdaptiveAverager, EMAverager, WindowAverager, average_outer_dims

__all__ = [
    "AdaptiveNormalizer",
    "EMNormalizer",
    "Normalizer",
    "ScalarAdaptiveNormalizer",
    "ScalarEMNormalizer",
    "ScalarWindowNormalizer",
    "WindowNormalizer",
]

ROUNDING = torch.finfo(torch.float32).eps
"""A deviation of less than this part of the mean is taken for rounding."""


@configurable
class Normalizer(nn.Module):
    """Divides by the standard deviation after subtracting the mean, element by element.

    An element that has always been the same is not divided.

    A subclass says how statistics are averaged over time.

    Args:
        tensor_spec: nest of `TensorSpec` of what is normalised.
        auto_update: `normalize` and `forward` take their input into the statistics first, while
            the module is in training mode (`train()`, its initial mode).
        zero_mean: subtract the mean. Otherwise divide by the root of the mean square: subtracting
            nothing from values far from 0, their deviation would be no measure of their size.
        unit_std: do not divide, as if the deviation were 1. Needs `zero_mean`.
        variance_epsilon: added to the variance.
        debug_summaries: write summaries of what was normalised, before and after.
        max_dims_to_summarize: so many elements of each tensor get summaries of their own.
        name: scope of the summaries.
    """

    _is_empty: torch.Tensor
    _mean_averager: WindowAverager | EMAverager
    _m2_averager: WindowAverager | EMAverager

    def __init__(
        self,
        tensor_spec: Any,
        auto_update: bool = True,
        zero_mean: bool = True,
        unit_std: bool = False,
        variance_epsilon: float = 1e-10,
        debug_summaries: bool = False,
        max_dims_to_summarize: int = 10,
        name: str = "Normalizer",
    ) -> None:
        if unit_std and not zero_mean:
            raise ValueError(
                f"{name}: zero_mean=False with unit_std=True would change nothing; allowed: "
                "zero_mean=True, unit_std=False or both defaults"
            )
        super().__init__()
        self._name = name
        self._tensor_spec = tensor_spec
        self._specs: list[TensorSpec] = nest.flatten(tensor_spec)
        self._auto_update = auto_update
        self._zero_mean = zero_mean
        self._unit_std = unit_std
        self._variance_epsilon = variance_epsilon
        self._debug_summaries = debug_summaries
        self._max_dims_to_summarize = max_dims_to_summarize
        floats = [TensorSpec(s.shape, torch.float32) for s in self._specs]
        self._mean_averager = self._create_averager(floats)
        self._m2_averager = self._create_averager(floats)
        # Statistics are kept of the distance to the first mean: of values that are far from 0, the
        # difference of mean square and squared mean has no valid digits.
        for i, spec in enumerate(floats):
            self.register_buffer(f"_origin{i}", spec.zeros())
        self.register_buffer("_is_empty", torch.ones((), dtype=torch.bool))

    def _create_averager(self, spec: list[TensorSpec]) -> WindowAverager | EMAverager:
        raise NotImplementedError

    def _origin(self, i: int) -> torch.Tensor:
        origin = self._buffers[f"_origin{i}"]
        assert origin is not None
        return origin

    @torch.no_grad()
    def update(self, tensor: Any) -> None:
        """Take `tensor`, a nest with any number of batch dimensions, into the statistics."""
        first, second = [], []
        for i, (x, spec) in enumerate(zip(nest.flatten(tensor), self._specs, strict=True)):
            x, origin = x.to(torch.float32), self._origin(i)
            if self._zero_mean:
                origin.copy_(torch.where(self._is_empty, average_outer_dims(x, spec), origin))
            x = x - origin
            first.append(average_outer_dims(x, spec))
            second.append(average_outer_dims(x * x, spec))
        self._is_empty.fill_(False)
        self._mean_averager.update(first)
        self._m2_averager.update(second)

    @torch.no_grad()
    def _shift_and_scale(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each leaf what is subtracted, and what it is divided by."""
        means, squares = self._mean_averager.get(), self._m2_averager.get()
        result = []
        for i, (mean, square) in enumerate(zip(means, squares, strict=True)):
            shift = mean + self._origin(i) if self._zero_mean else torch.zeros_like(mean)
            variance = (square - mean * mean).clamp(min=0) if self._zero_mean else square
            scale = (variance + self._variance_epsilon).sqrt()
            # With nothing seen yet, values pass unchanged. What has varied by no more than rounding
            # has no deviation either: divided by the root of epsilon, its first change would be
            # 1e5 times as large as it is.
            varied = variance > (ROUNDING * shift).square()
            scale = torch.where(varied & ~self._is_empty, scale, 1.0)
            if self._unit_std:
                scale = torch.ones_like(scale)
            result.append((shift, scale))
        return result

    def normalize(self, tensor: Any, clip_value: float = -1.0) -> Any:
        """`tensor` normalised, after an `update` with it if updates are automatic.

        Args:
            tensor: nest with any number of batch dimensions.
            clip_value: if positive, results are clipped to this on both sides.
        """
        if self._auto_update and self.training:
            self.update(tensor)
        return self.normalize_without_update(tensor, clip_value)

    def normalize_without_update(self, tensor: Any, clip_value: float = -1.0) -> Any:
        """`tensor` by the present statistics, which stay as they are; arguments of `normalize`."""
        leaves = nest.flatten(tensor)
        normal = [
            (x - shift) / scale
            for x, (shift, scale) in zip(leaves, self._shift_and_scale(), strict=True)
        ]
        if clip_value > 0:
            normal = [x.clamp(-clip_value, clip_value) for x in normal]
        if self._debug_summaries and summary.should_record_summaries():
            self._summarize(leaves, normal)
        return nest.pack_sequence_as(self._tensor_spec, normal)

    def forward(self, input: Any) -> Any:
        """`normalize(input)`."""
        return self.normalize(input)

    @torch.no_grad()
    def _summarize(self, before: list[torch.Tensor], after: list[torch.Tensor]) -> None:
        paths = nest.flatten(nest.py_map_structure_with_path(lambda p, _: p, self._tensor_spec))
        with summary.scope(self._name):
            for path, spec, *pair in zip(paths, self._specs, before, after, strict=True):
                for label, x in zip(("unnormalized", "normalized"), pair, strict=True):
                    elements = x.reshape(-1, spec.numel)[:, : self._max_dims_to_summarize]
                    for i in range(elements.shape[1]):
                        tag = "/".join(p for p in (path, str(i), label) if p)
                        summary.scalar(tag + ".mean", elements[:, i].mean())
                        summary.scalar(tag + ".std", elements[:, i].std(correction=0))


@configurable
class WindowNormalizer(Normalizer):
    """`Normalizer` by the statistics of the last `window_size` updates.

    Args:
        tensor_spec: nest of `TensorSpec` of what is normalised.
        window_size: number of updates.

    The other arguments are those of `Normalizer`.
    """

    def __init__(
        self,
        tensor_spec: Any,
        window_size: int = 1000,
        auto_update: bool = True,
        zero_mean: bool = True,
        unit_std: bool = False,
        variance_epsilon: float = 1e-10,
        debug_summaries: bool = False,
        name: str = "WindowNormalizer",
    ) -> None:
        self._window_size = window_size
        super().__init__(
            tensor_spec,
            auto_update=auto_update,
            zero_mean=zero_mean,
            unit_std=unit_std,
            variance_epsilon=variance_epsilon,
            debug_summaries=debug_summaries,
            name=name,
        )

    def _create_averager(self, spec: list[TensorSpec]) -> WindowAverager | EMAverager:
        return WindowAverager(spec, self._window_size)


@configurable
class ScalarWindowNormalizer(WindowNormalizer):
    """`WindowNormalizer` of a number."""

    def __init__(
        self,
        window_size: int = 1000,
        auto_update: bool = True,
        zero_mean: bool = True,
        unit_std: bool = False,
        variance_epsilon: float = 1e-10,
        debug_summaries: bool = False,
        name: str = "ScalarWindowNormalizer",
    ) -> None:
        super().__init__(
            TensorSpec(()),
            window_size,
            auto_update,
            zero_mean,
            unit_std,
            variance_epsilon,
            debug_summaries,
            name,
        )


@configurable
class EMNormalizer(Normalizer):
    """`Normalizer` by exponential moving averages.

    Args:
        tensor_spec: nest of `TensorSpec` of what is normalised.
        update_rate: weight of an update.

    The other arguments are those of `Normalizer`.
    """

    def __init__(
        self,
        tensor_spec: Any,
        update_rate: float = 1e-3,
        auto_update: bool = True,
        zero_mean: bool = True,
        unit_std: bool = False,
        variance_epsilon: float = 1e-10,
        debug_summaries: bool = False,
        name: str = "EMNormalizer",
    ) -> None:
        self._update_rate = update_rate
        super().__init__(
            tensor_spec,
            auto_update=auto_update,
            zero_mean=zero_mean,
            unit_std=unit_std,
            variance_epsilon=variance_epsilon,
            debug_summaries=debug_summaries,
            name=name,
        )

    def _create_averager(self, spec: list[TensorSpec]) -> WindowAverager | EMAverager:
        return EMAverager(spec, self._update_rate)


@configurable
class ScalarEMNormalizer(EMNormalizer):
    """`EMNormalizer` of a number."""

    def __init__(
        self,
        update_rate: float = 1e-3,
        auto_update: bool = True,
        variance_epsilon: float = 1e-10,
        zero_mean: bool = True,
        unit_std: bool = False,
        debug_summaries: bool = False,
        name: str = "ScalarEMNormalizer",
    ) -> None:
        super().__init__(
            TensorSpec(()),
            update_rate,
            auto_update,
            zero_mean,
            unit_std,
            variance_epsilon,
            debug_summaries,
            name,
        )


@configurable
class AdaptiveNormalizer(Normalizer):
    """`Normalizer` by averages whose window grows with the number of updates.

    Args:
        tensor_spec: nest of `TensorSpec` of what is normalised.
        speed: about the last 1 / `speed` of all updates count, see `AdaptiveAverager`.

    The other arguments are those of `Normalizer`.
    """

    def __init__(
        self,
        tensor_spec: Any,
        speed: float = 8.0,
        auto_update: bool = True,
        zero_mean: bool = True,
        unit_std: bool = False,
        variance_epsilon: float = 1e-10,
        debug_summaries: bool = False,
        name: str = "AdaptiveNormalizer",
    ) -> None:
        self._speed = speed
        super().__init__(
            tensor_spec,
            auto_update=auto_update,
            zero_mean=zero_mean,
            unit_std=unit_std,
            variance_epsilon=variance_epsilon,
            debug_summaries=debug_summaries,
            name=name,
        )

    def _create_averager(self, spec: list[TensorSpec]) -> WindowAverager | EMAverager:
        return AdaptiveAverager(spec, self._speed)


@configurable
class ScalarAdaptiveNormalizer(AdaptiveNormalizer):
    """`AdaptiveNormalizer` of a number."""

    def __init__(
        self,
        speed: float = 8.0,
        auto_update: bool = True,
        zero_mean: bool = True,
        unit_std: bool = False,
        variance_epsilon: float = 1e-10,
        debug_summaries: bool = False,
        name: str = "ScalarAdaptiveNormalizer",
    ) -> None:
        super().__init__(
            TensorSpec(()),
            speed,
            auto_update,
            zero_mean,
            unit_std,
            variance_epsilon,
            debug_summaries,
            name,
        )
