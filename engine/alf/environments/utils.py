"""Making the environment of a run from its configuration."""

from __future__ import annotations

import functools
import inspect
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from alf.config_util import configurable
from alf.environments import suite_gym
from alf.environments._task_wrappers import MultitaskWrapper, TensorWrapper
from alf.environments._vector_environment import BatchEnvironmentWrapper, VectorEnvironment
from alf.environments.alf_environment import AlfEnvironment
from alf.environments.fast_parallel_environment import FastParallelEnvironment
from alf.environments.thread_environment import ThreadEnvironment
from alf.utils.seeds import as_seed, independent_seeds


class UnwrappedEnvChecker:
    """Refuses a second environment in this process, for simulators which allow only one."""

    def __init__(self) -> None:
        self._used = False

    def check(self) -> None:
        """Raise a ValueError if there is one already."""
        if self._used:
            raise ValueError(
                "there is an environment in this process already, and only one is allowed: run "
                "the others in processes (parallel_environment_ctor=ParallelAlfEnvironment)"
            )

    def update(self, wrap_with_process: bool) -> None:
        """Note a new environment."""
        self._used = self._used or not wrap_with_process

    def check_and_update(self, wrap_with_process: bool) -> None:
        """Both: note a new environment, which must be allowed."""
        self.check()
        self.update(wrap_with_process)


