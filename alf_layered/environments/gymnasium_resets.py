"""Gymnasium's three ways to begin a new episode in a vector environment, made to look as ALF's.

In ALF, the step after an episode's end ignores its action and begins the next episode. NEXT_STEP
environments do just that. SAME_STEP environments have begun it already when they report the end;
DISABLED ones wait to be told. Both step all instances together, so that an instance that ought only
to begin is also moved by an idle action, and then begun (again). Where all instances ended
together, as a single one always does, nothing is done twice.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from alf_layered.environments.gymnasium_spaces import map_space


class VectorStep(NamedTuple):
    """What a step brought for B instances."""

    observation: Any
    """batch of the observation space; where an episode ends, its true last observation"""
    reward: np.ndarray
    """[B]"""
    terminated: np.ndarray
    """[B] bool"""
    truncated: np.ndarray
    """[B] bool"""
    info: dict[str, Any]
    """as gymnasium's vector environments give it"""
    final_info: dict[str, Any]
    """the same, for the instances whose episode ends now; empty if `info` holds them"""


class Stepper(abc.ABC):
    """Steps a vector environment by ALF's rule."""

    def __init__(self, env: VectorEnv) -> None:
        self._env = env

    @abc.abstractmethod
    def step(self, actions: Any, restart: np.ndarray) -> VectorStep:
        """One step. Rows with `restart` `[B]`, those that ended before, begin a new episode."""


def make_stepper(env: VectorEnv, mode: AutoresetMode | str | None = None) -> Stepper:
    """The stepper for `env`, by `mode` or else by what `env.metadata` says.

    Raises:
        ValueError: if neither says it, or they contradict each other.
    """
    stated = env.metadata.get("autoreset_mode")
    chosen = as_mode(mode if stated is None else stated)
    wanted = as_mode(mode)
    if chosen is None:
        raise ValueError(
            f"{env} does not say how it begins new episodes (metadata['autoreset_mode']); "
            f"give autoreset_mode, one of {', '.join(_STEPPERS)}"
        )
    if wanted is not None and wanted != chosen:
        raise ValueError(f"autoreset_mode is {wanted.name}, but {env} works by {chosen.name}")
    return _STEPPERS[chosen.name](env)


def as_mode(mode: AutoresetMode | str | None) -> AutoresetMode | None:
    """The mode meant by a member of `AutoresetMode`, its name in any case, or its value.

    Raises:
        ValueError: if there is no such mode.
    """
    if mode is None or isinstance(mode, AutoresetMode):
        return mode
    for member in AutoresetMode:
        if str(mode).lower() in (member.name.lower(), member.value.lower()):
            return member
    raise ValueError(f"autoreset_mode is one of {', '.join(_STEPPERS)} or None, got {mode!r}")


class _NextStep(Stepper):
    def step(self, actions: Any, restart: np.ndarray) -> VectorStep:
        observation, reward, terminated, truncated, info = self._env.step(actions)
        return VectorStep(observation, reward, terminated, truncated, info, final_info={})


class _SameStep(Stepper):
    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self._begun: Any = None
        # Others are not asked: an environment that does not know the request would begin all.
        self._begins_on_request = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)

    def step(self, actions: Any, restart: np.ndarray) -> VectorStep:
        if restart.all():
            return _beginning(self._begun, len(restart))
        observation, reward, terminated, truncated, info = self._env.step(actions)
        if restart.any() and self._begins_on_request:
            observation, _ = self._env.reset(options={"reset_mask": restart.copy()})
        # Without that request an episode begins with the state after its idle action.
        self._begun = observation
        ended = (np.asarray(terminated) | np.asarray(truncated)) & ~restart
        if ended.any():
            observation = self._with_final(observation, info, ended)
        return VectorStep(
            observation, reward, terminated, truncated, info, info.get("final_info", {})
        )

    def _with_final(self, observation: Any, info: dict[str, Any], ended: np.ndarray) -> Any:
        if "final_obs" not in info:
            raise ValueError(
                f"{self._env} begins new episodes in the step that ends the old ones, but its info "
                f"has no 'final_obs'; it has {sorted(info)}"
            )
        space, final = self._env.single_observation_space, info["final_obs"]
        copy = map_space(lambda _, batch: np.array(batch), space, observation)
        if isinstance(final, np.ndarray) and final.dtype == object:
            for row in np.flatnonzero(ended):
                map_space(
                    lambda _, batch, one, row=row: _put(batch, row, one), space, copy, final[row]
                )
        else:
            map_space(
                lambda _, batch, new: _put(batch, ended, np.asarray(new)[ended]), space, copy, final
            )
        return copy


class _Disabled(Stepper):
    def step(self, actions: Any, restart: np.ndarray) -> VectorStep:
        some = restart.any()
        if some:
            # First of all, because instances that ended refuse to be stepped.
            observation, _ = self._env.reset(options={"reset_mask": restart.copy()})
            if restart.all():
                return _beginning(observation, len(restart))
        observation, reward, terminated, truncated, info = self._env.step(actions)
        if some:
            observation, _ = self._env.reset(options={"reset_mask": restart.copy()})
        return VectorStep(observation, reward, terminated, truncated, info, final_info={})


_STEPPERS = {"NEXT_STEP": _NextStep, "SAME_STEP": _SameStep, "DISABLED": _Disabled}


def _beginning(observation: Any, batch_size: int) -> VectorStep:
    never = np.zeros(batch_size, dtype=bool)
    return VectorStep(observation, np.zeros(batch_size), never, never, {}, {})


def _put(batch: np.ndarray, rows: Any, values: Any) -> None:
    batch[rows] = values
