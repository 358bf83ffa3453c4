"""Running averages of nested tensors, kept in buffers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.config_util import configurable
from alf.nest import nest
from alf.tensor_specs import TensorSpec

__all__ = [
    "AdaptiveAverager",
    "EMAverager",
    "ScalarAdaptiveAverager",
    "ScalarEMAverager",
    "ScalarWindowAverager",
    "WindowAverager",
    "average_outer_dims",
]


def average_outer_dims(tensor: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    """`tensor` averaged over the dimensions in front of those of `spec`."""
    outer = tensor.dim() - len(spec.shape)
    if outer < 0 or tuple(tensor.shape[outer:]) != tuple(spec.shape):
        raise ValueError(
            f"a tensor with last dimensions {list(spec.shape)} was expected, got "
            f"{list(tensor.shape)}"
        )
    return tensor.mean(dim=tuple(range(outer))) if outer > 0 else tensor


class _Averager(nn.Module):
    """Base: named buffers for each leaf of a spec.

    Args:
        tensor_spec: nest of `TensorSpec` of what is averaged.
        name: name of the averager.
    """

    def __init__(self, tensor_spec: Any, name: str) -> None:
        super().__init__()
        self._name = name
        self._tensor_spec = tensor_spec
        self._specs: list[TensorSpec] = nest.flatten(tensor_spec)

    def _leaf(self, i: int) -> torch.Tensor:
        average = self._buffers[f"_average{i}"]
        assert average is not None
        return average

    def _means(self, tensor: Any) -> list[torch.Tensor]:
        leaves = nest.flatten(tensor)
        if len(leaves) != len(self._specs):
            nest.assert_same_structure(tensor, self._tensor_spec)
        return [average_outer_dims(x.detach(), s) for x, s in zip(leaves, self._specs, strict=True)]

    def average(self, tensor: Any) -> Any:
        """Add `tensor` and return the average."""
        self.update(tensor)
        return self.get()

    def update(self, tensor: Any) -> None:
        """Add `tensor`, a nest with any number of batch dimensions, which are averaged first."""
        raise NotImplementedError

    def get(self) -> Any:
        """The average, a nest with the shapes of the spec; 0 if there was no update."""
        raise NotImplementedError


@configurable
class WindowAverager(_Averager):
    """The average of the last `window_size` updates.

    Args:
        tensor_spec: nest of `TensorSpec` of what is averaged.
        window_size: number of updates.
        name: name of the averager.
    """

    _num_updates: torch.Tensor

    def __init__(self, tensor_spec: Any, window_size: int, name: str = "WindowAverager") -> None:
        if window_size < 1:
            raise ValueError(f"{name}: window_size has to be at least 1, got {window_size}")
        super().__init__(tensor_spec, name)
        self._window_size = int(window_size)
        for i, spec in enumerate(self._specs):
            window = torch.zeros(self._window_size, *spec.shape, dtype=spec.dtype)
            self.register_buffer(f"_average{i}", window)
        self.register_buffer("_num_updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, tensor: Any) -> None:
        slot = (self._num_updates % self._window_size).unsqueeze(0)
        for i, mean in enumerate(self._means(tensor)):
            self._leaf(i).index_copy_(0, slot, mean.unsqueeze(0))
        self._num_updates.add_(1)

    @torch.no_grad()
    def get(self) -> Any:
        count = self._num_updates.clamp(1, self._window_size)
        averages = [self._leaf(i).sum(dim=0) / count for i in range(len(self._specs))]
        return nest.pack_sequence_as(self._tensor_spec, averages)


@configurable
class ScalarWindowAverager(WindowAverager):
    """`WindowAverager` of a number.

    Args:
        window_size: number of updates.
        dtype: of the number.
        name: name of the averager.
    """

    def __init__(
        self,
        window_size: int,
        dtype: torch.dtype = torch.float32,
        name: str = "ScalarWindowAverager",
    ) -> None:
        super().__init__(TensorSpec((), dtype), window_size, name)


@configurable
class EMAverager(_Averager):
    """Exponential moving average, without the pull to 0 of its start (Kingma and Ba 2015, sec. 3).

    Args:
        tensor_spec: nest of `TensorSpec` of what is averaged.
        update_rate: weight of an update, in (0, 1].
        name: name of the averager.
    """

    _update_rate: torch.Tensor
    _mass: torch.Tensor

    def __init__(self, tensor_spec: Any, update_rate: float, name: str = "EMAverager") -> None:
        super().__init__(tensor_spec, name)
        for i, spec in enumerate(self._specs):
            self.register_buffer(f"_average{i}", torch.zeros(tuple(spec.shape), dtype=spec.dtype))
        self.register_buffer("_update_rate", torch.tensor(float(update_rate)))
        # The sum of the weights of all updates, which approaches 1.
        self.register_buffer("_mass", torch.zeros(()))

    @torch.no_grad()
    def update(self, tensor: Any) -> None:
        rate = self._update_rate
        self._mass.lerp_(torch.ones_like(self._mass), rate)
        # An average that is right at all times: the update weighs rate among mass in all.
        share = rate / self._mass
        for i, mean in enumerate(self._means(tensor)):
            average = self._leaf(i)
            average.lerp_(mean.to(average.dtype), share.to(average.dtype))

    @torch.no_grad()
    def get(self) -> Any:
        averages = [self._leaf(i).clone() for i in range(len(self._specs))]
        return nest.pack_sequence_as(self._tensor_spec, averages)


@configurable
class ScalarEMAverager(EMAverager):
    """`EMAverager` of a number.

    Args:
        update_rate: weight of an update.
        dtype: of the number.
        name: name of the averager.
    """

    def __init__(
        self, update_rate: float, dtype: torch.dtype = torch.float32, name: str = "ScalarEMAverager"
    ) -> None:
        super().__init__(TensorSpec((), dtype), update_rate, name)


@configurable
class AdaptiveAverager(EMAverager):
    """Average whose window grows with the number of updates: update t has weight `speed / t`.

    About the last 1 / `speed` of all updates count. (`t` starts at `speed`, so that the first
    weight is 1.)

    Args:
        tensor_spec: nest of `TensorSpec` of what is averaged.
        speed: see above; at least 1.
        name: name of the averager.
    """

    _total_steps: torch.Tensor

    def __init__(
        self, tensor_spec: Any, speed: float = 10.0, name: str = "AdaptiveAverager"
    ) -> None:
        if speed < 1:
            raise ValueError(f"{name}: speed has to be at least 1, got {speed}")
        super().__init__(tensor_spec, 1.0, name)
        self._speed = float(speed)
        self.register_buffer("_total_steps", torch.tensor(int(speed)))

    @torch.no_grad()
    def update(self, tensor: Any) -> None:
        self._update_rate.copy_((self._speed / self._total_steps).clamp(max=1.0))
        self._total_steps.add_(1)
        super().update(tensor)


@configurable
class ScalarAdaptiveAverager(AdaptiveAverager):
    """`AdaptiveAverager` of a number.

    Args:
        speed: see `AdaptiveAverager`.
        dtype: of the number.
        name: name of the averager.
    """

    def __init__(
        self,
        speed: float = 10,
        dtype: torch.dtype = torch.float32,
        name: str = "ScalarAdaptiveAverager",
    ) -> None:
        super().__init__(TensorSpec((), dtype), speed, name)
