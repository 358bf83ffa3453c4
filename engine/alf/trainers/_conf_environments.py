"""Environments made only so that the settings they use are known in this process."""

from __future__ import annotations

from typing import Any

from alf.algorithms.config import TrainerConfig
from alf.environments.alf_wrappers import AlfEnvironmentBaseWrapper
from alf.environments.parallel_environment import ParallelAlfEnvironment
from alf.environments.utils import create_environment
from alf.utils.rng_state import preserved_rng_state


def use_settings_of_other_processes(config: TrainerConfig, env: Any) -> None:
    """Let settings count as operative here that only environments in other processes use.

    Args:
        config: nothing is done with `no_thread_env_for_conf`.
        env: that of the training.
    """
    if config.no_thread_env_for_conf:
        return
    kinds = [False] if _is_in_processes(env) else []
    if config.evaluate and config.async_eval:
        kinds.append(True)
    with preserved_rng_state():
        for for_evaluation in kinds:
            create_environment(for_evaluation=for_evaluation, nonparallel=True).close()


def _is_in_processes(env: Any) -> bool:
    while isinstance(env, AlfEnvironmentBaseWrapper):
        env = env._env
    return isinstance(env, ParallelAlfEnvironment)
