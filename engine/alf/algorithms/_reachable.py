"""Conditions of a training that can never come true: they are errors before it starts."""

from __future__ import annotations

from absl import logging

from alf.algorithms.config import TrainerConfig


def check_reachable(config: TrainerConfig, length: int, num_envs: int, ignored: int) -> None:
    """Refuse settings with which no update would ever be made, and tell of those of this run.

    Args:
        config: of an algorithm that trains from a replay buffer of its own.
        length: records of each environment that the buffer has room for.
        num_envs: number of environments.
        ignored: so many of the oldest records start no sequence.

    Raises:
        ValueError: a condition of training cannot come true, however long the run is.
    """
    if config.offline_buffer_dir:
        return  # there are updates from offline data, however little the own buffer holds
    room = length * num_envs
    if config.initial_collect_steps > room:
        raise ValueError(
            f"TrainerConfig.initial_collect_steps={config.initial_collect_steps}, but the replay "
            f"buffer never holds more than {room} records ({length} of each of {num_envs} "
            "environments), so nothing would be trained; allowed: at most that"
        )
    if not config.whole_replay_buffer_training:
        _check_batches(config, length, num_envs, ignored)
    _tell_of_this_run(config, num_envs)


def _check_batches(config: TrainerConfig, length: int, num_envs: int, ignored: int) -> None:
    assert config.mini_batch_length is not None  # as TrainerConfig has checked
    starts = length - ignored - config.mini_batch_length + 1
    if starts < 1:
        raise ValueError(
            f"TrainerConfig.mini_batch_length={config.mini_batch_length} with {ignored} earliest "
            f"records ignored does not fit into a replay buffer of {length} records of each "
            "environment (TrainerConfig.replay_buffer_length)"
        )
    size = config.mini_batch_size or num_envs
    if size > starts * num_envs:
        raise ValueError(
            f"TrainerConfig.mini_batch_size={size}, but the replay buffer never has more than "
            f"{starts * num_envs} different sequences (replay_buffer_length={length}, {num_envs} "
            "environments); allowed: at most that"
        )


def _tell_of_this_run(config: TrainerConfig, num_envs: int) -> None:
    """What is right in a longer run."""
    iterations = config.num_iterations
    size = config.mini_batch_size or num_envs
    if not config.whole_replay_buffer_training and config.unroll_length > 0:
        first = max(config.initial_collect_steps, int(config.unroll_length * num_envs))
        if first < size:
            logging.warning(
                "the first batches of TrainerConfig.mini_batch_size=%d are drawn from %d records, "
                "each several times; initial_collect_steps=%d avoids that",
                size,
                first,
                size,
            )
    if iterations > 0 and config.unroll_length > 0:
        records = int(iterations * config.unroll_length * num_envs)
        if config.initial_collect_steps > records:
            logging.warning(
                "no update is made in this run: TrainerConfig.initial_collect_steps=%d, and "
                "num_iterations=%d give %d records",
                config.initial_collect_steps,
                iterations,
                records,
            )
    elif iterations == 0 and config.initial_collect_steps > 2 * config.num_env_steps + num_envs:
        logging.warning(
            "no update is made in this run: TrainerConfig.initial_collect_steps=%d, and "
            "num_env_steps=%d",
            config.initial_collect_steps,
            config.num_env_steps,
        )
    intervals = {"ddp_paras_check_interval": 1, "rl_train_every_update_steps": 2}
    if config.async_unroll:
        intervals["unroll_parameter_update_period"] = 1
    if not config.summarize_first_interval and config.num_summaries is None:
        intervals["summary_interval"] = 1
    for name, least in intervals.items():
        value = getattr(config, name)
        if 0 < iterations < value and value >= least:
            logging.warning(
                "TrainerConfig.%s=%d never comes within num_iterations=%d", name, value, iterations
            )
