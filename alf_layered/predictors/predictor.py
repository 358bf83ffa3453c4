"""What a predictor is: all that planning needs to know of a level's semi-MDP.

Axis letters: B rows, K plans, H horizon, N members, P particles, L any axes of rows, S state,
C context.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from alf_layered.encoders import Encoder
from alf_layered.models.model import Model
from alf_layered.models.rollout import Roller, Trajectories, per_decision
from alf_layered.networks.spaces import as_vector
from alf_layered.predictors.batch import PredictorBatch, SpanSource

Nest = Any
Function = Callable[..., torch.Tensor]


class PredictorLosses(NamedTuple):
    """The parts of a predictor's loss, scalars."""

    consistency: torch.Tensor
    value: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor
    standardizer: torch.Tensor


class PredictedRollout(NamedTuple):
    """What plans are predicted to lead to: K of each row, or one, without the axis K.

    Fields:
        plans: `[B, K, H, A]` or indices `[B, K, H]`.
        context: `[B, C]`.
        trajectories: of the states, `[B, K, N, P, H + 1, S]`.
        reward: `[B, K, N, P, H]`, of each decision.
        discount: `[B, K, N, P, H]` or a shape that broadcasts, gamma^k of each decision, times the
            probability that nothing terminated in it, where that was asked for.
        predictor: that predicts.
    """

    plans: torch.Tensor
    context: torch.Tensor
    trajectories: Trajectories
    reward: torch.Tensor
    discount: torch.Tensor
    predictor: Predictor


