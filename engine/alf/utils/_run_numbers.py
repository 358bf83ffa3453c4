"""Numbers that follow from the configuration of a run."""

from __future__ import annotations

import math
from typing import Any

from alf.config_util import get_config_value


def get_epsilon_greedy(config: Any) -> float:
    """`config.epsilon_greedy`; without a config that of `TrainerConfig`."""
    if config is not None:
        return config.epsilon_greedy
    return get_config_value("TrainerConfig.epsilon_greedy")


def compute_summary_or_eval_interval(config: Any, summary_or_eval_calls: int | None = 100) -> int:
    """Steps of the global counter between two calls, if there shall be so many calls in a run.

    Where an iteration takes the steps that are there (`unroll_length=0`) it counts as of
    `max_unroll_length`.
    """
    calls = summary_or_eval_calls or 1
    iterations = config.num_iterations
    if config.num_env_steps and not iterations:
        length = config.unroll_length or config.max_unroll_length
        iterations = config.num_env_steps / (_num_training_envs() * length)
    if config.update_counter_every_mini_batch:
        iterations *= config.num_updates_per_train_iter
    return max(1, math.ceil(iterations / calls))


def _num_training_envs() -> int:
    """As configured; without making them."""
    if get_config_value("create_environment.nonparallel"):
        return 1
    return get_config_value("create_environment.num_parallel_environments")
