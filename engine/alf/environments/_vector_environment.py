"""Several environments stepped in one process as one batched environment.

This is the default way to run environments in parallel: one step of a small simulator takes less
time than sending its action to another process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.device_ctx import get_default_device
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import TensorSpec

PUBLIC_MODULE = "alf.environments.alf_wrappers"  # under which these names are configured


def actions_to_numpy(action: Any) -> Any:
    """A nest of tensors or arrays as arrays."""
    if isinstance(action, torch.Tensor):
        return action.numpy(force=True)
    return nest.map_structure(_leaf_to_numpy, action)


def _leaf_to_numpy(leaf: Any) -> np.ndarray:
    return leaf.numpy(force=True) if isinstance(leaf, torch.Tensor) else np.asarray(leaf)


def time_step_to_tensors(time_step: TimeStep) -> TimeStep:
    """A time step of arrays as tensors on the default device, sharing memory where it can."""
    device = get_default_device()
    if device != "cpu":
        return nest.map_structure(lambda x: torch.as_tensor(x, device=device), time_step)
    return TimeStep._make(map(_to_tensors, time_step))


def _to_tensors(arrays: Any) -> Any:
    """A field of a time step, most of which are one array."""
    if type(arrays) is np.ndarray:
        return torch.from_numpy(arrays)
    if type(arrays) is tuple and not arrays:
        return arrays
    return nest.map_structure(torch.as_tensor, arrays)


def split_actions(action: Any, batch_size: int) -> Sequence[Any] | np.ndarray:
    """The action of each environment, from a nest of arrays `[B, ...]`."""
    if isinstance(action, np.ndarray):
        return action
    leaves = nest.flatten(action)
    return [nest.pack_sequence_as(action, [leaf[i] for leaf in leaves]) for i in range(batch_size)]


class Stacker:
    """Joins the time steps of single environments to one with a batch axis, in new arrays."""

    def __init__(self, env: AlfEnvironment) -> None:
        """
        Args:
            env: one of the environments, for its specs.
        """
        self._reward_shape = tuple(env.reward_spec().shape)
        self._observation = _nest_stacker(env.observation_spec())
        self._action = _nest_stacker(env.action_spec())
        self._env_info = _nest_stacker(env.env_info_spec())

    def stack(self, time_steps: Sequence[TimeStep]) -> TimeStep:
        """Arrays `[B, ...]`; `env_id` is the position."""
        step_types, rewards, discounts, observations, actions, _, _, infos = zip(
            *time_steps, strict=True
        )
        size = len(time_steps)
        return TimeStep(
            np.array(step_types, np.int32),
            np.array(rewards, np.float32).reshape(size, *self._reward_shape),
            np.array(discounts, np.float32),
            self._observation(observations),
            self._action(actions),
            np.arange(size, dtype=np.int32),
            (),
            self._env_info(infos),
        )


def _nest_stacker(spec: Any) -> Callable[[Sequence[Any]], Any]:
    """Function which joins nests of arrays with this spec."""
    if isinstance(spec, dict):
        parts = {key: _nest_stacker(s) for key, s in spec.items()}
        return lambda xs: {key: f([x[key] for x in xs]) for key, f in parts.items()}
    if nest.is_nested(spec):
        fs = [_nest_stacker(s) for s in spec]
        kind = type(spec)._make if nest.is_namedtuple(spec) else type(spec)
        return lambda xs: kind([f(part) for f, part in zip(fs, zip(*xs, strict=True), strict=True)])
    shape, dtype = tuple(spec.shape), np.dtype(spec.dtype_str)
    return lambda xs: _stack_arrays(xs, shape, dtype)


def _stack_arrays(
    arrays: Sequence[np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    if len(arrays) == 1:
        return np.array(arrays[0], dtype).reshape(1, *shape)
    return np.concatenate(arrays, axis=None, dtype=dtype).reshape(len(arrays), *shape)


@configurable
class BatchEnvironmentWrapper(AlfEnvironment):
    """Environments of one kind, stepped one after the other: batched, numpy based.

    `env_id` is the position of an environment. Rendering shows environment 0.
    """

    def __init__(self, envs: Sequence[AlfEnvironment]) -> None:
        """
        Args:
            envs: numpy based environments with equal specs, which are not batched.
        """
        super().__init__()
        if not envs:
            raise ValueError("envs is empty: there must be at least one environment")
        for env in envs:
            if env.batched or env.is_tensor_based:
                raise ValueError(
                    "environments that are stepped together must be numpy based and not batched; "
                    f"{env} has batched={env.batched}, is_tensor_based={env.is_tensor_based}"
                )
            _check_same_specs(envs[0], env)
        self._envs = list(envs)
        self._action_spec = envs[0].action_spec()
        self._stacker = Stacker(envs[0])

    @property
    def envs(self) -> list[AlfEnvironment]:
        """The single environments."""
        return self._envs

    @property
    def num_tasks(self) -> int:
        return self._envs[0].num_tasks

    @property
    def task_names(self) -> list[str]:
        return self._envs[0].task_names

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return len(self._envs)

    @property
    def is_tensor_based(self) -> bool:
        return False

    @property
    def metadata(self) -> Any:
        """Of environment 0."""
        return getattr(self._envs[0], "metadata", {})

    def env_info_spec(self) -> Any:
        return self._envs[0].env_info_spec()

    def observation_spec(self) -> Any:
        return self._envs[0].observation_spec()

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> TensorSpec:
        return self._envs[0].reward_spec()

    def seed(self, seed: int | Sequence[int]) -> None:
        """Seed each environment: with its own number, or from `seed * batch_size` on."""
        count = len(self._envs)
        seeds = range(seed * count, (seed + 1) * count) if isinstance(seed, int) else seed
        if len(seeds) != count:
            raise ValueError(f"there are {count} environments but {len(seeds)} seeds")
        for env, one in zip(self._envs, seeds, strict=True):
            env.seed(one)

    def render(self, mode: str = "rgb_array") -> Any:
        return self._envs[0].render(mode)

    def sync_progress(self) -> None:
        """Nothing: the environments see the schedulers' progress of this process."""

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _reset(self) -> TimeStep:
        return self._stacker.stack([env.reset() for env in self._envs])

    def _step(self, action: Any) -> TimeStep:
        actions = split_actions(action, len(self._envs))
        if len(actions) != len(self._envs):
            raise ValueError(f"there are {len(self._envs)} environments but {len(actions)} actions")
        steps = [env.step(a) for env, a in zip(self._envs, actions, strict=True)]
        return self._stacker.stack(steps)


