"""SPlaTES: skills whose ends can be predicted from their starts ("Long-Horizon Planning with
Predictable Skills", RLC 2025)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import alf
from alf.algorithms.algorithm import Algorithm
from alf_layered.allowed import checked
from alf_layered.levels.default_sac import default_sac
from alf_layered.skills.information import skill_information
from alf_layered.skills.options import SkillOptions
from alf_layered.skills.records import SkillRows
from alf_layered.skills.rewards import clipped, potential_difference
from alf_layered.skills.schedules import Schedule
from alf_layered.skills.skill_level import SkillLevel


@alf.configurable
@checked()
class SPlaTESLevel(SkillLevel):
    """A skill's potential is the information that the state has of it, given where it began.

    The reward is the potential where the skill ends, 0 before and where an episode's end cuts it
    short; or the difference of potential that each decision makes. Potentials are at most
    `log(N + 1)`, differences and what is scaled and offset are not.

    Args:
        potential_diff_reward: whether it is the difference.
        potential_clipping_low: potentials below count as this.
    """

    usual_std = 0.1

    def __init__(
        self,
        *args: Any,
        algorithm_ctor: Callable[..., Algorithm] = default_sac,
        options: SkillOptions = SkillOptions(),
        potential_diff_reward: bool = False,
        potential_clipping_low: float | Schedule = -50.0,
        name: str = "SPlaTESLevel",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, algorithm_ctor=algorithm_ctor, options=options, name=name, **kwargs)
        self._by_difference = potential_diff_reward
        self._potential_clipping_low = potential_clipping_low

    def earns(self, over: Tensor) -> Tensor:
        return torch.ones_like(over) if self._by_difference else over

    def potential(self, rows: SkillRows, points: Tensor) -> Tensor:
        """`[P, R]`, of states `[P, R, S]` in the skills of `rows`."""
        options = self._options
        count = (options.n_skill_samples,)
        found = skill_information(
            self.above.predictor,
            rows.start,
            rows.context,
            rows.skill,
            self._prior.sample(count, device=rows.start.device),
            points,
            std=self._scheduled(options.fixed_std),
        )
        low = self._scheduled(self._potential_clipping_low)
        return clipped(found, max(low, self._clip[0]), float("inf"))

    def intrinsic_reward(self, rows: SkillRows) -> Tensor:
        if self._by_difference:
            before, after = self.potential(rows, torch.stack([rows.before, rows.after]))
            return clipped(potential_difference(before, after), *self._clip)
        return clipped(self.potential(rows, rows.after[None])[0], *self._clip)

    @property
    def _clip(self) -> tuple[float, float]:
        options = self._options
        return self._scheduled(options.clip_low), self._scheduled(options.clip_high)
