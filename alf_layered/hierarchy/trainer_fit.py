"""Which of the trainer's settings a hierarchy can follow; what would have no effect is refused.

Levels have replay buffers of their own and settings of their own for them, `TrainingOptions`.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import (
    DataTransformer,
    FrameStacker,
    HindsightExperienceTransformer,
    ObservationNormalizer,
    RewardNormalizer,
    SequentialDataTransformer,
    SimpleDataTransformer,
)
from alf_layered.hierarchy.level import Level
from alf_layered.hierarchy.on_policy import OnPolicyOptions
from alf_layered.hierarchy.training import TrainingOptions

_logger = logging.getLogger("absl")

# ALF's defaults, and what does the same for a level.
_OF_LEVELS: dict[str, tuple[Any, str]] = {
    "mini_batch_size": (None, "TrainingOptions(mini_batch_size=...) of each level"),
    "replay_buffer_length": (1024, "TrainingOptions(replay_buffer_length=...) of each level"),
    "initial_collect_steps": (0, "TrainingOptions(warm_up=...) of each level"),
    "num_updates_per_train_iter": (4, "TrainingOptions(updates_per_transition=...) of each level"),
    "priority_replay": (False, "TrainingOptions(priority_replay=True) of a level"),
    "unroll_with_grad": (False, "a level that learns from its replay buffer, as all do"),
    "rl_train_every_update_steps": (1, "TrainingOptions(offline_share=...) of each level"),
}
_OF_PRIORITIES = ("priority_replay_alpha", "priority_replay_beta", "priority_replay_eps")


def check_config(config: TrainerConfig | None) -> None:
    """Refuses what does not go with several levels, or would have no effect.

    `whole_replay_buffer_training`, `clear_replay_buffer` and `mini_batch_length`, which ALF wants
    of all off-policy learners, may be given and change nothing. `check_levels_can_train` tells
    where the levels use another `mini_batch_length`.

    Raises:
        ValueError: a setting or a data transformer would do nothing; names what does.
    """
    if config is None:
        return
    if config.update_counter_every_mini_batch:
        raise ValueError(
            "update_counter_every_mini_batch=True does not go with a hierarchy: levels make "
            "different numbers of updates, the counter must count iterations"
        )
    for name, (default, instead) in _OF_LEVELS.items():
        value = getattr(config, name)
        if value != default:
            raise ValueError(
                f"TrainerConfig.{name}={value!r} has no effect on a hierarchy, whose levels have "
                f"replay buffers of their own; allowed: {default!r}, and {instead}"
            )
    _check_transformers(config.data_transformer)


def _check_transformers(transformer: Any) -> None:
    """Refuses what does more than to transform time steps as they come: levels sample those."""
    if transformer is None:
        return
    for part in transformer.modules():
        if not isinstance(part, DataTransformer):
            continue
        name = type(part).__name__
        if isinstance(part, HindsightExperienceTransformer):
            raise ValueError(
                f"data_transformer_ctor: {name} relabels what is sampled from the trainer's replay "
                "buffer, which a hierarchy does not have; give a level Goal(hindsight=0.8)"
            )
        if isinstance(part, (RewardNormalizer, ObservationNormalizer)):
            mode = getattr(part, "_update_mode", "replay")
            if mode != "rollout":
                raise ValueError(
                    f"data_transformer_ctor: {name}(update_mode={mode!r}) would never learn its "
                    "statistics, as levels sample what has been transformed; allowed: 'rollout'"
                )
        if not _is_the_same_for_time_steps(part):
            raise ValueError(
                f"data_transformer_ctor: {name}.transform_experience() would never be called, as "
                "levels sample what has been transformed; allowed: a SimpleDataTransformer"
            )


def _is_the_same_for_time_steps(part: DataTransformer) -> bool:
    own = type(part).transform_experience
    kinds = (SimpleDataTransformer, FrameStacker, SequentialDataTransformer)
    return any(own is kind.transform_experience for kind in kinds)


def check_levels_can_train(levels: Sequence[Level], config: TrainerConfig, num_envs: int) -> None:
    """Refuses conditions of levels that can never come true, and tells of those of this run.

    Args:
        levels: most abstract first.
        config: the trainer's.
        num_envs: of the training.

    Raises:
        ValueError: a level has no room for a batch.
    """
    steps = config.num_env_steps
    if config.num_iterations > 0:
        unrolled = int(config.num_iterations * config.unroll_length * num_envs)
        steps = min(steps, unrolled) if steps > 0 else unrolled
    prioritised = False
    lengths: dict[str, int] = {}
    _check_decides_again(levels)
    for level in levels:
        options = level.training_options
        if options is None or not level.learns:
            continue
        lengths[level.name] = options.mini_batch_length
        prioritised |= options.priority_replay
        room = (options.replay_buffer_length - options.mini_batch_length + 1) * num_envs
        if 0 < room < options.mini_batch_size:
            raise ValueError(
                f"level {level.name!r}: mini_batch_size={options.mini_batch_size}, but its replay "
                f"buffer never has more than {room} spans (replay_buffer_length="
                f"{options.replay_buffer_length}, {num_envs} environments); allowed: at most that"
            )
        if options.warm_up > options.replay_buffer_length * num_envs:
            _logger.warning(
                "level %r: warm_up=%d transitions do not fit into its replay buffer of "
                "replay_buffer_length=%d records of each of %d environments; the oldest are lost",
                level.name,
                options.warm_up,
                options.replay_buffer_length,
                num_envs,
            )
        if not config.offline_buffer_dir:
            _check_first_batch(level.name, options)
        if 0 < steps <= options.warm_up:
            _logger.warning(
                "level %r makes no update in this run: warm_up=%d transitions, and the run has "
                "%d environment steps",
                level.name,
                options.warm_up,
                steps,
            )
        elif steps > 0 and (steps - options.warm_up) * options.updates_per_transition < 1 - 1e-9:
            _logger.warning(
                "level %r makes no update in this run: it makes one in %.4g transitions, and the "
                "run has %d environment steps",
                level.name,
                1 / options.updates_per_transition,
                steps,
            )
    length = config.mini_batch_length
    if length is not None and lengths and length not in lengths.values():
        _logger.warning(
            "TrainerConfig.mini_batch_length=%s has no effect: levels sample spans of their "
            "TrainingOptions(mini_batch_length=...), here %s",
            length,
            ", ".join(f"{own} ({name})" for name, own in lengths.items()),
        )
    given = [name for name in _OF_PRIORITIES if _differs(config, name)]
    if config.normalize_importance_weights_by_max:
        given.append("normalize_importance_weights_by_max")
    if given and not prioritised:
        _logger.warning(
            "TrainerConfig.%s has no effect: no level has TrainingOptions(priority_replay=True)",
            ", ".join(given),
        )


def _check_first_batch(name: str, options: TrainingOptions) -> None:
    """Tells of updates from fewer transitions than a batch draws."""
    on_policy = isinstance(options, OnPolicyOptions)  # a batch is a part of the round
    if not on_policy and options.warm_up < options.mini_batch_size:
        _logger.warning(
            "level %r: its first batches of mini_batch_size=%d are drawn from fewer transitions, "
            "each several times, as warm_up=%d; a warm_up of %d avoids that",
            name,
            options.mini_batch_size,
            options.warm_up,
            options.mini_batch_size,
        )


def _check_decides_again(levels: Sequence[Level]) -> None:
    """Tells of levels that decide once an episode, as the one below never returns control."""
    for above, level in itertools.pairwise(levels):
        if not level.may_return_control:
            _logger.warning(
                "level %r decides once an episode: level %r below it has control_interval=None and "
                "nothing else that returns control, such as a goal; give it a control_interval",
                above.name,
                level.name,
            )


_PRIORITY_DEFAULTS = {"alpha": 0.7, "beta": 0.4, "eps": 1e-6}


def _differs(config: TrainerConfig, name: str) -> bool:
    """Whether it is a number, or a constant scheduler, other than ALF's default."""
    value = getattr(config, name)
    number: Any = value() if callable(value) else value
    return abs(number - _PRIORITY_DEFAULTS[name.rpartition("_")[2]]) > 1e-12
