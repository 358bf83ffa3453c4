"""When a planning level decides at random instead, and what it plans for: a chain of phases that
every environment runs through by itself.

Axis letters: B environments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from alf.data_structures import namedtuple
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_0, UNIT, check_fields
from alf_layered.hierarchy.rows import where_rows
from alf_layered.levels.fixed_actions import uniform_actions

Phase = namedtuple("Phase", ["random", "curious", "action"], default_value=())
Phase.__doc__ = """What an environment is going through.

Fields:
    random: `[B]`, bool, whether its decisions are random.
    curious: `[B]`, bool, whether its plans, those of the phase before if it is random now, are
        for the disagreement of the ensemble instead of the task.
    action: `[B, ...]`, the random decision that was drawn last.
"""


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """How a planning level explores; evaluation always plans for the task.

    While the level warms up (`TrainingOptions.warm_up`), its decisions are random in any case.

    Attributes:
        alternate_with_noise: whether phases of planning alternate with random phases.
        switch_random_prob: with which probability, at each decision, a random phase follows.
        switch_planner_prob: likewise, a phase of planning.
        only_noise: whether all decisions are random.
        resample_on_end: whether the random decision stays the same until the episode ends.
        resample_random_action_prob: with which probability, at each decision of a random phase, it
            is drawn anew; it always is where a phase begins.
        no_planning_steps: own transitions, of all environments together, before the first plan.
        use_ensemble_disagreement: whether plans are for the disagreement of the ensemble; where
            planning alternates with noise, every other phase, else always.
    """

    alternate_with_noise: bool = False
    switch_random_prob: float = 0.1
    switch_planner_prob: float = 0.1
    only_noise: bool = False
    resample_on_end: bool = False
    resample_random_action_prob: float = 1.0
    no_planning_steps: int = 0
    use_ensemble_disagreement: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            switch_random_prob=UNIT,
            switch_planner_prob=UNIT,
            resample_random_action_prob=UNIT,
            no_planning_steps=AT_LEAST_0,
        )
        if self.only_noise and self.use_ensemble_disagreement:
            raise ValueError("use_ensemble_disagreement=True needs plans, but only_noise=True")
        if self.resample_on_end and self.resample_random_action_prob < 1:
            raise ValueError(
                "resample_on_end=True leaves nothing to resample_random_action_prob="
                f"{self.resample_random_action_prob}; give one of them"
            )

    @property
    def random_share(self) -> float:
        """Proportion of random decisions in the long run."""
        if self.only_noise:
            return 1.0
        into, out = self.switch_random_prob, self.switch_planner_prob
        if not self.alternate_with_noise or into == 0:
            return 0.0
        return into / (into + out)


def phase_spec(action_spec: TensorSpec) -> Phase:
    """The specs of a `Phase` in the state nest."""
    flag = TensorSpec((), dtype=torch.bool)
    return Phase(random=flag, curious=flag, action=action_spec)


def next_phase(
    phase: Phase,
    first: torch.Tensor,
    action_spec: TensorSpec,
    options: Exploration,
    *,
    may_plan: bool = True,
) -> Phase:
    """The phase of a decision, drawn for each environment.

    Episodes begin as if the chain had always been running.

    Args:
        phase: of the decision before; counts for nothing where `first`.
        first: `[B]`, bool, where an episode of the level begins.
        action_spec: of the decisions.
        options: the probabilities.
        may_plan: whether there is planning already.
    """
    chance = torch.rand(3, *first.shape, device=first.device)
    was_random = phase.random & ~first
    random = chance[0] < _random_prob(phase.random, first, options, may_plan)
    action = where_rows(
        first | (random & _redraws(was_random, chance[1], options)),
        uniform_actions(action_spec, first.shape[0]),
        phase.action,
    )
    return Phase(random, _curious(phase, first, random, chance[2], options), action)


def _random_prob(
    was_random: torch.Tensor, first: torch.Tensor, options: Exploration, may_plan: bool
) -> torch.Tensor:
    """`[B]`, the probability that this decision is random."""
    if not may_plan or not options.alternate_with_noise or options.only_noise:
        share = 1.0 if not may_plan else options.random_share
        return torch.full(first.shape, share, device=first.device)
    stays = torch.where(was_random, 1 - options.switch_planner_prob, options.switch_random_prob)
    return torch.where(first, options.random_share, stays)


def _redraws(was_random: torch.Tensor, chance: torch.Tensor, options: Exploration) -> torch.Tensor:
    if options.resample_on_end:
        return torch.zeros_like(was_random)
    return ~was_random | (chance < options.resample_random_action_prob)


def _curious(
    phase: Phase,
    first: torch.Tensor,
    random: torch.Tensor,
    chance: torch.Tensor,
    options: Exploration,
) -> torch.Tensor:
    """Which of the two objectives plans have: the other one after each random phase."""
    if not options.use_ensemble_disagreement:
        return torch.zeros_like(random)
    if not options.alternate_with_noise:
        return torch.ones_like(random)
    return torch.where(first, chance < 0.5, phase.curious ^ (phase.random & ~random))
