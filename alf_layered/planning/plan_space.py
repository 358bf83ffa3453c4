"""The plans that a level searches over, as its search handles them.

Axis letters: B environments, H horizon, A action, L any axes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.hierarchy.rows import where_rows
from alf_layered.networks.constant_buffers import register_constant
from alf_layered.planners.categorical_cem import CategoricalCEM, uniform_plan
from alf_layered.planners.icem import ICEM
from alf_layered.planners.plan import Plan, shift
from alf_layered.planners.search import SearchOptions, first_plan


def usual_planner(action_spec: Any) -> SearchOptions:
    """The planner of a level that is given none."""
    is_discrete = isinstance(action_spec, TensorSpec) and not action_spec.dtype.is_floating_point
    return CategoricalCEM() if is_discrete else ICEM()


class PlanSpace(nn.Module):
    """Plans of H actions: vectors between bounds, or indices from 0; and where searches start.

    Args:
        action_spec: of one action.
        horizon: H.
        planner: that searches.
        initial_guess: as in `PlannerLevel`.
        initial_sigma: as in `PlannerLevel`.
        level: the name of the level.
    """

    _low: torch.Tensor
    _high: torch.Tensor
    _guess: torch.Tensor
    _sigma: torch.Tensor

    def __init__(
        self,
        action_spec: BoundedTensorSpec,
        horizon: int,
        planner: SearchOptions,
        *,
        initial_guess: Any = None,
        initial_sigma: Any = None,
        level: str,
    ) -> None:
        super().__init__()
        self._action_spec = action_spec
        self._horizon = horizon
        self._planner = planner
        self._is_discrete = not action_spec.dtype.is_floating_point
        if self._is_discrete:
            if initial_guess is not None or initial_sigma is not None:
                raise ValueError(
                    f"initial_guess and initial_sigma of level {level!r} are for continuous "
                    "actions; searches over options start from equal probabilities"
                )
            return
        low, high = (
            torch.as_tensor(bound, dtype=torch.float32).broadcast_to(action_spec.shape).reshape(-1)
            for bound in (action_spec.minimum, action_spec.maximum)
        )
        guess = (low + high) / 2 if initial_guess is None else torch.as_tensor(initial_guess)
        sigma = (high - low) / 2 if initial_sigma is None else torch.as_tensor(initial_sigma)
        vectors = {"low": low, "high": high, "initial_guess": guess, "initial_sigma": sigma}
        for key, value in vectors.items():
            vector = value.to(low).reshape(-1)
            if vector.numel() not in (1, low.numel()):
                raise ValueError(
                    f"{key} of level {level!r} has {vector.numel()} numbers for {low.numel()} "
                    "dimensions of the actions"
                )
            own = f"_{key.removeprefix('initial_')}"
            register_constant(self, own, vector.expand(low.numel()).clone())

    @property
    def plan_spec(self) -> Plan:
        """The specs of a `Plan` in the state nest."""
        horizon, kept = self._horizon, self._planner.n_kept
        if isinstance(self._planner, CategoricalCEM):
            mean = TensorSpec((horizon, self._n_options))
            elites = TensorSpec((kept, horizon), dtype=torch.int64)
        else:
            mean = TensorSpec((horizon, self._action_spec.numel))
            elites = TensorSpec((kept, horizon, self._action_spec.numel))
        specs: tuple[Any, ...] = (mean, mean, elites, TensorSpec((), dtype=torch.int64))
        return Plan(*specs)

    @property
    def low(self) -> torch.Tensor | None:
        """`[A]`, the least actions; None where they are discrete."""
        return None if self._is_discrete else self._low

    @property
    def high(self) -> torch.Tensor | None:
        """`[A]`, the greatest actions; None where they are discrete."""
        return None if self._is_discrete else self._high

    def start(self, plan: Plan, first: torch.Tensor, *, shifts: bool) -> Plan:
        """Where the search of each environment starts.

        Args:
            plan: of the search before.
            first: `[B]`, bool, where there was none.
            shifts: whether the plan moves on by one action.
        """
        fresh = self._first_plan(first.shape[0])
        if shifts:
            plan = shift(plan, torch.ones_like(plan.known), fill=fresh.mean[:, -1:])
        return where_rows(first, fresh, plan)

    def _first_plan(self, batch_size: int) -> Plan:
        if isinstance(self._planner, CategoricalCEM):
            return uniform_plan(batch_size, self._horizon, self._n_options, options=self._planner)
        guess = self._guess.expand(batch_size, self._horizon, -1)
        return first_plan(guess, self._sigma, options=self._planner)

    @property
    def _n_options(self) -> int:
        return int(self._action_spec.maximum - self._action_spec.minimum) + 1

    def as_actions(self, plans: torch.Tensor) -> torch.Tensor:
        """Actions `[*L, ...]` of the spec from what a search handles: `[*L, A]`, or `[*L]`."""
        spec = self._action_spec
        if self._is_discrete:
            return (plans + int(spec.minimum)).to(spec.dtype)
        return plans.reshape(*plans.shape[:-1], *spec.shape)
