"""Functions that change the type and range of observations."""

from __future__ import annotations

from typing import Any

import torch

from alf.config_util import configurable
from alf.nest import nest
from alf.tensor_specs import TensorSpec

PUBLIC_MODULE = "alf.utils.common"  # under which these names are configured


@configurable
def image_scale_transformer(
    observation: Any, fields: list[str] | None = None, min: float = -1.0, max: float = 1.0
) -> Any:
    """Images with values in [0, 255] as floats in [min, max].

    Args:
        fields: dotted paths of the images in the observation; None: the whole observation.
    """

    def scale(image: Any) -> Any:
        if isinstance(image, TensorSpec):
            raise TypeError("image_scale_transformer() wants tensors, not specs")
        return image.float() * ((max - min) / 255.0) + min

    for field in [None] if fields is None else fields:
        observation = nest.transform_nest(
            observation, field, lambda part: nest.map_structure(scale, part)
        )
    return observation


@configurable
def cast_transformer(observation: Any, dtype: torch.dtype = torch.float32) -> Any:
    """The observation with each tensor cast to `dtype`."""
    return nest.map_structure(lambda x: x.to(dtype), observation)
