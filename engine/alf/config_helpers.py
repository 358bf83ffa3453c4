"""Parsing the configuration of a run, and the one training environment it describes."""

from __future__ import annotations

from typing import Any

from alf._conf_values import conf_value
from alf._run_environment import (
    ConfSource,
    adjust_config_by_multi_process_divider,
    close_env,
    get_action_spec,
    get_conf_source,
    get_env,
    get_raw_observation_spec,
    get_reward_spec,
    parse_config,
    parse_source,
)
from alf.algorithms.data_transformer import create_data_transformer
from alf.config_util import get_config_value
from alf.nest import nest

__all__ = [
    "ConfSource",
    "adjust_config_by_multi_process_divider",
    "close_env",
    "conf_value",
    "get_action_spec",
    "get_conf_source",
    "get_env",
    "get_observation_spec",
    "get_raw_observation_spec",
    "get_reward_spec",
    "parse_config",
    "parse_source",
]


def get_observation_spec(field: str | None = None) -> Any:
    """The observation spec as the algorithm sees it, after the configured data transformers.

    ``TrainerConfig.data_transformer_ctor`` has to be configured before.

    Args:
        field: dotted path of the part wanted, e.g. ``"image"``; default: all of it.
    """
    constructor = get_config_value("TrainerConfig.data_transformer_ctor")
    raw_spec = get_env().observation_spec()
    spec = create_data_transformer(constructor, raw_spec).transformed_observation_spec
    return nest.get_field(spec, field)
