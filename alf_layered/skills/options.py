"""How skill rewards are measured and what follows a skill: settings that all skill levels share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, FINITE, check_fields
from alf_layered.skills.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class SkillOptions:
    """Settings; schedules are functions of the level's own transitions.

    Attributes:
        n_skill_samples: N, skills of the prior that the own one is compared with.
        fixed_std: deviation, where changes of state are standardised, below which skills do not
            push one another away; "usual": that of the level's class, 1 for DADS and 0.1 for
            SPlaTES; None: the model's own.
        clip_low: rewards below count as this.
        clip_high: rewards above count as this.
        normalize: whether rewards are divided by their running deviation.
        center: whether their mean is subtracted before; this changes the task.
        offset: added to the reward of every decision, at the very end.
        after_skill: what the value at the end of a skill is, whether it ends at its time or
            before: "average" over the skills that may follow, "nothing", or that of the "same" one,
            which begins anew. With `joint_end="continue"` of the agent the next record holds the
            skill that did follow, and its value counts unless this is "nothing".
    """

    n_skill_samples: int = 100
    fixed_std: float | Schedule | Literal["usual"] | None = "usual"
    clip_low: float | Schedule = -50.0
    clip_high: float | Schedule = 50.0
    normalize: bool = True
    center: bool = False
    offset: float = 0.0
    after_skill: Literal["average", "nothing", "same"] = "average"

    def __post_init__(self) -> None:
        check_fields(
            self,
            n_skill_samples=AT_LEAST_1,
            fixed_std=AT_LEAST_0,
            clip_low=FINITE,
            clip_high=FINITE,
            offset=FINITE,
        )
        if self.center and not self.normalize:
            raise ValueError("center=True needs normalize=True")
