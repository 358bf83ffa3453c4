"""Gymnasium wrappers for continuous actions: other bounds, clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import gymnasium
import numpy as np
from gymnasium import spaces

from alf.config_util import configurable

PUBLIC_MODULE = "alf.environments.gym_wrappers"  # under which these names are configured


def _is_continuous(space: spaces.Space) -> TypeGuard[spaces.Box]:
    return isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)


def _map_boxes(
    space: spaces.Space, leaf: Callable[[spaces.Box], tuple[spaces.Box, Callable[[Any], Any]]]
) -> tuple[spaces.Space, Callable[[Any], Any]]:
    """Give each continuous Box of a space to `leaf`; the new space, and the function on actions."""
    if _is_continuous(space):
        return leaf(space)
    if isinstance(space, spaces.Dict):
        parts = {key: _map_boxes(s, leaf) for key, s in space.spaces.items()}
        return (
            spaces.Dict({key: s for key, (s, _) in parts.items()}),
            lambda action: {key: f(action[key]) for key, (_, f) in parts.items()},
        )
    if isinstance(space, spaces.Tuple):
        pairs = [_map_boxes(s, leaf) for s in space.spaces]
        return (
            spaces.Tuple([s for s, _ in pairs]),
            lambda action: tuple(f(a) for (_, f), a in zip(pairs, action, strict=True)),
        )
    return space, lambda action: action


class _BoxActionWrapper(gymnasium.ActionWrapper):
    """Base of the wrappers which treat each continuous part of the action by itself."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.action_space, self._function = _map_boxes(env.action_space, self._box)

    def _box(self, space: spaces.Box) -> tuple[spaces.Box, Callable[[Any], Any]]:
        """The outer space for an inner one, and the function from outer to inner actions."""
        raise NotImplementedError(type(self).__name__)

    def action(self, action: Any) -> Any:
        return self._function(action)

    def step(self, action: Any) -> Any:
        return self.env.step(self._function(action))


@configurable
class ContinuousActionClip(_BoxActionWrapper):
    """Clips continuous actions to their bounds, or to [min_v, max_v] where that is narrower."""

    def __init__(self, env: gymnasium.Env, min_v: float = -1.0e9, max_v: float = 1.0e9) -> None:
        self._min_v = min_v
        self._max_v = max_v
        super().__init__(env)

    def _box(self, space: spaces.Box) -> tuple[spaces.Box, Callable[[Any], Any]]:
        low = np.maximum(space.low, np.asarray(self._min_v, space.dtype))
        high = np.minimum(space.high, np.asarray(self._max_v, space.dtype))
        # np.clip costs several times as much for small arrays
        return space, lambda a: np.minimum(np.maximum(a, low), high)


@configurable
class ContinuousActionMapping(_BoxActionWrapper):
    """Gives continuous actions the bounds [low, high], mapped linearly to the environment's.

    Components for which the environment has an infinite bound are left as they are.
    """

    def __init__(self, env: gymnasium.Env, low: Any, high: Any) -> None:
        if np.any(np.asarray(low) >= np.asarray(high)):
            raise ValueError(f"low must be below high; got low={low}, high={high}")
        self._low = low
        self._high = high
        super().__init__(env)

    def _box(self, space: spaces.Box) -> tuple[spaces.Box, Callable[[Any], Any]]:
        finite = np.isfinite(space.low) & np.isfinite(space.high)
        low = np.where(finite, self._low, space.low)
        high = np.where(finite, self._high, space.high)
        # in double precision the end points come out exactly after rounding to the space's dtype
        inner_low = np.where(finite, space.low, 0).astype(np.float64)
        inner_high = np.where(finite, space.high, 0).astype(np.float64)
        width = np.where(finite, high, 1).astype(np.float64) - np.where(finite, low, 0)
        scale = np.where(finite, (inner_high - inner_low) / width, 1.0)
        offset = np.where(finite, inner_low - np.where(finite, low, 0) * scale, 0.0)
        dtype = space.dtype
        outer = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)
        if not offset.any():  # symmetric bounds
            return outer, lambda a: (a * scale).astype(dtype)
        return outer, lambda a: (a * scale + offset).astype(dtype)


@configurable
class NormalizedAction(ContinuousActionMapping):
    """Gives continuous actions the bounds [-1, 1]."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env, -1.0, 1.0)


def has_continuous_actions(space: spaces.Space) -> bool:
    """Whether some part of an action space is continuous."""
    if isinstance(space, spaces.Dict):
        return any(map(has_continuous_actions, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return any(map(has_continuous_actions, space.spaces))
    return _is_continuous(space)


def clips_actions(env: gymnasium.Env) -> bool:
    """Whether a wrapper of `env` clips the continuous actions it is given."""
    while env is not env.unwrapped:
        if isinstance(env, ContinuousActionClip | gymnasium.wrappers.ClipAction):
            return True
        env = env.env
    return False
