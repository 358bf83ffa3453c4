"""What a hierarchy remembers of each level, and what each level stores of an environment step.

Axis letters: B environments.
"""

from __future__ import annotations

from alf.data_structures import namedtuple

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