class VectorEnvironment(BatchEnvironmentWrapper):
    """As BatchEnvironmentWrapper, but tensor based and made from constructors."""

    def __init__(self, env_constructors: Sequence[Callable[..., AlfEnvironment]]) -> None:
        """
        Args:
            env_constructors: each is called with `env_id=` and returns a numpy based environment
                which is not batched.
        """
        envs: list[AlfEnvironment] = []
        try:
            for i, constructor in enumerate(env_constructors):
                envs.append(constructor(env_id=i))
            super().__init__(envs)
        except BaseException:
            for env in envs:
                env.close()
            raise

    @property
    def is_tensor_based(self) -> bool:
        return True

    def _reset(self) -> TimeStep:
        return time_step_to_tensors(super()._reset())

    def _step(self, action: Any) -> TimeStep:
        return time_step_to_tensors(super()._step(actions_to_numpy(action)))


def _check_same_specs(first: AlfEnvironment, other: AlfEnvironment) -> None:
    """Raise a ValueError unless two environments have the same specs."""
    for name in ("observation_spec", "action_spec", "reward_spec", "env_info_spec"):
        a, b = getattr(first, name)(), getattr(other, name)()
        if a != b:
            raise ValueError(
                f"environments that run together must have the same {name}; got {a} and {b}"
            )
