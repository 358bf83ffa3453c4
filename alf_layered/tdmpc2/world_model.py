"""The world model of TD-MPC2 (arXiv 2310.16828): encode, next, reward, termination, pi, Q.

Axis letters: B environments or rows, L any axes of rows, O observation, G goal, S latent state,
A action, N members, M bins.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

import alf
from alf_layered.networks.normed_ensemble import Members, NormedEnsemble
from alf_layered.networks.simnorm import simnorm
from alf_layered.tdmpc2.pixel_encoder import ObservationEncoder
from alf_layered.tdmpc2.settings import WorldModelSettings
from alf_layered.tdmpc2.two_hot import TwoHot

Nest = Any

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_DYNAMICS = slice(0, 1)


class LatentStep(NamedTuple):
    """What follows a latent state and an action."""

    latent: Tensor
    """[*L, S]"""
    reward_logits: Tensor
    """[*L, M]"""
    termination_logit: Tensor | None
    """[*L]; None for a model without terminations"""


class PolicyOutput(NamedTuple):
    """An action of the policy prior."""

    action: Tensor
    """[*L, A], in [-1, 1]"""
    mean: Tensor
    """[*L, A], in [-1, 1]"""
    log_prob: Tensor
    """[*L]"""


class WorldModel(nn.Module):
    """All that is learned. Actions are in [-1, 1].

    A goal conditions reward, termination, policy and action values, but not the dynamics. The
    functions take it encoded, or None.

    Args:
        observation_spec: a nest of vectors and images.
        action_dim: A.
        goal_spec: a nest; `()` for none.
        settings: of the networks.
        log_prob: "density", or "upstream", see `TDMPC2Settings`.
    """

    def __init__(
        self,
        observation_spec: Nest,
        action_dim: int,
        goal_spec: Nest = (),
        *,
        settings: WorldModelSettings = WorldModelSettings(),
        log_prob: Literal["density", "upstream"] = "density",
    ) -> None:
        super().__init__()
        latent, hidden = settings.latent_dim, [settings.mlp_dim] * 2
        has_goal = bool(alf.nest.flatten(goal_spec))
        goal = latent if has_goal else 0
        self.settings = settings
        self.action_dim = action_dim
        self.two_hot = TwoHot(settings.num_bins, settings.vmin, settings.vmax)
        self._norm = partial(simnorm, group=settings.simnorm_dim)
        self._log_prob = log_prob
        self.encoder = ObservationEncoder(observation_spec, settings)
        self.goal_encoder = ObservationEncoder(goal_spec, settings) if has_goal else None
        # Dynamics, reward and, if there is one, termination: one product for all in each layer.
        n_heads = 2 + settings.terminates
        self._trunk = NormedEnsemble([latent, action_dim], hidden, None, n_members=n_heads)
        if has_goal:
            self._goal_weight = nn.Parameter(
                nn.init.trunc_normal_(
                    torch.empty(n_heads - 1, goal, settings.mlp_dim), std=0.02, a=-0.04, b=0.04
                )
            )
        self._next = _linear(settings.mlp_dim, latent)
        self._next_norm = nn.LayerNorm(latent)
        self._reward = _linear(settings.mlp_dim, settings.num_bins, zero=True)
        if settings.terminates:
            self._termination = _linear(settings.mlp_dim, 1)
            # Unlikely at first: plans of an even chance to end would see one step ahead.
            nn.init.constant_(self._termination.bias, -3.0)
        self._pi = NormedEnsemble([latent, goal], hidden, 2 * action_dim)
        self.q = NormedEnsemble(
            [latent, action_dim, goal],
            hidden,
            settings.num_bins,
            n_members=settings.n_q,
            zero_output=True,
        )

    @property
    def width(self) -> int:
        """Numbers in the widest layer of a state's `step`."""
        return self._trunk.n_members * self.settings.mlp_dim

    @property
    def encoders(self) -> list[nn.Module]:
        """What is learned at the encoders' rate."""
        return [e for e in (self.encoder, self.goal_encoder) if e is not None]

    @property
    def policy(self) -> nn.Module:
        """The parameters of `pi`."""
        return self._pi

    # ---- the verbs ------------------------------------------------------------------------------

    def encode(self, observation: Nest, augment: bool = False) -> Tensor:
        """The latent state `[*L, S]` of an observation."""
        return self.encoder(observation, augment)

    def encode_goal(self, goal: Nest) -> Tensor | None:
        """The latent goal `[*L, S]`; None for a model without."""
        return None if self.goal_encoder is None else self.goal_encoder(goal)

    def next(self, z: Tensor, action: Tensor) -> Tensor:
        """The latent state after an action."""
        return self._next_of(self._trunk(z, action, members=_DYNAMICS)[0])

    def reward(self, z: Tensor, action: Tensor, goal: Tensor | None = None) -> Tensor:
        """The expected reward `[*L]` of an action."""
        return self.two_hot.decode(self.step(z, action, self.goal_term(goal)).reward_logits)

    def termination(self, z: Tensor, action: Tensor, goal: Tensor | None = None) -> Tensor:
        """The probability `[*L]` that an action ends the task."""
        logit = self.step(z, action, self.goal_term(goal)).termination_logit
        if logit is None:
            return z.new_zeros(torch.broadcast_shapes(z.shape[:-1], action.shape[:-1]))
        return torch.sigmoid(logit.float())

    def step(self, z: Tensor, action: Tensor, goal_term: Tensor | None = None) -> LatentStep:
        """`next`, `reward` and `termination` at the cost of their matrix products alone.

        Args:
            z: `[*L, S]`.
            action: `[*L, A]`.
            goal_term: see `goal_term`.
        """
        hidden = self._trunk(z, action, extra=goal_term)
        ends = self.settings.terminates
        return LatentStep(
            latent=self._next_of(hidden[0]),
            reward_logits=self._reward(hidden[1]),
            termination_logit=self._termination(hidden[2]).squeeze(-1) if ends else None,
        )

    def goal_term(self, goal: Tensor | None) -> Tensor | None:
        """What a goal `[*L, S]` adds in the first layer of `step`; the same for a whole plan."""
        if goal is None:
            return None
        rows = goal.reshape(-1, goal.shape[-1]).expand(len(self._goal_weight), -1, -1)
        term = torch.bmm(rows, self._goal_weight)
        term = term.reshape(len(term), *goal.shape[:-1], term.shape[-1])
        return torch.cat([torch.zeros_like(term[:1]), term])

    def pi(self, z: Tensor, noise: Tensor, goal: Tensor | None = None) -> PolicyOutput:
        """An action of the policy prior, a squashed normal distribution.

        Args:
            z: `[*L, S]`.
            noise: `[*L, A]`, standard normal; zeros give the mean.
            goal: `[*L, S]`.
        """
        mean, spread = self._pi(*self._parts(z, goal))[0].float().chunk(2, dim=-1)
        low, high = self.settings.log_std_min, self.settings.log_std_max
        log_std = low + 0.5 * (high - low) * (torch.tanh(spread) + 1)
        action = torch.tanh(mean + noise * log_std.exp())
        gaussian = (-0.5 * noise.square() - log_std).sum(dim=-1)
        if self._log_prob == "upstream":
            gaussian = (gaussian - _LOG_SQRT_2PI) * self.action_dim
        else:
            gaussian = gaussian - _LOG_SQRT_2PI * self.action_dim
        squash = torch.log(1 - action.square() + 1e-6).sum(dim=-1)
        return PolicyOutput(action, torch.tanh(mean), gaussian - squash)

    def Q(
        self,
        z: Tensor,
        action: Tensor,
        goal: Tensor | None = None,
        *,
        members: Members = None,
        dropout: float = 0.0,
        frozen: bool = False,
        network: NormedEnsemble | None = None,
    ) -> Tensor:
        """Logits `[N, *L, M]` of action values, of some members only if `members` names them.

        Args:
            z: `[*L, S]`.
            action: `[*L, A]`.
            goal: `[*L, S]`.
            members: see `NormedEnsemble`.
            dropout: see `NormedEnsemble`.
            frozen: see `NormedEnsemble`.
            network: target action values; None: the ones that are trained.
        """
        net = self.q if network is None else network
        return net(*self._parts(z, action, goal), members=members, dropout=dropout, frozen=frozen)

    def two_members(self, generator: torch.Generator | None = None) -> Tensor:
        """Two of the action values at random, `[2]`: only these are evaluated afterwards."""
        device = self.q.weights[0].device
        return torch.randperm(self.q.n_members, generator=generator, device=device)[:2]

    # ---- parts ----------------------------------------------------------------------------------

    def _next_of(self, hidden: Tensor) -> Tensor:
        return self._norm(self._next_norm(self._next(hidden)))

    @staticmethod
    def _parts(*parts: Tensor | None) -> list[Tensor]:
        """The inputs of a network; a goal that is not there has no features."""
        first = parts[0]
        assert first is not None
        return [first.new_empty(*first.shape[:-1], 0) if p is None else p for p in parts]


def _linear(inputs: int, outputs: int, *, zero: bool = False) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
    return layer
