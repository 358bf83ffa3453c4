"""Rollouts of a model: what they are, and the loop over the horizon.

Axis letters: B batch rows, K plans, H horizon, N members, P particles, R rows (B times K times P),
S state, A action.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from alf_layered.networks.mlp import ROWS_IN_CACHE


class Trajectories(NamedTuple):
    """Rollouts of one plan for each batch row; each particle stays with one member (TS-infinity,
    Chua et al., 2018, section 5.1).

    Fields:
        state: `[B, N, P, H + 1, S]`, the initial state first.
        term_prob: `[B, N, P, H]`, probability to terminate at each step; states go on regardless.
    """

    state: torch.Tensor
    term_prob: torch.Tensor

    @property
    def state_mean(self) -> torch.Tensor:
        """`[B, N, H + 1, S]`, over the particles."""
        return self.state.mean(2)

    @property
    def state_var(self) -> torch.Tensor:
        """`[B, N, H + 1, S]`, over the particles."""
        return self.state.var(2, unbiased=False)

    @property
    def state_epistemic_var(self) -> torch.Tensor:
        """`[B, H + 1, S]`: how much the members' means differ."""
        return self.state_mean.var(1, unbiased=False)

    @property
    def state_aleatoric_var(self) -> torch.Tensor:
        """`[B, H + 1, S]`: how much particles of one member differ, its mean over the members."""
        return self.state_var.mean(1)


class Imagined(NamedTuple):
    """Rollouts of K plans for each of B states, as a search needs them.

    Fields:
        state: `[H + 1, N, B, K, P, S]`, the initial state first; P is 1 where nothing is drawn.
        term_prob: `[H, N, B, K, P]`, or None where it was not asked for.
    """

    state: torch.Tensor
    term_prob: torch.Tensor | None


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


def per_decision(
    function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    imagined: Imagined,
    context: torch.Tensor,
    plans: torch.Tensor,
) -> torch.Tensor:
    """A function's values `[H, N, B, K, P]` at every decision of rollouts; no gradients.

    Args:
        function: of states `[*L, S]`, contexts `[*L, C]` and actions `[*L, A]`, whose axes L
            broadcast; returns `[*L]` or what broadcasts to it.
        imagined: rollouts of the plans.
        context: `[B, C]`.
        plans: `[B, K, H, A]`.
    """
    state = imagined.state[:-1]
    context = context[None, None, :, None, None]
    actions = plans.permute(2, 0, 1, 3)[:, None, :, :, None]
    horizon, members, batch, *plan_shape = state.shape[:-1]
    if state.device.type != "cpu" or math.prod(state.shape[:-1]) <= _VALUES_IN_CACHE:
        return function(state, context, actions).to(state.dtype).expand(state.shape[:-1])
    values = state.new_empty(state.shape[:-1])
    size = _VALUES_IN_CACHE
    rows_b = max(size // (members * math.prod(plan_shape)), 1)
    steps = max(size // (members * min(rows_b, batch) * math.prod(plan_shape)), 1)
    for b in (slice(i, i + rows_b) for i in range(0, batch, rows_b)):
        for t in (slice(i, i + steps) for i in range(0, horizon, steps)):
            values[t, :, b] = function(state[t, :, b], context[:, :, b], actions[t, :, b])
    return values


def unroll(
    make_step: MakeStep,
    state: torch.Tensor,
    context: torch.Tensor,
    plans: torch.Tensor,
    *,
    n_models: int,
    n_particles: int,
    terminations: bool,
) -> Imagined:
    """Runs a step function over the horizon, block of rows by block of rows.

    Args:
        make_step: called for each block.
        state: `[B, S]`.
        context: `[B, C]`.
        plans: `[B, K, H, A]`.
        n_models: N.
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
    path = state.new_empty(horizon + 1, n_models, *state.shape)
    path[0] = state
    ends = state.new_empty(path[1:, ..., 0].shape) if terminations else None
    for block in row_blocks(state.shape[0], state.device):
        step = make_step(context[block], actions[:, block])
        states = path[:, :, block].unbind(0)
        block_ends = [None] * horizon if ends is None else ends[:, :, block].unbind(0)
        for t in range(horizon):
            step(t, states[t], states[t + 1], block_ends[t])
    return Imagined(path.unflatten(2, shape), None if ends is None else ends.unflatten(2, shape))
