"""The default of `create_environment(parallel_environment_ctor=...)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alf.config_util import configurable
from alf.environments.alf_environment import AlfEnvironment
from alf.environments.parallel_environment import ParallelAlfEnvironment


@configurable
class FastParallelEnvironment(ParallelAlfEnvironment):
    """As ParallelAlfEnvironment, with a choice of how processes are started.

    `create_environment` does not make one when it is left at its default: environments then run in
    this process, which is faster for all but slow simulators. To get processes, configure
    `create_environment.parallel_environment_ctor` with ParallelAlfEnvironment, or with a partial
    of this class.
    """

    def __init__(
        self,
        env_constructors: Sequence[Callable[..., AlfEnvironment]],
        start_serially: bool = True,
        blocking: bool = False,
        flatten: bool = True,
        num_spare_envs_for_reload: int = 0,
        torch_num_threads_per_env: int = 1,
        start_method: str = "fork",
    ) -> None:
        """
        Args:
            start_method: see ProcessEnvironment.
        """
        self._make(
            env_constructors,
            start_serially,
            blocking,
            num_spare_envs_for_reload,
            flatten=flatten,
            torch_num_threads_per_env=torch_num_threads_per_env,
            start_method=start_method,
        )
