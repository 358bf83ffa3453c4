"""Plans of TD-MPC2: what a plan is worth, and the search (arXiv 2310.16828, section 3.2).

Axis letters: B environments, K plans, P plans of the policy, H horizon, A action, S latent state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from alf_layered.planners.mppi import MPPI
from alf_layered.planners.plan import Plan, SearchResult
from alf_layered.planners.search import Noise, first_plan, search
from alf_layered.tdmpc2.world_model import WorldModel

Value = Callable[..., Tensor]

# Numbers of a layer that a CPU's cache holds: larger ones take nearly twice the time.
_CACHED = 2**20


def plan_value(
    model: WorldModel,
    z: Tensor,
    plans: Tensor,
    goal: Tensor | None,
    *,
    discount: Tensor | float,
    noise: Tensor,
    members: Tensor,
) -> Tensor:
    """The return `[B, K]` that the model expects of plans; nothing that comes in is changed.

    `sum_t D_t r_t + D_H Q(z_H, pi(z_H))` with `D_0 = 1`, `D_{t+1} = D_t discount (1 - p_t)`, where
    p is the probability that the task ends.

    Args:
        model: the world model.
        z: `[B, S]`.
        plans: `[B, K, H, A]`.
        goal: `[B, S]`.
        discount: of a decision that does not end the task.
        noise: `[B, K, A]`, of the policy at the end of the plan.
        members: `[2]`, the action values that are averaged.
    """
    goal = None if goal is None else goal[:, None]
    goal_term = model.goal_term(goal)
    z = z[:, None]  # what all plans share is multiplied once
    total, alive = 0.0, 1.0
    for action in plans.unbind(dim=2):
        step = model.step(z, action, goal_term)
        total = total + alive * model.two_hot.decode(step.reward_logits)
        alive = alive * discount
        if step.termination_logit is not None:
            alive = alive * torch.sigmoid(-step.termination_logit.float())
        z = step.latent
    action = model.pi(z, noise, goal).action
    q = model.two_hot.decode(model.Q(z, action, goal, members=members)).mean(dim=0)
    return total + alive * q


def policy_plans(model: WorldModel, z: Tensor, goal: Tensor | None, noise: Tensor) -> Tensor:
    """Plans `[B, P, H, A]` of the policy prior from `z` `[B, S]`; noise is `[B, P, H, A]`.

    The goal is `[B, S]`, or `[B, H, S]` where each decision has its own.
    """
    if goal is not None and goal.ndim == 2:
        goal = goal[:, None].expand(-1, noise.shape[2], -1)
    z = z[:, None].expand(-1, noise.shape[1], -1)
    actions: list[Tensor] = []
    for t, step_noise in enumerate(noise.unbind(dim=2)):
        if actions:
            z = model.next(z, actions[-1])
        now = None if goal is None else goal[:, t, None]
        actions.append(model.pi(z, step_noise, now).action)
    return torch.stack(actions, dim=2)


@torch.no_grad()
def search_plan(
    model: WorldModel,
    z: Tensor,
    mean: Tensor,
    goal: Tensor | None,
    *,
    options: MPPI,
    discount: Tensor | float,
    n_policy_plans: int = 24,
    noise: Noise = torch.randn,
    generator: torch.Generator | None = None,
    value: Value = plan_value,
    policy_goal: Tensor | None = None,
    per_row: Mapping[str, Tensor] = MappingProxyType({}),
) -> SearchResult:
    """Searches a plan for each of B environments, alone.

    Args:
        model: the world model.
        z: `[B, S]`.
        mean: `[B, H, A]`, where the search starts: the last one's, shifted.
        goal: `[B, S]`, or what else `value` takes, B first.
        options: the search.
        discount: of a decision that does not end the task.
        n_policy_plans: P, candidates from the policy prior.
        noise: source of all noise, with B as the first axis.
        generator: of noise and of the choice of action values.
        value: `plan_value`, compiled perhaps.
        policy_goal: the policy's, see `policy_plans`; None: `goal`.
        per_row: further arguments of `value`, `[B, ...]`.
    """
    z, goal = z.float(), None if goal is None else goal.float()
    policy_goal = goal if policy_goal is None else policy_goal.float()
    draws: dict[str, Any] = {"generator": generator, "device": z.device}
    batch, horizon, actions = mean.shape
    candidates = None
    if n_policy_plans:
        drawn = noise((batch, n_policy_plans, horizon, actions), **draws)
        candidates = policy_plans(model, z, policy_goal, drawn)

    def score(plans: Tensor) -> Tensor:
        end_noise = noise((batch, plans.shape[1], actions), **draws)
        members = model.two_members(generator)
        values = [
            value(
                model,
                z[rows],
                plans[rows],
                None if goal is None else goal[rows],
                discount=discount,
                noise=end_noise[rows],
                members=members,
                **{key: x[rows] for key, x in per_row.items()},
            )
            for rows in _blocks(batch, plans.shape[1] * model.width, z.device)
        ]
        return values[0] if len(values) == 1 else torch.cat(values)

    start: Plan = first_plan(mean, options.max_std, options=options)
    bound = torch.ones(actions, device=mean.device)
    return search(
        score,
        start,
        options=options,
        low=-bound,
        high=bound,
        generator=generator,
        candidates=candidates,
        noise=noise,
    )


def _blocks(batch: int, numbers: int, device: torch.device) -> list[slice]:
    """Environments whose plans are valued together, with so many numbers in a layer for each."""
    if device.type != "cpu":
        return [slice(0, batch)]
    count = max(_CACHED // numbers, 1)
    return [slice(i, i + count) for i in range(0, batch, count)]
