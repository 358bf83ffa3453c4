"""What counts as the future where a skill ends: `SkillOptions.after_skill`, in the data.

Axis letters: B spans, T records of a span.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

import alf
from alf.data_structures import TimeStep
from alf_layered.hierarchy.rows import where_rows
from alf_layered.skills.priors import SkillPrior

Nest = Any


def with_what_follows(
    steps: TimeStep,
    info: Nest,
    ended: Tensor,
    *,
    after_skill: Literal["average", "nothing", "same"],
    prior: SkillPrior,
) -> tuple[TimeStep, Nest]:
    """Spans whose value at the end of a skill is that of what `after_skill` says.

    "average": another skill, drawn from the prior, begins there. Its value is a sample of the value
    averaged over skills, which is thereby what the action values learn. "same": the skill itself
    begins anew, because no decision is made after its time, and so no value is learned there. Where
    no LAST step ends the skill, the record is already the first one of the skill that did follow.

    Args:
        steps: `[B, T, ...]`, time steps of a skill level.
        info: `SkillInfo` of them.
        ended: `[B, T]`, where a skill has ended.
        after_skill: see `SkillOptions`.
        prior: of skills.
    """
    if after_skill == "nothing":
        return steps._replace(discount=torch.where(ended, 0.0, steps.discount)), info
    ended = ended & steps.is_last()
    observation = steps.observation
    new = observation.input
    if after_skill == "average":
        new = prior.sample(ended.shape, device=ended.device)
    skill, start, step = where_rows(
        ended.flatten(),
        _rows((new, observation.above, torch.zeros_like(info.step))),
        _rows((observation.input, info.start, info.step)),
    )
    skill, start, step = alf.nest.map_structure(
        lambda x: x.unflatten(0, ended.shape), (skill, start, step)
    )
    steps = steps._replace(observation=observation._replace(input=skill))
    return steps, info._replace(start=start, step=step)


def _rows(nest: Nest) -> Nest:
    return alf.nest.map_structure(lambda x: x.flatten(0, 1), nest)
