"""What critic networks share: encoders of the observation and of the action."""

from __future__ import annotations

from typing import Any

from alf.networks.encoding_networks import EncodingNetwork
from alf.tensor_specs import TensorSpec


def encoder_if_needed(spec: Any, **kwargs: Any) -> Any:
    """An encoding network, or None for the identity if one tensor is to be left as it is."""
    shaping = {"activation", "kernel_initializer", "use_fc_bn", "use_fc_ln", "name"}
    asked = any(value is not None for key, value in kwargs.items() if key not in shaping)
    if isinstance(spec, TensorSpec) and not asked:
        return None
    return EncodingNetwork(spec, **kwargs)


def input_specs(input_tensor_spec: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(input_tensor_spec, list | tuple) or len(input_tensor_spec) != 2:
        raise ValueError(
            f"{name}: input_tensor_spec must be (observation_spec, action_spec), "
            f"got {input_tensor_spec}"
        )
    return input_tensor_spec[0], input_tensor_spec[1]
