"""Planning of actions: random shooting and the cross-entropy method, as model predictive control.

Axis letters: B rows, K candidate plans, H horizon, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, StepType, TimeStep, namedtuple
from alf.nest import nest
from alf.optimizers.traj_optimizers import CEMOptimizer, RandomOptimizer, TrajOptimizer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = [
    "AlgStep",
    "CEMPlanAlgorithm",
    "PlanAlgorithm",
    "PlannerInfo",
    "PlannerState",
    "RandomShootingAlgorithm",
    "TimeStep",
]

CostFunction = Callable[[Any, Tensor], Tensor]

PlannerState = namedtuple("PlannerState", ["prev_plan"], default_value=())
PlannerState.__doc__ = """What planning starts from.

Fields:
    prev_plan: [B, H, A], the plan of the step before, shifted by one step.
"""

PlannerInfo = namedtuple("PlannerInfo", ["planner"])


@configurable
class PlanAlgorithm(OffPolicyAlgorithm):
    """Base of planners: the space of plans, and the cost function that plans are judged by.

    Args:
        feature_spec: of what planning starts from.
        action_spec: of one continuous action of rank 1.
        reward_spec: of rank 0 or 1.
        planning_horizon: H.
        upper_bound: of actions, a number or [A]; None: ``action_spec.maximum``.
        lower_bound: the same; None: ``action_spec.minimum``.
        name: name of the algorithm.

    Raises:
        ValueError: the action is nested, discrete or not of rank 1, or a bound is not finite.
    """

    def __init__(
        self,
        feature_spec: Any,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        planning_horizon: int = 25,
        upper_bound: Any = None,
        lower_bound: Any = None,
        name: str = "PlanningAlgorithm",
    ) -> None:
        if nest.is_nested(action_spec) or action_spec.is_discrete or action_spec.ndim != 1:
            raise ValueError(f"{name} needs one continuous action of rank 1, got {action_spec}.")
        super().__init__(
            observation_spec=feature_spec,
            action_spec=action_spec,
            train_state_spec=PlannerState(
                prev_plan=TensorSpec((planning_horizon, *action_spec.shape))
            ),
            reward_spec=reward_spec,
            name=name,
        )
        self._planning_horizon = planning_horizon
        self._num_actions = action_spec.numel
        high = action_spec.maximum if upper_bound is None else upper_bound
        low = action_spec.minimum if lower_bound is None else lower_bound
        self._upper_bound, self._lower_bound = (
            torch.as_tensor(bound, dtype=torch.float32).expand(self._num_actions)
            for bound in (high, low)
        )
        for what, bound in (("upper", self._upper_bound), ("lower", self._lower_bound)):
            if not bool(bound.isfinite().all()):
                raise ValueError(
                    f"{name}: the {what} bound of actions is {bound.tolist()}; plans are drawn "
                    f"between finite bounds: those of the action_spec, or {what}_bound"
                )
        self._action_seq_cost_func: CostFunction | None = None

    def set_action_sequence_cost_func(self, action_seq_cost_func: CostFunction) -> None:
        """Say what plans cost.

        Args:
            action_seq_cost_func: called with observations [B, ...] and plans [B, K, H, A]; returns
                costs [B, K].
        """
        self._action_seq_cost_func = action_seq_cost_func

    def train_step(
        self, time_step: TimeStep, state: PlannerState, rollout_info: Any = None
    ) -> AlgStep:
        """Learn nothing."""
        return AlgStep(state=state)

    def predict_plan(
        self, time_step: TimeStep, state: PlannerState, epsilon_greedy: float
    ) -> tuple[Tensor, PlannerState]:
        """The action to take now.

        Args:
            time_step: whose observation planning starts from.
            state: see `PlannerState`.
            epsilon_greedy: with this probability a row gets a uniform action instead.

        Returns:
            The action [B, A] and the new state.

        Raises:
            ValueError: no cost function is set.
        """
        raise NotImplementedError(f"{type(self).__name__} has no predict_plan()")

    def _cost(self, observation: Any, solutions: Tensor) -> Tensor:
        """Costs [B, K] of plans [B, K, H * A]."""
        assert self._action_seq_cost_func is not None
        shape = (self._planning_horizon, self._num_actions)
        return self._action_seq_cost_func(observation, solutions.unflatten(-1, shape))

    def _check_has_cost(self) -> None:
        if self._action_seq_cost_func is None:
            raise ValueError(
                f"{self.name} cannot plan before set_action_sequence_cost_func() was called"
            )

    def _explored(self, action: Tensor, epsilon_greedy: float) -> Tensor:
        """``action`` [B, A], with uniform ones in a share of the rows."""
        if epsilon_greedy == 0:
            return action
        low, high = self._lower_bound, self._upper_bound
        uniform = low + (high - low) * torch.rand_like(action)
        explores = torch.rand(len(action), 1, device=action.device) < epsilon_greedy
        return torch.where(explores, uniform, action)


@configurable
class RandomShootingAlgorithm(PlanAlgorithm):
    """The first action of the best of many uniform plans.

    Nagabandi et al. 2017, arXiv:1708.02596, section IV-C.

    Args:
        feature_spec: see `PlanAlgorithm`.
        action_spec: see `PlanAlgorithm`.
        population_size: K.
        reward_spec: see `PlanAlgorithm`.
        planning_horizon: H.
        upper_bound: see `PlanAlgorithm`.
        lower_bound: see `PlanAlgorithm`.
        name: name of the algorithm.

    Raises:
        ValueError: as `PlanAlgorithm`, or a lower bound is not below the upper one.
    """

    def __init__(
        self,
        feature_spec: Any,
        action_spec: BoundedTensorSpec,
        population_size: int,
        reward_spec: TensorSpec = TensorSpec(()),
        planning_horizon: int = 25,
        upper_bound: Any = None,
        lower_bound: Any = None,
        name: str = "RandomShootingAlgorithm",
    ) -> None:
        super().__init__(
            feature_spec=feature_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            planning_horizon=planning_horizon,
            upper_bound=upper_bound,
            lower_bound=lower_bound,
            name=name,
        )
        self._population_size = population_size
        self._plan_optimizer = self._make_plan_optimizer()

    def _make_plan_optimizer(self) -> TrajOptimizer:
        return RandomOptimizer(**self._search_space())

    def _search_space(self) -> dict[str, Any]:
        """Arguments of an optimizer of plans."""
        return {
            "solution_dim": self._planning_horizon * self._num_actions,
            "population_size": self._population_size,
            "cost_func": self._cost,
            "upper_bound": self._upper_bound.repeat(self._planning_horizon),
            "lower_bound": self._lower_bound.repeat(self._planning_horizon),
        }

    def predict_plan(
        self, time_step: TimeStep, state: PlannerState, epsilon_greedy: float
    ) -> tuple[Tensor, PlannerState]:
        self._check_has_cost()
        plan = self._plan_optimizer.obtain_solution(time_step.observation)
        return self._explored(plan[:, : self._num_actions], epsilon_greedy), state

    def after_update(self, root_inputs: Any, info: Any) -> None:
        """Nothing: no plan outlives its step."""


@configurable
class CEMPlanAlgorithm(RandomShootingAlgorithm):
    """The first action of a plan that the cross-entropy method finds.

    Chua et al. 2018, arXiv:1805.12114, section 5. The search starts from the plan of the step
    before: shifted by one step, and padded by the mean of its row's actions; from the middle of the
    bounds in a new episode. (ALF pads by the mean over all rows too, which lets environments
    influence each other.)

    Args:
        feature_spec: see `PlanAlgorithm`.
        action_spec: see `PlanAlgorithm`.
        population_size: K.
        planning_horizon: H.
        reward_spec: see `PlanAlgorithm`.
        elite_size: number of best plans that the distribution is fitted to.
        max_iter_num: number of iterations.
        epsilon: a row whose largest variance is below this is searched no longer.
        tau: share of the new mean and variance in an update.
        scalar_var: initial variance of all actions; None: half the distance of their bounds.
        upper_bound: see `PlanAlgorithm`.
        lower_bound: see `PlanAlgorithm`.
        name: name of the algorithm.

    Raises:
        ValueError: as `RandomShootingAlgorithm`, or there are more elites than plans.
    """

    def __init__(
        self,
        feature_spec: Any,
        action_spec: BoundedTensorSpec,
        population_size: int,
        planning_horizon: int,
        reward_spec: TensorSpec = TensorSpec(()),
        elite_size: int = 50,
        max_iter_num: int = 5,
        epsilon: float = 0.01,
        tau: float = 0.9,
        scalar_var: float | None = None,
        upper_bound: Any = None,
        lower_bound: Any = None,
        name: str = "CEMPlanAlgorithm",
    ) -> None:
        self._cem_options = {
            "elite_size": elite_size,
            "max_iter_num": int(max_iter_num),
            "epsilon": epsilon,
            "tau": tau,
        }
        super().__init__(
            feature_spec=feature_spec,
            action_spec=action_spec,
            population_size=population_size,
            reward_spec=reward_spec,
            planning_horizon=planning_horizon,
            upper_bound=upper_bound,
            lower_bound=lower_bound,
            name=name,
        )
        half = 0.5 * (self._upper_bound - self._lower_bound)
        var = half if scalar_var is None else torch.full_like(half, scalar_var)
        self._initial_var = var.repeat(self._planning_horizon)
        self._middle = 0.5 * (self._upper_bound + self._lower_bound)

    def _make_plan_optimizer(self) -> TrajOptimizer:
        return CEMOptimizer(**self._search_space(), **self._cem_options)

    def predict_plan(
        self, time_step: TimeStep, state: PlannerState, epislon_greedy: float
    ) -> tuple[Tensor, PlannerState]:
        self._check_has_cost()
        is_first = (time_step.step_type == StepType.FIRST).reshape(-1, 1, 1)
        start = torch.where(is_first, self._middle, state.prev_plan)
        solution = self._plan_optimizer.obtain_solution(
            time_step.observation,
            init_mean=start.flatten(1).unsqueeze(1),
            init_var=self._initial_var.expand(len(start), 1, -1),
        )
        plan = solution.unflatten(1, (self._planning_horizon, self._num_actions))
        shifted = torch.cat([plan[:, 1:], plan.mean(1, keepdim=True)], dim=1)
        action = self._explored(plan[:, 0], epislon_greedy)
        return action, PlannerState(prev_plan=shifted)
