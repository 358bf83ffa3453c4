"""DADS: skills each of whose steps can be predicted (Sharma et al., 2020, arXiv 1907.01657)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import alf
from alf.algorithms.algorithm import Algorithm
from alf_layered.allowed import AT_LEAST_1, UNIT, checked
from alf_layered.levels.default_sac import default_sac
from alf_layered.skills.information import skill_information
from alf_layered.skills.options import SkillOptions
from alf_layered.skills.records import SkillRows
from alf_layered.skills.rewards import clipped
from alf_layered.skills.skill_level import SkillLevel


@alf.configurable
@checked(control_interval=AT_LEAST_1, termination_probability=UNIT)
class DADSLevel(SkillLevel):
    """Each decision earns the information that the state after it has of the skill.

    The level above predicts where a skill ends after `control_interval` decisions. What one
    decision changed is therefore continued to that many before it is compared. Before it is scaled
    and offset a reward is at most `log(N + 1)`.

    Args:
        termination_probability: of a skill to end after a decision, before its time is over.
    """

    def __init__(
        self,
        *args: Any,
        algorithm_ctor: Callable[..., Algorithm] = default_sac,
        options: SkillOptions = SkillOptions(),
        control_interval: int = 1,
        termination_probability: float = 0.0,
        name: str = "DADSLevel",
        **kwargs: Any,
    ) -> None:
        if not 0 <= termination_probability < 1:
            raise ValueError(
                f"termination_probability of level {name!r} is {termination_probability}, it must "
                "be in [0, 1)"
            )
        super().__init__(
            *args,
            algorithm_ctor=algorithm_ctor,
            options=options,
            control_interval=control_interval,
            knows_start=False,
            name=name,
            **kwargs,
        )
        self._termination_probability = termination_probability

    def returns_control(self, step: Any, decisions: Tensor) -> Tensor:
        over = super().returns_control(step, decisions)
        if self._termination_probability == 0:
            return over
        chance = torch.rand(decisions.shape, device=decisions.device)
        return over | (chance < self._termination_probability)

    def intrinsic_reward(self, rows: SkillRows) -> Tensor:
        options = self._options
        change = (self.control_interval or 1) * (rows.after - rows.before)
        found = skill_information(
            self.above.predictor,
            rows.before,
            rows.context,
            rows.skill,
            self._prior.sample((options.n_skill_samples,), device=change.device),
            (rows.before + change)[None],
            std=self._scheduled(options.fixed_std),
        )[0]
        return clipped(found, self._scheduled(options.clip_low), self._scheduled(options.clip_high))
