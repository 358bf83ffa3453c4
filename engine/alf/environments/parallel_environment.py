"""Several environments, each in a process of its own, as one batched environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments._process_rows import OneRowEach, ProcessRows, SeveralRowsEach
from alf.environments._spare_environments import SpareEnvironments
from alf.environments._vector_environment import actions_to_numpy, time_step_to_tensors
from alf.environments.alf_environment import AlfEnvironment
from alf.environments.process_environment import ProcessEnvironment
from alf.tensor_specs import TensorSpec
from alf.utils.schedulers import get_all_progresses
from alf.utils.seeds import independent_seeds


@configurable
class ParallelAlfEnvironment(AlfEnvironment):
    """Environments stepped at the same time in processes; batched, tensor based.

    Worth its overhead when one step takes more than about half a millisecond. `env_id` is the
    position of an environment. Rendering shows environment 0.

    A process may have several environments in a batched one, all as many: with 4 processes of 8
    the batch size is 32.
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
            env_constructors: each is called with `env_id=`, its number, in its process and returns
                an environment, batched or not.
            start_serially: wait for each environment before the next one is made.
            blocking: step one environment after the other (to find errors).
            flatten: send lists of leaves between processes instead of nests.
            num_spare_envs_for_reload: so many more environments, made by the last constructor. One
                that has been reset ahead takes the place of one whose episode is over, so that
                nobody waits for the reset. Not for batched ones.
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
        if num_spare_envs < 0:
            raise ValueError(f"num_spare_envs_for_reload={num_spare_envs} must be at least 0")
        if not env_constructors:
            raise ValueError("env_constructors is empty: there must be at least one environment")
        self._start_serially = start_serially
        self._blocking = blocking
        constructors = [*env_constructors, *[env_constructors[-1]] * num_spare_envs]
        envs = [
            ProcessEnvironment(constructor, env_id=i, **process_options)
            for i, constructor in enumerate(constructors)
        ]
        self._envs = envs[: len(env_constructors)]
        self._spares = SpareEnvironments(envs[len(env_constructors) :])
        try:
            self._start(envs)
            self._read_specs(envs)
            self._rows = self._make_rows()
        except BaseException:
            self.close()
            raise

    @property
    def envs(self) -> list[ProcessEnvironment]:
        """The single environments."""
        return self._envs

    def unanswered(self) -> list[int]:
        """The processes that were asked for something and have not answered yet."""
        return [i for i, env in enumerate(self._envs) if env.is_unanswered]

    @property
    def num_spare_envs_for_reload(self) -> int:
        """Number of environments which wait to replace one that is being reset."""
        return len(self._spares)

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
        return self._rows.batch_size

    @property
    def is_tensor_based(self) -> bool:
        return True

    @property
    def metadata(self) -> Any:
        """Of environment 0."""
        return self._envs[0].call("metadata")()

    def start(self) -> None:
        """Start the processes."""
        self._start(self._envs)

    def _start(self, envs: Sequence[ProcessEnvironment]) -> None:
        for env in envs:
            env.start(wait_to_start=self._start_serially)
        if not self._start_serially:
            for env in envs:
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
        """What a method returns in each process; spare environments are called too."""
        self._spares.call(func_name, *args, **kwargs)
        waits = [env.call(func_name, *args, **kwargs) for env in self._envs]
        return [wait() for wait in waits]

    def seed(self, seeds: Sequence[int]) -> None:
        if len(seeds) != self.batch_size:
            raise ValueError(f"there are {self.batch_size} environments but {len(seeds)} seeds")
        parts = self._rows.split_seeds(seeds)
        waits = [env.call("seed", part) for env, part in zip(self._envs, parts, strict=True)]
        for wait in waits:
            wait()
        self._spares.seed(independent_seeds(list(seeds), len(self._spares)))

    def render(self, mode: str = "rgb_array") -> Any:
        return self._envs[0].render(mode)

    def sync_progress(self) -> None:
        for env in self._envs:
            env.sync_progress()
        self._spares.call("sync_progress", dict(get_all_progresses()))

    def close(self) -> None:
        for env in self._envs:
            env.close()
        self._spares.close()

    def _read_specs(self, envs: Sequence[ProcessEnvironment]) -> None:
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
            for i, spec in enumerate(env.call(name)() for env in envs):
                if spec != expected:
                    raise ValueError(
                        f"environments that run together must have the same {name}; 0 has "
                        f"{expected}, {i} has {spec}"
                    )

    def _make_rows(self) -> ProcessRows:
        batched = [env.call("batched")() for env in self._envs]
        if not any(batched):
            return OneRowEach(self, len(self._envs))
        if not all(batched) or len(self._spares):
            raise ValueError(
                "batched environments in processes need all to be batched, and "
                f"num_spare_envs_for_reload to be 0; got batched={batched}, "
                f"num_spare_envs_for_reload={len(self._spares)}"
            )
        return SeveralRowsEach([env.call("batch_size")() for env in self._envs])

    def _reset(self) -> TimeStep:
        time_step = self._joined(env.reset(blocking=False) for env in self._envs)
        self._spares.prepare()
        return time_step

    def _step(self, action: Any) -> TimeStep:
        actions = self._rows.split(actions_to_numpy(action))
        ended = self._ended if len(self._spares) else [False] * len(self._envs)
        return self._joined(
            self._exchange(i) if ended[i] else env.step(action, blocking=False)
            for i, (env, action) in enumerate(zip(self._envs, actions, strict=True))
        )

    def _joined(self, waits: Iterable[Callable[[], TimeStep]]) -> TimeStep:
        """One time step from functions that wait for those of the processes."""
        # the requests go out as the functions are made, all of them before the first answer
        steps = [wait() for wait in (waits if self._blocking else list(waits))]
        time_step = self._rows.join(steps)
        self._ended = time_step.step_type == StepType.LAST
        return time_step_to_tensors(time_step)

    def _exchange(self, i: int) -> Callable[[], TimeStep]:
        """Put a spare environment, which has been reset, in place of environment i."""
        self._envs[i], wait = self._spares.exchange(self._envs[i])
        return wait
