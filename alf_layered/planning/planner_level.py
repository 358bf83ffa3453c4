"""A level that plans: model predictive control over a predictor that it learns.

Axis letters: B environments, R rows that are due, K plans, H horizon, A action, T records.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch

import alf
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.hierarchy.constructors import check_constructor
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.on_policy import check_replays
from alf_layered.hierarchy.rows import on_rows
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.hierarchy.transitions import is_outcome
from alf_layered.networks.spaces import as_vector
from alf_layered.planners.finite_scores import check_scores
from alf_layered.planners.plan import Plan
from alf_layered.planners.search import SearchOptions, SearchResult, search
from alf_layered.planning.checks import check_exploration, check_learning, check_spaces
from alf_layered.planning.exploration import Exploration, next_phase, phase_spec
from alf_layered.planning.objective import PlanObjective
from alf_layered.planning.plan_space import PlanSpace, usual_planner
from alf_layered.planning.records import (
    PlannerInfo,
    PlannerState,
    PlannerTrainInfo,
    PlanningStep,
)
from alf_layered.predictors.batch import PredictorBatch, ReplayedSpans, reached_vector
from alf_layered.predictors.predictor import PredictedRollout, Predictor
from alf_layered.predictors.predictor_factory import default_factory_for

Nest = Any


@alf.configurable
@checked(gamma=SHARE, control_interval=AT_LEAST_1, horizon=AT_LEAST_1, model_batch_size=AT_LEAST_1)
class PlannerLevel(Level):
    """Searches a plan at each decision, executes its first action, and learns the predictor.

    The predictor sees the level's observation, and the `LevelObservation` where there is an input
    from above; it learns from the level's replay buffer, the value where plans for the task were
    followed.

    Args:
        predictor_factory: called with the specs of what the predictor sees and of the actions;
            None: `get_default_predictor_factory()` for observations that are dicts, otherwise the
            whole observation is the state.
        planner: how plans are searched; None: `ICEM()`, or `CategoricalCEM()` for discrete actions.
            Evaluation executes the mean where rollouts execute a "random" plan.
        horizon: H, decisions of a plan.
        objective: what plans are for.
        exploration: how rollouts explore; None: they always plan, and the warm-up does not matter.
        initial_guess: `[A]`, the decision from which a search without predecessor starts; None:
            the middle between the bounds.
        initial_sigma: deviation `[A]` or a number from which every search starts; None: half the
            range of the actions.
        shift_initialization: whether the plan of the last search moves on by the decision that was
            made; otherwise it is the next search's start as it is.
        value_from_planned: whether the value is learned from planned decisions only.
        model_batch_size: transitions for the dynamics in each update, drawn by themselves; None:
            those of the spans from which reward and value are learned.
        callback: called at each iteration of each search.
        training: None for a predictor that has nothing to learn. Spans are as long as the
            predictor's targets need, or `mini_batch_length`, if that is longer.
        optimizer: of all parameters; None: Adam with the gradient of each parameter clipped to
            norm 20. One norm for all would let the density of a nearly deterministic model, whose
            gradients are in the thousands, decide how fast the value is learned.
    """

    active_rows_only = True

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: BoundedTensorSpec,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        predictor_factory: Callable[[Nest, Nest], Predictor] | None = None,
        planner: SearchOptions | None = None,
        horizon: int = 10,
        objective: PlanObjective = PlanObjective(),
        exploration: Exploration | None = Exploration(),
        initial_guess: Any = None,
        initial_sigma: Any = None,
        shift_initialization: bool = True,
        value_from_planned: bool = True,
        model_batch_size: int | None = None,
        callback: Callable[[PlanningStep], None] | None = None,
        gamma: float = 0.99,
        control_interval: int | None = None,
        training: TrainingOptions | None = TrainingOptions(),
        optimizer: torch.optim.Optimizer | None = None,
        config: Any = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "PlannerLevel",
    ) -> None:
        planner = usual_planner(action_spec) if planner is None else planner
        check_spaces(action_spec, reward_spec, planner, level=name)
        seen_spec = LevelObservation(observation_spec, input_spec)
        seen_spec = seen_spec if alf.nest.flatten(input_spec) else observation_spec
        factory = predictor_factory or default_factory_for(seen_spec)
        check_constructor(factory, f"predictor_factory of level {name!r}")
        predictor = factory(seen_spec, action_spec)
        if not isinstance(predictor, Predictor):
            raise TypeError(
                f"predictor_factory of level {name!r} made a {type(predictor).__name__}; it has to "
                "make a Predictor"
            )
        predictor.begin_with_gamma_of(gamma)
        check_exploration(exploration, predictor, objective, training, level=name)
        if training is not None:
            check_replays(training, level=name)
            check_learning(predictor, level=name)
            training = _with_spans_of(training, predictor, level=name)
            optimizer = optimizer or Adam(lr=1e-3, gradient_clipping=20.0)
        plan_space = PlanSpace(
            action_spec,
            horizon,
            planner,
            initial_guess=initial_guess,
            initial_sigma=initial_sigma,
            level=name,
        )
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            gamma=gamma,
            control_interval=control_interval,
            training=training,
            rollout_state_spec=PlannerState(
                plan=plan_space.plan_spec,
                phase=() if exploration is None else phase_spec(action_spec),
            ),
            predict_state_spec=PlannerState(plan=plan_space.plan_spec),
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._predictor = predictor
        self._planner = planner
        self._certain_planner = planner
        if planner.return_mode == "random":
            self._certain_planner = dataclasses.replace(planner, return_mode="mean")
        self._plan_space = plan_space
        self._objective = objective
        self._exploration = exploration
        self._shifts = shift_initialization
        self._value_from_planned = value_from_planned
        self._model_batch_size = model_batch_size
        self._callback = callback

    @property
    def predictor(self) -> Predictor:
        """What is learned and planned with."""
        return self._predictor

    def break_symmetry(self, duration: int) -> None:
        """Lets the model start with skills that break the symmetry; see `Model.break_symmetry`."""
        self._predictor.model.break_symmetry(duration)

    def encode(self, observation: LevelObservation) -> tuple[torch.Tensor, torch.Tensor]:
        """State `[*L, S]` and context `[*L, C]` of what the level observes."""
        return self._predictor.encode(self._seen(observation))

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: PlannerState) -> AlgStep:
        start = self._plan_space.start(state.plan, inputs.is_first(), shifts=self._shifts)
        options = self._exploration
        if options is None:
            action, plan = self._plan(inputs, start, None, self._planner)
            info = PlannerInfo(planned=torch.ones_like(inputs.is_first()))
            return AlgStep(output=action, state=PlannerState(plan), info=info)
        phase = next_phase(
            state.phase, inputs.is_first(), self.action_spec, options, may_plan=self._may_plan()
        )
        # What is decided at the end of an episode is not executed: no plan for it.
        plans = ~phase.random & ~inputs.is_last()

        def plan_rows(rows: Nest) -> tuple[torch.Tensor, Plan]:
            step, start, curious = rows
            curious = curious if options.use_ensemble_disagreement else None
            return self._plan(step, start, curious, self._planner)

        action, plan = on_rows(
            plans, plan_rows, (inputs, start, phase.curious), (phase.action, start)
        )
        return AlgStep(
            output=action,
            state=PlannerState(plan, phase),
            info=PlannerInfo(planned=plans & ~phase.curious),
        )

    def predict_step(self, inputs: TimeStep, state: PlannerState) -> AlgStep:
        """Plans for the task, without exploring."""
        start = self._plan_space.start(state.plan, inputs.is_first(), shifts=self._shifts)
        action, plan = self._plan(inputs, start, None, self._certain_planner)
        return AlgStep(output=action, state=PlannerState(plan), info=())

    def told_step(self, inputs: TimeStep, state: PlannerState, decision: Nest) -> AlgStep:
        planned = torch.zeros_like(inputs.is_first())
        return AlgStep(output=decision, state=state, info=PlannerInfo(planned=planned))

    def _may_plan(self) -> bool:
        if self._training is None or self._exploration is None:
            return True
        steps = int(self._update_clock.transitions)
        return steps >= self._exploration.no_planning_steps and not self._update_clock.warming_up

    @torch.no_grad()
    def _plan(
        self,
        inputs: TimeStep,
        start: Plan,
        curious: torch.Tensor | None,
        planner: SearchOptions,
    ) -> tuple[torch.Tensor, Plan]:
        """The first action of each row's plan, and what its next search starts from."""
        found = self.search(inputs, start, curious=curious, planner=planner)
        check_scores(found.score, inputs.env_id, owner=f"level {self.name!r}")
        return self._plan_space.as_actions(found.plan[:, 0]), found.warm_start

    @torch.no_grad()
    def search(
        self,
        inputs: TimeStep,
        start: Plan,
        *,
        curious: torch.Tensor | None = None,
        planner: SearchOptions | None = None,
    ) -> SearchResult:
        """Searches a plan for each row of `inputs` `[R, ...]`; nothing is remembered.

        Args:
            inputs: the time steps at which plans start.
            start: where the searches start.
            curious: `[R]`, bool, see `PlanObjective.score`.
            planner: another one than the level's.
        """
        state, context = self.encode(inputs.observation)
        objective, space = self._objective, self._plan_space
        roller = objective.roller(self._predictor)

        def score(plans: torch.Tensor) -> torch.Tensor:
            actions = space.as_actions(plans)
            rollout = objective.rollout(self._predictor, state, context, actions, roller=roller)
            found = objective.score(rollout, curious)
            if self._callback is not None:
                self._callback(PlanningStep(inputs.env_id, rollout, found))
            return found

        return search(
            score,
            start,
            options=self._planner if planner is None else planner,
            low=space.low,
            high=space.high,
        )

    @torch.no_grad()
    def rollout(self, inputs: TimeStep, plans: torch.Tensor) -> PredictedRollout:
        """What plans `[R, K, H, A]` from `inputs` `[R, ...]` are predicted to lead to."""
        state, context = self.encode(inputs.observation)
        actions = self._plan_space.as_actions(plans)
        return self._objective.rollout(self._predictor, state, context, actions)

    def outlook(self, inputs: TimeStep, plans: torch.Tensor) -> PredictedRollout:
        """The former name of `rollout`."""
        warnings.warn("PlannerLevel.outlook is rollout now", DeprecationWarning, stacklevel=2)
        return self.rollout(inputs, plans)

    def _seen(self, observation: LevelObservation) -> Nest:
        """What the predictor sees of the level's observation."""
        return observation if alf.nest.flatten(self.input_spec) else observation.observation

    # ---- data and training ----------------------------------------------------------------------

    def observe_for_replay(self, exp: Experience) -> None:
        super().observe_for_replay(exp)
        if isinstance(exp.time_step.env_info, dict) and "steps" in exp.time_step.env_info:
            steps = int(exp.time_step.env_info["steps"].sum())
        else:
            steps = int(is_outcome(exp.time_step.step_type).sum())
        before = int(self._predictor.model.n_total_env_steps)
        self._predictor.set_n_total_env_steps(before + steps)

    def train_step(self, inputs: TimeStep, state: Nest, rollout_info: PlannerInfo) -> AlgStep:
        """Hands on what the predictor learns from; the action is the next step's `prev_action`."""
        time_discount = ()
        if isinstance(inputs.env_info, dict) and "time_discount" in inputs.env_info:
            time_discount = self.gamma * inputs.env_info["time_discount"]
        led_to = reached_vector(inputs, self.observation_spec)
        info = PlannerTrainInfo(
            observation=as_vector(inputs.observation, self.observation_spec),
            action=inputs.prev_action,
            reward=inputs.reward,
            discount=self.gamma * inputs.discount,
            step_type=inputs.step_type,
            time_discount=time_discount,
            planned=rollout_info.planned if self._value_from_planned else (),
            reached=() if led_to is None else led_to,
        )
        return AlgStep(output=(), state=state, info=info)

    def calc_loss(self, info: PlannerTrainInfo) -> LossInfo:
        """The predictor's loss of spans, `info` `[T, B, ...]`."""
        info = alf.nest.map_structure(lambda x: x.transpose(0, 1), info)
        known = {k: x for k, x in info._asdict().items() if isinstance(x, torch.Tensor)}
        known["action"] = _decisions(info.action)
        losses = self._predictor.losses(PredictorBatch(**known), self._model_batch())
        return LossInfo(loss=self._predictor.total_loss(losses), extra=losses)

    def _model_batch(self) -> PredictorBatch | None:
        if self._model_batch_size is None:
            return None
        source = ReplayedSpans(self._replay_buffer, self.observation_spec, gamma=self.gamma)
        return source.sample(self._model_batch_size, 2)

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        self._predictor.after_update()


def _decisions(prev_action: torch.Tensor) -> torch.Tensor:
    """`[B, T, ...]`: the decision at each record is the previous one of the next; the last record's
    is not known, and nobody asks for it."""
    return torch.cat([prev_action[:, 1:], prev_action[:, -1:]], dim=1)


def _with_spans_of(
    training: TrainingOptions, predictor: Predictor, *, level: str
) -> TrainingOptions:
    if training.priority_replay:
        raise ValueError(
            f"level {level!r} has priority_replay=True, but a predictor's loss gives no priorities"
        )
    length = max(training.mini_batch_length, predictor.span_length)
    return dataclasses.replace(training, mini_batch_length=length)
