"""Rollouts of a model: what they are, and the loop over the horizon.

Axis letters: B batch rows, K plans, L either [B] or [B, K], H horizon, N members, P particles,
R rows (B times K times P), S state, A action.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from alf_layered.networks.mlp import ROWS_IN_CACHE


class Trajectories(NamedTuple):
    """Rollouts of one plan for each batch row, or of K; each particle stays with one member
    (TS-infinity, Chua et al., 2018, section 5.1).

    Fields:
        state: `[*L, N, P, H + 1, S]`, the initial state first.
        term_prob: `[*L, N, P, H]`, probability to terminate at each step; states go on regardless.
            None where it was not asked for.
    """

    state: torch.Tensor
    term_prob: torch.Tensor | None

    def of_one_plan(self, n_particles: int) -> Trajectories:
        """The same without the axis K, which is 1, and with P particles, even if they are equal."""
        state, ends = self.state.squeeze(1), self.term_prob
        return Trajectories(
            state.expand(-1, -1, n_particles, -1, -1),
            None if ends is None else ends.squeeze(1).expand(-1, -1, n_particles, -1),
        )

    @property
    def state_mean(self) -> torch.Tensor:
        """`[*L, N, H + 1, S]`, over the particles."""
        return self.state.mean(-3)

    @property
    def state_var(self) -> torch.Tensor:
        """`[*L, N, H + 1, S]`, over the particles."""
        return self.state.var(-3, unbiased=False)

    @property
    def state_epistemic_var(self) -> torch.Tensor:
        """`[*L, H + 1, S]`: how much the members' means differ."""
        return self.state_mean.var(-3, unbiased=False)

    @property
    def state_aleatoric_var(self) -> torch.Tensor:
        """`[*L, H + 1, S]`: how much particles of one member differ, its mean over the members."""
        return self.state_var.mean(-3)


Step = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor | None], None]
"""Takes a step t and states `[N, R, S]`, writes the next states into its third argument and, if
there is a fourth, the probabilities `[N, R]` to terminate into that."""
MakeStep = Callable[[torch.Tensor, torch.Tensor], Step]
"""Makes the step of rows with contexts `[R, C]` and actions `[H, R, A]`."""

_VALUES_IN_CACHE = 8192
"""Values of one block of decisions on a CPU; an `MLP` divides their rows further."""


def row_blocks(rows: int, device: torch.device) -> Iterator[slice]:
    """Slices of all rows: small ones on a CPU, one on an accelerator."""
    size = ROWS_IN_CACHE if device.type == "cpu" else max(rows, 1)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _time_first(x: torch.Tensor, ends: int) -> torch.Tensor:
    """`[H, N, B, K, P, *E]` of `[B, K, N, P, H, *E]`, `ends` axes E: the order in memory."""
    return x.permute(4, 2, 0, 1, 3, *range(5, 5 + ends))


def _batch_first(x: torch.Tensor, ends: int) -> torch.Tensor:
    """Undo of `_time_first`."""
    return x.permute(2, 3, 1, 4, 0, *range(5, 5 + ends))


