"""`HierarchyAgent`: folds a list of levels into one ALF algorithm.

One environment step: every level's clock ticks; going up, it is settled who decides; going down,
each level that decides gets its time step and its input, and its decision is held until it decides
again. All of this lives in the rollout state, so that vectorisation, resets, evaluation and
asynchronous unrolls need no code. Data reach the levels' replay buffers in `observe_for_replay`
alone.

Axis letters: B environments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, Experience, StepType, TimeStep, namedtuple
from alf.tensor_specs import TensorSpec
from alf_layered.hierarchy import clock as clocks
from alf_layered.hierarchy.assembly import (
    bind_maps,
    build_levels,
    check_levels,
    joint_specs,
)
from alf_layered.hierarchy.bounds import Bounds
from alf_layered.hierarchy.joints import Joint
from alf_layered.hierarchy.level import Level, LevelCtor, LevelObservation
from alf_layered.hierarchy.observation_maps import ObservationMap, select
from alf_layered.hierarchy.returned_values import check_arrival, check_flags, check_step
from alf_layered.hierarchy.rows import coverage, on_rows, take_rows, where_rows
from alf_layered.hierarchy.trainer_fit import check_config, check_levels_can_train
from alf_layered.hierarchy.transitions import with_reached

Nest = Any

LevelState = namedtuple(
    "LevelState", ["algorithm", "decision", "clock", "decisions"], default_value=()
)
LevelState.__doc__ = """One level's part of the rollout state.

Fields:
    algorithm: the level's own state.
    decision: `[B, ...]`, the decision that is held.
    clock: `Clock` of that decision.
    decisions: `[B]`, int64, decisions made for the present input, the held one included.
"""

LevelRecord = namedtuple(
    "LevelRecord", ["mask", "time_step", "action", "info", "state"], default_value=()
)
LevelRecord.__doc__ = """What a level has to store of one environment step.

Fields:
    mask: `[B]`, bool, the environments which have a record.
    time_step: the level's `TimeStep`, `[B, ...]`; rows outside the mask mean nothing.
    action: `[B, ...]`, its decision.
    info: `[B, ...]`, its rollout info.
    state: `[B, ...]`, its state before this step, where its algorithm trains from it, else `()`.
"""

LevelRecords = namedtuple("LevelRecords", ["closing", "deciding"], default_value=())
LevelRecords.__doc__ = """The records of one level.

Fields:
    closing: LAST steps at a joint, with the old input; `()` for the top level.
    deciding: the steps at which it decides, and LAST steps at the end of the episode.
"""

Turn = namedtuple("Turn", ["due", "joint", "arriving", "clock", "decisions"], default_value=())
Turn.__doc__ = """What happens to one level at one environment step.

Fields:
    due: `[B]`, bool, where the level's decision is over: it decides, or its episode ends.
    joint: `[B]`, bool, where it gets a new input in the middle of the environment's episode.
    arriving: the `TimeStep` that ends its decision, with the input that held;
        `env_info["returned"]` says where it then returns control, the top level to itself.
    clock: `Clock` after the tick.
    decisions: `[B]`, decisions made for the present input.