@configurable
def create_environment(
    env_name: str | Sequence[str] | Callable[..., Any] = "CartPole-v0",
    env_load_fn: Callable[..., AlfEnvironment] = suite_gym.load,
    eval_env_load_fn: Callable[..., AlfEnvironment] | None = None,
    for_evaluation: bool = False,
    num_parallel_environments: int = 30,
    batch_size_per_env: int | None = None,
    eval_batch_size_per_env: int | None = None,
    nonparallel: bool = False,
    flatten: bool = True,
    start_serially: bool = True,
    num_spare_envs: int = 0,
    torch_num_threads_per_env: int = 1,
    parallel_environment_ctor: Callable[..., AlfEnvironment] = FastParallelEnvironment,
    seed: int | None = None,
    batched_wrappers: Sequence[Callable[[AlfEnvironment], AlfEnvironment]] = (),
    consecutive_seeds: bool = False,
) -> AlfEnvironment:
    """The batched, tensor based environment of a run.

    With the default `parallel_environment_ctor` the environments are stepped one after the other in
    this process, unless `batch_size_per_env` or `num_spare_envs` asks for processes; with
    ParallelAlfEnvironment each has a process, which pays when one step takes more than about half a
    millisecond.

    Args:
        env_name: given to the load function: a name, or a function that the load function knows
            what to do with. A list of names makes each environment a MultitaskWrapper with one task
            per name.
        env_load_fn: called as `fn(env_name, env_id=i)` for each environment. If it has an attribute
            `batched` which is true, it is called once, with `batch_size=` and returns a batched
            environment. It is told `num_parallel_environments` if it has such a parameter.
        eval_env_load_fn: takes its place for evaluation, if given.
        for_evaluation: the environment is for evaluation.
        num_parallel_environments: the batch size (1 with `nonparallel`).
        batch_size_per_env: so many environments in a process, stepped one after the other, or made
            as one by a `batched` load function, whose `env_id` then is the number of the process.
            It must divide `num_parallel_environments`. None: one; of a `batched` load function all,
            in this process.
        eval_batch_size_per_env: takes its place for evaluation. None: its greatest common divisor
            with the number of environments.
        nonparallel: make only one environment, in this process.
        flatten, start_serially, torch_num_threads_per_env: for processes, see
            ParallelAlfEnvironment.
        num_spare_envs: how many more processes wait with an environment that has been reset, to
            take the place of one whose episode is over. Not with several environments in a process.
        seed: of the run. Each environment gets a seed of its own that follows from it, so that runs
            with different seeds share none; None leaves them as they are.
        batched_wrappers: each is called with the batched environment and returns a new one.
        consecutive_seeds: environment i gets `seed + i`, which is ALF's rule: of 16 environments
            runs with seeds 0 and 1 then have 15 in common.

    Raises:
        TypeError: `seed` is no integer.
        ValueError: `seed` is out of range, a number of environments is not positive, or
            `batch_size_per_env` does not divide it.
    """
    if seed is not None:
        seed = as_seed(seed, owner="create_environment.seed")
    if for_evaluation:
        env_load_fn = eval_env_load_fn or env_load_fn
        # there are often fewer environments than in training
        default = math.gcd(batch_size_per_env or 1, num_parallel_environments)
        batch_size_per_env = eval_batch_size_per_env or (batch_size_per_env and default)
    if nonparallel:
        num_parallel_environments, batch_size_per_env, num_spare_envs = 1, None, 0
    num_envs = num_parallel_environments
    if num_envs % (batch_size_per_env or 1):
        raise ValueError(
            f"num_parallel_environments={num_envs} is no multiple of "
            f"batch_size_per_env={batch_size_per_env}"
        )
    is_batched = _attribute(env_load_fn, "batched")
    load = functools.partial(
        _load, _with_num_envs(env_load_fn, num_envs), env_name, is_batched=is_batched
    )
    is_one_process = batch_size_per_env in (None, num_envs) and not num_spare_envs
    if nonparallel and not is_batched:
        env = ThreadEnvironment(functools.partial(load, env_id=0))
    elif is_batched and is_one_process:
        env = load(num_envs, env_id=0)
        env = env if env.is_tensor_based else TensorWrapper(env)
    elif parallel_environment_ctor is FastParallelEnvironment and is_one_process:
        env = VectorEnvironment([load] * num_envs)
    else:
        size = batch_size_per_env or (num_envs if is_batched else 1)
        env = parallel_environment_ctor(
            [functools.partial(load, size)] * (num_envs // size),
            flatten=flatten,
            start_serially=start_serially,
            num_spare_envs_for_reload=num_spare_envs,
            torch_num_threads_per_env=torch_num_threads_per_env,
        )
    for wrapper in batched_wrappers:
        env = wrapper(env)
    if seed is not None:
        seeds = range(seed, seed + env.batch_size)
        env.seed(list(seeds if consecutive_seeds else independent_seeds(seed, env.batch_size)))
    return env


def _load(
    load_fn: Callable[..., Any], env_name: Any, size: int = 1, *, env_id: int, is_batched: bool
) -> AlfEnvironment:
    """The `size` environments of process number `env_id`; one that is not batched for 1."""
    if is_batched:
        return _load_batched(load_fn, env_name, size, env_id)
    if size == 1:
        return _load_one(load_fn, env_name, env_id)
    first = env_id * size
    return BatchEnvironmentWrapper([_load_one(load_fn, env_name, first + i) for i in range(size)])


def _load_one(load_fn: Callable[..., Any], env_name: Any, env_id: int) -> AlfEnvironment:
    """Environment `env_id` by a load function which makes one at a time."""
    if not isinstance(env_name, str) and isinstance(env_name, Sequence):
        return MultitaskWrapper.load(functools.partial(_load_one, load_fn), env_name, env_id=env_id)
    keywords = _known_keywords(load_fn, env_id=env_id)
    if not keywords and _needs_two_positions(load_fn):
        return load_fn(env_name, env_id)
    return load_fn(env_name, **keywords)


def _load_batched(
    load_fn: Callable[..., Any], env_name: Any, size: int, env_id: int
) -> AlfEnvironment:
    """Batched environment `env_id` by a load function which makes `size` at once."""
    env = load_fn(env_name, batch_size=size, **_known_keywords(load_fn, env_id=env_id))
    if not env.batched or env.batch_size != size:
        raise ValueError(
            f"{load_fn} is marked as batched, but with batch_size={size} it has returned "
            f"{env} with batched={env.batched}, batch_size={env.batch_size}"
        )
    return env


def _with_num_envs(load_fn: Callable[..., Any], num_envs: int) -> Callable[..., Any]:
    parameters = inspect.signature(load_fn).parameters
    if "num_parallel_environments" not in parameters:
        return load_fn
    return functools.partial(load_fn, num_parallel_environments=num_envs)


def _known_keywords(function: Callable[..., Any], **keywords: Any) -> dict[str, Any]:
    """Those of the keyword arguments that the function takes."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return keywords
    return {key: value for key, value in keywords.items() if key in parameters}


def _needs_two_positions(function: Callable[..., Any]) -> bool:
    """Whether the second parameter, whatever its name, must be given."""
    parameters = list(inspect.signature(function).parameters.values())[1:2]
    return bool(parameters) and (
        parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and parameters[0].default is inspect.Parameter.empty
    )


def _attribute(load_fn: Callable[..., Any], name: str) -> bool:
    """Whether the load function, or what it is a partial of, has a true attribute `name`."""
    while not hasattr(load_fn, name) and isinstance(load_fn, functools.partial):
        load_fn = load_fn.func
    return bool(getattr(load_fn, name, False))


@configurable
def load_with_random_max_episode_steps(
    env_name: str,
    env_load_fn: Callable[..., AlfEnvironment] = suite_gym.load,
    min_steps: int = 200,
    max_steps: int = 250,
) -> AlfEnvironment:
    """`env_load_fn(env_name)` with a time limit drawn from `min_steps` to `max_steps`."""
    return env_load_fn(env_name, max_episode_steps=random.randint(min_steps, max_steps))
