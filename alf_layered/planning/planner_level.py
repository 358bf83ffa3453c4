"""A level that plans: model predictive control over a predictor that it learns.

Axis letters: B environments, R rows that are due, K plans, H horizon, A action, T records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

import alf
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.hierarchy.bounds import has_finite_bounds
from alf_layered.hierarchy.constructors import check_constructor
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.on_policy import check_replays
from alf_layered.hierarchy.rows import on_rows, where_rows
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.hierarchy.transitions import is_outcome
from alf_layered.networks.constant_buffers import register_constant
from alf_layered.networks.spaces import as_vector
from alf_layered.planners.categorical_cem import CategoricalCEM, uniform_plan
from alf_layered.planners.finite_scores import check_scores
from alf_layered.planners.icem import ICEM
from alf_layered.planners.plan import Plan, shift
from alf_layered.planners.search import SearchOptions, SearchResult, first_plan, search
from alf_layered.planning.exploration import Exploration, next_phase, phase_spec
from alf_layered.planning.objective import Disagreement, Outlook, PlanObjective
from alf_layered.predictors.batch import PredictorBatch, ReplayedSpans, reached_vector
from alf_layered.predictors.predictor import Predictor
from alf_layered.predictors.predictor_factory import default_factory_for

Nest = Any

PlannerState = namedtuple("PlannerState", ["plan", "phase"], default_value=())
PlannerState.__doc__ = """What a planning level remembers of an environment.

Fields:
    plan: `Plan` of the last search, what the next one starts from.
    phase: `Phase` of its exploration; `()` in evaluation.
"""

PlannerInfo = namedtuple("PlannerInfo", ["planned"], default_value=())
PlannerInfo.__doc__ = """What is stored with a decision.

Fields:
    planned: `[B]`, bool, whether it is the first of a plan for the task.