"""


@alf.configurable
class HierarchyAgent(OffPolicyAlgorithm):
    """Levels as one ALF algorithm, for ALF's trainer, replay buffers and checkpoints.

    Args:
        observation_spec: the environment's.
        action_spec: the environment's.
        reward_spec: the environment's.
        levels: one constructor for each level, most abstract first, called with `observation_spec`,
            `action_spec`, `input_spec`, `reward_spec`, `config`, `debug_summaries` and `name`.
        joints: one for each pair of neighbouring levels: the spec of what passes from the upper to
            the lower one, or a function from the observation spec to it. None: the lower levels
            declare their `input_spec` themselves.
        observation_maps: what each level sees of the environment; None: everything.
        joint_end: what a level sees where its input changes in the middle of the environment's
            episode: "bootstrap": a LAST step with the old input and discount as is, then a FIRST
            step with the new one; "continue": one MID step with the new input, which remembers the
            old one (see `transitions.reached`).
        reward_mode: "discounted": a decision of k environment steps earns `sum_j gamma^j r_j` and
            is discounted by `gamma^k`; "mean": it earns the mean reward per environment step and
            is discounted by `gamma` (LayeredRL's convention).
        env: the training environment; only ALF's trainer gives one.
        config: the trainer's; each level gets a copy with its own settings.
    """

    _level_names: Sequence[str] = ()  # ALF's base constructor asks for them

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        reward_spec: TensorSpec = TensorSpec(()),
        levels: Sequence[LevelCtor] = (),
        joints: Sequence[Joint] | None = None,
        observation_maps: Sequence[ObservationMap | select | None] | None = None,
        joint_end: Literal["bootstrap", "continue"] = "bootstrap",
        reward_mode: Literal["discounted", "mean"] = "discounted",
        env: Any = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "HierarchyAgent",
    ) -> None:
        _check_choice("joint_end", joint_end, ("bootstrap", "continue"))
        _check_choice("reward_mode", reward_mode, ("discounted", "mean"))
        check_levels(levels)
        check_config(config)
        maps = bind_maps(observation_maps, len(levels), observation_spec)
        built = build_levels(
            levels,
            observation_specs=[m.spec for m in maps],
            joints=joint_specs(joints, levels, observation_spec),
            action_spec=action_spec,
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
            discounts_time=reward_mode == "discounted",
        )
        clock_spec = clocks.clock_spec(reward_spec)

        def state_spec(algorithm_specs: Sequence[Nest]) -> tuple[LevelState, ...]:
            return tuple(
                LevelState(
                    algorithm=spec,
                    decision=level.action_spec,
                    clock=clock_spec,
                    decisions=TensorSpec((), dtype=torch.int64),
                )
                for level, spec in zip(built, algorithm_specs, strict=True)
            )

        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=(),
            rollout_state_spec=state_spec([level.rollout_state_spec for level in built]),
            predict_state_spec=state_spec([level.predict_state_spec for level in built]),
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        # Before the levels: a module is saved under the first path that leads to it, and ALF's
        # checkpointer keeps what begins with "_replay_buffer." in a file of its own.
        self._replay_buffer = nn.ModuleDict()
        self._level_names = [f"level_{i}_{level.name}" for i, level in enumerate(built)]
        for level_name, level in zip(self._level_names, built, strict=True):
            self.add_module(level_name, level)
        self._maps = maps
        self._bounds = {n: Bounds(level.action_spec) for n, level in self._named_levels()}
        self._continues = joint_end == "continue"
        self._averages_reward = reward_mode == "mean"
        self._record_infos: dict[tuple[str, str], Nest] = {}
        self._has_arrived: set[int] = set()
        self._ensure_summary = alf.summary.EnsureSummary()
        if env is not None:
            assert config is not None, "only ALF's trainer gives an environment"
            check_levels_can_train(built, config, env.batch_size)
            for level in built:
                options = level.training_options
                if options is not None:
                    level.set_replay_buffer(
                        env.batch_size, options.replay_buffer_length, options.priority_replay
                    )

    @property
    def levels(self) -> list[Level]:
        """The levels, most abstract first."""
        return [getattr(self, name) for name in self._level_names]

    def observe(self, observation: Nest, index: int) -> LevelObservation:
        """The environment's observation as level `index` sees it, without an input."""
        return LevelObservation(self._maps[index](observation))

    def _named_levels(self) -> list[tuple[str, Level]]:
        return list(zip(self._level_names, self.levels, strict=True))

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: tuple[LevelState, ...]) -> AlgStep:
        """Steps every level that is due; `info` holds one `LevelRecords` for each level."""
        return self._step(inputs, state, "rollout_step")

    def predict_step(self, inputs: TimeStep, state: tuple[LevelState, ...]) -> AlgStep:
        result = self._step(inputs, state, "predict_step")
        return result._replace(info=())

    def _step(self, inputs: TimeStep, state: tuple[LevelState, ...], method: str) -> AlgStep:
        turns = self._turns(inputs, state)
        new_state, records, decisions = [], [], [()]
        for (name, level), turn, level_state in zip(
            self._named_levels(), turns, state, strict=True
        ):
            held, record = self._level_step(
                name, level, turn, level_state, decisions, inputs, method
            )
            decisions.append(held.decision)
            new_state.append(held)
            records.append(record)
        return AlgStep(output=decisions[-1], state=tuple(new_state), info=tuple(records))

    def _turns(self, inputs: TimeStep, state: tuple[LevelState, ...]) -> list[Turn]:
        """Who decides at this step: from the bottom up, a level does where the one below returns
        control.
        """
        begins, ends = inputs.is_first(), inputs.is_last()
        due = torch.ones_like(begins)
        turns: list[Turn] = []
        levels = self.levels
        for i in reversed(range(len(levels))):
            level = levels[i]
            ticked = self._tick(level, state[i].clock, inputs)
            held = [(), *(s.decision for s in state[:i])]
            arriving = self._arriving(level, i, inputs, held, state[i], ticked)
            decisions = state[i].decisions
            returns = due
            if i > 0:
                flags = level.returns_control(arriving, decisions)
                check_flags(flags, level=level.name, rows=len(due))
                returns = due & flags
            # What ends a level's input, its own end or the environment's, is known here alone.
            arriving = arriving._replace(env_info={**arriving.env_info, "returned": returns})
            above_due = returns | begins | ends
            turns.append(
                Turn(
                    due=due,
                    joint=above_due & ~begins & ~ends if i > 0 else torch.zeros_like(due),
                    arriving=arriving,
                    clock=ticked,
                    decisions=decisions,
                )
            )
            due = above_due
        return turns[::-1]

    def _tick(self, level: Level, clock: clocks.Clock, inputs: TimeStep) -> clocks.Clock:
        gamma = 1.0 if self._averages_reward else level.gamma
        return clocks.tick(clock, inputs.reward, inputs.discount, gamma)

    def _arriving(
        self,
        level: Level,
        index: int,
        inputs: TimeStep,
        held: Sequence[Nest],
        state: LevelState,
        clock: clocks.Clock,
    ) -> TimeStep:
        """The level's time step at the end of its decision, with the input that held."""
        if self._averages_reward:
            reward, discount = clocks.mean_reward(clock), clock.discount
            passage = torch.ones_like(discount)
        else:
            reward, discount = clock.reward, clocks.step_discount(clock, level.gamma)
            passage = clocks.passage(clock, level.gamma)
        last = torch.full_like(inputs.step_type, int(StepType.LAST))
        step = TimeStep(
            step_type=torch.where(inputs.is_last(), last, int(StepType.MID)),
            reward=reward,
            discount=discount,
            observation=self._observation(level, index, inputs, held),
            prev_action=state.decision,
            env_id=inputs.env_id,
            env_info={"passage": passage, "steps": clock.steps},
        )
        arrived = level.arrive(step)
        if index not in self._has_arrived:
            check_arrival(arrived, step, level=level.name)
            self._has_arrived.add(index)
        return arrived

    def _observation(
        self, level: Level, index: int, inputs: TimeStep, decisions: Sequence[Nest]
    ) -> LevelObservation:
        """What a level observes while the `decisions` of those above, `()` first, hold."""
        above = ()
        if level.sees_above:
            above = LevelObservation(self._maps[index - 1](inputs.observation), decisions[-2])
        return LevelObservation(self._maps[index](inputs.observation), decisions[-1], above)

    def _level_step(
        self,
        name: str,
        level: Level,
        turn: Turn,
        state: LevelState,
        decisions_above: Sequence[Nest],
        inputs: TimeStep,
        method: str,
    ) -> tuple[LevelState, LevelRecords]:
        """Ends the level's episode where its input changes and lets it decide where it is due."""
        begins, joint, arriving = inputs.is_first(), turn.joint, turn.arriving
        algorithm_state = state.algorithm
        closing = ()
        if not self._continues and alf.nest.flatten(level.input_spec):
            last = torch.full_like(arriving.step_type, int(StepType.LAST))
            closing_step = arriving._replace(step_type=last)
            closed = self._call(name, level, method, joint, closing_step, state)
            closing = _record(level, joint, closing_step, closed, state.algorithm)
            begins = begins | joint
            if alf.nest.flatten(algorithm_state):
                zeros = alf.nest.map_structure(torch.zeros_like, algorithm_state)
                algorithm_state = where_rows(begins, zeros, algorithm_state)
        step = self._deciding(arriving, begins, decisions_above)
        if self._continues and alf.nest.flatten(level.input_spec):
            step = with_reached(step, arriving.observation)
        state = state._replace(algorithm=algorithm_state)
        decided = self._call(name, level, method, turn.due, step, state)
        new_input = joint | inputs.is_first()
        held = LevelState(
            algorithm=decided.state,
            # At the end of the episode nothing new is decided: levels below see their old input.
            decision=where_rows(inputs.is_last(), state.decision, decided.output),
            clock=where_rows(turn.due, clocks.start(turn.clock), turn.clock),
            decisions=torch.where(new_input, 0, turn.decisions) + turn.due.long(),
        )
        deciding = _record(level, turn.due, step, decided, algorithm_state)
        return held, LevelRecords(closing=closing, deciding=deciding)

    @staticmethod
    def _deciding(arriving: TimeStep, begins: torch.Tensor, decisions: Sequence[Nest]) -> TimeStep:
        """The time step at which a level decides: with the new input, FIRST where `begins`.

        Args:
            arriving: the time step that ended the decision before.
            begins: `[B]`, bool.
            decisions: what has been decided above, `()` first.
        """
        observation = arriving.observation._replace(input=decisions[-1])
        if observation.above != ():
            observation = observation._replace(
                above=observation.above._replace(input=decisions[-2])
            )
        if coverage(begins) == 0.0:
            return arriving._replace(observation=observation)
        first = torch.full_like(arriving.step_type, int(StepType.FIRST))
        nothing = alf.nest.map_structure(torch.zeros_like, arriving._replace(observation=()))
        step = where_rows(
            begins,
            nothing._replace(
                step_type=first,
                discount=torch.ones_like(arriving.discount),
                env_id=arriving.env_id,
            ),
            arriving._replace(observation=()),
        )
        return step._replace(observation=observation)

    def _call(
        self,
        name: str,
        level: Level,
        method: str,
        mask: torch.Tensor,
        step: TimeStep,
        state: LevelState,
    ) -> AlgStep:
        """Steps the level where `mask`; elsewhere its state and decision stay as they are."""
        function: Callable[[TimeStep, Nest], AlgStep] = getattr(level, method)
        info = self._record_infos.get((name, method))
        if info is None:  # what a level's info looks like shows at its first step
            result = function(step, state.algorithm)
            check_step(
                result,
                level=level.name,
                method=method,
                rows=len(mask),
                action_spec=level.action_spec,
                state_spec=(
                    level.rollout_state_spec
                    if method == "rollout_step"
                    else level.predict_state_spec
                ),
            )
            result = self._bounded(name, result)
            self._record_infos[name, method] = alf.nest.map_structure(
                lambda x: torch.zeros_like(x[:1]), result.info
            )
        else:
            if any(x.shape[0] != mask.shape[0] for x in alf.nest.flatten(info)):
                info = alf.nest.map_structure(
                    lambda x: x[:1].expand(mask.shape[0], *x.shape[1:]), info
                )
                self._record_infos[name, method] = info
            otherwise = AlgStep(output=state.decision, state=state.algorithm, info=info)
            if level.costly:
                return on_rows(
                    mask,
                    lambda rows: self._bounded(name, function(*rows)),
                    (step, state.algorithm),
                    otherwise,
                )
            if not bool(mask.any()):
                return otherwise
            result = self._bounded(name, function(step, state.algorithm))
        kept = AlgStep(output=state.decision, state=state.algorithm, info=result.info)
        return where_rows(mask, result, kept)

    def _bounded(self, name: str, result: AlgStep) -> AlgStep:
        """What the level decided, inside the bounds of its spec."""
        return result._replace(output=self._bounds[name].clip(result.output))

    # ---- data and training ----------------------------------------------------------------------

    def observe_for_replay(self, exp: Experience) -> None:
        """Hands each level its records; levels fill at different rates and never wait for one
        another.
        """
        for (name, level), records in zip(self._named_levels(), exp.rollout_info, strict=True):
            if level.training_options is None:
                continue
            for record in (records.closing, records.deciding):
                if record == () or not bool(record.mask.any()):
                    continue
                rows = take_rows(record.mask, record._replace(mask=()))
                level.observe_for_replay(
                    Experience(
                        time_step=rows.time_step,
                        action=rows.action,
                        rollout_info=rows.info,
                        state=rows.state,
                    )
                )
            self._replay_buffer[name] = level._replay_buffer

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        """Trains every level from its own replay buffer; returns the number of steps trained on."""
        self._ensure_summary.tick()
        steps = 0
        with self._ensure_summary:
            for name, level in self._named_levels():
                with alf.summary.scope(name):
                    steps += level.train_from_replay_buffer(update_global_counter=False)
        return steps

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        """Tells the levels that an iteration is over; what they saw has no common length."""
        for name, level in self._named_levels():
            with alf.summary.scope(name):
                level.after_train_iter(None, None)

    def _looks_at_unroll(self) -> bool:
        """The engine asks whether it has to keep an unroll; upstream ALF always does."""
        return alf.summary.should_record_summaries()

    def set_path(self, path: str) -> None:
        super().set_path(path)
        for level in self.levels:
            level.set_path("")  # the path inside its own replay buffer

    def activate_ddp(self, rank: int) -> None:
        for level in self.levels:
            level.activate_ddp(rank)

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_replay_buffer", *self._level_names]


def _record(
    level: Level, mask: torch.Tensor, step: TimeStep, decided: AlgStep, state: Nest
) -> LevelRecord:
    """What a level stores of a step that it made from `state`."""
    return LevelRecord(
        mask=mask,
        time_step=step,
        action=decided.output,
        info=decided.info,
        state=state if level.use_rollout_state else (),
    )


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, it must be one of {list(allowed)}")
