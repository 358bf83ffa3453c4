"""ALF's documented API: an engine for training reinforcement learning algorithms.

The subpackages are attributes, too (``alf.optimizers.Adam``); they and the functions of
``alf.config_helpers`` are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from alf import (
    _distribution,
    _early_signals,  # noqa: F401  # before torch, whose import takes seconds
    nest,
    tensor_specs,
)
from alf.config_util import (
    config,
    config1,
    configurable,
    define_config,
    get_all_config_names,
    get_config_value,
    get_handled_pre_configs,
    get_inoperative_configs,
    get_operative_configs,
    import_config,
    load_config,
    pre_config,
    repr_wrapper,
    reset_configs,
    save_config,
    validate_pre_configs,
)
from alf.device_ctx import device, get_default_device, set_default_device
from alf.tensor_specs import (
    BoundedTensorSpec,
    NestedBoundedTensorSpec,
    NestedTensorSpec,
    TensorSpec,
    torch_dtype_to_str,
)

if TYPE_CHECKING:
    from alf.config_helpers import (
        close_env,
        get_action_spec,
        get_env,
        get_observation_spec,
        get_raw_observation_spec,
        get_reward_spec,
        parse_config,
    )

_OF_CONFIG_HELPERS = frozenset(
    {
        "close_env",
        "get_action_spec",
        "get_env",
        "get_observation_spec",
        "get_raw_observation_spec",
        "get_reward_spec",
        "parse_config",
    }
)
_LAZY = frozenset(
    {
        "algorithms",
        "config_helpers",
        "config_util",
        "data_structures",
        "device_ctx",
        "environments",
        "experience_replayers",
        "initializers",
        "layers",
        "math",
        "metrics",
        "module",
        "networks",
        "nn",
        "norm_layers",
        "optimizers",
        "summary",
        "test",
        "trainers",
        "utils",
    }
)

__all__ = [
    "BoundedTensorSpec",
    "NestedBoundedTensorSpec",
    "NestedTensorSpec",
    "TensorSpec",
    "close_env",
    "config",
    "config1",
    "configurable",
    "define_config",
    "device",
    "get_action_spec",
    "get_all_config_names",
    "get_config_value",
    "get_default_device",
    "get_env",
    "get_handled_pre_configs",
    "get_inoperative_configs",
    "get_observation_spec",
    "get_operative_configs",
    "get_raw_observation_spec",
    "get_reward_spec",
    "import_config",
    "load_config",
    "nest",
    "parse_config",
    "pre_config",
    "repr_wrapper",
    "reset_configs",
    "save_config",
    "set_default_device",
    "tensor_specs",
    "torch_dtype_to_str",
    "validate_pre_configs",
]


_distribution.warn_of_other()


def __getattr__(name: str) -> Any:
    if name in _OF_CONFIG_HELPERS:
        return getattr(importlib.import_module("alf.config_helpers"), name)
    if name not in _LAZY:
        raise AttributeError(f"module 'alf' has no attribute {name!r}")
    return importlib.import_module(f"alf.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_OF_CONFIG_HELPERS})
