"""Small functions used all over the engine, and the shelf on which ALF keeps many others."""

from __future__ import annotations

import math
import os
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from absl import flags

from alf.config_util import configurable, get_config_value
from alf.nest import nest
from alf.tensor_specs import TensorSpec
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
from alf.utils._global_env import (
    get_action_spec,
    get_env,
    get_observation_spec,
    get_raw_observation_spec,
    get_reward_spec,
    get_states_shape,
    get_vocab_size,
    set_global_env,
    set_transformed_observation_spec,
)
from alf.utils._messages import (
    call_stack,
    info,
    info_once,
    log_metrics,
    warning,
    warning_once,
)
from alf.utils._module_parameters import get_all_parameters
from alf.utils._periodic import Periodically, PeriodicReset, TargetUpdater
from alf.utils._recorded_run import run_under_record_context, summarize_config
from alf.utils._run_files import (
    ALF_CONFIG_FILE,
    abs_path,
    alf_root,
    copy_gin_configs,
    generate_alf_snapshot,
    get_alf_snapshot_env_vars,
    get_conf_file,
    get_gin_confg_strs,
    get_gin_file,
    is_repo_root,
    parse_conf_file,
    read_conf_file,
    snapshot_repo_roots,
    summarize_gin_config,
    unzip_alf_snapshot,
    write_config,
    write_gin_configs,
)
from alf.utils.seeds import as_seed
from alf.utils.spec_utils import zeros_from_spec

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

# ---------------------------------------------------------------------------------------------
# States and time steps


def get_initial_policy_state(batch_size: int, policy_state_spec: Any) -> Any:
    """A new state of zeros `[batch_size, ...]`."""
    return zeros_from_spec(policy_state_spec, batch_size)


def zero_tensor_from_nested_spec(nested_spec: Any, batch_size: int = 1) -> Any:
    """Zeros `[batch_size, *shape]` for each spec of a nest."""
    return zeros_from_spec(nested_spec, batch_size)


def get_initial_time_step(env: Any, first_env_id: int = 0) -> Any:
    """The current time step of `env`, with `first_env_id` added to its environment ids."""
    time_step = env.current_time_step()
    if first_env_id == 0:
        return time_step
    return time_step._replace(env_id=time_step.env_id + first_env_id)


def reset_state_if_necessary(state: Any, initial_state: Any, reset_mask: torch.Tensor) -> Any:
    """`state` with the rows where `reset_mask` [B] is true taken from `initial_state`."""
    # to look is cheap where it does not mean to wait for an accelerator
    if reset_mask.device.type == "cpu" and not bool(reset_mask.any()):
        nest.assert_same_structure(initial_state, state)
        return state

    def choose(initial: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.where(expand_dims_as(reset_mask, value), initial, value)

    return nest.map_structure(choose, initial_state, state)


def detach(nests: Any) -> Any:
    """The nest with each tensor, and the parameters of each distribution, detached."""
    leaves = nest.flatten(nests)
    if all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        return nest.map_structure(torch.Tensor.detach, nests)
    from alf.utils import dist_utils

    params = nest.map_structure(torch.Tensor.detach, dist_utils.distributions_to_params(nests))
    return dist_utils.params_to_distributions(params, dist_utils.extract_spec(nests))


def expand_dims_as(x: torch.Tensor, y: torch.Tensor, end: bool = True) -> torch.Tensor:
    """`x` with axes of size 1 added, at its end or at its front, until it has as many as `y`."""
    missing = y.ndim - x.ndim
    if missing < 0:
        raise ValueError(f"x has {x.ndim} axes, more than the {y.ndim} of y")
    if missing == 0:
        return x
    ones = (1,) * missing
    return x.reshape(*x.shape, *ones) if end else x.reshape(*ones, *x.shape)


# ---------------------------------------------------------------------------------------------
# Observation transformers


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


# ---------------------------------------------------------------------------------------------
# Settings which depend on the configuration


def get_epsilon_greedy(config: Any) -> float:
    """`config.epsilon_greedy`; without a config that of `TrainerConfig`."""
    if config is not None:
        return config.epsilon_greedy
    return get_config_value("TrainerConfig.epsilon_greedy")


def compute_summary_or_eval_interval(config: Any, summary_or_eval_calls: int | None = 100) -> int:
    """Steps of the global counter between two calls, if there shall be so many calls in a run.

    Where an iteration takes the steps that are there (`unroll_length=0`) it counts as of
    `max_unroll_length`.
    """
    calls = summary_or_eval_calls or 1
    iterations = config.num_iterations
    if config.num_env_steps and not iterations:
        length = config.unroll_length or config.max_unroll_length
        iterations = config.num_env_steps / (_num_training_envs() * length)
    if config.update_counter_every_mini_batch:
        iterations *= config.num_updates_per_train_iter
    return max(1, math.ceil(iterations / calls))


def _num_training_envs() -> int:
    """As configured; without making them."""
    if get_config_value("create_environment.nonparallel"):
        return 1
    return get_config_value("create_environment.num_parallel_environments")


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


def set_random_seed(seed: int | None) -> int:
    """Seed python, numpy and torch; returns the seed.

    Args:
        seed: an integer from 0 to 2**63 - 1; None takes one from process id and time. A given one
            also asks torch for deterministic algorithms, unless the flag
            `--noforce_torch_deterministic` is set.
    """
    if seed is None:
        seed = (os.getpid() * 1_000_003 + time.time_ns()) % 2**32
    else:
        seed = as_seed(seed, owner="the random seed")
        values = flags.FLAGS
        known = values.is_parsed() and "force_torch_deterministic" in values
        deterministic = values.force_torch_deterministic if known else True
        # Operations without a deterministic version warn instead of ending the training.
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (environments may draw from it)
    torch.manual_seed(seed)
    return seed


# ---------------------------------------------------------------------------------------------
# Python and the machine


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


def get_unused_port(start: int, end: int = 65536, n: int = 1) -> int | list[int]:
    """The first free TCP port in [start, end), or a list of the first `n` if `n` > 1."""
    ports: list[int] = []
    for port in range(start, end):
        if len(ports) == n:
            break
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            try:
                s.bind(("localhost", port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < n:
        raise ValueError(f"only {len(ports)} of {n} free ports in [{start}, {end})")
    return ports[0] if n == 1 else ports


def is_inside_docker_container() -> bool:
    """Whether this process runs in a docker container."""
    return os.path.exists("/.dockerenv")