class Predictor(nn.Module):
    """Dynamics model, reward, value and encoder of one level.

    Args:
        model: dynamics of states.
        val_func: value of state and context; None: no value is known, 0.
        rew_func: reward of state, context and action.
        encoder: state and context of an observation.
        latent_state_dim: S; None: the encoder's.
        context_dim: C; None: the encoder's.
        gamma: discount of a decision where nothing more is known of its duration; None: that of the
            level which plans with it, and 0.99 without one.
        discount_func: gamma^k of state, context and action, for decisions of k environment steps
            that differ in k; None: the same for all.
        action_spec: give it where actions are discrete.
        observation_spec: of observations that are nests; they are flattened.
    """

    span_length: int = 2
    """Records T of the spans it learns from."""
    mean_discount: torch.Tensor

    def __init__(
        self,
        model: Model,
        val_func: Function | None,
        rew_func: Function,
        encoder: Encoder,
        latent_state_dim: int | None = None,
        context_dim: int | None = None,
        *,
        gamma: float | None = None,
        discount_func: Function | None = None,
        action_spec: Nest = None,
        observation_spec: Nest = None,
    ) -> None:
        super().__init__()
        if gamma is not None and not 0 < gamma <= 1:
            raise ValueError(f"gamma of a predictor is {gamma}; it is in (0, 1]")
        for what, asked, found in (
            ("latent_state_dim", latent_state_dim, encoder.latent_state_dim),
            ("context_dim", context_dim, encoder.context_dim),
        ):
            if asked is not None and asked != found:
                raise ValueError(f"{what} is {asked}, but the encoder's is {found}")
        self.model = model
        self.val_func: Function | None = val_func
        self.rew_func: Function = rew_func
        self.encoder = encoder
        self.latent_state_dim = encoder.latent_state_dim
        self.context_dim = encoder.context_dim
        self._has_own_gamma = gamma is not None
        self.gamma = 0.99 if gamma is None else gamma
        self.discount_func: Function | None = discount_func
        self.register_buffer("mean_discount", torch.tensor(float(self.gamma)))
        self._action_spec = action_spec
        self._observation_spec = observation_spec

    def begin_with_gamma_of(self, level_gamma: float) -> None:
        """Assumes a level's discount until decisions were seen, unless `gamma` was given."""
        if not self._has_own_gamma:
            self.gamma = level_gamma
            self.mean_discount.fill_(level_gamma)

    # ---- predictions from observations ----------------------------------------------------------

    def encode(self, obs: Nest) -> tuple[torch.Tensor, torch.Tensor]:
        """State `[*L, S]` and context `[*L, C]` of observations."""
        if self._observation_spec is not None:
            obs = as_vector(obs, self._observation_spec)
        return self.encoder(obs)

    def predict(self, obs: Nest, act: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The model's means, weights and deviations, the reward, and the termination."""
        state, context = self.encode(obs)
        mean, weight, std, term_prob = self.model.predict(state, context, act)
        return mean, weight, std, self.rew_func(state, context, self._vector(act)), term_prob

    def predict_reward(self, obs: Nest, act: torch.Tensor) -> torch.Tensor:
        """Reward `[*L]` of decisions."""
        state, context = self.encode(obs)
        return self.rew_func(state, context, self._vector(act))

    def value(self, obs: Nest, act: torch.Tensor | None = None) -> torch.Tensor:
        """Value `[*L]` of observations."""
        return self.state_value(*self.encode(obs))

    def rollout(
        self,
        obs: Nest,
        act: torch.Tensor,
        deterministic: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[PredictedRollout, torch.Tensor]:
        """One plan `[B, H, A]` from each observation; also returns the context `[B, C]`."""
        state, context = self.encode(obs)
        roller = self.model.roller(deterministic=deterministic, generator=generator)
        found = self.rollout_plans(state, context, act.unsqueeze(1), roller=roller)
        of_one = found.trajectories.of_one_plan(self.model.n_particles_per_model)
        shape = of_one.state[..., 1:, 0].shape
        return (
            found._replace(
                plans=act,
                trajectories=of_one,
                reward=found.reward.squeeze(1).expand(shape),
                discount=found.discount.squeeze(1).expand(shape),
            ),
            context,
        )

    # ---- predictions from states ----------------------------------------------------------------

    def state_value(self, state: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Value `[*L]` of states `[*L, S]` in contexts, whose axes L broadcast."""
        if self.val_func is None:
            return state.new_zeros(state.shape[:-1])
        return self.val_func(state, context)

    def discount(
        self, state: torch.Tensor, context: torch.Tensor, action: torch.Tensor
    ) -> torch.Tensor:
        """Predicted gamma^k of decisions of k environment steps, `[*L]` or a scalar."""
        if self.discount_func is None:
            return self.mean_discount
        return self.discount_func(state, context, action)

    @torch.no_grad()
    def rollout_plans(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        plans: torch.Tensor,
        *,
        roller: Roller | None = None,
    ) -> PredictedRollout:
        """Rolls out K plans from each state, with rewards and discounts; no gradients.

        Args:
            state: `[B, S]`, encoded once, however many plans are tried.
            context: `[B, C]`.
            plans: `[B, K, H, A]` or indices `[B, K, H]`.
            roller: of the model, which says whether to draw, and whether the discounts include
                the probability to terminate; None: `model.roller()`, one particle that follows the
                mean, with terminations.
        """
        roll = self.model.roller() if roller is None else roller
        trajectories = roll(state, context, plans)
        vectors = self._vector(plans)
        discount = self.mean_discount
        if self.discount_func is not None:
            discount = per_decision(self.discount_func, trajectories, context, vectors)
        if trajectories.term_prob is not None:
            discount = discount * (1 - trajectories.term_prob)
        reward = per_decision(self.rew_func, trajectories, context, vectors)
        return PredictedRollout(plans, context, trajectories, reward, discount, self)

    def get_standardized_log_prob(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        next_state: torch.Tensor,
        std: torch.Tensor | float,
    ) -> torch.Tensor:
        """Log density `[*L]` of the standardised change of state, with deviation `std` there.

        Args:
            state: `[*L, S]`; the axes L of the four broadcast.
            context: `[*L, C]`.
            action: `[*L, A]` or indices `[*L]`.
            next_state: `[*L, S]`.
            std: scalar or `[S]`.
        """
        log_prob, _, _ = self.model.get_log_prob(
            state,
            context,
            action,
            next_state,
            std=torch.as_tensor(std),
            transform=self.standardize_change,
        )
        return log_prob

    def standardize_change(self, change: torch.Tensor) -> torch.Tensor:
        """Changes of state `[..., S]` in the space of `get_standardized_log_prob`."""
        return change

    def _vector(self, action: torch.Tensor) -> torch.Tensor:
        return action if self._action_spec is None else as_vector(action, self._action_spec)

    # ---- learning -------------------------------------------------------------------------------

    @property
    def learns_alone(self) -> bool:
        """Whether it has an optimizer of its own, for `learn`."""
        return False

    def set_n_total_env_steps(self, n_total_env_steps: int) -> None:
        """Tells how many environment steps were made in all environments together."""
        self.model.set_n_total_env_steps(n_total_env_steps)

    def losses(
        self, batch: PredictorBatch, model_batch: PredictorBatch | None = None
    ) -> PredictorLosses:
        """The parts of the loss of spans; zeros for a predictor that learns nothing.

        Args:
            batch: spans of `span_length` records at least.
            model_batch: spans for the dynamics alone; None: the same.
        """
        zero = batch.reward.new_zeros(())
        return PredictorLosses(*[zero] * len(PredictorLosses._fields))

    def total_loss(self, losses: PredictorLosses) -> torch.Tensor:
        """The weighted sum, a scalar."""
        return torch.stack(losses).sum()

    def after_update(self) -> None:
        """To be called after each step of the optimizer."""

    def learn(
        self,
        buffer: SpanSource,
        n_updates: int = 1,
        batch_size: int = 256,
        model_batch_size: int = 256,
        n_total_env_steps: int = 0,
    ) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """Makes updates with the predictor's own optimizer.

        Returns:
            The mean loss, None where nothing was learned, and the means of its parts by name.
        """
        self.set_n_total_env_steps(n_total_env_steps)
        return None, {}
