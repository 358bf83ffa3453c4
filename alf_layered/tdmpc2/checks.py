"""What TD-MPC2 can decide and learn from."""

from __future__ import annotations

from typing import Any

from alf.algorithms.config import TrainerConfig
from alf.tensor_specs import TensorSpec
from alf_layered.hierarchy.bounds import has_finite_bounds
from alf_layered.tdmpc2.settings import TDMPC2Settings


def check_spaces(action_spec: Any, reward_spec: TensorSpec, *, name: str) -> None:
    """Raises for actions and rewards that TD-MPC2 is not made for."""
    is_tensor = isinstance(action_spec, TensorSpec) and action_spec.dtype.is_floating_point
    if not is_tensor or not has_finite_bounds(action_spec):
        raise ValueError(
            f"{name!r} decides one tensor of real numbers with finite bounds, the action spec is "
            f"{action_spec}"
        )
    if reward_spec.numel != 1:
        raise ValueError(f"{name!r} learns from one reward, the reward spec is {reward_spec}")


def check_config(config: TrainerConfig | None, settings: TDMPC2Settings, *, name: str) -> None:
    """Raises for settings of replay with which TD-MPC2 would not learn."""
    if config is None:
        return
    length = settings.horizon + 1
    if config.mini_batch_length != length:
        raise ValueError(
            f"mini_batch_length is {config.mini_batch_length}, but {name!r} with horizon "
            f"{settings.horizon} learns from spans of {length} records"
        )
    if config.priority_replay:
        raise ValueError(f"priority_replay is True, but the loss of {name!r} gives no priorities")
