"""The configuration that this process runs, and the one training environment it describes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from alf import _gin_files
from alf._allowed import shown
from alf._conf_values import check_names, conf_value
from alf.config_util import (
    config1,
    find_conf_file,
    get_config_value,
    get_python_pre_configs,
    load_config,
    pre_config,
    pre_config_expression,
    validate_pre_configs,
)
from alf.environments.utils import create_environment
from alf.nest import nest
from alf.utils._waiting import waiting_for
from alf.utils.per_process_context import PerProcessContext
from alf.utils.seeds import as_seed, set_random_seed
from alf.utils.spawned_process_utils import get_spawned_process_context

_env: Any = None


class ConfSource(NamedTuple):
    """What ``parse_config`` was called with: another process can configure itself by it."""

    conf_file: str
    conf_params: tuple[str, ...]
    pre_configs: tuple[tuple[str, Any], ...] = ()
    """What Python fixed before by ``alf.pre_config``: names and values."""


_source: ConfSource | None = None


def get_conf_source() -> ConfSource | None:
    """Where the configuration of this process came from; None: not from ``parse_config``."""
    return _source


def parse_source(source: ConfSource, create_env: bool = True) -> Any:
    """Configures this process as another one was; see ``parse_config``."""
    pre_config(dict(source.pre_configs))
    return parse_config(source.conf_file, source.conf_params, create_env)


def parse_config(conf_file: str, conf_params: Sequence[str] | None, create_env: bool = True) -> Any:
    """Applies command line parameters and a conf file, then creates the environment.

    Args:
        conf_file: see ``load_config``. A name ending in ``.gin`` is that of a gin file.
        conf_params: texts ``"NAME=VALUE"``. They win over the conf file. A value is data: see
            `alf._conf_values`. For a gin file they are gin's ``"NAME = VALUE"``.
        create_env: call ``get_env()`` at the end, as every option that it uses is known then;
            not for supervised training (``TrainerConfig.ml_type="sl"``).

    Returns:
        An object with the globals of the conf file as attributes.

    Raises:
        FileNotFoundError: there is no such conf file.
        ValueError: a parameter is malformed or names no configurable parameter.
    """
    global _source
    conf_file = find_conf_file(conf_file)
    _source = ConfSource(conf_file, tuple(conf_params or ()), tuple(get_python_pre_configs()))
    values: dict[str, Any] = {}
    if conf_file.endswith(".gin"):
        module = _gin_files.load(conf_file, conf_params or ())
    else:
        for text in conf_params or ():
            name, value, expression = _parse_conf_param(text)
            values[name] = value
            pre_config_expression(name, value, expression)
        module = load_config(conf_file)
    for value in values.values():
        check_names(value)
    validate_pre_configs()
    if create_env and get_config_value("TrainerConfig.ml_type") != "sl":
        get_env()
    return module


def _parse_conf_param(text: str) -> tuple[str, Any, str]:
    name, equals, expression = text.partition("=")
    name, expression = name.strip(), expression.strip()
    if not (name and equals and expression):
        raise ValueError(f"conf_param {shown(text)} is not of the form NAME=VALUE")
    try:
        return name, conf_value(expression), expression
    except ValueError as error:
        raise ValueError(f"conf_param {name}: {error}") from error


def get_env() -> Any:
    """The training environment of this process, created at the first call.

    What configures it (``create_environment``, ``TrainerConfig.random_seed``, ...) has to be
    set before.
    """
    global _env
    if _env is None:
        spawned = get_spawned_process_context()
        if spawned is not None and spawned.env_ctor is not None:
            _env = spawned.create_env()
            return _env
        context = PerProcessContext()
        seed = _set_seed(max(context.ddp_rank, 0))
        if context.is_distributed:
            adjust_config_by_multi_process_divider(context.ddp_rank, context.num_processes)
        with waiting_for("the environment that is being made"):
            _env = create_environment(seed=seed)
    return _env


def close_env() -> None:
    """Closes the environment of ``get_env``, if there is one."""
    global _env
    if _env is not None:
        env, _env = _env, None
        env.close()


def _set_seed(rank: int) -> int | None:
    """Seeds this process; in distributed training each rank gets its own seed."""
    seed = get_config_value("TrainerConfig.random_seed")
    if seed is not None:
        seed = as_seed(seed, owner="TrainerConfig.random_seed")
    if rank > 0 and seed is not None:
        numbers = random.Random(seed)
        seed = [numbers.randint(0, 2**32 - 1) for _ in range(rank)][-1]
        config1("TrainerConfig.random_seed", seed, raise_if_used=False)
    set_random_seed(seed)
    return seed


def adjust_config_by_multi_process_divider(ddp_rank: int, multi_process_divider: int = 1) -> None:
    """Divides the sizes that are meant for all processes together among them.

    Args:
        ddp_rank: number of this process; only rank 0 evaluates.
        multi_process_divider: how many processes there are.
    """
    if multi_process_divider < 1:
        raise ValueError(f"multi_process_divider is {multi_process_divider}; it must be positive")
    if multi_process_divider == 1:
        return
    for name in (
        "create_environment.num_parallel_environments",
        "TrainerConfig.mini_batch_size",
        "TrainerConfig.num_env_steps",
        "TrainerConfig.initial_collect_steps",
    ):
        value = get_config_value(name)
        if isinstance(value, int):
            config1(name, math.ceil(value / multi_process_divider), raise_if_used=False)
    if ddp_rank > 0:
        config1("TrainerConfig.evaluate", False, raise_if_used=False)


def get_raw_observation_spec(field: str | None = None) -> Any:
    """The environment's observation spec before data transformers.

    Args:
        field: dotted path of the part wanted, e.g. ``"image"``; default: all of it.
    """
    return nest.get_field(get_env().observation_spec(), field)


def get_action_spec() -> Any:
    """The environment's action spec."""
    return get_env().action_spec()


def get_reward_spec() -> Any:
    """The environment's reward spec."""
    return get_env().reward_spec()
