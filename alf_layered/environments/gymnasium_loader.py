"""Gives any gymnasium environment to ALF, many instances in one object.

alf.config("create_environment", env_name="Pendulum-v1", env_load_fn=gymnasium_loader.load)
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import gymnasium.wrappers
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.error import Error
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from torch import Tensor

from alf.config_util import configurable
from alf_layered.allowed import AT_LEAST_1, UNIT, checked
from alf_layered.environments.batched_environment import BatchedEnvironment, Outcome
from alf_layered.environments.checked_env import CheckedEnv
from alf_layered.environments.gymnasium_resets import VectorStep, as_mode, make_stepper
from alf_layered.environments.gymnasium_spaces import Actions, observation_spec, to_tensors
from alf_layered.environments.seeds import as_seeds, independent_seeds
from alf_layered.environments.worker_process import in_worker

# The engine does at each time step, and may skip the episode instead; upstream ALF does not look.
_ALF_LOOKS_AT_REWARDS = importlib.util.find_spec("alf.utils.finite_checks") is not None
_VECTORIZATIONS = {"sync": SyncVectorEnv, "async": AsyncVectorEnv}


@configurable
@checked(batch_size=AT_LEAST_1, max_episode_steps=AT_LEAST_1, discount=UNIT)
def load(
    environment_name: str | Callable[[], gymnasium.Env | VectorEnv],
    env_id: int | None = None,
    batch_size: int = 1,
    autoreset_mode: AutoresetMode | str | None = None,
    vectorization: str = "sync",
    max_episode_steps: int | None = None,
    discount: float = 1.0,
    normalize_actions: bool = False,
    gym_env_wrappers: Sequence[Callable[[gymnasium.Env], gymnasium.Env]] = (),
    make_kwargs: Mapping[str, Any] | None = None,
    info_keys: Sequence[str] | None = None,
) -> GymnasiumEnvironment:
    """Makes `batch_size` instances of an environment; a batched load function of ALF.

    Args:
        environment_name: a registered id (also `module:id`, which imports the module first), or a
            function that makes an environment, or a vector environment with `batch_size` instances.
        env_id: see `BatchedEnvironment`.
        batch_size: number of instances.
        autoreset_mode: how the vector environment begins new episodes: `next_step` (also what None
            means for environments made here; the cheapest), `same_step` or `disabled`.
        vectorization: `sync` steps the instances one after the other in this process; `async` has
            a process for each, which pays where a step takes more than about half a millisecond.
        max_episode_steps: time limit; None is the registered one.
        discount: discount of every step but a terminal one.
        normalize_actions: continuous actions are [-1, 1] for ALF, whatever their bounds are.
        gym_env_wrappers: applied to each instance, the first one first.
        make_kwargs: more arguments of `gymnasium.make`. If the environment can draw itself as an
            array, `render_mode="rgb_array"` is among them unless given.
        info_keys: the entries of info, one number each, that become `env_info`; None is those that
            a first reset and a first step show.

    Raises:
        ValueError: for an unknown id (with the nearest ones), an unknown mode or vectorization, a
            vector environment with another number of instances, or one that is to be wrapped.
    """
    if vectorization not in _VECTORIZATIONS:
        raise ValueError(
            f"vectorization is one of {', '.join(_VECTORIZATIONS)}, got {vectorization!r}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    vector_env = _make_vector(
        _instance_maker(environment_name, max_episode_steps, gym_env_wrappers, make_kwargs),
        batch_size,
        _VECTORIZATIONS[vectorization],
        as_mode(autoreset_mode) or AutoresetMode.NEXT_STEP,
    )
    return GymnasiumEnvironment(
        vector_env,
        env_id=env_id,
        discount=discount,
        normalize_actions=normalize_actions,
        autoreset_mode=autoreset_mode,
        info_keys=info_keys,
    )


load.batched = True


class GymnasiumEnvironment(BatchedEnvironment):
    """A gymnasium vector environment as ALF's.

    `env_info` holds those entries of info that are one number; an entry that a step lacks is 0.
    Where there is `is_success` but no `success`, the latter is added: 1 in the first step of an
    episode at which the former is not 0, so that an episode's sum of it is a success rate.
    """

    def __init__(
        self,
        vector_env: VectorEnv,
        *,
        env_id: int | None = None,
        discount: float = 1.0,
        normalize_actions: bool = False,
        autoreset_mode: AutoresetMode | str | None = None,
        info_keys: Sequence[str] | None = None,
    ) -> None:
        """See `load`; `autoreset_mode` is needed only if `vector_env` does not tell its own."""
        self._env = vector_env
        self._stepper = make_stepper(vector_env, autoreset_mode)
        self._actions = Actions(vector_env.single_action_space, normalize=normalize_actions)
        # Gymnasium's vector environments take a list as well, though their type does not say so.
        self._seed: Any = None
        self._reached = np.zeros(vector_env.num_envs, dtype=bool)
        specs = observation_spec(vector_env.single_observation_space)
        self._info_keys = tuple(self._seen_keys() if info_keys is None else info_keys)
        self._adds_success = "is_success" in self._info_keys and "success" not in self._info_keys
        super().__init__(
            batch_size=vector_env.num_envs,
            observation_spec=specs,
            action_spec=self._actions.spec,
            env_info_keys=(*self._info_keys, *(["success"] if self._adds_success else [])),
            env_id=env_id,
            discount=discount,
            action_limits=self._actions.limits,
        )

    @property
    def vector_env(self) -> VectorEnv:
        """The environment inside."""
        return self._env

    def unanswered(self) -> list[int]:
        """While a step is waited for: the instances in other processes that have not answered."""
        pipes = getattr(self._env, "parent_pipes", [])
        return [i for i, pipe in enumerate(pipes) if not pipe.closed and not pipe.poll()]

    def seed(self, seed: int | Sequence[int]) -> None:
        """Seeds the instances at the next `reset`: with one each, or what follows from one.

        Raises:
            TypeError: a seed is no integer.
            ValueError: a seed is out of range, or there are not as many as instances.
        """
        seeds = as_seeds(seed, owner="GymnasiumEnvironment")
        if isinstance(seeds, int):
            seeds = independent_seeds(seeds, self._batch_size)
        if len(seeds) != self._batch_size:
            raise ValueError(f"there are {len(seeds)} seeds for {self._batch_size} instances")
        self._seed = seeds

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """The first instance as `[height, width, 3]` uint8.

        Raises:
            ValueError: if the environment was not made with `render_mode="rgb_array"`.
        """
        if mode != "rgb_array" or self._env.render_mode != "rgb_array":
            raise ValueError(
                f"an environment made with render_mode={self._env.render_mode!r} cannot be drawn "
                f"with mode {mode!r}; load it with make_kwargs=dict(render_mode='rgb_array')"
            )
        frames: Any = self._env.render()
        return np.asarray(frames[0])

    def close(self) -> None:
        """Closes the instances and their processes."""
        self._env.close()

    def _begin(self) -> Any:
        observation, _ = self._env.reset(seed=self._seed)
        self._seed = None
        self._reached[:] = False
        return self._to_tensors(observation)

    def _advance(self, action: Any, restart: Tensor) -> Outcome:
        restart_B = restart.cpu().numpy()
        step = self._stepper.step(self._actions.to_numpy(action, restart_B), restart_B)
        reward = np.asarray(step.reward, dtype=np.float32)
        if not _ALF_LOOKS_AT_REWARDS:
            _refuse_nan(reward, ~restart_B)
        return Outcome(
            observation=self._to_tensors(step.observation),
            reward=self._tensor(reward),
            terminated=self._tensor(np.asarray(step.terminated, dtype=bool)),
            truncated=self._tensor(np.asarray(step.truncated, dtype=bool)),
            env_info=self._info(step, restart_B),
        )

    def _info(self, step: VectorStep, restart: np.ndarray) -> dict[str, Tensor]:
        ended = (np.asarray(step.terminated) | np.asarray(step.truncated)) & ~restart
        info = {}
        for key in self._info_keys:
            value = _numbers(step.info, key, len(restart))
            if step.final_info:
                value = np.where(ended, _numbers(step.final_info, key, len(restart)), value)
            info[key] = value
        if self._adds_success:
            self._reached &= ~restart
            now = (info["is_success"] != 0) & ~restart
            info["success"] = (now & ~self._reached).astype(np.float32)
            self._reached |= now
        return {key: self._tensor(value) for key, value in info.items()}

    def _seen_keys(self) -> list[str]:
        """The numbers in the infos of a first reset and a first, idle step."""
        _, at_reset = self._env.reset()
        infos = [at_reset, self._env.step(self._actions.idle(self._env.num_envs))[-1]]
        infos += [info["final_info"] for info in infos if "final_info" in info]
        return sorted({key for info in infos for key in info if _is_number(info, key)})

    def _to_tensors(self, observation: Any) -> Any:
        return to_tensors(
            self._env.single_observation_space, observation, self._device, env=self._env
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self._device)


def _numbers(info: Mapping[str, Any], key: str, batch_size: int) -> np.ndarray:
    """Entry `key` per instance, `[B]` float32; 0 where it is absent."""
    if key not in info:
        return np.zeros(batch_size, dtype=np.float32)
    present = np.asarray(info.get(f"_{key}", np.ones(batch_size, dtype=bool)))
    return np.where(present, np.asarray(info[key]), 0).astype(np.float32)


def _is_number(info: Mapping[str, Any], key: str) -> bool:
    """Whether entry `key` is one number per instance, and not gymnasium's mask of another entry."""
    if key in ("final_obs", "final_info") or (key.startswith("_") and key[1:] in info):
        return False
    value = info[key]
    if isinstance(value, Mapping):
        return False
    array = np.asarray(value)
    if array.ndim != 1:
        return False
    if array.dtype != object:
        return array.dtype.kind in "biuf"
    # numpy's own booleans come as objects, None where absent.
    there = [one for one in array if one is not None]
    return all(isinstance(one, bool | np.bool_ | int | float | np.number) for one in there)


