"""A probabilistic ensemble of dynamics models (Chua et al., 2018, arXiv:1805.12114).

Axis letters: B batch rows, N members, M modes, S state, R rows of a rollout, H horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

import alf
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, FINITE, SHARE, UNIT, checked
from alf_layered.models.batch import ModelBatch
from alf_layered.models.finite_update import check_update, gradient_norm
from alf_layered.models.mixture import Mixture, beta_nll, draw, log_density
from alf_layered.models.model import Model
from alf_layered.models.rollout import MakeStep, Step
from alf_layered.models.symmetry_breaking import SymmetryBreaking
from alf_layered.networks.constant_buffers import register_constant
from alf_layered.networks.prob_dynamics import DynamicsOutput, ProbFCDynamics
from alf_layered.networks.running_moments import RunningMoments
from alf_layered.networks.spaces import Space, as_spec, width


@alf.configurable
@checked(
    n_models=AT_LEAST_1,
    n_modes=AT_LEAST_1,
    n_particles_per_model=AT_LEAST_1,
    learning_rate=AT_LEAST_0,
    target_bn_momentum=SHARE,
    beta_nll=UNIT,
    sb_start_duration=AT_LEAST_0,
    sb_start_factor=FINITE,
)
class ProbabilisticEnsemble(Model):
    """N networks, each a mixture of M Gaussians over the next state, trained by likelihood.

    Args:
        state_space: of the latent state; spaces are ALF specs or gymnasium's Box and Discrete.
        context_space: of what is constant in an episode.
        action_space: discrete actions enter one-hot.
        partial_net: called with the three spaces, `n_modes` and `n_members`; returns all members
            as one `ProbFCDynamics`.
        n_models: N.
        n_modes: M.
        n_particles_per_model: particles of each member in sampled rollouts.
        learning_rate: of the own optimizer, for `create_optimizer` alone; None: 1e-3.
        create_optimizer: whether the model learns by itself through `learn`.
        device: where the parameters are; None: torch's default.
        predict_delta: whether the networks predict the change of state.
        normalize_targets: whether the networks' outputs are in units of the targets' deviation.
        target_bn_momentum: weight of a new batch in that deviation.
        weighted_loss: whether `batch.weight` weighs the transitions; a `PlannerLevel` has no
            weights to give.
        beta_nll: from 0, the likelihood, to 1: how far means are learned as by squared errors, see
            `mixture.beta_nll`. Where outcomes jump, as at walls, 0.5 fits better. Needs one mode.
        symmetry_breaking_start: whether to start with symmetry-breaking skill dynamics; None: only
            if `break_symmetry` asks.
        sb_start_duration: until when, in environment steps of all environments together.
        sb_start_factor: length of the push of a unit action there.
        partition_batch: whether each member learns from rows of its own: i, i + N, ...
    """

    _unit: torch.Tensor

    def __init__(
        self,
        state_space: Space,
        context_space: Space,
        action_space: Space,
        partial_net: Callable[..., ProbFCDynamics] = ProbFCDynamics,
        n_models: int = 1,
        n_modes: int = 1,
        n_particles_per_model: int = 1,
        learning_rate: float | None = None,
        create_optimizer: bool = False,
        device: torch.device | str | None = None,
        predict_delta: bool = True,
        normalize_targets: bool = True,
        target_bn_momentum: float = 0.01,
        weighted_loss: bool = False,
        beta_nll: float = 0.0,
        symmetry_breaking_start: bool | None = False,
        sb_start_duration: int = 100_000,
        sb_start_factor: float = 1.5,
        partition_batch: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            n_models, n_particles_per_model, device, action_space=action_space, **kwargs
        )
        if n_modes < 1:
            raise ValueError(f"n_modes is {n_modes}; a mixture has at least 1 mode")
        if not 0 <= beta_nll <= 1 or (beta_nll > 0 and n_modes > 1):
            raise ValueError(
                f"beta_nll is {beta_nll} with n_modes={n_modes}; it is a number from 0 to 1, and 0 "
                "where there is more than one mode"
            )
        if learning_rate is not None and not create_optimizer:
            raise ValueError(
                f"learning_rate={learning_rate} of an ensemble needs create_optimizer=True; where "
                "a predictor or a level trains it, the rate is that of their optimizer"
            )
        state_dim = width(as_spec(state_space))
        self.n_modes = n_modes
        self._predict_delta = predict_delta
        self.needs_weight = weighted_loss
        self._partition_batch = partition_batch
        self._beta_nll = beta_nll
        self.net = partial_net(
            state_space, context_space, action_space, n_modes=n_modes, n_members=n_models
        )
        self.targets = (
            RunningMoments(state_dim, momentum=target_bn_momentum) if normalize_targets else None
        )
        self._make_symmetry_breaking = partial(
            SymmetryBreaking,
            state_dim,
            width(as_spec(action_space)),
            duration=sb_start_duration,
            factor=sb_start_factor,
        )
        self._may_break_symmetry = symmetry_breaking_start is None
        self.symmetry_breaking = self._make_symmetry_breaking() if symmetry_breaking_start else None
        register_constant(self, "_unit", torch.ones(state_dim))
        if device is not None:
            self.to(device)
        self._optimizer: torch.optim.Optimizer | None = None
        if create_optimizer:
            rate = 1e-3 if learning_rate is None else learning_rate
            self._optimizer = torch.optim.Adam(self.parameters(), lr=rate)

    @property
    def learns_alone(self) -> bool:
        return self._optimizer is not None

    @property
    def target_scale(self) -> torch.Tensor:
        """`[S]`, the deviation of what the networks predict, their unit of output."""
        return self._unit if self.targets is None else self.targets.scale

    def members(
        self,
        state: torch.Tensor,
        context: torch.Tensor,
        action: torch.Tensor,
        *,
        loss_mode: bool = False,
    ) -> Mixture:
        mixture = self._mixture_of(self.net(state, context, action), state)
        share = self._learned_share(loss_mode)
        if self.symmetry_breaking is None or share == 1.0:
            return mixture
        return self.symmetry_breaking.mix(mixture, state, action, self.target_scale, share)

    def _mixture_of(self, output: DynamicsOutput, state: torch.Tensor) -> Mixture:
        """The networks' outputs as a mixture over the next state."""
        scale = self.target_scale
        mean = output.mean * scale
        return Mixture(
            mean=mean + state.unsqueeze(-2) if self._predict_delta else mean,
            std=output.log_std.exp() * scale,
            log_weight=output.log_weight,
            term_prob=torch.sigmoid(output.term_logit),
        )

    def _learned_share(self, loss_mode: bool) -> float:
        if loss_mode or self.symmetry_breaking is None:
            return 1.0
        return self.symmetry_breaking.learned_share(int(self.n_total_env_steps))

    @property
    def breaks_symmetry(self) -> bool:
        """Whether predictions are still mixed with made-up ones."""
        return self._learned_share(loss_mode=False) < 1.0

    def break_symmetry(self, duration: int) -> None:
        if self._may_break_symmetry:
            self._may_break_symmetry = False
            made_up = self._make_symmetry_breaking(duration=duration)
            self.symmetry_breaking = made_up.to(self._unit.device)

    def set_skill_transform(self, to_change: torch.Tensor) -> None:
        """See `SymmetryBreaking.set_transform`; nothing where the start is not made up."""
        if self.symmetry_breaking is not None:
            self.symmetry_breaking.set_transform(to_change)

    # ---- learning -------------------------------------------------------------------------------

    def loss(self, batch: ModelBatch) -> torch.Tensor:
        """Mean over members and valid rows of negative log density (or beta-NLL) plus termination's
        entropy.

        In training mode the running moments take the batch into account first.
        """
        valid = batch.validity_mask
        valid = torch.ones_like(batch.state[:, 0]) if valid is None else valid.to(batch.state)
        action = self._action_vector(batch.action)
        if self.training:
            target = batch.next_state - batch.state if self._predict_delta else batch.next_state
            if self.targets is not None:
                self.targets.update(target, valid)
            self.net.observe(batch.state, batch.context, action, valid)
        ended = batch.terminated.to(batch.state)
        rows = (batch.state, batch.context, action, batch.next_state, ended, self._weight(batch))
        state, context, action, next_state, ended, weight, valid = (
            self._for_members(x) for x in (*rows, valid)
        )
        output = self.net(state, context, action)
        loss = self._state_loss(self._mixture_of(output, state), next_state)
        loss = loss + F.binary_cross_entropy_with_logits(
            output.term_logit, ended.expand_as(output.term_logit), reduction="none"
        )
        # What is not valid may be anything, and 0 times infinity is not 0.
        loss = torch.where(valid > 0, weight * loss, 0.0)
        return (loss.sum(-1) / valid.sum(-1).clamp(min=1)).mean()

    def _state_loss(self, mixture: Mixture, next_state: torch.Tensor) -> torch.Tensor:
        """`[N, *L]`, of the members' mixtures."""
        if self._beta_nll == 0:
            return -log_density(mixture, next_state)
        return beta_nll(mixture, next_state, beta=self._beta_nll, unit=self.target_scale)

    def learn(self, batch_lst: Iterable[ModelBatch]) -> torch.Tensor | None:
        """See `Model.learn`.

        Raises:
            ValueError: there is no optimizer, or a loss or gradient is not finite.
        """
        if self._optimizer is None:
            raise ValueError("this model has no optimizer: build it with create_optimizer=True")
        self.train()
        losses = []
        for batch in batch_lst:
            loss = self.loss(batch)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            check_update(loss, {"the model": gradient_norm(self.parameters())})
            self._optimizer.step()
            losses.append(loss.detach())
        self.eval()
        return torch.stack(losses).mean() if losses else None

    def _weight(self, batch: ModelBatch) -> torch.Tensor:
        if not self.needs_weight:
            return torch.ones_like(batch.state[:, 0])
        if batch.weight is None:
            raise ValueError("weighted_loss is on, but the batch has no weight")
        return batch.weight.to(batch.state)

    def _for_members(self, x: torch.Tensor) -> torch.Tensor:
        """Rows `[B, ...]` as `[1, B, ...]` for all members, or as `[N, B / N, ...]` partitioned.

        Where N does not divide B, rows of zeros that are not valid fill up.
        """
        if not self._partition_batch:
            return x.unsqueeze(0)
        missing = -x.shape[0] % self.n_models
        x = torch.cat([x, x.new_zeros(missing, *x.shape[1:])])
        return x.unflatten(0, (-1, self.n_models)).transpose(0, 1)

    # ---- rollouts -------------------------------------------------------------------------------

    def _steps(
        self,
        *,
        deterministic: bool,
        terminations: bool,
        loss_mode: bool,
        generator: torch.Generator | None,
    ) -> MakeStep:
        """As `members` says, but of the last layer only what is needed is computed."""
        share = self._learned_share(loss_mode)
        scale = self.target_scale
        breaking = self.symmetry_breaking if share < 1.0 else None
        # The learned mean starts from the state or from 0, the made-up one always from the state.
        kept = 1.0 if self._predict_delta else 1.0 - share
        hidden_steps, heads = self.net.hidden_steps(), self.net.heads()
        mean_head = heads.mean.scaled((share * scale).repeat(self.n_modes))
        follows_one_mean = deterministic and self.n_modes == 1
        # A product with one column more costs less than a second product.
        both = mean_head.beside(heads.termination) if terminations and follows_one_mean else None

        def mixture(x: torch.Tensor, state: torch.Tensor, push: torch.Tensor | None) -> Mixture:
            mean = mean_head(x).unflatten(-1, (self.n_modes, -1))
            mean = mean + (kept * state if push is None else kept * state + push).unsqueeze(-2)
            weight = heads.mode(x).softmax(-1)
            if breaking is not None:
                weight = share * weight + (1.0 - share) / self.n_modes
            std = mean.new_zeros(())
            if not deterministic:
                std = self.net.std(heads.log_std(x)) * scale
                if breaking is not None:
                    std = breaking.mixed_std(std, scale, share)
            return Mixture(mean, std, weight.log(), mean.new_zeros(()))

        def make_step(context: torch.Tensor, actions: torch.Tensor) -> Step:
            hidden = hidden_steps(context, actions)
            pushes = None
            if breaking is not None:
                pushes = ((1.0 - share) * breaking.push(actions, scale)).unbind(0)

            def follow(
                t: int, state: torch.Tensor, out: torch.Tensor, ends: torch.Tensor | None
            ) -> None:
                """The one mode's mean, and the termination, with few operations."""
                x = hidden(t, state)
                if both is None or ends is None:
                    torch.add(mean_head.bias, state, alpha=kept, out=out)
                    out.baddbmm_(x, mean_head.weight)
                else:
                    found = both(x)
                    torch.add(found[..., :-1], state, alpha=kept, out=out)
                    torch.sigmoid(found[..., -1], out=ends)
                    if share < 1.0:
                        ends *= share
                if pushes is not None:
                    out += pushes[t]

            def step(
                t: int, state: torch.Tensor, out: torch.Tensor, ends: torch.Tensor | None
            ) -> None:
                x = hidden(t, state)
                found = mixture(x, state, None if pushes is None else pushes[t])
                out.copy_(found.overall_mean if deterministic else draw(found, generator))
                if ends is not None:
                    ends.copy_(share * torch.sigmoid(heads.termination(x).squeeze(-1)))

            return follow if follows_one_mean else step

        return make_step
