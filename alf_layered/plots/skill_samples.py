"""Skills tried out: where they begin, where they end, and where the planner expects them to.

Axis letters: B environments, R tried skills, S state of the planner, Z skill.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import alf
from alf.data_structures import StepType, TimeStep
from alf_layered.hierarchy.agent import HierarchyAgent
from alf_layered.hierarchy.level import LevelObservation
from alf_layered.skills.skill_level import SkillLevel

Nest = Any


class SkillSamples(NamedTuple):
    """What R skills led to.

    Fields:
        skill: `[R, Z]`, or indices `[R]`.
        start: `[R, S]`.
        end: `[R, S]`.
        predicted: `[R, S]`, where the model expected them to end.
    """

    skill: Tensor
    start: Tensor
    end: Tensor
    predicted: Tensor

    @property
    def displacement(self) -> Tensor:
        """`[R, S]`."""
        return self.end - self.start


@torch.no_grad()
def sample_skills(agent: HierarchyAgent, env: Any, count: int) -> SkillSamples:
    """Tries at least `count` skills of the prior, one after the other, without exploring.

    A skill that the end of an episode cuts short does not count. Environments begin anew before.

    Args:
        agent: a planner above a `SkillLevel` that decides the environment's actions.
        env: an ALF environment that the agent is made for.
        count: at least 1.
    """
    level = agent.levels[-1]
    if not isinstance(level, SkillLevel) or level.control_interval is None:
        raise ValueError(
            f"the lowest level must be a SkillLevel of fixed duration, not {type(level).__name__}"
        )
    found: list[SkillSamples] = []
    step = env.reset()
    while sum(len(part.skill) for part in found) < count:
        part, step = _try_once(agent, level, env, step)
        found.append(part)
    return SkillSamples(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _try_once(
    agent: HierarchyAgent, level: SkillLevel, env: Any, step: TimeStep
) -> tuple[SkillSamples, TimeStep]:
    """One skill in each environment that is not at the end of an episode."""
    batch = step.step_type.shape[0]
    skill = level.prior.sample((batch,), device=step.reward.device)
    whole = step.step_type != int(StepType.LAST)
    state = alf.nest.map_structure(
        lambda spec: spec.zeros([batch]).to(step.reward.device), level.predict_state_spec
    )
    start, context = level.above.encode(agent.observe(step.observation, -2))
    for i in range(level.control_interval or 0):
        kind = int(StepType.MID if i else StepType.FIRST)
        decided = level.predict_step(
            step._replace(
                step_type=torch.full_like(step.step_type, kind),
                observation=LevelObservation(
                    agent.observe(step.observation, -1).observation,
                    skill,
                    agent.observe(step.observation, -2),
                ),
            ),
            state,
        )
        state = decided.state
        step = env.step(decided.output)
        if i + 1 < (level.control_interval or 0):
            whole = whole & (step.step_type == int(StepType.MID))
    # The last step may end the episode: its observation is the true one.
    whole = whole & (step.step_type != int(StepType.FIRST))
    end, _ = level.above.encode(agent.observe(step.observation, -2))
    model = level.above.predictor.model
    mean, weight, _, _ = model.predict(start, context, skill)
    predicted = (weight.unsqueeze(-1) * mean).sum(-2).mean(-2)
    rows = whole.nonzero(as_tuple=True)[0]
    return SkillSamples(skill[rows], start[rows], end[rows], predicted[rows]), step