def _make_vector(
    make_one: Callable[[], gymnasium.Env | VectorEnv],
    batch_size: int,
    vector_class: type[SyncVectorEnv] | type[AsyncVectorEnv],
    mode: AutoresetMode,
) -> VectorEnv:
    first = make_one()
    if isinstance(first, VectorEnv):
        if first.num_envs != batch_size:
            raise ValueError(f"{first} has {first.num_envs} instances, but batch_size={batch_size}")
        return first
    makers: list[Callable[[], Any]] = [make_one] * batch_size
    if vector_class is SyncVectorEnv:
        makers[0] = lambda: first
        return SyncVectorEnv(makers, autoreset_mode=mode)
    first.close()
    # What the conf file defines or registers is known here, and in processes that are forked here.
    context = "fork" if sys.platform == "linux" else None
    with warnings.catch_warnings():
        # torch always has threads; the new processes use none of their locks
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        return AsyncVectorEnv(
            [in_worker(maker) for maker in makers], autoreset_mode=mode, context=context
        )


def _refuse_nan(reward: np.ndarray, counts: np.ndarray) -> None:
    """Raises where a reward that counts is NaN; both `[B]`."""
    bad = np.isnan(reward) & counts
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"the reward of instance {row} is {reward[row]}; it must be a number")


