"""TD-MPC2 (Hansen, Su and Wang, 2024, arXiv 2310.16828) as an ALF algorithm.

Axis letters: B environments or spans, T = H + 1 records, H horizon, A action.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import SHARE, checked
from alf_layered.hierarchy.rows import on_rows, where_rows
from alf_layered.hierarchy.transitions import is_transition
from alf_layered.planners.finite_scores import check_scores
from alf_layered.planners.plan import SearchResult
from alf_layered.tdmpc2 import losses, planning
from alf_layered.tdmpc2.action_space import ActionSpace
from alf_layered.tdmpc2.checks import check_config, check_spaces
from alf_layered.tdmpc2.goal_field import split_goal
from alf_layered.tdmpc2.losses import Spans
from alf_layered.tdmpc2.q_scale import QScale
from alf_layered.tdmpc2.records import TDMPC2Info, TDMPC2State
from alf_layered.tdmpc2.settings import TDMPC2Settings
from alf_layered.tdmpc2.slow_adam import SlowAdam
from alf_layered.tdmpc2.world_model import WorldModel

Nest = Any


@alf.configurable
@checked(gamma=SHARE)
class TDMPC2Algorithm(OffPolicyAlgorithm):
    """Learns a latent world model and plans with it.

    Trains from spans of `horizon + 1` records, so `mini_batch_length` of its configuration must be
    that. While the replay buffer holds less than `initial_collect_steps` records, actions are
    uniformly random.

    Args:
        observation_spec: a nest of vectors and images.
        action_spec: one bounded tensor of real numbers.
        reward_spec: of one reward.
        settings: of networks, learning and planning.
        gamma: discount factor of a time step; multiplied with the time step's own discount.
        goal_field: the field of the observation that conditions reward, termination, policy and
            action values but not the dynamics, and has an encoder of its own; None: there is none.
    """

    tells_gamma = True
    """Whether `gamma` is the discount factor of its losses and plans."""

    _updates: Tensor
    _passage: Tensor

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        settings: TDMPC2Settings = TDMPC2Settings(),
        gamma: float = 0.99,
        goal_field: str | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "TDMPC2Algorithm",
    ) -> None:
        check_spaces(action_spec, reward_spec, name=name)
        check_config(config, settings, name=name)
        optimizer = _adam(settings, name="model")
        plan_spec = TensorSpec((settings.horizon, action_spec.numel))
        state_spec = TDMPC2State(plan_spec, plan_spec, TensorSpec((), dtype=torch.int64))
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=(),
            rollout_state_spec=state_spec,
            predict_state_spec=state_spec,
            env=env,
            config=config,
            optimizer=optimizer,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._settings = settings
        self._gamma = gamma
        self._goal_field = goal_field
        seen_spec, goal_spec = split_goal(observation_spec, self._goal_field, owner=self.name)
        self._world_model = WorldModel(
            seen_spec,
            action_spec.numel,
            goal_spec,
            settings=settings.model,
            log_prob=settings.log_prob,
        )
        self._register_parts()
        encoders = (p for e in self._world_model.encoders for p in e.parameters())
        optimizer.slow_down(encoders, settings.encoder_lr_scale)
        self.add_optimizer(_adam(settings, name="policy", eps=1e-5), [self._policy])
        self._target_q = copy.deepcopy(self._world_model.q).requires_grad_(False)
        self._q_scale = QScale(settings.tau)
        self._actions = ActionSpace(action_spec)
        # On the host whatever the default device is: the number steers Python.
        self.register_buffer("_updates", torch.zeros((), dtype=torch.int64, device="cpu"))
        # Mean discount of a time step that ends nothing, below 1 where decisions take longer.
        self.register_buffer("_passage", torch.ones(()))
        options = settings.compile
        compiled = (lambda f: f) if options is None else torch.compile(**options)
        self._plan_value = compiled(planning.plan_value)
        self._model_losses = compiled(losses.world_model_losses)
        self._policy_value = compiled(losses.policy_value)

    def _register_parts(self) -> None:
        """Makes the world model's parts direct children: ALF gives optimizers to these alone."""
        model = self._world_model
        self._policy = model.policy
        self._model = nn.ModuleList(m for m in model.children() if m is not model.policy)
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)

    @property
    def world_model(self) -> WorldModel:
        """What is learned and planned with."""
        return self._world_model

    @property
    def asks_for_reached(self) -> bool:
        """Whether it trains from what was observed when the decision before ended, in the field
        `reached` of the info of its training steps: where it encodes the whole observation."""
        return self._goal_field is None

    @property
    def gamma(self) -> float:
        """Discount factor of a time step."""
        return self._gamma

    @property
    def settings(self) -> TDMPC2Settings:
        """The settings of networks, learning and planning."""
        return self._settings

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_q", "_world_model"]

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: TDMPC2State) -> AlgStep:
        if self._collects_at_random():
            return self.random_step(inputs, state)
        return self._act(inputs, state, explores=True)

    def predict_step(self, inputs: TimeStep, state: TDMPC2State) -> AlgStep:
        """Acts by the plan or by the policy's mean, without noise; `info` is `()`."""
        return self._act(inputs, state, explores=False)

    def random_step(self, inputs: TimeStep, state: TDMPC2State) -> AlgStep:
        """An action at random; the next plan starts afresh."""
        batch = inputs.step_type.shape[0]
        action = 2 * torch.rand(batch, self._actions.size, device=self._actions.device) - 1
        nothing = alf.nest.map_structure(torch.zeros_like, state)
        return AlgStep(output=self._actions.to_spec(action), state=nothing)

    def _collects_at_random(self) -> bool:
        if self._config is None or self._config.initial_collect_steps <= 0:
            return False
        stored = self._replay_buffer
        # The update count: a buffer that was not saved does not make a trained agent random.
        return int(self._updates) == 0 and (
            stored is None or stored.total_size < self._config.initial_collect_steps
        )

    @torch.no_grad()
    def _act(self, inputs: TimeStep, state: TDMPC2State, *, explores: bool) -> AlgStep:
        if self._settings.planning.acts_by == "policy":
            return AlgStep(
                output=self._actions.to_spec(self._policy_action(inputs, explores)), state=state
            )
        interval = self._settings.planning.plan_interval
        first = inputs.is_first()
        shifted = torch.cat(
            [state.mean[:, interval:], torch.zeros_like(state.mean[:, :interval])], dim=1
        )
        start = where_rows(first, torch.zeros_like(shifted), shifted)
        # What is decided at the end of an episode is not executed: no plan for it.
        due = (first | (state.left <= 0)) & ~inputs.is_last()

        def plan_rows(rows: Nest) -> tuple[Tensor, Tensor]:
            return self._plan(*rows, explores=explores)

        mean, actions = on_rows(
            due,
            plan_rows,
            (inputs.observation, start, inputs.env_id),
            (state.mean, state.actions),
        )
        left = torch.where(due, interval, state.left)
        now = (interval - left).clamp(0, interval - 1)
        action = torch.take_along_dim(actions, now[:, None, None], dim=1)[:, 0]
        new_state = TDMPC2State(mean=mean, actions=actions, left=(left - 1).clamp(min=0))
        return AlgStep(output=self._actions.to_spec(action), state=new_state)

    def _plan(
        self, observation: Nest, start: Tensor, env_id: Nest = (), *, explores: bool
    ) -> tuple[Tensor, Tensor]:
        """The search's mean and the actions to execute, both `[R, H, A]`."""
        options = self._settings.planning
        mppi = options.search(self._actions.size, int(self._updates))
        if not explores:
            mppi = dataclasses.replace(mppi, return_mode=options.evaluates_by)
        with self._autocast():
            found = self._search(
                observation,
                start,
                options=mppi,
                discount=self._gamma * self._passage,
                n_policy_plans=options.n_policy_plans,
            )
        check_scores(found.score, env_id, owner=repr(self.name))
        actions = found.plan
        if explores:
            actions = (actions + found.std * torch.randn_like(actions)).clamp(-1, 1)
        return found.mean, actions

    def _search(self, observation: Nest, start: Tensor, **options: Any) -> SearchResult:
        """Searches from what is observed; `options` are those of `planning.search_plan`."""
        model = self._world_model
        seen, goal = split_goal(observation, self._goal_field, owner=self.name)
        return planning.search_plan(
            model,
            model.encode(seen),
            start,
            model.encode_goal(goal),
            value=self._plan_value,
            **options,
        )

    def _policy_action(self, inputs: TimeStep, explores: bool) -> Tensor:
        model = self._world_model
        seen, goal = split_goal(inputs.observation, self._goal_field, owner=self.name)
        shape = inputs.step_type.shape[0], self._actions.size
        device = self._actions.device
        noise = torch.randn(shape, device=device) if explores else torch.zeros(shape, device=device)
        with self._autocast():
            return model.pi(model.encode(seen), noise, model.encode_goal(goal)).action

    # ---- training -------------------------------------------------------------------------------

    def train_step(self, inputs: TimeStep, state: Nest, rollout_info: Nest) -> AlgStep:
        """Hands on what is learned from; the action is the next time step's `prev_action`."""
        fields = [name for name in TDMPC2Info._fields if name != "reached"]
        info = TDMPC2Info(**{name: getattr(inputs, name) for name in fields})
        return AlgStep(output=(), state=state, info=info)

    def spans(self, info: TDMPC2Info) -> Spans:
        """What is learned from spans `[T, B, ...]`."""
        seen, goal = split_goal(info.observation, self._goal_field, owner=self.name)
        spans = Spans(
            observation=seen,
            goal=goal,
            action=self._actions.from_spec(info.prev_action[1:]),
            reward=info.reward[1:].reshape(info.discount[1:].shape),
            discount=self._gamma * info.discount[1:],
            is_transition=is_transition(info.step_type, time_axis=0),
        )
        if alf.nest.flatten(info.reached):
            led_to, _ = split_goal(info.reached, self._goal_field, owner=self.name)
            spans = spans._replace(reached=led_to, changes_input=_differ(led_to, seen)[1:])
        return spans

    def calc_loss(self, info: TDMPC2Info) -> LossInfo:
        """The losses of world model and policy; they train different parameters."""
        settings, spans = self._settings, self.spans(info)
        self._learn_passage(spans)
        with self._autocast():
            learned = self._model_losses(
                self._world_model, self._target_q, spans, settings=settings
            )
            policy = self._policy_value(self._world_model, learned.latent, learned.goal)
        parts = learned.losses
        policy_loss = losses.policy_loss(
            policy,
            self._q_scale.update(policy.q[0]),
            entropy_coef=settings.entropy_coef,
            rho=settings.rho,
        )
        model_loss = (
            settings.consistency_coef * parts.consistency
            + settings.reward_coef * parts.reward
            + settings.value_coef * parts.value
            + settings.termination_coef * parts.termination
        )
        extra = {
            **parts._asdict(),
            "policy": policy_loss,
            "q": policy.q.mean(),
            "q_scale": self._q_scale.value,
            "entropy": -policy.log_prob.mean(),
        }
        extra = {key: value.detach() for key, value in extra.items()}
        loss = model_loss + policy_loss
        more = self._extra_loss(info, spans, learned)
        return LossInfo(loss=loss if more is None else loss + more, extra=extra)

    def _extra_loss(
        self, info: TDMPC2Info, spans: Spans, learned: losses.ModelLearning
    ) -> Tensor | None:
        """What a variant of the method learns besides."""
        return None

    @torch.no_grad()
    def _learn_passage(self, spans: Spans) -> None:
        """Follows the mean discount of transitions that end nothing, for plans."""
        counts = (spans.is_transition & (spans.discount > 0)).float()
        mean = (counts * spans.discount).sum() / (self._gamma * counts.sum().clamp(min=1))
        rate = torch.where(counts.sum() > 0, 1.0 if int(self._updates) == 0 else 0.01, 0.0)
        self._passage.lerp_(mean, rate)

    @torch.no_grad()
    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        """Lets the target action values follow."""
        online: list[Tensor] = list(self._world_model.q.parameters())
        target: list[Tensor] = list(self._target_q.parameters())
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            target, online, self._settings.tau
        )
        self._updates.add_(1)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self._actions.device.type, dtype=torch.bfloat16, enabled=self._settings.bf16
        )


def _differ(one: Nest, other: Nest) -> Tensor:
    """`[T, B]`, where the leaves `[T, B, ...]` of two nests of the same structure differ."""
    leaves = zip(alf.nest.flatten(one), alf.nest.flatten(other), strict=True)
    return torch.stack([(a != b).flatten(2).any(2) for a, b in leaves]).any(0)


def _adam(settings: TDMPC2Settings, *, name: str, eps: float = 1e-8) -> SlowAdam:
    return SlowAdam(
        lr=settings.lr,
        eps=eps,
        gradient_clipping=settings.gradient_clipping,
        clip_by_global_norm=True,
        name=name,
    )
