"""What a predictor learns from: spans of a level's records.

Axis letters: B spans, T records, O observation.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch

from alf.data_structures import Experience, TimeStep
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.transitions import reached
from alf_layered.networks.spaces import as_vector

Nest = Any


class PredictorBatch(NamedTuple):
    """Spans of T consecutive records of one environment each; they may cross episodes.

    Fields:
        observation: `[B, T, O]`.
        action: `[B, T, A]` or indices `[B, T]`, the decision made at each record.
        reward: `[B, T]`, of the decision before.
        discount: `[B, T]`, after the decision before: gamma^k, and 0 where it terminated.
        step_type: `[B, T]`.
        time_discount: `[B, T]`, gamma^k alone, had nothing terminated; None: not known.
        planned: `[B, T]`, whether the decision is the planner's, whose value is learned; None: all.
        weight: `[B, T]`, of the transition from each record; None: 1.
        reached: `[B, T, O]`, what was observed when the decision before ended, with the input that
            held until then; None: the observation.
    """

    observation: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor
    step_type: torch.Tensor
    time_discount: torch.Tensor | None = None
    planned: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    reached: torch.Tensor | None = None


class SpanSource(Protocol):
    """Where a predictor that learns by itself gets its spans from."""

    def sample(self, batch_size: int, batch_length: int) -> PredictorBatch | None:
        """Spans drawn uniformly over records; None where there are not enough yet."""
        ...


class ReplayedSpans:
    """Spans from a level's replay buffer.

    Args:
        buffer: with experience whose `time_step.observation` fits `observation_spec`.
        observation_spec: of the observation; nests become one vector.
        gamma: the level's discount factor.
    """

    def __init__(self, buffer: LevelReplayBuffer, observation_spec: Nest, *, gamma: float) -> None:
        self._buffer = buffer
        self._observation_spec = observation_spec
        self._gamma = gamma

    def sample(self, batch_size: int, batch_length: int) -> PredictorBatch | None:
        """See `SpanSource`."""
        if not self._buffer.has_spans(batch_length):
            return None
        experience, _ = self._buffer.get_batch(batch_size, batch_length)
        return spans_of(experience, self._observation_spec, gamma=self._gamma)


def spans_of(
    experience: Experience,
    observation_spec: Nest,
    *,
    gamma: float,
    planned: torch.Tensor | None = None,
) -> PredictorBatch:
    """A level's experience `[B, T]` as a predictor's batch.

    Args:
        experience: with records of a `Level`.
        observation_spec: of `time_step.observation`.
        gamma: the level's discount factor.
        planned: `[B, T]`, see `PredictorBatch`.
    """
    step = experience.time_step
    time_discount = step.env_info.get("time_discount") if isinstance(step.env_info, dict) else None
    return PredictorBatch(
        observation=as_vector(step.observation, observation_spec),
        action=experience.action,
        reward=step.reward,
        discount=gamma * step.discount,
        step_type=step.step_type,
        time_discount=None if time_discount is None else gamma * time_discount,
        planned=planned,
        reached=reached_vector(step, observation_spec),
    )


def reached_vector(step: TimeStep, observation_spec: Nest) -> torch.Tensor | None:
    """`PredictorBatch.reached` of a level's time steps; None where it is the observation."""
    led_to = reached(step)
    return None if led_to is step.observation else as_vector(led_to, observation_spec)


def masked_mean(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Over what is valid; 0 where nothing is."""
    return torch.where(valid, x, 0.0).sum() / valid.sum().clamp(min=1)