def _instance_maker(
    name: str | Callable[[], gymnasium.Env | VectorEnv],
    max_episode_steps: int | None,
    wrappers: Sequence[Callable[[gymnasium.Env], gymnasium.Env]],
    make_kwargs: Mapping[str, Any] | None,
) -> Callable[[], gymnasium.Env | VectorEnv]:
    if callable(name):
        if make_kwargs:
            raise ValueError(f"make_kwargs go with a registered id; {name} takes no arguments")
        if max_episode_steps is not None:
            limit = functools.partial(
                gymnasium.wrappers.TimeLimit, max_episode_steps=max_episode_steps
            )
            wrappers = (limit, *wrappers)
        return functools.partial(_make_wrapped, name, wrappers)
    kwargs = dict(make_kwargs or {})
    if max_episode_steps is not None:
        kwargs["max_episode_steps"] = max_episode_steps
    if _draws_arrays(_spec(name)):
        kwargs.setdefault("render_mode", "rgb_array")
    return functools.partial(
        _make_wrapped, functools.partial(gymnasium.make, name, **kwargs), wrappers
    )


def _make_wrapped(
    make: Callable[[], gymnasium.Env | VectorEnv],
    wrappers: Sequence[Callable[[gymnasium.Env], gymnasium.Env]],
) -> gymnasium.Env | VectorEnv:
    env = make()
    if isinstance(env, VectorEnv):
        if not wrappers:
            return env
        raise ValueError(
            f"gym_env_wrappers and max_episode_steps are for single environments; {env} is a "
            "vector environment"
        )
    for wrapper in wrappers:
        env = wrapper(env)
    return CheckedEnv(env)


def _spec(name: str) -> EnvSpec:
    module, _, short_name = name.rpartition(":")
    if module:
        importlib.import_module(module)
    try:
        return gymnasium.spec(short_name)
    except Error as error:
        nearest = difflib.get_close_matches(short_name, gymnasium.registry, n=3, cutoff=0.4)
        raise ValueError(
            f"there is no gymnasium environment {name!r}; "
            f"{'near it are ' + ', '.join(nearest) if nearest else 'nothing is near it'}. "
            "If a package registers it, name it as 'module:id'."
        ) from error


def _draws_arrays(spec: EnvSpec) -> bool:
    maker = spec.entry_point
    if isinstance(maker, str):
        maker = load_env_creator(maker)
    return "rgb_array" in getattr(maker, "metadata", {}).get("render_modes", ())
