"""The shelf on which ALF keeps small functions; the engine imports them from their homes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from alf import config_helpers
from alf._global_env import (
    get_action_spec,
    get_env,
    get_raw_observation_spec,
    get_reward_spec,
    get_states_shape,
    get_transformed_observation_spec,
    get_vocab_size,
    set_global_env,
    set_transformed_observation_spec,
)
from alf.config_util import configurable
from alf.nest import nest
from alf.tensor_specs import TensorSpec
from alf.trainers._recorded_run import run_under_record_context, summarize_config
from alf.trainers._run_files import (
    ALF_CONFIG_FILE,
    alf_root,
    conf_params_for,
    copy_gin_configs,
    generate_alf_snapshot,
    get_alf_snapshot_env_vars,
    get_conf_file,
    get_gin_confg_strs,
    get_gin_file,
    is_repo_root,
    read_conf_file,
    snapshot_repo_roots,
    summarize_gin_config,
    unzip_alf_snapshot,
    write_config,
    write_gin_configs,
)
from alf.utils._exe_mode import (
    EXE_MODE_EVAL,
    EXE_MODE_OTHER,
    EXE_MODE_PRETRAIN,
    EXE_MODE_REPLAY,
    EXE_MODE_ROLLOUT,
    eval_context,
    exe_mode_name,
    is_eval,
    is_pretrain,
    is_replay,
    is_rollout,
    is_training,
    mark_eval,
    mark_pretrain,
    mark_replay,
    mark_rollout,
    pretrain_context,
    replay_context,
    rollout_context,
    set_exe_mode,
)
from alf.utils._machine import get_unused_port, is_inside_docker_container
from alf.utils._messages import (
    call_stack,
    info,
    info_once,
    log_metrics,
    warning,
    warning_once,
)
from alf.utils._module_parameters import get_all_parameters
from alf.utils._observation_casts import cast_transformer, image_scale_transformer
from alf.utils._paths import abs_path
from alf.utils._periodic import Periodically, PeriodicReset, TargetUpdater
from alf.utils._policy_state import (
    detach,
    expand_dims_as,
    get_initial_policy_state,
    get_initial_time_step,
    reset_state_if_necessary,
    zero_tensor_from_nested_spec,
)
from alf.utils._run_numbers import compute_summary_or_eval_interval, get_epsilon_greedy
from alf.utils.seeds import set_random_seed

__all__ = [
    "ALF_CONFIG_FILE",
    "EXE_MODE_EVAL",
    "EXE_MODE_OTHER",
    "EXE_MODE_PRETRAIN",
    "EXE_MODE_REPLAY",
    "EXE_MODE_ROLLOUT",
    "PeriodicReset",
    "Periodically",
    "TargetUpdater",
    "abs_path",
    "active_action_target_entropy",
    "add_method",
    "alf_root",
    "as_list",
    "call_stack",
    "cast_transformer",
    "check_numerics",
    "compute_summary_or_eval_interval",
    "copy_gin_configs",
    "detach",
    "eval_context",
    "exe_mode_name",
    "expand_dims_as",
    "flattened_size",
    "generate_alf_snapshot",
    "get_action_spec",
    "get_alf_snapshot_env_vars",
    "get_all_parameters",
    "get_conf_file",
    "get_env",
    "get_epsilon_greedy",
    "get_gin_confg_strs",
    "get_gin_file",
    "get_initial_policy_state",
    "get_initial_time_step",
    "get_observation_spec",
    "get_raw_observation_spec",
    "get_reward_spec",
    "get_states_shape",
    "get_unused_port",
    "get_vocab_size",
    "image_scale_transformer",
    "info",
    "info_once",
    "is_eval",
    "is_inside_docker_container",
    "is_pretrain",
    "is_replay",
    "is_repo_root",
    "is_rollout",
    "is_training",
    "log_metrics",
    "mark_eval",
    "mark_pretrain",
    "mark_replay",
    "mark_rollout",
    "parse_conf_file",
    "pretrain_context",
    "read_conf_file",
    "replay_context",
    "reset_state_if_necessary",
    "rollout_context",
    "run_under_record_context",
    "set_exe_mode",
    "set_global_env",
    "set_random_seed",
    "set_transformed_observation_spec",
    "snapshot_repo_roots",
    "summarize_config",
    "summarize_gin_config",
    "tuplify2d",
    "unzip_alf_snapshot",
    "warning",
    "warning_once",
    "write_config",
    "write_gin_configs",
    "zero_tensor_from_nested_spec",
]


def parse_conf_file(conf_file: str) -> Any:
    """Parse a conf file, with the parameters of the flag `--conf_param` or `--gin_param`."""
    return config_helpers.parse_config(conf_file, conf_params_for(conf_file))


@configurable
def get_observation_spec(field: str | None = None) -> Any:
    """Spec of the observations after data transformers.

    Args:
        field: dotted path of the part wanted; None: all of it.
    """
    spec = get_transformed_observation_spec()
    if spec is not None:
        return nest.get_field(spec, field)
    return config_helpers.get_observation_spec(field)


@configurable
def active_action_target_entropy(
    active_action_portion: float = 0.2, min_entropy: float = 0.3
) -> float:
    """Entropy of a uniform choice among `active_action_portion` of the discrete actions."""
    if not 0 < active_action_portion <= 1:
        raise ValueError(
            f"active_action_portion is {active_action_portion}; allowed: above 0, at most 1"
        )
    spec = get_action_spec()
    num_actions = int(spec.maximum.max() - spec.minimum.min()) + 1
    return max(math.log(num_actions * active_action_portion), min_entropy)


def as_list(x: Any) -> list[Any]:
    """A list or tuple as list, anything else as list of one."""
    return list(x) if isinstance(x, (list, tuple)) else [x]


def tuplify2d(x: Any) -> tuple[Any, Any]:
    """A pair of numbers as it is, one number as pair."""
    return tuple(x) if isinstance(x, (list, tuple)) else (x, x)


def add_method(cls: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function becomes a method of `cls`."""

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        setattr(cls, func.__name__, func)
        return func

    return decorate


def flattened_size(spec: TensorSpec) -> int:
    """Number of elements of a spec."""
    return int(np.prod(spec.shape))


def check_numerics(nested: Any) -> None:
    """Raise ValueError naming the leaf if a tensor of the nest has NaN or infinity."""

    def check(path: str, x: torch.Tensor) -> None:
        if x.is_floating_point() and not torch.isfinite(x).all():
            count = int((~torch.isfinite(x)).sum())
            raise ValueError(f"{count} of {x.numel()} values of {path or 'the tensor'} not finite")

    nest.py_map_structure_with_path(check, nested)
