"""The losses of TD-MPC2 as functions (arXiv 2310.16828, equations 3 and 4).

Axis letters: T = H + 1 records of a span, H transitions, B spans, N members, S latent state,
A action.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

import alf
from alf_layered.networks.normed_ensemble import NormedEnsemble
from alf_layered.tdmpc2.settings import TDMPC2Settings
from alf_layered.tdmpc2.world_model import WorldModel

Nest = Any


class Spans(NamedTuple):
    """Spans of records, time first."""

    observation: Nest
    """[T, B, ...]"""
    goal: Nest
    """[T, B, ...], or ()"""
    action: Tensor
    """[H, B, A], in [-1, 1]"""
    reward: Tensor
    """[H, B], of the action"""
    discount: Tensor
    """[H, B], gamma^k of the action, 0 where it ended the task"""
    is_transition: Tensor
    """[H, B], bool; not from the end of an episode to the start of the next one"""
    reached: Nest = None
    """[T, B, ...], what was observed when the decision before ended, where an input that is encoded
    with the observation may have changed then; None: the observation"""
    changes_input: Tensor | None = None
    """[H, B], bool, where it changed with the transition; None: nowhere"""


class ModelLosses(NamedTuple):
    """The parts of the model's loss, scalars, without their weights."""

    consistency: Tensor
    reward: Tensor
    value: Tensor
    termination: Tensor


class ModelLearning(NamedTuple):
    """What one pass over spans gives."""

    losses: ModelLosses
    latent: Tensor
    """[T, B, S], along the model's own predictions, detached"""
    goal: Tensor | None
    """[T, B, S], detached"""
    next_value: Tensor
    """[H, B], of the policy where the transitions led to, no gradients"""


def over_spans(error: Tensor, is_transition: Tensor, rho: float) -> Tensor:
    """`sum_t rho^t mean_b error[t, b] / H`, the means over transitions only.

    Args:
        error: `[H, B]`.
        is_transition: `[H, B]`, bool.
        rho: weight of each step relative to the one before.
    """
    weight = is_transition.to(error.dtype)
    # What is no transition may be anything, and 0 times infinity is NaN.
    error = torch.where(is_transition, error, 0.0)
    mean_H = error.sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    return (rho ** torch.arange(len(mean_H), device=error.device) * mean_H).mean()


def td_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """`reward + discount * next_value`; discount is 0 where the task ended."""
    return reward + discount * next_value


def world_model_losses(
    model: WorldModel, target_q: NormedEnsemble, spans: Spans, *, settings: TDMPC2Settings
) -> ModelLearning:
    """The losses of encoder, dynamics, reward, termination and action values.

    Where a span crosses the end of an episode the prediction starts anew from what was observed, so
    that every transition counts; also where an input changed that the latent state holds, because
    no decision led to the new one.
    """
    first, later = _first(spans.observation), _later(spans.observation)
    rho, is_transition = settings.rho, spans.is_transition
    goal = model.encode_goal(spans.goal)
    goal_before = None if goal is None else goal[:-1]
    with torch.no_grad():
        observed = model.encode(later, augment=True)
        next_value = _next_value(model, target_q, observed, None if goal is None else goal[1:])
        target = td_target(spans.reward, spans.discount, next_value)
        led_to, goes_on = observed, is_transition
        if spans.changes_input is not None:
            led_to = model.encode(_later(spans.reached), augment=True)
            goes_on = is_transition & ~spans.changes_input

    z = model.encode(first, augment=True)
    terms = model.goal_term(goal_before)
    latents, predicted, reward_logits, ends = [z], [], [], []
    for t, action in enumerate(spans.action):
        step = model.step(z, action, None if terms is None else terms[:, t])
        predicted.append(step.latent)
        reward_logits.append(step.reward_logits)
        ends.append(step.termination_logit)
        z = torch.where(goes_on[t][:, None], step.latent, observed[t].to(step.latent.dtype))
        latents.append(z)

    latent = torch.stack(latents)
    q_logits = model.Q(latent[:-1], spans.action, goal_before, dropout=model.settings.dropout)
    consistency = (torch.stack(predicted).float() - led_to.float()).square().mean(dim=-1)
    reward = model.two_hot.cross_entropy(torch.stack(reward_logits), spans.reward)
    value = model.two_hot.cross_entropy(q_logits, target).mean(dim=0)
    if model.settings.terminates:
        ended = (spans.discount == 0).float()
        termination = F.binary_cross_entropy_with_logits(
            torch.stack(ends).float(), ended, reduction="none"
        )
    else:
        termination = torch.zeros_like(reward)
    losses = ModelLosses(
        consistency=over_spans(consistency, is_transition, rho),
        reward=over_spans(reward, is_transition, rho),
        value=over_spans(value, is_transition, rho),
        termination=over_spans(termination, is_transition, 1.0),
    )
    held = None if goal is None else goal.detach()
    return ModelLearning(losses, latent.detach(), held, next_value)


def _next_value(
    model: WorldModel, target_q: NormedEnsemble, latent: Tensor, goal: Tensor | None
) -> Tensor:
    """`[H, B]`, the lower one of two members' values of the policy's next action.

    Args:
        latent: `[H, B, S]`, where the transitions led to.
        goal: `[H, B, S]`, that holds there.
    """
    noise = torch.randn(*latent.shape[:-1], model.action_dim, device=latent.device)
    action = model.pi(latent, noise, goal).action
    logits = model.Q(latent, action, goal, members=model.two_members(), network=target_q)
    return model.two_hot.decode(logits).amin(dim=0)


class PolicyLearning(NamedTuple):
    """What the policy prior is worth."""

    q: Tensor
    """[T, B], mean of two members' values, which do not learn from it"""
    log_prob: Tensor
    """[T, B]"""


def policy_value(model: WorldModel, latent: Tensor, goal: Tensor | None) -> PolicyLearning:
    """Value and density of the policy's actions at `latent` `[T, B, S]`."""
    noise = torch.randn(*latent.shape[:-1], model.action_dim, device=latent.device)
    drawn = model.pi(latent, noise, goal)
    logits = model.Q(latent, drawn.action, goal, members=model.two_members(), frozen=True)
    return PolicyLearning(model.two_hot.decode(logits).mean(dim=0), drawn.log_prob)


def policy_loss(
    learning: PolicyLearning, scale: Tensor, *, entropy_coef: float, rho: float
) -> Tensor:
    """`mean_t rho^t mean_b (entropy_coef * log_prob - q / scale)`."""
    loss = (entropy_coef * learning.log_prob - learning.q / scale).mean(dim=1)
    return (rho ** torch.arange(len(loss), device=loss.device) * loss).mean()


def _first(observation: Nest) -> Nest:
    return alf.nest.map_structure(lambda x: x[0], observation)


def _later(observation: Nest) -> Nest:
    return alf.nest.map_structure(lambda x: x[1:], observation)
