"""The arithmetic of soft actor-critic on plain tensors: value heads, policies from values, losses.

B batch rows, R critic replicas, A discrete actions, n reward dimensions (absent for a scalar
reward).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "action_gradient_loss",
    "boltzmann",
    "expected_value",
    "least_replica",
    "reward_weights",
    "scalarize",
    "split_heads",
    "temperature_loss",
    "values_of_actions",
]


def split_heads(output: Tensor, num_replicas: int, reward_shape: Sequence[int]) -> Tensor:
    """Critic output [B, R * n, ...] as [B, R, ..., n]; a scalar reward's [B, R, ...] is kept."""
    if not reward_shape:
        return output
    return output.unflatten(1, (num_replicas, *reward_shape)).movedim(2, -1)


def reward_weights(reward_shape: Sequence[int], given: Tensor | None) -> Tensor | None:
    """The weights [n] of a vector reward, all ones if none are given; None for a scalar one."""
    if not reward_shape:
        return None
    return torch.ones(reward_shape) if given is None else given


def least_replica(values: Tensor, weights: Tensor | None) -> Tensor:
    """The pessimistic value over the replica axis (1).

    ``weights`` [n] are the reward weights of a vector reward, None for a scalar one. Where a weight
    is negative a high value is the bad one, so the maximum is pessimistic there.
    """
    if values.shape[1] == 1:
        return values.squeeze(1)
    if weights is None:
        return values.amin(1)
    sign = torch.where(weights < 0, -1.0, 1.0)
    return (values * sign).amin(1) * sign


def scalarize(values: Tensor, weights: Tensor | None) -> Tensor:
    """The weighted sum over reward dimensions (last axis); the values themselves if scalar."""
    return values if weights is None else (values * weights).sum(-1)


def boltzmann(q: Tensor, alpha: Tensor) -> torch.distributions.Categorical:
    """pi(a|s) proportional to exp(Q(s, a) / alpha), from values [B, A]."""
    return torch.distributions.Categorical(logits=q / alpha, validate_args=False)


def values_of_actions(values: Tensor, actions: Tensor) -> Tensor:
    """From values [B, R, A, ...] those of ``actions`` [B]: [B, R, ...]."""
    index = actions.long().reshape(-1, 1, 1, *(1,) * (values.dim() - 3))
    return values.gather(2, index.expand(-1, values.shape[1], 1, *values.shape[3:])).squeeze(2)


def expected_value(values: Tensor, probs: Tensor) -> Tensor:
    """The mean of values [B, A, ...] under action probabilities [B, A]."""
    return (values * probs.reshape(probs.shape + (1,) * (values.dim() - 2))).sum(1)


def action_gradient_loss(q: Tensor, actions: Sequence[Tensor], clipping: float | None) -> Tensor:
    """A loss [B] whose gradient for the actions is ``-dQ/da``, clipped element by element.

    ``q`` was computed from ``actions``, which have the policy's graph. Only the path from ``q`` to
    the actions is differentiated, the critics' weights get nothing. The loss is
    ``0.5 * |dQ/da|^2`` in value.
    """
    gradients = torch.autograd.grad(q, list(actions), torch.ones_like(q))
    losses = []
    for gradient, action in zip(gradients, actions, strict=True):
        if clipping:
            gradient = gradient.clamp(-clipping, clipping)
        with torch.no_grad():
            target = action + gradient
        losses.append(0.5 * (action - target).square().flatten(1).sum(1))
    return sum(losses[1:], losses[0])


def temperature_loss(log_alpha: Tensor, log_pi: Tensor, target_entropy: float) -> Tensor:
    """Loss [B] that lowers alpha while the entropy is above its target (arXiv:1812.05905, eq. 18).

    It is linear in ``log_alpha`` instead of alpha, so that its step does not shrink with alpha.
    """
    return log_alpha * (-log_pi - target_entropy).detach()
