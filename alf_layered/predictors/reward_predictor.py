"""The learned predictor: dynamics, reward, value, duration and encoder.

Axis letters: B spans, T records, k transitions whose reward and value are learned, S state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

import alf
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, POSITIVE, SHARE, UNIT, checked
from alf_layered.encoders import Encoder
from alf_layered.hierarchy.transitions import is_transition
from alf_layered.models.batch import ModelBatch
from alf_layered.models.model import Model
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.predictors.batch import PredictorBatch, SpanSource, masked_mean
from alf_layered.predictors.n_step_targets import n_step_targets
from alf_layered.predictors.optimization import LearningRate, Part, PartsOptimizer
from alf_layered.predictors.predictor import Function, Predictor, PredictorLosses
from alf_layered.predictors.standardizer import DeltaStandardizer

Nest = Any

_DEFAULT_RATES: dict[str, LearningRate] = {
    "delta_standardizer_lr": 1e-3,
    "encoder_lr": 3e-4,
    "reward_lr": 3e-4,
    "model_lr": 3e-4,
    "value_lr": 3e-4,
}


@alf.configurable
@checked(
    delta_standardizer_lr=AT_LEAST_0,
    encoder_lr=AT_LEAST_0,
    reward_lr=AT_LEAST_0,
    model_lr=AT_LEAST_0,
    value_lr=AT_LEAST_0,
    latent_state_dim=AT_LEAST_1,
    context_dim=AT_LEAST_0,
    gamma=SHARE,
    tau=UNIT,
    k_steps=AT_LEAST_1,
    n_steps=AT_LEAST_1,
    consistency_loss_weight=AT_LEAST_0,
    value_loss_weight=AT_LEAST_0,
    rew_loss_weight=AT_LEAST_0,
    encoder_warm_up=AT_LEAST_0,
    clip_grad_max_norm=POSITIVE,
)
class RewardPredictor(Predictor):
    """Learns by likelihood (dynamics), by squares (reward, value) and through the reward (encoder).

    `losses` and `after_update` are all that a trainer needs; `learn` does without one.

    Args:
        model: dynamics of states.
        val_func: a module, see `Predictor`; None: no value is learned.
        rew_func: a module.
        encoder: state and context of an observation.
        latent_state_dim: None: the encoder's.
        context_dim: None: the encoder's.
        gamma: discount of a decision as long as its duration is not known; None: the level's.
        tau: how far the target value moves to the learned one in each update.
        k_steps: transitions of a span, from its first, whose reward and value are learned.
        n_steps: horizon of the value targets.
        learn_encoder: whether the encoder is learned through the reward.
        consistency_loss_weight: of the dynamics' loss.
        value_loss_weight: of the value's.
        rew_loss_weight: of the reward's.
        delta_standardizer_lr: learning rates are numbers or functions of the environment steps, and
            are for `create_optimizer` alone; None: 1e-3 for this one, 3e-4 for the others.
        encoder_lr: of the encoder.
        reward_lr: of the reward, and of `discount_func`.
        model_lr: of the dynamics.
        value_lr: of the value.
        encoder_warm_up: updates at the start in which only encoder and reward are learned.
        delta_standardizer: whether the covariance of changes is learned; otherwise standardised
            changes are the changes themselves.
        clip_grad_max_norm: of each part's gradient, for `create_optimizer` alone; None: 20.
        discount_func: a module that predicts gamma^k of a decision from state, context and action;
            None: the mean over what has been seen.
        create_optimizer: whether the predictor learns by itself through `learn`; below a
            `PlannerLevel` that one's `optimizer` trains it.
        action_spec: see `Predictor`, as `observation_spec`.
    """

    updates: torch.Tensor
    _discount_seen: torch.Tensor

    def __init__(
        self,
        model: Model,
        val_func: Function | None,
        rew_func: Function,
        encoder: Encoder,
        latent_state_dim: int | None = None,
        context_dim: int | None = None,
        gamma: float | None = None,
        tau: float = 0.005,
        k_steps: int = 1,
        n_steps: int = 1,
        learn_encoder: bool = True,
        consistency_loss_weight: float = 1.0,
        value_loss_weight: float = 1.0,
        rew_loss_weight: float = 1.0,
        delta_standardizer_lr: float | Callable[[int], float] | None = None,
        encoder_lr: float | Callable[[int], float] | None = None,
        reward_lr: float | Callable[[int], float] | None = None,
        model_lr: float | Callable[[int], float] | None = None,
        value_lr: float | Callable[[int], float] | None = None,
        encoder_warm_up: int = 0,
        delta_standardizer: bool = True,
        clip_grad_max_norm: float | None = None,
        discount_func: Function | None = None,
        create_optimizer: bool = False,
        action_spec: Nest = None,
        observation_spec: Nest = None,
    ) -> None:
        super().__init__(
            model,
            val_func,
            rew_func,
            encoder,
            latent_state_dim,
            context_dim,
            gamma=gamma,
            discount_func=discount_func,
            action_spec=action_spec,
            observation_spec=observation_spec,
        )
        if k_steps < 1 or n_steps < 1:
            raise ValueError(f"k_steps is {k_steps} and n_steps {n_steps}; both are at least 1")
        self.span_length = k_steps + n_steps
        self._k_steps, self._n_steps, self._tau = k_steps, n_steps, tau
        self._learn_encoder = learn_encoder
        self._encoder_warm_up = encoder_warm_up if learn_encoder else 0
        # In the order of PredictorLosses.
        self._weights = (consistency_loss_weight, value_loss_weight, rew_loss_weight, 1.0, 1.0)
        self._warm_up_weights = (0.0, 0.0, rew_loss_weight, 0.0, 0.0)
        self.encoder.requires_grad_(learn_encoder)
        self.target_val_func: Function | None = copy.deepcopy(val_func)
        if isinstance(self.target_val_func, torch.nn.Module):
            self.target_val_func.requires_grad_(False)
        self.standardizer = DeltaStandardizer(self.latent_state_dim) if delta_standardizer else None
        self.register_buffer("_discount_seen", torch.zeros((), dtype=torch.bool))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        rates: dict[str, LearningRate | None] = {
            "delta_standardizer_lr": delta_standardizer_lr,
            "encoder_lr": encoder_lr,
            "reward_lr": reward_lr,
            "model_lr": model_lr,
            "value_lr": value_lr,
        }
        if create_optimizer:
            self._optimizer = self._own_optimizer(rates, clip_grad_max_norm)
        else:
            _refuse(rates | {"clip_grad_max_norm": clip_grad_max_norm})
            self._optimizer = None

    def _own_optimizer(
        self, rates: dict[str, LearningRate | None], max_norm: float | None
    ) -> PartsOptimizer:
        parts = {
            "model": (self.model, "model_lr"),
            "val_func": (self.val_func, "value_lr"),
            "rew_func": (self.rew_func, "reward_lr"),
            "discount_func": (self.discount_func, "reward_lr"),
            "encoder": (self.encoder if self._learn_encoder else None, "encoder_lr"),
            "standardizer": (self.standardizer, "delta_standardizer_lr"),
        }
        given = {name: rate for name, rate in rates.items() if rate is not None}
        lr = _DEFAULT_RATES | given
        return PartsOptimizer(
            {name: Part(_parameters(part), lr[rate]) for name, (part, rate) in parts.items()},
            max_norm=20.0 if max_norm is None else max_norm,
        )

    @property
    def learns_alone(self) -> bool:
        return self._optimizer is not None

    # ---- what is learned -----------------------------------------------------------------------

    def losses(
        self, batch: PredictorBatch, model_batch: PredictorBatch | None = None
    ) -> PredictorLosses:
        if batch.reward.shape[1] < self.span_length:
            raise ValueError(
                f"the spans have {batch.reward.shape[1]} records; k_steps={self._k_steps} and "
                f"n_steps={self._n_steps} need {self.span_length}"
            )
        k = self._k_steps
        real = is_transition(batch.step_type)
        if self.training and self._learn_encoder:
            self.encoder.observe(batch.observation, real & ~_changes_input(batch))
        state, context = self._encoded(batch.observation)
        action = self._vector(batch.action)[:, :k]
        first = (state[:, :k], context[:, :k], action)
        frozen = tuple(x.detach() for x in first)
        reward_error = self.rew_func(*first) - batch.reward[:, 1 : k + 1]
        consistency, standardizer = self._dynamics_losses(
            batch if model_batch is None else model_batch
        )
        return PredictorLosses(
            consistency=consistency,
            value=self._value_loss(batch, real[:, :k], state.detach(), context.detach()),
            reward=masked_mean(reward_error.square(), real[:, :k]),
            discount=self._discount_loss(batch, real[:, :k], frozen),
            standardizer=standardizer,
        )

    def total_loss(self, losses: PredictorLosses) -> torch.Tensor:
        parts = torch.stack(losses)
        weights = parts.new_tensor(self._weights)
        if self._encoder_warm_up > 0:
            warming = self.updates < self._encoder_warm_up
            weights = torch.where(warming, parts.new_tensor(self._warm_up_weights), weights)
        return (weights * parts).sum()

    def _encoded(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learn_encoder):
            return self.encoder(obs)

    def _value_loss(
        self,
        batch: PredictorBatch,
        real: torch.Tensor,
        state: torch.Tensor,
        context: torch.Tensor,
    ) -> torch.Tensor:
        """Over decisions of the planner alone: the value is that of its policy."""
        if self.val_func is None or self.target_val_func is None:
            return batch.reward.new_zeros(())
        k = self._k_steps
        with torch.no_grad():
            value = self.target_val_func(state, context)
            target = n_step_targets(
                batch.reward, batch.discount, batch.step_type, value, self._n_steps
            )[:, :k]
        valid = real if batch.planned is None else real & batch.planned[:, :k]
        return masked_mean((self.val_func(state[:, :k], context[:, :k]) - target).square(), valid)

    def _discount_loss(
        self, batch: PredictorBatch, real: torch.Tensor, first: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        if batch.time_discount is None:
            return batch.reward.new_zeros(())
        time_discount = batch.time_discount[:, 1 : self._k_steps + 1]
        if self.discount_func is not None:
            # Cross entropy with a soft target: least where the prediction is the target's mean.
            predicted = self.discount_func(*first)
            return masked_mean(
                F.binary_cross_entropy(predicted, time_discount, reduction="none"), real
            )
        if self.training:
            with torch.no_grad():
                rate = torch.where(self._discount_seen, 0.01, 1.0) * real.any()
                self.mean_discount.lerp_(masked_mean(time_discount, real), rate)
                self._discount_seen.logical_or_(real.any())
        return batch.reward.new_zeros(())

    def _dynamics_losses(self, batch: PredictorBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """On all transitions of the spans, without gradients for the encoder."""
        with torch.no_grad():
            state, context = self.encoder(batch.observation)
            led_to = state if batch.reached is None else self.encoder(batch.reached)[0]
        real = is_transition(batch.step_type).flatten()
        transitions = ModelBatch(
            state=state[:, :-1].flatten(0, 1),
            context=context[:, :-1].flatten(0, 1),
            action=batch.action[:, :-1].flatten(0, 1),
            next_state=led_to[:, 1:].flatten(0, 1),
            terminated=(batch.discount[:, 1:] == 0).flatten(),
            weight=None if batch.weight is None else batch.weight[:, :-1].flatten(),
            validity_mask=real,
        )
        consistency = self.model.loss(transitions)
        if self.standardizer is None:
            return consistency, consistency.new_zeros(())
        change = transitions.next_state - transitions.state
        return consistency, self.standardizer.loss(change, real)

    # ---- predictions ----------------------------------------------------------------------------

    def standardize_change(self, change: torch.Tensor) -> torch.Tensor:
        return change if self.standardizer is None else self.standardizer(change)

    # ---- learning -------------------------------------------------------------------------------

    @torch.no_grad()
    def after_update(self) -> None:
        self.updates.add_(1)
        if isinstance(self.val_func, torch.nn.Module):
            assert isinstance(self.target_val_func, torch.nn.Module)
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                list(self.target_val_func.parameters()),
                list(self.val_func.parameters()),
                self._tau,
            )
        model = self.model
        if (
            self.standardizer is not None
            and isinstance(model, ProbabilisticEnsemble)
            and model.breaks_symmetry
        ):  # made-up pushes are unit vectors where changes are standardised
            model.set_skill_transform(self.standardizer.inverse)

    def learn(
        self,
        buffer: SpanSource,
        n_updates: int = 1,
        batch_size: int = 256,
        model_batch_size: int = 256,
        n_total_env_steps: int = 0,
    ) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        if self._optimizer is None:
            raise ValueError("this predictor has no optimizer: build it with create_optimizer=True")
        self.set_n_total_env_steps(n_total_env_steps)
        self._optimizer.set_learning_rates(n_total_env_steps)
        self.train()
        reports = []
        for _ in range(n_updates):
            batch = buffer.sample(batch_size, self.span_length)
            model_batch = buffer.sample(model_batch_size, 2)
            if batch is None or model_batch is None:
                break
            losses = self.losses(batch, model_batch)
            total = self.total_loss(losses)
            self._optimizer.step(total)
            self.after_update()
            reports.append(torch.stack([total, *losses]).detach())
        self.eval()
        if not reports:
            return None, {}
        total, *means = torch.stack(reports).mean(0)
        return total, dict(zip(PredictorLosses._fields, means, strict=True))


def _changes_input(batch: PredictorBatch) -> torch.Tensor:
    """`[B, T - 1]`, where the input from above changed at the second record: not by a decision."""
    if batch.reached is None:
        return torch.zeros_like(batch.step_type[:, 1:], dtype=torch.bool)
    return (batch.reached != batch.observation).any(-1)[:, 1:]


def _parameters(module: Any) -> list[torch.nn.Parameter]:
    return list(module.parameters()) if isinstance(module, torch.nn.Module) else []


def _refuse(settings: dict[str, Any]) -> None:
    """Raises where settings of the own optimizer are given that is not there."""
    given = {name: value for name, value in settings.items() if value is not None}
    if given:
        raise ValueError(
            f"{given} of a RewardPredictor need create_optimizer=True, with which it learns by "
            "itself; under a PlannerLevel give that one an optimizer instead, e.g. "
            "optimizer=Adam(lr=1e-3, gradient_clipping=20.0)"
        )