"""

PlannerTrainInfo = namedtuple(
    "PlannerTrainInfo",
    ["observation", "action", "reward", "discount", "step_type", "passage", "planned", "reached"],
    default_value=(),
)
PlannerTrainInfo.__doc__ = "The fields of `PredictorBatch`, or `()` for those that are not known."


class PlanningStep(NamedTuple):
    """One iteration of a search, for those who want to look on.

    Fields:
        env_id: `[R]`, the environments that are planned for.
        outlook: the plans, and what they are expected to lead to.
        score: `[R, K]`.
    """

    env_id: torch.Tensor
    outlook: Outlook
    score: torch.Tensor


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

    costly = True

    _low: torch.Tensor
    _high: torch.Tensor
    _initial_guess: torch.Tensor
    _initial_sigma: torch.Tensor

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
        planner = _usual_planner(action_spec) if planner is None else planner
        _check_spaces(action_spec, reward_spec, planner, level=name)
        seen_spec = LevelObservation(observation_spec, input_spec)
        seen_spec = seen_spec if alf.nest.flatten(input_spec) else observation_spec
        factory = predictor_factory or default_factory_for(seen_spec)
        check_constructor(factory, f"predictor_factory of level {name!r}")
        predictor = factory(seen_spec, action_spec)
        _check_exploration(exploration, predictor, objective, training, level=name)
        if training is not None:
            check_replays(training, level=name)
            _check_learning(predictor, level=name)
            training = _with_spans_of(training, predictor, level=name)
            optimizer = optimizer or Adam(lr=1e-3, gradient_clipping=20.0)
        plan_spec = _plan_spec(action_spec, horizon, planner)
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            gamma=gamma,
            control_interval=control_interval,
            training=training,
            rollout_state_spec=PlannerState(
                plan=plan_spec, phase=() if exploration is None else phase_spec(action_spec)
            ),
            predict_state_spec=PlannerState(plan=plan_spec),
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
        self._horizon = horizon
        self._objective = objective
        self._exploration = exploration
        self._shifts = shift_initialization
        self._value_from_planned = value_from_planned
        self._model_batch_size = model_batch_size
        self._callback = callback
        self._set_start(initial_guess, initial_sigma)

    def _set_start(self, initial_guess: Any, initial_sigma: Any) -> None:
        """Bounds, first guess and deviation of the actions as vectors `[A]`."""
        if self._is_discrete:
            if initial_guess is not None or initial_sigma is not None:
                raise ValueError(
                    f"initial_guess and initial_sigma of level {self.name!r} are for continuous "
                    "actions; searches over options start from equal probabilities"
                )
            return
        spec = self.action_spec
        low, high = (
            torch.as_tensor(bound, dtype=torch.float32).broadcast_to(spec.shape).reshape(-1)
            for bound in (spec.minimum, spec.maximum)
        )
        guess = (low + high) / 2 if initial_guess is None else torch.as_tensor(initial_guess)
        sigma = (high - low) / 2 if initial_sigma is None else torch.as_tensor(initial_sigma)
        vectors = {"_low": low, "_high": high, "_initial_guess": guess, "_initial_sigma": sigma}
        for key, value in vectors.items():
            vector = value.to(low).reshape(-1)
            if vector.numel() not in (1, low.numel()):
                raise ValueError(
                    f"{key[1:]} of level {self.name!r} has {vector.numel()} numbers for "
                    f"{low.numel()} dimensions of the actions"
                )
            register_constant(self, key, vector.expand(low.numel()).clone())

    @property
    def predictor(self) -> Predictor:
        """What is learned and planned with."""
        return self._predictor

    def break_symmetry(self, duration: int) -> None:
        """Lets the model start with made-up skills; see `Model.break_symmetry`."""
        self._predictor.model.break_symmetry(duration)

    def encode(self, observation: LevelObservation) -> tuple[torch.Tensor, torch.Tensor]:
        """State `[*L, S]` and context `[*L, C]` of what the level observes."""
        return self._predictor.encode(self._seen(observation))

    @property
    def _is_discrete(self) -> bool:
        return not self.action_spec.dtype.is_floating_point

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: PlannerState) -> AlgStep:
        start = self._start(state.plan, inputs.is_first())
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
        start = self._start(state.plan, inputs.is_first())
        action, plan = self._plan(inputs, start, None, self._certain_planner)
        return AlgStep(output=action, state=PlannerState(plan), info=())

    def _may_plan(self) -> bool:
        if self._training is None or self._exploration is None:
            return True
        steps = int(self._update_clock.transitions)
        return steps >= self._exploration.no_planning_steps and not self._update_clock.warming_up

    def _start(self, plan: Plan, first: torch.Tensor) -> Plan:
        """Where the search of each environment starts."""
        fresh = self._first_plan(first.shape[0])
        if self._shifts:
            plan = shift(plan, torch.ones_like(plan.known), fill=fresh.mean[:, -1:])
        return where_rows(first, fresh, plan)

    def _first_plan(self, batch_size: int) -> Plan:
        if isinstance(self._planner, CategoricalCEM):
            options = int(self.action_spec.maximum - self.action_spec.minimum) + 1
            return uniform_plan(batch_size, self._horizon, options, options=self._planner)
        guess = self._initial_guess.expand(batch_size, self._horizon, -1)
        return first_plan(guess, self._initial_sigma, options=self._planner)

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
        return self._as_actions(found.plan[:, 0]), found.warm_start

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
        return search(
            partial(
                self._score,
                self._objective.outlook_from(self._predictor, state, context),
                curious,
                inputs.env_id,
            ),
            start,
            options=self._planner if planner is None else planner,
            low=None if self._is_discrete else self._low,
            high=None if self._is_discrete else self._high,
        )

    def outlook(self, inputs: TimeStep, plans: torch.Tensor) -> Outlook:
        """What plans `[R, K, H, A]` from `inputs` `[R, ...]` are expected to lead to."""
        with torch.no_grad():
            state, context = self.encode(inputs.observation)
        return self._objective.outlook(self._predictor, state, context, self._as_actions(plans))

    def _score(
        self,
        expect: Callable[[torch.Tensor], Outlook],
        curious: torch.Tensor | None,
        env_id: torch.Tensor,
        plans: torch.Tensor,
    ) -> torch.Tensor:
        outlook = expect(self._as_actions(plans))
        score = self._objective.score(outlook, curious)
        if self._callback is not None:
            self._callback(PlanningStep(env_id, outlook, score))
        return score

    def _seen(self, observation: LevelObservation) -> Nest:
        """What the predictor sees of the level's observation."""
        return observation if alf.nest.flatten(self.input_spec) else observation.observation

    def _as_actions(self, plans: torch.Tensor) -> torch.Tensor:
        """Actions of the action spec from what a search handles: vectors, or indices from 0."""
        spec = self.action_spec
        if self._is_discrete:
            return (plans + int(spec.minimum)).to(spec.dtype)
        return plans.reshape(*plans.shape[:-1], *spec.shape)

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
        passage = ()
        if isinstance(inputs.env_info, dict) and "passage" in inputs.env_info:
            passage = self.gamma * inputs.env_info["passage"]
        led_to = reached_vector(inputs, self.observation_spec)
        info = PlannerTrainInfo(
            observation=as_vector(inputs.observation, self.observation_spec),
            action=inputs.prev_action,
            reward=inputs.reward,
            discount=self.gamma * inputs.discount,
            step_type=inputs.step_type,
            passage=passage,
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


def _usual_planner(action_spec: Any) -> SearchOptions:
    is_discrete = isinstance(action_spec, TensorSpec) and not action_spec.dtype.is_floating_point
    return CategoricalCEM() if is_discrete else ICEM()


def _plan_spec(action_spec: TensorSpec, horizon: int, planner: SearchOptions) -> Plan:
    """The specs of a `Plan` in the state nest."""
    kept = planner.n_kept
    if isinstance(planner, CategoricalCEM):
        options = int(action_spec.maximum - action_spec.minimum) + 1
        mean = TensorSpec((horizon, options))
        elites = TensorSpec((kept, horizon), dtype=torch.int64)
    else:
        mean = TensorSpec((horizon, action_spec.numel))
        elites = TensorSpec((kept, horizon, action_spec.numel))
    specs: tuple[Any, ...] = (mean, mean, elites, TensorSpec((), dtype=torch.int64))
    return Plan(*specs)


def _with_spans_of(
    training: TrainingOptions, predictor: Predictor, *, level: str
) -> TrainingOptions:
    if training.priority_replay:
        raise ValueError(
            f"level {level!r} has priority_replay=True, but a predictor's loss gives no priorities"
        )
    length = max(training.mini_batch_length, predictor.span_length)
    return dataclasses.replace(training, mini_batch_length=length)


def _check_learning(predictor: Predictor, *, level: str) -> None:
    """Raises for settings that would do nothing where the level trains the predictor."""
    for what, learner in (("predictor", predictor), ("predictor's model", predictor.model)):
        if learner.learns_alone:
            raise ValueError(
                f"the {what} of level {level!r} has create_optimizer=True, but the level's "
                "optimizer trains it: leave that out, with its learning rates"
            )
    if predictor.model.needs_weight:
        raise ValueError(
            f"the model of level {level!r} has weighted_loss=True, but a level's transitions have "
            "no weights; it is for a model that learns from batches of your own"
        )


def _check_spaces(
    action_spec: Any, reward_spec: TensorSpec, planner: SearchOptions, *, level: str
) -> None:
    if not isinstance(action_spec, TensorSpec) or not has_finite_bounds(action_spec):
        raise ValueError(
            f"level {level!r} plans one action tensor with finite bounds, the action spec is "
            f"{action_spec}"
        )
    if reward_spec.numel != 1:
        raise ValueError(f"level {level!r} plans for one reward, the reward spec is {reward_spec}")
    discrete = not action_spec.dtype.is_floating_point
    if discrete and action_spec.ndim > 0:
        raise ValueError(f"level {level!r} plans over one choice, the action spec is {action_spec}")
    if discrete != isinstance(planner, CategoricalCEM):
        allowed = "a CategoricalCEM" if discrete else "a planner of continuous actions"
        raise ValueError(
            f"level {level!r} has {type(planner).__name__} for the action spec {action_spec}; "
            f"it needs {allowed}"
        )


def _check_exploration(
    exploration: Exploration | None,
    predictor: Predictor,
    objective: PlanObjective,
    training: TrainingOptions | None,
    *,
    level: str,
) -> None:
    if exploration is None:
        return
    if training is None and exploration.no_planning_steps > 0:
        raise ValueError(
            f"level {level!r} has no_planning_steps={exploration.no_planning_steps}, but "
            "training=None: it stores and counts nothing"
        )
    members = predictor.model.n_models
    curious = exploration.use_ensemble_disagreement
    if curious and members < 2 and isinstance(objective.curiosity, Disagreement):
        raise ValueError(
            f"level {level!r} has use_ensemble_disagreement=True, but its model has n_models="
            f"{members}; at least 2 members can disagree"
        )
