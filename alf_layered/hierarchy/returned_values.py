"""What a level returns is what it declared: checked by name, shape and type.

The checks look at shapes and types alone, never at numbers, so they wait for no accelerator.

Axis letters: B environments.
"""

from __future__ import annotations

from typing import Any

import torch

import alf
from alf.data_structures import AlgStep, TimeStep

Nest = Any


def check_step(
    step: Any, *, level: str, method: str, rows: int, action_spec: Nest, state_spec: Nest
) -> None:
    """Checks a level's `rollout_step` or `predict_step`; for its first step.

    Args:
        step: what it returned for B environments.
        level: its name.
        method: the name of the method.
        rows: B.
        action_spec: of its decisions.
        state_spec: of the state that it declared for the method.

    Raises:
        TypeError: it is no `AlgStep`, or holds something else than tensors of the declared types.
        ValueError: structure or shapes differ from what is declared.
    """
    owner = f"{method} of level {level!r}"
    if not isinstance(step, AlgStep):
        raise TypeError(
            f"{owner} returned a {type(step).__name__}, it must be an AlgStep(output, state, info)"
        )
    _check_nest(step.output, action_spec, rows, f"the output of {owner}", "its action_spec")
    _check_nest(
        step.state,
        state_spec,
        rows,
        f"the state of {owner}",
        f"its {method.removesuffix('_step')}_state_spec",
    )
    for leaf in alf.nest.flatten(step.info):
        if not isinstance(leaf, torch.Tensor):
            raise TypeError(
                f"the info of {owner} holds a {type(leaf).__name__}; it is stored, so it must be a "
                "nest of tensors [B, ...]"
            )
        if leaf.shape[:1] != (rows,):
            raise ValueError(
                f"the info of {owner} holds a tensor of shape {list(leaf.shape)} for {rows} "
                "environments; all must be [B, ...]"
            )


def check_flags(flags: Any, *, level: str, rows: int) -> None:
    """Checks a level's `returns_control`, at every step: `ones(1)` would move all environments.

    Raises:
        TypeError: it is no tensor of bool.
        ValueError: its shape is not `[B]`.
    """
    wanted = f"; it must be a bool tensor of shape [{rows}], one flag for each environment"
    if not isinstance(flags, torch.Tensor):
        raise TypeError(f"returns_control of level {level!r} returned {flags!r}{wanted}")
    if flags.dtype is not torch.bool:
        raise TypeError(f"returns_control of level {level!r} returned {_shown(flags)}{wanted}")
    if flags.shape != (rows,):
        raise ValueError(f"returns_control of level {level!r} returned {_shown(flags)}{wanted}")


def check_arrival(arrived: Any, given: TimeStep, *, level: str) -> None:
    """Checks a level's `arrive`, which may change reward, discount and `env_info`; at its first
    step.

    Raises:
        TypeError: it is no `TimeStep`, or has fields of other types.
        ValueError: fields have other shapes or another structure than what was given.
    """
    owner = f"arrive of level {level!r}"
    if not isinstance(arrived, TimeStep):
        raise TypeError(
            f"{owner} returned a {type(arrived).__name__}, it must be the TimeStep with its reward "
            "and discount"
        )
    rows = len(given.step_type)
    for field in ("step_type", "discount", "observation", "prev_action", "env_id"):
        _check_like(getattr(arrived, field), getattr(given, field), f"{field} of {owner}")
    reward = arrived.reward
    if not isinstance(reward, torch.Tensor) or not reward.dtype.is_floating_point:
        raise TypeError(f"the reward of {owner} is {_shown(reward)}, it must be real numbers [B]")
    if reward.shape[:1] != (rows,):
        raise ValueError(f"the reward of {owner} is {_shown(reward)} for {rows} environments")
    missing = set(given.env_info) - set(arrived.env_info or ())
    if missing:
        raise ValueError(f"{owner} dropped {sorted(missing)} of env_info; add to it with {{**}}")


def _check_nest(value: Nest, spec: Nest, rows: int, what: str, declared: str) -> None:
    """Whether a nest of `[rows, ...]` has the structure, the shapes and the types of its specs."""
    if not _same_structure(value, spec):
        raise ValueError(f"{what} is {_shown(value)}, but {declared} says {_shown(spec)}")
    leaves = zip(alf.nest.flatten(value), alf.nest.flatten(spec), strict=True)
    for leaf, wanted in leaves:
        expected = f"{declared} says {wanted.dtype} [{rows}, ...] with ... = {list(wanted.shape)}"
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != wanted.dtype:
            raise TypeError(f"{what} is {_shown(value)}, but {expected}")
        if leaf.shape != (rows, *wanted.shape):
            raise ValueError(f"{what} is {_shown(value)}, but {expected}")


def _check_like(value: Nest, given: Nest, what: str) -> None:
    if value is given:
        return
    if not _same_structure(value, given):
        raise ValueError(f"{what} is {_shown(value)}, it was {_shown(given)}")
    for leaf, old in zip(alf.nest.flatten(value), alf.nest.flatten(given), strict=True):
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != old.dtype:
            raise TypeError(f"{what} is {_shown(value)}, it was {_shown(given)}")
        if leaf.shape != old.shape:
            raise ValueError(f"{what} is {_shown(value)}, it was {_shown(given)}")


def _same_structure(one: Nest, other: Nest) -> bool:
    try:
        alf.nest.assert_same_structure(one, other)
    except (AssertionError, ValueError, TypeError):
        return False
    return len(alf.nest.flatten(one)) == len(alf.nest.flatten(other))


def _shown(nest: Nest) -> str:
    """A nest with the type and shape of each leaf, short enough for one line of an error."""

    def leaf(x: Any) -> str:
        if isinstance(x, torch.Tensor) or (hasattr(x, "shape") and hasattr(x, "dtype")):
            kind = "" if isinstance(x, torch.Tensor) or not hasattr(x, "ctypes") else "numpy "
            return f"{kind}{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
        return type(x).__name__

    shown = str(alf.nest.map_structure(leaf, nest)).replace("'", "")
    return shown if len(shown) <= 100 else f"{shown[:97]}..."
