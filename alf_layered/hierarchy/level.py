"""The interface of a level: an ALF off-policy algorithm on a semi-MDP of its own."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, cast

import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, Experience, TimeStep, namedtuple
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.hierarchy.constructors import LevelConstructor, bind_options
from alf_layered.hierarchy.joined_replay import JoinedReplayBuffer
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.training import TrainingOptions, UpdateClock
from alf_layered.hierarchy.transitions import is_outcome

Nest = Any
LevelCtor = Callable[..., "Level"]

LevelObservation = namedtuple(
    "LevelObservation", ["observation", "input", "above"], default_value=()
)
LevelObservation.__doc__ = """What a level observes.

Fields:
    observation: the environment's observation as the level's observation map shows it.
    input: the decision of the level above, `()` for the top level.
    above: the `LevelObservation` of the level above, where `Level.sees_above`, else `()`.
"""


@checked(gamma=SHARE, control_interval=AT_LEAST_1)
class Level(OffPolicyAlgorithm):
    """One level of a hierarchy; sees an ordinary MDP and knows nothing of the other levels.

    Its time steps are those of a semi-MDP: the observation is a `LevelObservation`, `reward` and
    `discount` cover the environment steps since its last decision, `step_type` is FIRST where it
    gets an input, LAST where the input's time is over or the environment's episode ends, and
    `prev_action` is its last decision. `reward` and `discount` are such that ALF's usual `gamma *
    discount` is `gamma^k` for a decision of k environment steps. `env_info["steps"]` is k, and
    `env_info["time_discount"]` the discount for time alone: as `discount`, had nothing terminated;
    `env_info["returned"]` says where control goes back to the level above. With
    `joint_end="continue"` a MID step may have a new input; `transitions.reached` tells the old.

    Args:
        observation_spec: of the environment's observation as this level sees it.
        action_spec: of its decisions: the joint below it, or the environment's actions.
        input_spec: of what it gets from above; `()` for the top level.
        reward_spec: the environment's.
        gamma: discount factor per environment step.
        control_interval: decisions after which it returns control to the level above; None: it
            keeps control until the episode ends.
        training: how it learns from its replay buffer; None for a level that stores nothing.
    """

    active_rows_only: bool = False
    """If True, only the environments that must decide are passed to the step."""
    asks_for_steps_below: bool = False
    """Whether the constructor takes `steps_below`: the product of the control intervals that the
    constructors of the levels below declare, 1 if one declares none."""
    sees_above: bool = False
    """Whether the level gets to know the level above: as the argument `above` of its constructor,
    and what that one observes as `LevelObservation.above`."""

    _FORMER_NAMES: ClassVar[dict[str, str]] = {
        "costly": "active_rows_only",
        "made_up_start": "symmetry_breaking_steps",
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Takes the former names of class attributes for one release."""
        super().__init_subclass__(**kwargs)
        for former, now in cls._FORMER_NAMES.items():
            if former in vars(cls):
                text = f"{cls.__name__}.{former} is {now} now"
                warnings.warn(text, DeprecationWarning, stacklevel=2)
                setattr(cls, now, vars(cls)[former])

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        gamma: float = 0.99,
        control_interval: int | None = None,
        training: TrainingOptions | None = None,
        train_state_spec: Nest = (),
        rollout_state_spec: Nest | None = None,
        predict_state_spec: Nest | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "Level",
    ) -> None:
        if checkpoint is not None:
            _check_name(name, checkpoint)
        if training is not None and config is not None:
            config = training.level_config(config)
        super().__init__(
            observation_spec=LevelObservation(observation=observation_spec, input=input_spec),
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=train_state_spec,
            rollout_state_spec=rollout_state_spec,
            predict_state_spec=predict_state_spec,
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._gamma = gamma
        self._control_interval = control_interval
        self._training = training
        self._offline: tuple[LevelReplayBuffer, ...] = ()
        self._pretrains = False
        self._recording = False
        if training is not None:
            self._update_clock = UpdateClock(training)

    @classmethod
    def options(cls, **arguments: Any) -> LevelConstructor:
        """A constructor of such a level with arguments bound, checked by their names.

        Raises:
            TypeError: it takes no argument of such a name.
        """
        return bind_options(cls, arguments)

    @property
    def gamma(self) -> float:
        """Discount factor per environment step."""
        return self._gamma

    @property
    def control_interval(self) -> int | None:
        """Decisions after which it returns control; None: it keeps it."""
        return self._control_interval

    @property
    def may_return_control(self) -> bool:
        """Whether something but the end of the episode gives control back to the level above."""
        has_own_rule = type(self).returns_control is not Level.returns_control
        return self._control_interval is not None or has_own_rule

    @property
    def input_spec(self) -> Nest:
        """The spec of what the level gets from above, `()` if nothing."""
        return self.observation_spec.input

    @property
    def training_options(self) -> TrainingOptions | None:
        """How the level learns; None if it stores nothing."""
        return self._training

    @property
    def learns(self) -> bool:
        """Whether it ever makes an update."""
        return self._training is not None and self._training.updates_per_transition > 0

    # ---- what a level may change of its semi-MDP ------------------------------------------------

    def returns_control(self, step: TimeStep, decisions: torch.Tensor) -> torch.Tensor:
        """Where control goes back to the level above, `[B]`, bool.

        Args:
            step: the time step `[B]` after a decision of this level, with the input that held then.
            decisions: `[B]`, int64, decisions made for this input.
        """
        if self._control_interval is None:
            return torch.zeros_like(decisions, dtype=torch.bool)
        return decisions >= self._control_interval

    def arrive(self, step: TimeStep) -> TimeStep:
        """The time step `[B]` that ends a decision, with this level's own reward and discount.

        `step` holds the environment's, and the input that held during the decision.
        """
        return step

    # ---- data and training ----------------------------------------------------------------------

    def observe_for_replay(self, exp: Experience) -> None:
        """Stores one record for each of the environments in `exp`, which may be any subset."""
        if self._training is not None:
            self._update_clock.add(self._store(exp))

    def _store(self, exp: Experience) -> int:
        """Puts records into the replay buffer, made if there is none; returns the transitions."""
        assert self._training is not None
        if self._replay_buffer is None:
            super().observe_for_replay(exp)  # ALF reads the specs off the first record
            self._replay_buffer = LevelReplayBuffer.in_place_of(
                cast("ReplayBuffer", self._replay_buffer),
                prioritized=self._training.priority_replay and not self._recording,
                name=f"{self.name}_replay_buffer",
            )
        outcomes = is_outcome(exp.time_step.step_type)
        count = int(outcomes.sum())
        if count < outcomes.numel():
            buffer = cast("LevelReplayBuffer", self._replay_buffer)
            buffer.end_episodes(exp.time_step.env_id, ~outcomes)
        super().observe_for_replay(exp)
        return count

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        """Makes the updates that new transitions pay for; returns how many steps it trained on."""
        if self._training is None:
            return 0
        buffer = cast("LevelReplayBuffer | None", self._replay_buffer)
        ready = buffer is not None and buffer.has_spans(self._training.mini_batch_length)
        updates = self._update_clock.take_due(ready)
        if updates == 0 or buffer is None:
            return 0
        share = self._training.offline_share
        if not self._offline or share == 0:
            return self._update_from(buffer, updates, update_global_counter)
        joined = JoinedReplayBuffer(
            [*self._offline, buffer], [*(share * x for x in self._offline_sizes()), 1 - share]
        )
        return self._update_from(joined, updates, update_global_counter)

    def _update_from(self, buffer: Any, updates: int, update_global_counter: bool = False) -> int:
        """Makes updates from what a buffer gives; returns how many steps it trained on."""
        own = self._replay_buffer
        self._config.num_updates_per_train_iter = updates
        self._replay_buffer = buffer
        try:
            return super().train_from_replay_buffer(update_global_counter)
        finally:
            self._replay_buffer = own

    # ---- offline data ---------------------------------------------------------------------------

    def record(
        self, records: Iterable[Experience], num_environments: int, length: int
    ) -> LevelReplayBuffer:
        """A replay buffer of this level's kind, which is not its own; its clock does not tick.

        Args:
            records: each as for `observe_for_replay()`, with `env_id` below `num_environments`.
            num_environments: of the buffer.
            length: records of each of them that it keeps.
        """
        own, self._replay_buffer = self._replay_buffer, None
        assert self._training is not None
        environments = self._replay_buffer_num_envs
        self._recording = True
        self.set_replay_buffer(num_environments, length)
        try:
            for exp in records:
                self._store(exp)
            return cast("LevelReplayBuffer", self._replay_buffer)
        finally:
            self._recording = False
            self._replay_buffer = own
            if environments is not None:
                self.set_replay_buffer(
                    environments,
                    self._training.replay_buffer_length,
                    self._training.priority_replay,
                )

    def use_offline(self, buffers: Sequence[LevelReplayBuffer]) -> None:
        """From now on the level learns from these too, as its `TrainingOptions` say."""
        self._offline = tuple(buffers)  # no modules of the level: they are not saved with it

    def pretrain(self) -> int:
        """An iteration of updates from offline data alone; returns how many steps it trained on."""
        if self._training is None or self._training.offline_updates == 0 or not self._offline:
            return 0
        joined = JoinedReplayBuffer(self._offline, self._offline_sizes())
        self._pretrains = True
        try:
            return self._update_from(joined, self._training.offline_updates)
        finally:
            self._pretrains = False

    def _offline_sizes(self) -> list[float]:
        """The share of each offline buffer in all of them."""
        sizes = [buffer.total_size for buffer in self._offline]
        return [size / sum(sizes) for size in sizes]

    def told_step(self, inputs: TimeStep, state: Nest, decision: Nest) -> AlgStep:
        """`rollout_step()`, had the level decided for `decision`: what it would have stored.

        Raises:
            ValueError: the level cannot learn from what others decided.
        """
        if self._training is not None and self._training.uses_offline_data:
            raise ValueError(
                f"level {self.name!r}, a {type(self).__name__}, cannot learn from data of a run "
                "without it; allowed in TrainerConfig.offline_buffer_dir: a run with this level; "
                "or leave it out: TrainingOptions(offline_updates=0, offline_share=0)"
            )
        return self.rollout_step(inputs, state)._replace(output=decision)

    def reached_input(self, observation: LevelObservation) -> Nest | None:
        """The input `[B, ...]` that a level has fulfilled which observes this; None: nobody knows.

        What a level above must have asked for, had all been done for it.
        """
        return None

    # ---- evaluation -----------------------------------------------------------------------------

    def predict_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        """Decides without exploring; `info` is `()`."""
        step = self.rollout_step(inputs, state)
        return step._replace(info=()) if isinstance(step, AlgStep) else step


def _check_name(name: str, checkpoint: str) -> None:
    """Raise `ValueError` if a level is to begin with what another one has learned.

    Levels often have the same shapes, so that nothing else would tell.
    """
    prefix = checkpoint.rpartition("@")[0]
    found = re.fullmatch(r"level_\d+_(.+)", prefix.rpartition(".")[2])
    if found and found[1] != name:
        raise ValueError(
            f"{name}: checkpoint={checkpoint!r} is of the level {found[1]!r}; allowed: that of a "
            f"level of this name (if it is meant, give this one the name: name={found[1]!r})"
        )
