"""Wrappers between numpy and tensors, and environments that choose between tasks."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments._single_wrappers import AlfEnvironmentBaseWrapper
from alf.environments._vector_environment import actions_to_numpy, time_step_to_tensors
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.seeds import independent_seeds, wrapper_generator

_CURRICULUM_INFO = ("curriculum_task_count", "curriculum_task_score", "curriculum_task_prob")

PUBLIC_MODULE = "alf.environments.alf_wrappers"  # under which these names are configured


@configurable
class TensorWrapper(AlfEnvironmentBaseWrapper):
    """Turns a numpy based environment into a tensor based one."""

    def __init__(self, env: AlfEnvironment) -> None:
        super().__init__(env)
        if env.is_tensor_based:
            raise ValueError(f"{env} is tensor based already")

    @property
    def is_tensor_based(self) -> bool:
        return True

    def _reset(self) -> TimeStep:
        return time_step_to_tensors(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        return time_step_to_tensors(self._env.step(actions_to_numpy(action)))


@configurable
class BatchedTensorWrapper(AlfEnvironmentBaseWrapper):
    """Turns a numpy based environment which is not batched into a tensor based batch of one."""

    def __init__(self, env: AlfEnvironment) -> None:
        super().__init__(env)
        if env.batched or env.is_tensor_based:
            raise ValueError(
                f"{env} must be numpy based and not batched; it has batched={env.batched}, "
                f"is_tensor_based={env.is_tensor_based}"
            )

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return 1

    @property
    def is_tensor_based(self) -> bool:
        return True

    def _reset(self) -> TimeStep:
        return self._batched(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        action = nest.map_structure(lambda x: x[0], actions_to_numpy(action))
        return self._batched(self._env.step(action))

    @staticmethod
    def _batched(time_step: TimeStep) -> TimeStep:
        return time_step_to_tensors(nest.map_structure(lambda x: np.array(x)[None], time_step))


@configurable
class MultitaskWrapper(AlfEnvironment):
    """One environment out of several ones, chosen by each action.

    The action is `dict(task_id=int64, action=<the environments' action>)`. Its `task_id` says which
    environment makes the step, in the middle of an episode too; the others wait where they are.
    After a LAST step the environment chosen begins a new episode. `reset` begins one everywhere.
    """

    def __init__(
        self,
        envs: Sequence[AlfEnvironment],
        task_names: Sequence[str],
        env_id: int | None = None,
    ) -> None:
        super().__init__()
        if not envs or len(envs) != len(task_names):
            raise ValueError(f"there are {len(envs)} envs and {len(task_names)} task_names")
        if len(set(task_names)) < len(task_names):
            raise ValueError(f"task_names have to be different from each other: {task_names}")
        for env in envs:
            if env.batched or env.is_tensor_based:
                raise ValueError(f"MultitaskWrapper takes numpy based single environments: {env}")
            for name in ("observation_spec", "action_spec", "reward_spec", "env_info_spec"):
                if getattr(env, name)() != getattr(envs[0], name)():
                    raise ValueError(f"the tasks {list(task_names)} differ in {name}")
        self._envs = list(envs)
        self._task_names = list(task_names)
        self._env_id = np.int32(0 if env_id is None else env_id)
        self._task = 0
        self._action_spec = {
            "task_id": BoundedTensorSpec((), torch.int64, minimum=0, maximum=len(envs) - 1),
            "action": envs[0].action_spec(),
        }

    @staticmethod
    def load(
        load_fn: Callable[..., AlfEnvironment],
        environment_name: Sequence[str],
        env_id: int | None = None,
        **kwargs: Any,
    ) -> MultitaskWrapper:
        """One task for each name, loaded by `load_fn(name, **kwargs)`.

        A `load_fn` with a parameter `env_id` gets that, too.
        """
        if "env_id" in inspect.signature(load_fn).parameters:
            kwargs["env_id"] = env_id
        envs = [load_fn(name, **kwargs) for name in environment_name]
        return MultitaskWrapper(envs, environment_name, env_id)

    @property
    def num_tasks(self) -> int:
        return len(self._envs)

    @property
    def task_names(self) -> list[str]:
        return self._task_names

    def get_num_tasks(self) -> int:
        """Number of tasks."""
        return len(self._envs)

    def env_info_spec(self) -> Any:
        return self._envs[0].env_info_spec()

    def observation_spec(self) -> Any:
        return self._envs[0].observation_spec()

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> TensorSpec:
        return self._envs[0].reward_spec()

    def seed(self, seed: int) -> None:
        """Each task gets a seed of its own that follows from `seed`."""
        self._current_time_step = None
        seeds = independent_seeds(seed, len(self._envs))
        for env, one in zip(self._envs, seeds, strict=True):
            env.seed(one)

    def render(self, mode: str = "rgb_array") -> Any:
        return self._envs[self._task].render(mode)

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _reset(self) -> TimeStep:
        time_steps = [env.reset() for env in self._envs]
        return self._labelled(time_steps[self._task])

    def _step(self, action: Any) -> TimeStep:
        self._task = int(action["task_id"])
        env = self._envs[self._task]
        if self._current_time_step.step_type == StepType.LAST:
            return self._labelled(env.reset())
        return self._labelled(env.step(action["action"]))

    def _labelled(self, time_step: TimeStep) -> TimeStep:
        task = 0 if time_step.step_type == StepType.FIRST else self._task
        prev_action = {"task_id": np.int64(task), "action": time_step.prev_action}
        return time_step._replace(env_id=self._env_id, prev_action=prev_action)


@configurable
class CurriculumWrapper(AlfEnvironmentBaseWrapper):
    """Chooses the tasks of a batched multitask environment, and hides the choice from the agent.

    Each task has two running averages of its episodes' returns, a fast and a slow one. A task is
    drawn with a probability proportional to `1 + progress_favor * p`, where `p` in [0, 1] is how
    much the fast average exceeds the slow one, relative to the task that progresses most. Until
    a task has had `warmup_period` episodes its `p` is 0.

    At LAST steps (elsewhere they are 0) `env_info` has for each task the number of its episodes
    so far (`curriculum_task_count`), its fast average (`curriculum_task_score`) and the probability
    of drawing it (`curriculum_task_prob`), beside what the environment says.
    """

    def __init__(
        self,
        env: AlfEnvironment,
        progress_favor: float = 10.0,
        current_score_update_rate: float = 1e-3,
        past_score_update_rate: float = 5e-4,
        warmup_period: int = 100,
    ) -> None:
        super().__init__(env)
        spec = env.action_spec()
        if not (env.batched and isinstance(spec, dict) and set(spec) == {"task_id", "action"}):
            raise ValueError(
                f"CurriculumWrapper needs a batched environment of MultitaskWrappers; got {env} "
                f"with the action spec {spec}"
            )
        self._favor = progress_favor
        self._rates = np.array([current_score_update_rate, past_score_update_rate])
        self._warmup = warmup_period
        self._scores = np.zeros((2, env.num_tasks))
        self._episodes = np.zeros(env.num_tasks, np.int64)
        self._returns = np.zeros(env.batch_size)
        self._tasks = np.zeros(env.batch_size, np.int64)
        self._rng = np.random.default_rng(random.getrandbits(32))

    def action_spec(self) -> Any:
        return self._env.action_spec()["action"]

    def env_info_spec(self) -> Any:
        of_tasks = {name: TensorSpec(()) for name in self.task_names}
        return {**self._env.env_info_spec(), **{key: dict(of_tasks) for key in _CURRICULUM_INFO}}

    def seed(self, seed: Any) -> Any:
        self._rng = wrapper_generator(seed, self)
        return super().seed(seed)

    def _reset(self) -> TimeStep:
        return self._observed(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        ended = _as_numpy(self._current_time_step.step_type) == StepType.LAST
        if ended.any():
            self._tasks[ended] = self._rng.choice(
                len(self._episodes), int(ended.sum()), p=self._probabilities()
            )
        task_id: Any = self._tasks.copy()
        if self.is_tensor_based:
            task_id = torch.as_tensor(task_id, device=self._current_time_step.reward.device)
        return self._observed(self._env.step({"task_id": task_id, "action": action}))

    def _probabilities(self) -> np.ndarray:
        progress = np.where(
            self._episodes >= self._warmup, np.maximum(self._scores[0] - self._scores[1], 0), 0
        )
        weights = 1 + self._favor * progress / max(progress.max(), 1e-12)
        return weights / weights.sum()

    def _observed(self, time_step: TimeStep) -> TimeStep:
        step_type = _as_numpy(time_step.step_type)
        reward = _as_numpy(time_step.reward)
        reward = reward if reward.ndim == 1 else reward.sum(axis=-1)
        self._returns = np.where(step_type == StepType.FIRST, 0, self._returns + reward)
        for i in np.flatnonzero(step_type == StepType.LAST):
            task = self._tasks[i]
            # the plain mean at first, so that the averages do not start from 0
            rates = np.maximum(self._rates, 1 / (self._episodes[task] + 1))
            self._scores[:, task] += rates * (self._returns[i] - self._scores[:, task])
            self._episodes[task] += 1
        return time_step._replace(
            prev_action=time_step.prev_action["action"],
            env_info={**time_step.env_info, **self._task_info(step_type, time_step)},
        )

    def _task_info(self, step_type: np.ndarray, time_step: TimeStep) -> dict[str, dict[str, Any]]:
        """The values of each task at LAST steps, 0 elsewhere."""
        last = (step_type == StepType.LAST).astype(np.float32)

        def of_tasks(values: np.ndarray) -> dict[str, Any]:
            rows: list[Any] = [last * np.float32(value) for value in values]
            if self.is_tensor_based:
                rows = [torch.as_tensor(row, device=time_step.reward.device) for row in rows]
            return dict(zip(self.task_names, rows, strict=True))

        values = (self._episodes, self._scores[0], self._probabilities())
        return {key: of_tasks(v) for key, v in zip(_CURRICULUM_INFO, values, strict=True)}


def _as_numpy(x: Any) -> np.ndarray:
    return x.numpy(force=True) if isinstance(x, torch.Tensor) else np.asarray(x)
