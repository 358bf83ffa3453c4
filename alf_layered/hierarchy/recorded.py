"""What the levels of a hierarchy would have stored in episodes that were recorded without it.

The levels are told what they decided: the bottom one the actions of the record; each upper one,
whose decisions must be goals, what the record reached by the end of the decision. So the levels
below have always done what they were asked for (hindsight: Levy et al. 2019, arXiv 1712.00948;
Park et al. 2023, arXiv 2307.11949).

Axis letters: E episodes, T environment steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

import alf
from alf.data_structures import Experience, StepType
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.nest.utils import convert_device
from alf_layered.hierarchy.level import Level
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.rows import take_rows

Nest = Any


class Episodes(NamedTuple):
    """Recorded episodes, padded at the end with their last record.

    Fields:
        records: time steps and actions `[T, E, ...]`.
        length: `[E]`, int64, records of each.
    """

    records: Experience
    length: torch.Tensor


def episodes_in(buffer: ReplayBuffer) -> Episodes:
    """The episodes of a replay buffer: FIRST to LAST; what was cut begins and ends there.

    Raises:
        ValueError: there is no transition.
    """
    sizes, slots = buffer._current_size, buffer._buffer.time_step.step_type.shape[1]
    envs = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    number = torch.arange(len(envs), device=sizes.device)
    number = number - (sizes.cumsum(0) - sizes)[envs]
    where = (buffer._current_pos - sizes)[envs] + number
    records = alf.nest.map_structure(lambda x: x[envs, where % slots], buffer._buffer)
    begins = (records.time_step.step_type == int(StepType.FIRST)) | (number == 0)
    episode = begins.cumsum(0) - 1
    length = torch.bincount(episode) if len(episode) else episode
    known = length >= 2
    if not bool(known.any()):
        raise ValueError(f"{buffer.name}: no episode has a transition")
    start = (length.cumsum(0) - length)[known]
    length = length[known]
    at_TE = torch.arange(int(length.max()), device=sizes.device)[:, None]
    index_TE = start + torch.minimum(at_TE, length - 1)
    padded = alf.nest.map_structure(lambda x: x[index_TE], records)
    step_type = torch.full_like(padded.time_step.step_type, int(StepType.MID))
    step_type[0] = int(StepType.FIRST)
    step_type[at_TE >= length - 1] = int(StepType.LAST)
    time_step = padded.time_step._replace(step_type=step_type)
    return convert_device(Episodes(padded._replace(time_step=time_step), length))


def level_buffers(agent: Any, episodes: Episodes) -> list[LevelReplayBuffer | None]:
    """A replay buffer of each level that learns from offline data, one row for each episode.

    Args:
        agent: the `HierarchyAgent`.
        episodes: with the environment's raw observations.

    Raises:
        ValueError: nobody can say what a level would have decided, or it cannot learn from that.
    """
    records = list(_told(agent, episodes))
    buffers: list[LevelReplayBuffer | None] = []
    for i, level in enumerate(agent.levels):
        options = level.training_options
        if options is None or not options.uses_offline_data:
            buffers.append(None)
            continue
        stored = [exp for of_step in records for exp in of_step[i]]
        count = torch.cat([exp.time_step.env_id for exp in stored]).long().bincount()
        buffers.append(level.record(stored, len(episodes.length), int(count.max())))
    return buffers


@torch.no_grad()
def _told(agent: Any, episodes: Episodes) -> Iterator[list[list[Experience]]]:
    """For each environment step the records of each level."""
    steps = list(_transformed(agent, episodes))
    count = len(episodes.length)
    ids = torch.arange(count, dtype=torch.int32, device=episodes.length.device)
    state = agent.get_initial_rollout_state(count)
    goals = _Goals(agent, [step.observation for step in steps], episodes.length)
    for t, step in enumerate(steps):
        decisions = [
            *goals.at(t),
            alf.nest.map_structure(lambda x, t=t: x[t], episodes.records.action),
        ]
        inputs = step._replace(env_id=ids, env_info=())
        result = agent.told_step(inputs, state, decisions)
        state = result.state
        is_there = t < episodes.length
        yield [
            [
                Experience(
                    time_step=r.time_step, action=r.action, rollout_info=r.info, state=r.state
                )
                for record in (of_level.closing, of_level.deciding)
                if record != () and bool((record.mask & is_there).any())
                for r in [take_rows(record.mask & is_there, record._replace(mask=()))]
            ]
            for of_level in result.info
        ]


def _transformed(agent: Any, episodes: Episodes) -> Iterator[Any]:
    """The time steps `[E, ...]` as the agent sees them, one after the other."""
    time_steps = episodes.records.time_step
    state = agent.get_initial_transform_state(len(episodes.length))
    for t in range(len(time_steps.step_type)):
        step = alf.nest.map_structure(lambda x, t=t: x[t], time_steps)
        step, state = agent.transform_timestep(step, state)
        yield step


class _Goals:
    """What each level but the bottom one must have asked for."""

    def __init__(self, agent: Any, observations: Sequence[Nest], length: torch.Tensor) -> None:
        self._agent = agent
        self._observations = alf.nest.map_structure(lambda *xs: torch.stack(xs), *observations)
        self._last = length - 1
        self._steps = [_env_steps(agent.levels[i + 1 :]) for i in range(len(agent.levels) - 1)]
        self._rows = torch.arange(len(length), device=length.device)

    def at(self, t: int) -> list[Nest]:
        """Decisions `[E, ...]` of step `t`, of each level but the bottom one."""
        return [self._of_level(i, t) for i in range(len(self._steps))]

    def _of_level(self, index: int, t: int) -> Nest:
        lower = self._agent.levels[index + 1]
        steps = self._steps[index]
        end = self._last if steps is None else self._last.clamp(max=t + steps)
        later = alf.nest.map_structure(lambda x: x[end, self._rows], self._observations)
        goal = lower.reached_input(self._agent.observe(later, index + 1))
        if goal is None:
            raise ValueError(
                f"TrainerConfig.offline_buffer_dir: what level {lower.name!r} was asked for cannot "
                "be seen in data of a run without it; allowed: a run with this hierarchy, or "
                "levels with Goal(...) below the top one"
            )
        return goal


def _env_steps(levels: Sequence[Level]) -> int | None:
    """Environment steps after which these levels have returned control; None: never."""
    intervals = [level.control_interval for level in levels]
    if any(k is None for k in intervals):
        return None
    return math.prod(k for k in intervals if k is not None)