def per_decision(
    function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    trajectories: Trajectories,
    context: torch.Tensor,
    plans: torch.Tensor,
) -> torch.Tensor:
    """A function's values `[B, K, N, P, H]` at every decision of rollouts; no gradients.

    Args:
        function: of states `[*R, S]`, contexts `[*R, C]` and actions `[*R, A]`, whose axes R
            broadcast; returns `[*R]` or what broadcasts to it.
        trajectories: of K plans.
        context: `[B, C]`.
        plans: `[B, K, H, A]`.
    """
    state = _time_first(trajectories.state, 1)[:-1]
    context = context[None, None, :, None, None]
    actions = plans.permute(2, 0, 1, 3)[:, None, :, :, None]
    horizon, members, batch, *plan_shape = state.shape[:-1]
    if state.device.type != "cpu" or math.prod(state.shape[:-1]) <= _VALUES_IN_CACHE:
        values = function(state, context, actions).to(state.dtype).expand(state.shape[:-1])
        return _batch_first(values, 0)
    values = state.new_empty(state.shape[:-1])
    size = _VALUES_IN_CACHE
    rows_b = max(size // (members * math.prod(plan_shape)), 1)
    steps = max(size // (members * min(rows_b, batch) * math.prod(plan_shape)), 1)
    for b in (slice(i, i + rows_b) for i in range(0, batch, rows_b)):
        for t in (slice(i, i + steps) for i in range(0, horizon, steps)):
            values[t, :, b] = function(state[t, :, b], context[:, :, b], actions[t, :, b])
    return _batch_first(values, 0)


def at_the_end(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    trajectories: Trajectories,
    context: torch.Tensor,
) -> torch.Tensor:
    """A function's values `[B, K, N, P]` at the last states of rollouts.

    Args:
        function: of states `[*R, S]` and contexts `[*R, C]`, whose axes R broadcast.
        trajectories: of K plans.
        context: `[B, C]`.
    """
    last = trajectories.state[..., -1, :].permute(2, 0, 1, 3, 4)
    return function(last, context[None, :, None, None]).permute(1, 2, 0, 3)


class Roller(NamedTuple):
    """Rolls plans out with the parameters of a model as they were when it was made.

    What does not depend on the plans is done once, however often a search asks.

    Fields:
        make_step: of the model.
        as_vectors: plans `[B, K, H, A]` of plans of the action spec.
        n_members: N.
        n_particles: P of the trajectories, 1 where nothing is drawn.
        terminations: whether probabilities to terminate are wanted.
    """

    make_step: MakeStep
    as_vectors: Callable[[torch.Tensor], torch.Tensor]
    n_members: int
    n_particles: int
    terminations: bool

    @torch.no_grad()
    def __call__(
        self, state: torch.Tensor, context: torch.Tensor, plans: torch.Tensor
    ) -> Trajectories:
        """`[B, K, N, P, H + 1, S]` from `[B, S]`, `[B, C]` and `[B, K, H, A]` or `[B, K, H]`."""
        return unroll(
            self.make_step,
            state,
            context,
            self.as_vectors(plans),
            n_members=self.n_members,
            n_particles=self.n_particles,
            terminations=self.terminations,
        )


def unroll(
    make_step: MakeStep,
    state: torch.Tensor,
    context: torch.Tensor,
    plans: torch.Tensor,
    *,
    n_members: int,
    n_particles: int,
    terminations: bool,
) -> Trajectories:
    """Runs a step function over the horizon, block of rows by block of rows.

    Memory holds the time first, because each step writes one block of it.

    Args:
        make_step: called for each block.
        state: `[B, S]`.
        context: `[B, C]`.
        plans: `[B, K, H, A]`.
        n_members: N.
        n_particles: P.
        terminations: whether probabilities to terminate are wanted.
    """
    shape = (*plans.shape[:2], n_particles)

    def rows(x: torch.Tensor) -> torch.Tensor:
        return x[:, None, None].expand(*shape, -1).flatten(0, 2)

    state, context = rows(state), rows(context)
    actions = plans.permute(2, 0, 1, 3).unsqueeze(3)
    actions = actions.expand(-1, *shape, -1).flatten(1, 3)
    horizon = actions.shape[0]
    path = state.new_empty(horizon + 1, n_members, *state.shape)
    path[0] = state
    ends = state.new_empty(path[1:, ..., 0].shape) if terminations else None
    for block in row_blocks(state.shape[0], state.device):
        step = make_step(context[block], actions[:, block])
        states = path[:, :, block].unbind(0)
        block_ends = [None] * horizon if ends is None else ends[:, :, block].unbind(0)
        for t in range(horizon):
            step(t, states[t], states[t + 1], block_ends[t])
    return Trajectories(
        _batch_first(path.unflatten(2, shape), 1),
        None if ends is None else _batch_first(ends.unflatten(2, shape), 0),
    )
