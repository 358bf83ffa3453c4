"""Several environments, each in a process of its own, as one batched environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.environments._vector_environment import (
    Stacker,
    actions_to_numpy,
    split_actions,
    time_step_to_tensors,
)
from alf.environments.alf_environment import AlfEnvironment
from alf.environments.process_environment import ProcessEnvironment
from alf.tensor_specs import TensorSpec


@configurable
class ParallelAlfEnvironment(AlfEnvironment):
    """Environments stepped at the same time in processes; batched, tensor based.

    Worth its overhead when one step takes more than about half a millisecond. `env_id` is the
    position of an environment. Rendering shows environment 0.
    """

    def __init__(
        self,
        env_constructors: Sequence[Callable[..., AlfEnvironment]],
        start_serially: bool = True,
        blocking: bool = False,
        flatten: bool = True,
        num_spare_envs_for_reload: int = 0,
        torch_num_threads_per_env: int = 1,
    ) -> None:
        """
        Args:
            env_constructors: each is called with `env_id=` in its process and returns a numpy based
                environment which is not batched.
            start_serially: wait for each environment before the next one is made.
            blocking: step one environment after the other (to find errors).
            flatten: send lists of leaves between processes instead of nests.
            num_spare_envs_for_reload: only 0 is supported.
            torch_num_threads_per_env: number of threads torch may use in a process.
        """
        self._make(
            env_constructors,
            start_serially,
            blocking,
            num_spare_envs_for_reload,
            flatten=flatten,
            torch_num_threads_per_env=torch_num_threads_per_env,
        )

    def _make(
        self,
        env_constructors: Sequence[Callable[..., AlfEnvironment]],
        start_serially: bool,
        blocking: bool,
        num_spare_envs: int,
        **process_options: Any,
    ) -> None:
        super().__init__()
        if num_spare_envs:
            raise ValueError(
                f"num_spare_envs_for_reload={num_spare_envs} is not supported; allowed: 0"
            )
        if not env_constructors:
            raise ValueError("env_constructors is empty: there must be at least one environment")
        self._start_serially = start_serially
        self._blocking = blocking
        self._envs = [
            ProcessEnvironment(constructor, env_id=i, **process_options)
            for i, constructor in enumerate(env_constructors)
        ]
        try:
            self.start()
            self._read_specs()
        except BaseException:
            self.close()
            raise

    @property
    def envs(self) -> list[ProcessEnvironment]:
        """The single environments."""
        return self._envs

    @property
    def num_spare_envs_for_reload(self) -> int:
        """Number of environments which wait to replace one that is being reset."""
        return 0

    @property
    def num_tasks(self) -> int:
        return self._num_tasks

    @property
    def task_names(self) -> list[str]:
        return self._task_names

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return len(self._envs)

    @property
    def is_tensor_based(self) -> bool:
        return True

    @property
    def metadata(self) -> Any:
        """Of environment 0."""
        return self._envs[0].call("metadata")()

    def start(self) -> None:
        """Start the processes."""
        for env in self._envs:
            env.start(wait_to_start=self._start_serially)
        if not self._start_serially:
            for env in self._envs:
                env.wait_start()

    def env_info_spec(self) -> Any:
        return self._env_info_spec

    def observation_spec(self) -> Any:
        return self._observation_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> TensorSpec:
        return self._reward_spec

    def time_step_spec(self) -> TimeStep:
        return self._time_step_spec

    def call_envs_with_same_args(self, func_name: str, *args: Any, **kwargs: Any) -> list[Any]:
        """What a method returns in each environment."""
        waits = [env.call(func_name, *args, **kwargs) for env in self._envs]
        return [wait() for wait in waits]

    def seed(self, seeds: Sequence[int]) -> None:
        if len(seeds) != len(self._envs):
            raise ValueError(f"there are {len(self._envs)} environments but {len(seeds)} seeds")
        waits = [env.call("seed", s) for env, s in zip(self._envs, seeds, strict=True)]
        for wait in waits:
            wait()

    def render(self, mode: str = "rgb_array") -> Any:
        return self._envs[0].render(mode)

    def sync_progress(self) -> None:
        for env in self._envs:
            env.sync_progress()

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _read_specs(self) -> None:
        first = self._envs[0]
        self._observation_spec = first.observation_spec()
        self._action_spec = first.action_spec()
        self._reward_spec = first.reward_spec()
        self._env_info_spec = first.env_info_spec()
        self._time_step_spec = first.time_step_spec()
        self._num_tasks = first.call("num_tasks")()
        self._task_names = first.call("task_names")()
        for name in ("observation_spec", "action_spec", "reward_spec", "env_info_spec"):
            expected = getattr(self, "_" + name)
            for i, spec in enumerate(self.call_envs_with_same_args(name)):
                if spec != expected:
                    raise ValueError(
                        f"environments that run together must have the same {name}; 0 has "
                        f"{expected}, {i} has {spec}"
                    )
        self._stacker = Stacker(self)

    def _reset(self) -> TimeStep:
        if self._blocking:
            steps = [env.reset() for env in self._envs]
        else:
            waits = [env.reset(blocking=False) for env in self._envs]
            steps = [wait() for wait in waits]
        return time_step_to_tensors(self._stacker.stack(steps))

    def _step(self, action: Any) -> TimeStep:
        actions = split_actions(actions_to_numpy(action), len(self._envs))
        pairs = list(zip(self._envs, actions, strict=True))
        if self._blocking:
            steps = [env.step(a) for env, a in pairs]
        else:
            waits = [env.step(a, blocking=False) for env, a in pairs]
            steps = [wait() for wait in waits]
        return time_step_to_tensors(self._stacker.stack(steps))
