"""Transformers of single observations."""

from __future__ import annotations

from typing import Any

import torch

from alf.algorithms.transformers.base import (
    SimpleDataTransformer,
    check_fields,
    transform_fields,
)
from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils._exe_mode import is_pretrain, is_replay, is_rollout
from alf.utils.normalizers import AdaptiveNormalizer, EMNormalizer, Normalizer, WindowNormalizer

PUBLIC_MODULE = "alf.algorithms.data_transformer"  # under which these names are configured

_IS_UPDATE_TIME = {
    "replay": is_replay,
    "rollout": is_rollout,
    "pretrain": is_pretrain,
}


def check_update_mode(what: str, mode: str, *allowed: str) -> None:
    """Raise ValueError unless `mode` is allowed."""
    if mode not in allowed:
        raise ValueError(f"{what}: update_mode has to be one of {allowed}, got {mode!r}")


def is_update_time(mode: str) -> bool:
    """Whether what is being done now is what statistics are taken from."""
    return _IS_UPDATE_TIME[mode]()


@configurable
class ImageScaleTransformer(SimpleDataTransformer):
    """Scales images of bytes so that 0 becomes `min` and 255 becomes `max`.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        min: value for 0.
        max: value for 255.
        fields: paths of the images in the observation; None if it is an image.
    """

    def __init__(
        self,
        observation_spec: Any,
        min: float = -1.0,
        max: float = 1.0,
        fields: list[str] | None = None,
    ) -> None:
        if not min < max:
            raise ValueError(f"min has to be less than max, got {min} and {max}")
        check_fields("ImageScaleTransformer", fields)
        if fields is None and nest.is_nested(observation_spec):
            raise ValueError(
                "ImageScaleTransformer: fields has to say which parts of the observation are "
                f"images, {observation_spec}"
            )
        self._fields, self._min, self._max = fields, min, max

        def scaled_spec(spec: TensorSpec) -> BoundedTensorSpec:
            if spec.dtype != torch.uint8:
                raise ValueError(f"ImageScaleTransformer: an image has to be uint8, got {spec}")
            return BoundedTensorSpec(spec.shape, torch.float32, minimum=min, maximum=max)

        super().__init__(transform_fields(observation_spec, fields, scaled_spec))

    def _transform(self, timestep: TimeStep) -> TimeStep:
        scale = (self._max - self._min) / 255.0

        def scaled(image: torch.Tensor) -> torch.Tensor:
            return image.to(torch.float32) * scale + self._min

        observation = transform_fields(timestep.observation, self._fields, scaled)
        return timestep._replace(observation=observation)


@configurable
class ObservationNormalizer(SimpleDataTransformer):
    """Normalises observations by the running mean and deviation of each element.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        fields: paths of the parts to normalise; None for all.
        clipping: if positive, results are clipped to this on both sides.
        window_size: of `mode` "window": number of updates.
        update_rate: of `mode` "em": weight of an update.
        speed: of `mode` "adaptive", see `AdaptiveAverager`.
        zero_mean: subtract the mean.
        update_mode: statistics are taken from observations in "replay", "rollout" or "pretrain". If
            what is replayed has been transformed before it was stored, "replay" never sees any.
        mode: how statistics are averaged over time: "adaptive", "window" or "em".
    """

    def __init__(
        self,
        observation_spec: Any,
        fields: list[str] | None = None,
        clipping: float = 0.0,
        window_size: int = 10000,
        update_rate: float = 1e-4,
        speed: float = 8.0,
        zero_mean: bool = True,
        update_mode: str = "replay",
        mode: str = "adaptive",
    ) -> None:
        check_fields("ObservationNormalizer", fields)
        check_update_mode("ObservationNormalizer", update_mode, "replay", "rollout", "pretrain")
        parts: list = []

        def normalized_spec(part: Any) -> Any:
            parts.append(part)
            return nest.map_structure(lambda spec: TensorSpec(spec.shape), part)

        super().__init__(transform_fields(observation_spec, fields, normalized_spec))
        self._fields = fields
        self._clipping = clipping
        self._update_mode = update_mode
        self._normalizer: Normalizer
        if mode == "adaptive":
            self._normalizer = AdaptiveNormalizer(
                parts, speed=speed, auto_update=False, zero_mean=zero_mean
            )
        elif mode == "window":
            self._normalizer = WindowNormalizer(
                parts, window_size=window_size, auto_update=False, zero_mean=zero_mean
            )
        elif mode == "em":
            self._normalizer = EMNormalizer(
                parts, update_rate=update_rate, auto_update=False, zero_mean=zero_mean
            )
        else:
            raise ValueError(
                f"ObservationNormalizer: mode has to be 'adaptive', 'window' or 'em', got {mode!r}"
            )

    def _transform(self, timestep: TimeStep) -> TimeStep:
        observation = timestep.observation
        fields = [""] if self._fields is None else self._fields
        parts = [nest.get_field(observation, field) for field in fields]
        if is_update_time(self._update_mode):
            self._normalizer.update(parts)
        parts = self._normalizer.normalize(parts, clip_value=self._clipping)
        observation = transform_fields(observation, self._fields, lambda _, new: new, parts)
        return timestep._replace(observation=observation)
