"""What a dynamics model is: N members, each a mixture of Gaussians over the next state.

Axis letters: B batch rows, K plans, H horizon, N members, P particles, M modes, S state, L any axes
of rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from alf_layered.models.batch import ModelBatch
from alf_layered.models.mixture import Mixture, draw, log_density
from alf_layered.models.rollout import MakeStep, Roller, Step, Trajectories
from alf_layered.networks.spaces import Space, as_spec, as_vector


class Model(nn.Module, ABC):
    """A dynamics model; `members` says everything about it, the rest follows.

    Args:
        n_models: N.
        n_particles_per_model: P, of each member in sampled rollouts.
        device: where a subclass puts its parameters; None: torch's default.
        action_space: discrete actions enter `members` one-hot.
    """

    n_total_env_steps: torch.Tensor
    needs_weight: bool = False
    """Whether its loss needs `ModelBatch.weight`."""

    def __init__(
        self,
        n_models: int = 1,
        n_particles_per_model: int = 1,
        device: torch.device | str | None = None,
        *,
        action_space: Space | None = None,
    ) -> None:
        super().__init__()
        if n_models < 1 or n_particles_per_model < 1:
            raise ValueError(
                f"n_models is {n_models} and n_particles_per_model is {n_particles_per_model}; "
                "a model has at least 1 of each"
            )
        self.n_models = n_models
        self.n_particles_per_model = n_particles_per_model
        self._action_spec = () if action_space is None else as_spec(action_space)
        # On the host: the number steers Python, and reading it must not wait for an accelerator.
        self.register_buffer("n_total_env_steps", torch.zeros((), dtype=torch.int64, device="cpu"))

    def break_symmetry(self, duration: int) -> None:
        """Starts with symmetry-breaking skill dynamics, if the model was made to be asked;
        otherwise nothing happens.

        Args:
            duration: environment steps of that start, of all environments together.
        """
        return

    @abstractmethod
    def members(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        *,
        loss_mode: bool = False,
    ) -> Mixture:
        """What each member predicts.

        Args:
            state: `[N or 1, *L, S]`; the axes L of the three broadcast.
            context: `[N or 1, *L, C]`.
            action: `[N or 1, *L, A]`, vectors.
            loss_mode: whether to leave out the symmetry-breaking start.
        """

    def set_n_total_env_steps(self, n_total_env_steps: int) -> None:
        """Tells how many environment steps were made in all environments together."""
        self.n_total_env_steps.fill_(n_total_env_steps)

    def get_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that are learned."""
        return self.parameters()

    # ---- learning -------------------------------------------------------------------------------

    @property
    def learns_alone(self) -> bool:
        """Whether it has an optimizer of its own, for `learn`."""
        return False

    def loss(self, batch: ModelBatch) -> torch.Tensor:
        """The loss of a batch, a scalar; 0 for a model that has nothing to learn."""
        return batch.state.new_zeros(())

    def learn(self, batch_lst: Iterable[ModelBatch]) -> torch.Tensor | None:
        """One update for each batch; returns their mean loss, None where nothing is learned."""
        return None

    # ---- one step -------------------------------------------------------------------------------

    def predict(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        std: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Means `[*L, N, M, S]`, weights `[*L, N, M]` and deviations `[*L, N, M, S]` of the modes,
        and the mean probability `[*L]` to terminate.

        Args:
            state: `[*L, S]`; the axes L of the three broadcast.
            context: `[*L, C]`.
            action: `[*L, A]`, or indices `[*L]`.
            std: deviations in place of the predicted ones, `[S]` or a scalar.
        """
        mixture = self._mixture(state, context, action, std)
        rows = mixture.mean.ndim - 3
        return (
            mixture.mean.movedim(0, rows),
            mixture.log_weight.exp().movedim(0, rows),
            mixture.std.expand_as(mixture.mean).movedim(0, rows),
            mixture.term_prob.mean(0),
        )

    def sample(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """A next state `[*L, S]` from a member drawn for each row."""
        drawn = draw(self._mixture(state, context, action), generator)
        one = (1, *drawn.shape[1:-1], 1)
        member = torch.randint(self.n_models, one, generator=generator, device=drawn.device)
        return drawn.gather(0, member.expand(1, *drawn.shape[1:])).squeeze(0)

    def get_log_prob(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        next_state: torch.Tensor,
        std: torch.Tensor | None = None,
        loss_mode: bool = False,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Log density `[*L]` under the whole ensemble, probability `[*L]` to terminate, and the
        members' means `[N, *L, S]` as `"means"`.

        Args:
            state: `[*L, S]`; the axes L of the four broadcast.
            context: `[*L, C]`.
            action: `[*L, A]`, or indices `[*L]`.
            next_state: `[*L, S]`.
            std: deviations in place of the predicted ones, `[S]` or a scalar.
            loss_mode: see `members`.
            transform: of changes of state, see `log_density`; goes with a given `std`.
        """
        mixture = self._mixture(state, context, action, std, loss_mode=loss_mode)
        log_prob = torch.logsumexp(log_density(mixture, next_state, transform, state), dim=0)
        log_prob = log_prob - math.log(self.n_models)
        return log_prob, mixture.term_prob.mean(0), {"means": mixture.overall_mean}

    def get_prob(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        next_state: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """As `get_log_prob`, with the density itself."""
        log_prob, term_prob, info = self.get_log_prob(state, context, action, next_state)
        return log_prob.exp(), term_prob, info

    def get_member_log_prob(
        self,
        id: int,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        next_state: torch.Tensor,
        std: torch.Tensor | None = None,
        loss_mode: bool = False,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log density `[*L]`, termination `[*L]` and mean `[*L, S]` of member `id`."""
        if not 0 <= id < self.n_models:
            raise ValueError(f"there is no member {id} among {self.n_models}")
        mixture = self._mixture(state, context, action, std, loss_mode=loss_mode)
        own = Mixture(*(x[id : id + 1] for x in mixture))
        log_prob = log_density(own, next_state, transform, state)
        return log_prob[0], own.term_prob[0], own.overall_mean[0]

    def _mixture(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: Any,
        std: torch.Tensor | None = None,
        *,
        loss_mode: bool = False,
    ) -> Mixture:
        vector = self._action_vector(action)
        parts = (x.unsqueeze(0) for x in (state, context, vector))
        mixture = self.members(*parts, loss_mode=loss_mode)
        if std is None:
            return mixture
        return mixture._replace(std=torch.as_tensor(std).to(mixture.mean).expand_as(mixture.mean))

    def _action_vector(self, action: Any) -> torch.Tensor:
        return action if self._action_spec == () else as_vector(action, self._action_spec)

    # ---- many steps -----------------------------------------------------------------------------

    def rollout(
        self,
        initial_state: torch.Tensor,
        context: torch.Tensor,
        actions: torch.Tensor,
        deterministic: bool = False,
        loss_mode: bool = False,
        *,
        terminations: bool = True,
        generator: torch.Generator | None = None,
    ) -> Trajectories:
        """Open-loop rollouts of one plan for each row, or of K; no gradients.

        Args:
            initial_state: `[B, S]`.
            context: `[B, C]`, constant over the rollout.
            actions: `[B, H, A]` or `[B, K, H, A]`; of discrete actions the indices, without A.
            deterministic: whether each step goes to the mean. All particles are then the same; of
                K plans there is one.
            loss_mode: see `members`.
            terminations: whether probabilities to terminate are wanted.
            generator: for the draws.
        """
        vectors = self._action_vector(actions)
        roll = self.roller(
            deterministic=deterministic,
            terminations=terminations,
            loss_mode=loss_mode,
            generator=generator,
        )._replace(as_vectors=lambda plans: plans)
        if vectors.ndim == 4:
            return roll(initial_state, context, vectors)
        return roll(initial_state, context, vectors.unsqueeze(1)).of_one_plan(
            self.n_particles_per_model
        )

    @torch.no_grad()
    def roller(
        self,
        *,
        deterministic: bool = True,
        terminations: bool = True,
        loss_mode: bool = False,
        generator: torch.Generator | None = None,
    ) -> Roller:
        """`rollout` of K plans, for those who ask often with the same parameters."""
        return Roller(
            make_step=self._steps(
                deterministic=deterministic,
                terminations=terminations,
                loss_mode=loss_mode,
                generator=generator,
            ),
            as_vectors=self._action_vector,
            n_members=self.n_models,
            n_particles=1 if deterministic else self.n_particles_per_model,
            terminations=terminations,
        )

    def _steps(
        self,
        *,
        deterministic: bool,
        terminations: bool,
        loss_mode: bool,
        generator: torch.Generator | None,
    ) -> MakeStep:
        """The steps of rollouts with the parameters as they are; arguments as of `rollout`."""

        def make_step(context: torch.Tensor, actions: torch.Tensor) -> Step:
            def step(
                t: int, state: torch.Tensor, out: torch.Tensor, ends: torch.Tensor | None
            ) -> None:
                mixture = self.members(state, context[None], actions[None, t], loss_mode=loss_mode)
                out.copy_(mixture.overall_mean if deterministic else draw(mixture, generator))
                if ends is not None:
                    ends.copy_(mixture.term_prob)

            return step

        return make_step
