"""How skill rewards are measured and what follows a skill: settings that all skill levels share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alf_layered.skills.schedules import Scheduled


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
    fixed_std: Scheduled | Literal["usual"] | None = "usual"
    clip_low: Scheduled = -50.0
    clip_high: Scheduled = 50.0
    normalize: bool = True
    center: bool = False
    offset: float = 0.0
    after_skill: Literal["average", "nothing", "same"] = "average"

    def __post_init__(self) -> None:
        if self.n_skill_samples < 1:
            raise ValueError(f"n_skill_samples is {self.n_skill_samples}, it must be at least 1")
        if self.after_skill not in ("average", "nothing", "same"):
            raise ValueError(
                f"after_skill is {self.after_skill!r}, it is 'average', 'nothing' or 'same'"
            )
        if isinstance(self.fixed_std, str) and self.fixed_std != "usual":
            raise ValueError(
                f"fixed_std is {self.fixed_std!r}, it is a number, a schedule, 'usual' or None"
            )
        if self.center and not self.normalize:
            raise ValueError("center=True needs normalize=True")
