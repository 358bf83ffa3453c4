"""TD-MPC2 for skills: plans that know when a skill is over (SPlaTES, RLC 2025).

Axis letters: B environments or spans, R some of them, T = H + 1 records, H horizon, K plans,
S latent state, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import alf
from alf.algorithms.config import TrainerConfig
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.hierarchy.rows import coverage, take_rows
from alf_layered.networks.normed_ensemble import NormedEnsemble
from alf_layered.tdmpc2 import losses
from alf_layered.tdmpc2.losses import ModelLearning, Spans
from alf_layered.tdmpc2.planning import Value, search_plan
from alf_layered.tdmpc2.records import TDMPC2Info
from alf_layered.tdmpc2.settings import TDMPC2Settings
from alf_layered.tdmpc2.tdmpc2_algorithm import TDMPC2Algorithm
from alf_layered.tdmpc2.world_model import WorldModel

Nest = Any


def skill_plan_value(
    model: WorldModel,
    z: Tensor,
    plans: Tensor,
    goal: Tensor,
    *,
    left: Tensor,
    after: Callable[[Tensor], Tensor] | None,
    discount: Tensor | float,
    noise: Tensor,
    members: Tensor,
) -> Tensor:
    """The return `[B, K]` that the model expects of plans; nothing that comes in is changed.

    As `planning.plan_value`, but rewards end with the skill: what comes then is worth `after`.

    Args:
        model: the world model.
        z: `[B, S]`.
        plans: `[B, K, H, A]`.
        goal: `[B, T, S]`, skill, start and time encoded, for each time of the plan.
        left: `[B]`, decisions of the skill that are left, at least 1.
        after: value `[B, K]` of latent states `[B, K, S]` in which a skill ends; None: 0.
        discount: of a decision that does not end the task.
        noise: `[B, K, A]`, of the policy at the end of the plan.
        members: `[2]`, the action values that are averaged.
    """
    z = z[:, None]
    left = left[:, None]
    total = torch.zeros_like(plans[:, :, 0, 0])
    alive = torch.ones_like(total)
    for t, action in enumerate(plans.unbind(dim=2)):
        step = model.step(z, action, model.goal_term(goal[:, t, None]))
        total = total + alive * model.two_hot.decode(step.reward_logits)
        alive = alive * discount
        if step.termination_logit is not None:
            alive = alive * torch.sigmoid(-step.termination_logit.float())
        z, over = step.latent, left == t + 1
        ending = coverage(over.flatten())
        if ending == 0.0:
            continue
        if after is not None:
            total = total + torch.where(over, alive * after(z), 0.0)
        if ending == 1.0:
            return total
        alive = torch.where(over, 0.0, alive)
    last = goal[:, -1, None]
    q = model.Q(z, model.pi(z, noise, last).action, last, members=members)
    return total + alive * model.two_hot.decode(q).mean(dim=0)


def by_end(
    value: Value,
    model: WorldModel,
    z: Tensor,
    plans: Tensor,
    goal: Tensor,
    *,
    left: Tensor,
    noise: Tensor,
    **shared: Any,
) -> Tensor:
    """`value`, which is a `skill_plan_value`, of those rows together whose skills end together.

    So no plan is followed past the end of its skill, and nothing is evaluated that does not count.
    On accelerators all rows go together: to look where skills end is to wait.
    """
    if left.device.type != "cpu":
        return value(model, z, plans, goal, left=left, noise=noise, **shared)
    found = torch.empty_like(plans[:, :, 0, 0])
    end = left.clamp(max=plans.shape[2] + 1)
    for rows in (end == e for e in end.unique()):
        *chosen, left_R, noise_R = take_rows(rows, (z, plans, goal, left, noise))
        found[rows] = value(model, *chosen, left=left_R, noise=noise_R, **shared)
    return found


@alf.configurable
@checked(gamma=SHARE, skill_decisions=AT_LEAST_1)
class SkillTDMPC2Algorithm(TDMPC2Algorithm):
    """Learns and plans for observations of an `observation` and an `input`: a skill, its `start`
    and the share of its `time` that has passed.

    The input conditions all but the dynamics. What is worth having at the end of a skill is the
    value averaged over the skills that may follow; it depends on the state alone, and a head of its
    own learns it from the records in which such a skill begins.

    Args:
        skill_decisions: decisions of a skill; None: skills do not end.
        values_what_follows: whether there is anything to gain after a skill.
    """

    follows_skills = True
    """Whether the constructor takes the two arguments above, and spans are of `horizon + 1`."""

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        settings: TDMPC2Settings = TDMPC2Settings(),
        gamma: float = 0.99,
        *,
        skill_decisions: int | None = None,
        values_what_follows: bool = True,
        config: TrainerConfig | None = None,
        debug_summaries: bool = False,
        name: str = "SkillTDMPC2Algorithm",
    ) -> None:
        super().__init__(
            observation_spec,
            action_spec,
            reward_spec,
            settings,
            gamma,
            goal_field="input",
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._skill_decisions = skill_decisions
        self._after: NormedEnsemble | None = None
        if skill_decisions is not None and values_what_follows:
            model = settings.model
            self._after = NormedEnsemble(
                [model.latent_dim], [model.mlp_dim], model.num_bins, zero_output=True
            )
        options = settings.compile
        self._skill_plan_value = (
            skill_plan_value if options is None else torch.compile(skill_plan_value, **options)
        )

    # ---- acting ---------------------------------------------------------------------------------

    def _search(self, observation: Nest, start: Tensor, **options: Any) -> Any:
        if self._skill_decisions is None:
            return super()._search(observation, start, **options)
        model, after = self._world_model, None if self._after is None else self.value_after
        goal, left = self._plan_goals(observation.input, start.shape[1])
        return search_plan(
            model,
            model.encode(observation._replace(input=())),
            start,
            goal,
            value=partial(by_end, self._skill_plan_value, after=after),
            per_row={"left": left},
            policy_goal=goal[:, :-1],
            **options,
        )

    def _plan_goals(self, given: Nest, horizon: int) -> tuple[Tensor, Tensor]:
        """What conditions each time of a plan, encoded, `[B, H + 1, S]`, and decisions left, `[B]`.

        The clock starts again at the end of the skill; what is decided after that does not count.
        """
        assert self._skill_decisions is not None
        made = (self._skill_decisions * given.time).round() % self._skill_decisions
        later = torch.arange(horizon + 1, device=made.device)
        time = (made[:, None] + later) % self._skill_decisions / self._skill_decisions
        inputs = alf.nest.map_structure(
            lambda x: x[:, None].expand(-1, horizon + 1, *x.shape[1:]), given
        )
        goal = self._world_model.encode_goal(inputs._replace(time=time))
        assert goal is not None
        return goal, self._skill_decisions - made

    def value_after(self, z: Tensor) -> Tensor:
        """Value `[*L]` of latent states `[*L, S]` in which a skill ends."""
        assert self._after is not None
        return self._world_model.two_hot.decode(self._after(z)[0])

    # ---- training -------------------------------------------------------------------------------

    def _extra_loss(self, info: TDMPC2Info, spans: Spans, learned: ModelLearning) -> Tensor | None:
        if self._after is None:
            return None
        begins = (info.observation.input.time[1:] == 0) & spans.is_transition
        # After a transition only the end of a skill has its time at 0: another skill is there.
        error = self._world_model.two_hot.cross_entropy(
            self._after(learned.latent[1:])[0], learned.next_value
        )
        return self._settings.value_coef * losses.over_spans(error, begins, self._settings.rho)
