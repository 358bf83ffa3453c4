"""How a level learns on-policy: from its newest records, all of them, then never again."""

from __future__ import annotations

from dataclasses import dataclass, field

from alf.algorithms.config import TrainerConfig
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, check_fields
from alf_layered.hierarchy.training import TrainingOptions


def check_replays(training: object, *, level: str) -> None:
    """Raises where the options of a level that learns from all of its past are of another kind.

    Raises:
        ValueError: they are `OnPolicyOptions`.
        TypeError: they are no options at all.
    """
    if isinstance(training, OnPolicyOptions):
        raise ValueError(
            f"level {level!r} learns from all of its past, so its training is TrainingOptions; "
            "OnPolicyOptions are for PPO, PPG, TRAC and actor-critic in an AlgorithmLevel"
        )
    if not isinstance(training, TrainingOptions):
        raise TypeError(f"training of level {level!r} is {training!r}, it must be TrainingOptions")


@dataclass(frozen=True, kw_only=True)
class OnPolicyOptions(TrainingOptions):
    """Settings of a level that learns in rounds, for PPO, PPG, TRAC and actor-critic.

    A round begins when the level has made `transitions` new ones. It learns from every record since
    the last round, cut where environments and episodes end; then it forgets them, except the newest
    of each environment, whose outcome it has not seen yet.

    Attributes:
        transitions: own transitions per round, summed over environments.
        epochs: how often a round goes through its records.
        mini_batch_size: records per update; 0: one update with all, in the order of time, as a
            learner needs that computes returns in its loss.
    """

    transitions: int = 2048
    epochs: int = 10
    mini_batch_size: int = 64
    mini_batch_length: int = field(init=False, default=1)
    updates_per_transition: float = field(init=False, default=0.0)
    warm_up: int = field(init=False, default=0)
    replay_buffer_length: int = field(init=False, default=1)
    priority_replay: bool = field(init=False, default=False)
    offline_updates: int = field(init=False, default=0)
    offline_share: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        check_fields(self, transitions=AT_LEAST_1, epochs=AT_LEAST_1, mini_batch_size=AT_LEAST_0)
        # One round is one update of the clock.
        object.__setattr__(self, "updates_per_transition", 1 / self.transitions)
        # One environment may make all transitions of a round, and begin anew after each.
        object.__setattr__(self, "replay_buffer_length", 2 * self.transitions + 2)

    def level_config(self, config: TrainerConfig) -> TrainerConfig:
        own = super().level_config(config)
        own.whole_replay_buffer_training = True
        own.num_updates_per_train_iter = self.epochs
        if self.mini_batch_size == 0:
            own.mini_batch_length = None
            own.mini_batch_size = 1
        return own
