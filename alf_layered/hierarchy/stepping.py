"""One environment step of a hierarchy: which levels decide, and with what time step.

The clock of every level ticks. Bottom-up, a level decides where the level below returns control.
Top-down, each level that decides gets its time step and its input; its decision is held until it
decides again.

Axis letters: B environments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

import alf
from alf.data_structures import AlgStep, StepType, TimeStep
from alf_layered.hierarchy import clock as clocks
from alf_layered.hierarchy.bounds import Bounds
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.records import LevelRecord, LevelRecords, LevelState
from alf_layered.hierarchy.returned_values import check_arrival, check_flags, check_step
from alf_layered.hierarchy.rows import coverage, on_rows, where_rows
from alf_layered.hierarchy.transitions import with_reached

Nest = Any
Step = Callable[[TimeStep, Nest], AlgStep]


class Turn(NamedTuple):
    """What happens to one level at one environment step.

    Fields:
        due: `[B]`, bool, where the level's decision is over: it decides, or its episode ends.
        joint: `[B]`, bool, where it gets a new input in the middle of the environment's episode.
        arriving: the `TimeStep` that ends its decision, with the input that held;
            `env_info["returned"]` says where it then returns control, the top level to itself.
        clock: `Clock` after the tick.
        decisions: `[B]`, decisions made for the present input.
    """

    due: torch.Tensor
    joint: torch.Tensor
    arriving: TimeStep
    clock: clocks.Clock
    decisions: torch.Tensor


class Stepping:
    """Steps levels; all state of environments comes in and goes out.

    Args:
        levels: most abstract first.
        maps: for each level the function from the environment's observation to what it sees.
        continues: whether a new input is shown in a MID step; otherwise a LAST step ends the old
            one and a FIRST step begins the new one.
        averages_reward: whether a decision earns the mean reward per environment step.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        maps: Sequence[Callable[[Nest], Nest]],
        *,
        continues: bool,
        averages_reward: bool,
    ) -> None:
        self._levels = list(levels)
        self._maps = list(maps)
        self._bounds = [Bounds(level.action_spec) for level in levels]
        self._continues = continues
        self._averages_reward = averages_reward
        self._record_infos: dict[tuple[int, str], Nest] = {}
        self._has_arrived: set[int] = set()

    def step(
        self,
        inputs: TimeStep,
        state: tuple[LevelState, ...],
        method: str,
        told: Sequence[Nest] | None = None,
    ) -> AlgStep:
        """Steps every level that is due; `info` holds one `LevelRecords` for each level.

        Args:
            inputs: the environment's.
            state: one `LevelState` for each level.
            method: of the levels: "rollout_step" or "predict_step".
            told: for each level the decisions `[B, ...]` of those that are due, which then have
                their `told_step` called; None: they decide themselves.
        """
        turns = self._turns(inputs, state)
        new_state, records, decisions = [], [], [()]
        for i, (turn, level_state) in enumerate(zip(turns, state, strict=True)):
            do: Any = (
                method if told is None else partial(self._levels[i].told_step, decision=told[i])
            )
            held, record = self._level_step(i, turn, level_state, decisions, inputs, do)
            decisions.append(held.decision)
            new_state.append(held)
            records.append(record)
        return AlgStep(output=decisions[-1], state=tuple(new_state), info=tuple(records))

    def _turns(self, inputs: TimeStep, state: tuple[LevelState, ...]) -> list[Turn]:
        """Finds which levels decide, bottom-up: a level decides where the level below returns
        control.
        """
        begins, ends = inputs.is_first(), inputs.is_last()
        due = torch.ones_like(begins)
        turns: list[Turn] = []
        for i in reversed(range(len(self._levels))):
            level = self._levels[i]
            ticked = self._tick(level, state[i].clock, inputs)
            held = [(), *(s.decision for s in state[:i])]
            arriving = self._arriving(i, inputs, held, state[i], ticked)
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
        index: int,
        inputs: TimeStep,
        held: Sequence[Nest],
        state: LevelState,
        clock: clocks.Clock,
    ) -> TimeStep:
        """The level's time step at the end of its decision, with the input that held."""
        level = self._levels[index]
        if self._averages_reward:
            reward, discount = clocks.mean_reward(clock), clock.discount
            time_discount = torch.ones_like(discount)
        else:
            reward, discount = clock.reward, clocks.step_discount(clock, level.gamma)
            time_discount = clocks.time_discount(clock, level.gamma)
        last = torch.full_like(inputs.step_type, int(StepType.LAST))
        step = TimeStep(
            step_type=torch.where(inputs.is_last(), last, int(StepType.MID)),
            reward=reward,
            discount=discount,
            observation=self._observation(index, inputs, held),
            prev_action=state.decision,
            env_id=inputs.env_id,
            env_info={"time_discount": time_discount, "steps": clock.steps},
        )
        arrived = level.arrive(step)
        if index not in self._has_arrived:
            check_arrival(arrived, step, level=level.name)
            self._has_arrived.add(index)
        return arrived

    def _observation(
        self, index: int, inputs: TimeStep, decisions: Sequence[Nest]
    ) -> LevelObservation:
        """What a level observes while the `decisions` of those above, `()` first, hold."""
        above = ()
        if self._levels[index].sees_above:
            above = LevelObservation(self._maps[index - 1](inputs.observation), decisions[-2])
        return LevelObservation(self._maps[index](inputs.observation), decisions[-1], above)

    def _level_step(
        self,
        index: int,
        turn: Turn,
        state: LevelState,
        decisions_above: Sequence[Nest],
        inputs: TimeStep,
        method: str | Step,
    ) -> tuple[LevelState, LevelRecords]:
        """Ends the level's episode where its input changes and lets it decide where it is due."""
        level = self._levels[index]
        begins, joint, arriving = inputs.is_first(), turn.joint, turn.arriving
        algorithm_state = state.algorithm
        closing = ()
        if not self._continues and alf.nest.flatten(level.input_spec):
            last = torch.full_like(arriving.step_type, int(StepType.LAST))
            closing_step = arriving._replace(step_type=last)
            closed = self._call(index, method, joint, closing_step, state)
            closing = _record(level, joint, closing_step, closed, state.algorithm)
            begins = begins | joint
            if alf.nest.flatten(algorithm_state):
                zeros = alf.nest.map_structure(torch.zeros_like, algorithm_state)
                algorithm_state = where_rows(begins, zeros, algorithm_state)
        step = self._deciding(arriving, begins, decisions_above)
        if self._continues and alf.nest.flatten(level.input_spec):
            step = with_reached(step, arriving.observation)
        state = state._replace(algorithm=algorithm_state)
        decided = self._call(index, method, turn.due, step, state)
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
        index: int,
        method: str | Step,
        mask: torch.Tensor,
        step: TimeStep,
        state: LevelState,
    ) -> AlgStep:
        """Steps the level where `mask`; elsewhere its state and decision stay as they are."""
        if not isinstance(method, str):
            result = self._bounded(index, method(step, state.algorithm))
            kept = AlgStep(output=state.decision, state=state.algorithm, info=result.info)
            return where_rows(mask, result, kept)
        level = self._levels[index]
        function: Step = getattr(level, method)
        info = self._record_infos.get((index, method))
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
            result = self._bounded(index, result)
            self._record_infos[index, method] = alf.nest.map_structure(
                lambda x: torch.zeros_like(x[:1]), result.info
            )
        else:
            if any(x.shape[0] != mask.shape[0] for x in alf.nest.flatten(info)):
                info = alf.nest.map_structure(
                    lambda x: x[:1].expand(mask.shape[0], *x.shape[1:]), info
                )
                self._record_infos[index, method] = info
            otherwise = AlgStep(output=state.decision, state=state.algorithm, info=info)
            if level.active_rows_only:
                return on_rows(
                    mask,
                    lambda rows: self._bounded(index, function(*rows)),
                    (step, state.algorithm),
                    otherwise,
                )
            if not bool(mask.any()):
                return otherwise
            result = self._bounded(index, function(step, state.algorithm))
        kept = AlgStep(output=state.decision, state=state.algorithm, info=result.info)
        return where_rows(mask, result, kept)

    def _bounded(self, index: int, result: AlgStep) -> AlgStep:
        """What the level decided, inside the bounds of its spec."""
        return result._replace(output=self._bounds[index].clip(result.output))


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
