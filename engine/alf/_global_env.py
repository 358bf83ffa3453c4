"""The environment that was made known for the whole process, and its specs."""

from __future__ import annotations

from typing import Any

from alf import _run_environment
from alf.config_util import configurable
from alf.nest import nest

PUBLIC_MODULE = "alf.utils.common"  # under which these names are configured

_env: Any = None
_transformed_observation_spec: Any = None


def set_global_env(env: Any) -> None:
    """Make `env` the one which the functions here tell about; None: that of `alf.get_env()`."""
    global _env
    _env = env


def get_env() -> Any:
    """The environment of this process; made by `alf.get_env()` unless another one was set."""
    if _env is not None:
        return _env
    return _run_environment.get_env()


def set_transformed_observation_spec(spec: Any) -> None:
    """Make known what data transformers make of the observations."""
    global _transformed_observation_spec
    _transformed_observation_spec = spec


@configurable
def get_raw_observation_spec(field: str | None = None) -> Any:
    """Spec of the observations before data transformers.

    Args:
        field: dotted path of the part wanted; None: all of it.
    """
    return nest.get_field(get_env().observation_spec(), field)


def get_transformed_observation_spec() -> Any:
    """What `set_transformed_observation_spec()` made known; None: nothing yet."""
    return _transformed_observation_spec


def get_states_shape() -> Any:
    """Shape of the part `states` of the observations; 0 where there is none."""
    spec = get_raw_observation_spec()
    return tuple(spec["states"].shape) if isinstance(spec, dict) and "states" in spec else 0


def get_vocab_size() -> int:
    """Number of words of the part `sentence` of the observations; 0 where there is none."""
    spec = get_raw_observation_spec()
    if not (isinstance(spec, dict) and "sentence" in spec):
        return 0
    return int(spec["sentence"].maximum.max()) + 1


def get_action_spec() -> Any:
    """Spec of the actions of the environment."""
    return get_env().action_spec()


def get_reward_spec() -> Any:
    """Spec of the rewards of the environment."""
    return get_env().reward_spec()
