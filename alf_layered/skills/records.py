"""What a skill level shows its algorithm, remembers and stores, and what a reward is computed from.

Axis letters: B environments, R rows, S state and C context of the level above.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from alf.data_structures import namedtuple

Nest = Any

SkillInput = namedtuple("SkillInput", ["skill", "start", "time"], default_value=())
SkillInput.__doc__ = """What a skill's decisions depend on besides the observation.

Fields:
    skill: `[B, ...]`, the level's input.
    start: `[B, S]`, where the skill began, or how far it has come since; or `()`.
    time: `[B]`, share of its duration that has passed; or `()`.
"""

SkillState = namedtuple("SkillState", ["algorithm", "start", "step"], default_value=())
SkillState.__doc__ = """What is remembered of an environment.

Fields:
    algorithm: the algorithm's own state.
    start: what the level above observed where the skill began, `[B, ...]`. It is encoded when it is
        needed, because encoders are learned.
    step: `[B]`, int64, decisions of the skill so far.
"""

SkillInfo = namedtuple("SkillInfo", ["algorithm", "start", "step"], default_value=())
SkillInfo.__doc__ = """What is stored with a decision: the `SkillState` that it was made in, with
the own info of the algorithm instead of its state."""


class SkillRows(NamedTuple):
    """Decisions whose reward is asked for.

    Fields:
        skill: `[R, ...]`.
        start: `[R, S]`, state of the level above where the skill began.
        context: `[R, C]`.
        before: `[R, S]`, state at the decision.
        after: `[R, S]`, state that it led to.
        over: `[R]`, bool, whether it is the skill's last.
        observation: `[R, ...]`, what the level observes then.
    """

    skill: Tensor
    start: Tensor
    context: Tensor
    before: Tensor
    after: Tensor
    over: Tensor
    observation: Nest
