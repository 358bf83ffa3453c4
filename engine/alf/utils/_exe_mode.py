"""Which phase of the training the running code belongs to: rollout, replay, evaluation, ..."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

EXE_MODE_OTHER = 0
EXE_MODE_ROLLOUT = 1  # interaction with the environment
EXE_MODE_REPLAY = 2  # training from a replay buffer
EXE_MODE_EVAL = 3  # evaluation or play
EXE_MODE_PRETRAIN = 4  # pretraining before interaction

_NAMES = ("other", "rollout", "replay", "eval", "pretrain")
_mode = EXE_MODE_OTHER


def set_exe_mode(mode: int) -> None:
    """Set the mode from now on; the contexts and decorators here set it for a while."""
    global _mode
    if mode not in range(len(_NAMES)):
        raise ValueError(f"mode is {mode!r}; allowed: 0 to {len(_NAMES) - 1} ({', '.join(_NAMES)})")
    _mode = mode


def exe_mode_name() -> str:
    """The name of the current mode: other, rollout, replay, eval or pretrain."""
    return _NAMES[_mode]


def is_rollout() -> bool:
    """Is this interaction with the environment?"""
    return _mode == EXE_MODE_ROLLOUT


def is_replay() -> bool:
    """Is this training from a replay buffer?"""
    return _mode == EXE_MODE_REPLAY


def is_eval() -> bool:
    """Is this evaluation or play?"""
    return _mode == EXE_MODE_EVAL


def is_pretrain() -> bool:
    """Is this pretraining?"""
    return _mode == EXE_MODE_PRETRAIN


def is_training(alg: Any) -> bool:
    """Does what `alg` computes now become a training loss? Its `on_policy` must be known."""
    if alg.on_policy is None:
        raise ValueError(f"{alg.name}.on_policy is None; call set_on_policy() before")
    return is_pretrain() or (is_rollout() if alg.on_policy else is_replay())


class _ModeContext:
    """Context of one mode; the mode before comes back at the end, after an error too."""

    _entered_mode = EXE_MODE_OTHER

    def __init__(self) -> None:
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(_mode)
        set_exe_mode(self._entered_mode)

    def __exit__(self, *exc: object) -> None:
        set_exe_mode(self._before.pop())


class rollout_context(_ModeContext):
    """Context of interaction with the environment."""

    _entered_mode = EXE_MODE_ROLLOUT


class replay_context(_ModeContext):
    """Context of training from a replay buffer."""

    _entered_mode = EXE_MODE_REPLAY


class eval_context(_ModeContext):
    """Context of evaluation or play."""

    _entered_mode = EXE_MODE_EVAL


class pretrain_context(_ModeContext):
    """Context of pretraining."""

    _entered_mode = EXE_MODE_PRETRAIN


def _marked(context: type[_ModeContext], func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with context():
            return func(*args, **kwargs)

    return wrapped


def mark_rollout(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function runs in rollout mode."""
    return _marked(rollout_context, func)


def mark_replay(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function runs in replay mode."""
    return _marked(replay_context, func)


def mark_eval(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function runs in evaluation mode."""
    return _marked(eval_context, func)


def mark_pretrain(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function runs in pretraining mode."""
    return _marked(pretrain_context, func)
