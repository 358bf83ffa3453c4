"""Returns, advantages and importance ratios along trajectories."""

from __future__ import annotations

from typing import Any

import torch

from alf.data_structures import StepType
from alf.summary import summary_ops as summary
from alf.utils import dist_utils
from alf.utils._reverse_scan import reverse_linear_scan

__all__ = [
    "action_importance_ratio",
    "discounted_return",
    "generalized_advantage_estimation",
    "one_step_discounted_return",
]


def action_importance_ratio(
    action_distribution: Any,
    rollout_action_distribution: Any,
    action: Any,
    clipping_mode: str,
    scope: str,
    importance_ratio_clipping: float,
    log_prob_clipping: float,
    check_numerics: bool,
    debug_summaries: bool,
    rollout_log_prob: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How much more probable an action is now than it was in the rollout.

    Args:
        action_distribution: nest of distributions, now.
        rollout_action_distribution: nest of distributions in the rollout; not looked at if
            `rollout_log_prob` is given.
        action: nest of the actions taken.
        clipping_mode: "double_sided" clips the ratio to [1 - c, 1 + c], "capping" to [0, 1 + c].
        scope: scope of the summaries.
        importance_ratio_clipping: c; 0 leaves no ratio but 1 (with "capping": none above 1).
        log_prob_clipping: if positive, the log probability now is clipped to this on both sides.
        check_numerics: raise ValueError if a ratio is not finite.
        debug_summaries: write summaries.
        rollout_log_prob: log probability of the action in the rollout.

    Returns the ratio and the clipped ratio, both with the shape of the batch.
    """
    if clipping_mode not in ("double_sided", "capping"):
        raise ValueError(
            f"clipping_mode has to be 'double_sided' or 'capping', got {clipping_mode!r}"
        )
    if rollout_log_prob is None:
        rollout_log_prob = dist_utils.compute_log_probability(rollout_action_distribution, action)
    log_prob = dist_utils.compute_log_probability(action_distribution, action)
    if log_prob_clipping > 0:
        log_prob = log_prob.clamp(-log_prob_clipping, log_prob_clipping)
    ratio = (log_prob - rollout_log_prob.detach()).exp()
    if check_numerics and not bool(torch.isfinite(ratio).all()):
        raise ValueError(f"{scope}: the importance ratio of an action is not finite")
    low = 1 - importance_ratio_clipping if clipping_mode == "double_sided" else 0.0
    clipped = ratio.clamp(low, 1 + importance_ratio_clipping)
    if debug_summaries and summary.should_record_summaries():
        _summarize_ratio(scope, ratio, log_prob, rollout_log_prob, importance_ratio_clipping)
    return ratio, clipped


@torch.no_grad()
def _summarize_ratio(
    scope: str,
    ratio: torch.Tensor,
    log_prob: torch.Tensor,
    rollout_log_prob: torch.Tensor,
    clipping: float,
) -> None:
    with summary.scope(scope):
        if clipping > 0:
            clipped = ((ratio - 1).abs() > clipping).float().mean()
            summary.scalar("clip_fraction", clipped)
        summary.histogram("importance_ratio", ratio)
        summary.scalar("importance_ratio_mean", ratio.mean())
        summary.histogram("action_log_prob", log_prob)
        summary.histogram("action_log_prob_sample", rollout_log_prob)


def discounted_return(
    rewards: torch.Tensor,
    values: torch.Tensor,
    step_types: torch.Tensor,
    discounts: torch.Tensor,
    time_major: bool = True,
) -> torch.Tensor:
    """Discounted return of each step, with the value function at the end of each episode.

    `G[t] = rewards[t+1] + discounts[t+1] * G[t+1]`, where `G[t] = values[t]` at the end of an
    episode (step type LAST) and of the sequence.

    Args:
        rewards: [T, B, ...], each belonging to the action before.
        values: [T, B, ...].
        step_types: [T, B].
        discounts: [T, B] or [T, B, ...], the discount rate included.
        time_major: False if the first two dimensions are [B, T].

    Returns [T - 1, B, ...], or [B, T - 1, ...] if not `time_major`.
    """
    if not time_major:
        return _batch_major(discounted_return, rewards, values, step_types, discounts)
    is_last, rewards, values, discounts = _aligned(step_types, rewards, values, discounts)
    inputs = torch.where(is_last[:-1], values[:-1], rewards[1:])
    decays = torch.where(is_last[:-1], torch.zeros_like(discounts[1:]), discounts[1:])
    final = torch.zeros_like(decays[:1])
    scanned = reverse_linear_scan(torch.cat([inputs, values[-1:]]), torch.cat([decays, final]))
    return scanned[:-1]


def one_step_discounted_return(
    rewards: torch.Tensor,
    values: torch.Tensor,
    step_types: torch.Tensor,
    discounts: torch.Tensor,
) -> torch.Tensor:
    """`rewards[t+1] + discounts[t+1] * values[t+1]`, and `discounts[t] * values[t]` at the end.

    The end of an episode is a step of type LAST; its value counts where its discount is not 0, that
    is where the episode was only cut off.

    Arguments and result as of `discounted_return`.
    """
    is_last, rewards, values, discounts = _aligned(step_types, rewards, values, discounts)
    discounted = discounts * values
    return torch.where(is_last[:-1], discounted[:-1], rewards[1:] + discounted[1:])


def generalized_advantage_estimation(
    rewards: torch.Tensor,
    values: torch.Tensor,
    step_types: torch.Tensor,
    discounts: torch.Tensor,
    td_lambda: float = 1.0,
    time_major: bool = True,
) -> torch.Tensor:
    """Advantages of Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized
    Advantage Estimation", equation (16); 0 at the end of an episode.

    `A[t] = delta[t] + lambda * discounts[t+1] * A[t+1]` with
    `delta[t] = rewards[t+1] + discounts[t+1] * values[t+1] - values[t]`.

    Arguments and result as of `discounted_return`.
    """
    if not time_major:

        def time_first(*tensors: torch.Tensor) -> torch.Tensor:
            return generalized_advantage_estimation(*tensors, td_lambda=td_lambda)

        return _batch_major(time_first, rewards, values, step_types, discounts)
    is_last, rewards, values, discounts = _aligned(step_types, rewards, values, discounts)
    goes_on = ~is_last[:-1]
    delta = (rewards[1:] + discounts[1:] * values[1:] - values[:-1]) * goes_on
    return reverse_linear_scan(delta, td_lambda * discounts[1:] * goes_on)


def _batch_major(func: Any, *tensors: torch.Tensor) -> torch.Tensor:
    return func(*(x.transpose(0, 1) for x in tensors)).transpose(0, 1)


def _aligned(
    step_types: torch.Tensor,
    rewards: torch.Tensor,
    values: torch.Tensor,
    discounts: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Whether each step is the last of its episode, and the tensors, all of the same shape."""
    if step_types.shape[0] < 2:
        raise ValueError(
            "returns need sequences of at least 2 steps (mini_batch_length or unroll_length), got "
            f"step types of shape {list(step_types.shape)}"
        )
    is_last = step_types == StepType.LAST
    if is_last.shape == rewards.shape == values.shape == discounts.shape:
        return is_last, rewards, values, discounts
    rank = max(rewards.dim(), values.dim(), discounts.dim())
    tensors = (is_last, rewards, values, discounts)
    return torch.broadcast_tensors(*(_with_rank(x, rank) for x in tensors))


def _with_rank(x: torch.Tensor, rank: int) -> torch.Tensor:
    return x.reshape(*x.shape, *[1] * (rank - x.dim()))
