"""Looks up in a replay buffer what followed stored steps: what a MuZero model is to say of them.

Axis letters as in `targets`: N spans, S their records, R steps that are unrolled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.data_transformer import (
    DataTransformer,
    HindsightExperienceTransformer,
    IdentityDataTransformer,
    SequentialDataTransformer,
)
from alf.algorithms.mcts.tuples import ModelTarget
from alf.algorithms.muzero.reanalyze import Reanalyzer
from alf.algorithms.muzero.targets import (
    Spans,
    find_spans,
    inside,
    n_step_values,
    outcome_values,
    read,
)
from alf.data_structures import Experience, TimeStep
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.nest import nest


@dataclasses.dataclass(frozen=True)
class LookupSettings:
    """What is looked up; see `MuzeroRepresentationImpl` for the meaning of each."""

    num_unroll_steps: int
    td_steps: int
    discount: float
    train_reward_function: bool
    train_game_over_function: bool
    train_repr_prediction: bool
    train_policy: bool
    reward_transformer: Callable[[Tensor], Tensor] | None = None


class Lookup:
    """Finds targets for stored steps.

    Args:
        settings: what is looked up.
        transformer: of the data in the buffer; None: they are used as they are.
        reanalyzer: searches some of them again; None: no.

    Raises:
        ValueError: the transformer would give each step of a span a goal of its own.
    """

    def __init__(
        self,
        settings: LookupSettings,
        transformer: DataTransformer | None,
        reanalyzer: Reanalyzer | None,
    ) -> None:
        if any(isinstance(t, HindsightExperienceTransformer) for t in _members(transformer)):
            raise ValueError(
                "data transformer HindsightExperienceTransformer cannot be used with MuZero: what "
                "a search found was found for the goal that was pursued"
            )
        self._settings = settings
        self._transformer = transformer
        self._changes = not isinstance(transformer, IdentityDataTransformer | None)
        self._reanalyzer = reanalyzer

    def __call__(
        self, buffer: Any, env_ids: Tensor, positions: Tensor, path: str
    ) -> tuple[Any, ModelTarget]:
        """What followed the records at ``positions`` [N].

        Args:
            path: where in a record's rollout info and state those of the search are.

        Returns:
            The actions taken, nest of [N, R, ...], and the targets [N, R + 1, ...].
        """
        R = self._settings.num_unroll_steps
        td_steps = max(self._settings.td_steps, 1)
        if self._reanalyzer is not None:
            td_steps = max(td_steps, self._reanalyzer.settings.td_steps)
        spans = find_spans(buffer, env_ids, positions, R + 1 + td_steps)
        steps = self._read_steps(buffer, spans)
        action = nest.map_structure(lambda x: x[:, 1 : R + 1], steps.prev_action)
        return action, self._target(buffer, spans, steps, path)

    def _read_steps(self, buffer: Any, spans: Spans) -> TimeStep:
        """The transformed time steps [N, S, ...] of spans, with what is needed of them."""
        fields = ["step_type", "reward", "discount", "prev_action", "env_id"]
        s = self._settings
        if self._changes or self._reanalyzer is not None or s.train_repr_prediction:
            fields.append("observation")
        values = {
            field: read(buffer, f"time_step.{field}", spans.env_ids, spans.positions)
            for field in fields
        }
        steps = TimeStep(**values)
        if self._changes:
            steps = self._transformed(buffer, spans, steps)
        if s.reward_transformer is not None:
            steps = steps._replace(reward=s.reward_transformer(steps.reward))
        return steps

    def _transformed(self, buffer: Any, spans: Spans, steps: TimeStep) -> TimeStep:
        assert self._transformer is not None
        N, S = spans.positions.shape
        # Each step by itself: spans stand still at the end of an episode.
        rows = nest.map_structure(lambda x: x.flatten(0, 1).unsqueeze(1), steps)
        info = BatchInfo(
            env_ids=spans.env_ids.repeat_interleave(S),
            positions=spans.positions.flatten(),
            replay_buffer=buffer,
        )
        experience = Experience(time_step=rows, batch_info=info, replay_buffer=buffer)
        rows = self._transformer.transform_experience(experience).time_step
        rows = rows._replace(untransformed=())
        return nest.map_structure(lambda x: x.squeeze(1).unflatten(0, (N, S)), rows)

    def _target(self, buffer: Any, spans: Spans, steps: TimeStep, path: str) -> ModelTarget:
        """Targets [N, R + 1, ...]."""
        s = self._settings
        n = s.num_unroll_steps + 1
        at = torch.arange(n, device=spans.end.device)
        end = spans.end.unsqueeze(1)
        beyond = at > end
        over = (at >= end) & spans.is_finished.unsqueeze(1)
        value, candidates, policy = self._found(buffer, spans, steps, path)
        observation = ()
        if s.train_repr_prediction:
            observation = nest.map_structure(lambda x: x[:, :n], steps.observation)
        return ModelTarget(
            is_partial_trajectory=~over[:, -1],
            beyond_episode_end=beyond,
            reward=steps.reward[:, :n].masked_fill(beyond, 0.0) if s.train_reward_function else (),
            action=candidates,
            action_policy=policy,
            game_over=over if s.train_game_over_function else (),
            value=value,
            observation=observation,
        )

    def _found(
        self, buffer: Any, spans: Spans, steps: TimeStep, path: str
    ) -> tuple[Tensor, Any, Any]:
        """Values to learn [N, R + 1]; candidates and policies [N, R + 1, K, ...] of searches."""
        s = self._settings
        n = s.num_unroll_steps + 1
        ids, positions = spans.env_ids, spans.positions
        info_path = inside("rollout_info", path)
        found = read(buffer, f"{info_path}.value", ids, positions)
        candidates, policy = (), ()
        if s.train_policy:
            candidates, policy = (
                read(buffer, f"{info_path}.{field}", ids, positions[:, :n])
                for field in _policy_fields(buffer, info_path)
            )
        td_steps = torch.full_like(spans.end, max(s.td_steps, 1))
        rows = self._rows_to_search(spans)
        if self._reanalyzer is not None and len(rows) > 0:
            chosen = nest.map_structure(lambda x: x[rows], steps)
            state = self._reanalyzer.stored_states(buffer, ids[rows], positions[rows], path)
            info, value = self._reanalyzer.search(chosen, state, n)
            found = found.index_copy(0, rows, value.to(found.dtype))
            new_steps = self._reanalyzer.td_steps(buffer, ids[rows], positions[rows, 0])
            td_steps = td_steps.index_copy(0, rows, new_steps)
            if s.train_policy:
                candidates, policy = nest.map_structure(
                    lambda x, y: x.index_copy(0, rows, y.to(x.dtype)),
                    (candidates, policy),
                    (info.candidate_actions, info.candidate_action_policy),
                )
        value = self._returns(spans, steps, found, td_steps)
        if s.td_steps == -1:
            outcome = self._outcomes(buffer, spans, n, info_path)
            value = outcome.index_copy(0, rows, value[rows])
        return value, candidates, policy

    def _rows_to_search(self, spans: Spans) -> Tensor:
        """The spans, int64 [n], that are searched again."""
        if self._reanalyzer is None:
            return spans.end[:0]
        N = len(spans.end)
        count = round(N * self._reanalyzer.settings.ratio)
        return torch.randperm(N, device=spans.end.device)[:count]

    def _returns(self, spans: Spans, steps: TimeStep, found: Tensor, td_steps: Tensor) -> Tensor:
        """n-step values [N, R + 1]; ``found`` [N, S] are the values found by searches."""
        s = self._settings
        n = s.num_unroll_steps + 1
        discount = s.discount * steps.discount
        value = n_step_values(steps.reward, discount, found, spans.end, td_steps, n)
        if s.train_reward_function:
            return value
        # The model knows the outcome as the value of the last state, not as a reward.
        at = torch.arange(n, device=value.device)
        over = (at >= spans.end.unsqueeze(1)) & spans.is_finished.unsqueeze(1)
        return torch.where(over, steps.reward.gather(1, spans.end.unsqueeze(1)), value)

    def _outcomes(self, buffer: Any, spans: Spans, n: int, info_path: str) -> Tensor:
        """Values [N, R + 1] of games up to their end."""
        s = self._settings
        root = spans.positions[:, 0]
        left = buffer.steps_to_episode_end(root, spans.env_ids)
        last = Spans(spans.env_ids, (root + left).unsqueeze(1), spans.end, spans.is_finished)
        step = self._read_steps(buffer, last)
        outcome = step.reward.squeeze(1)
        is_over = (step.is_last() & (step.discount == 0)).squeeze(1)
        value = read(buffer, f"{info_path}.value", last.env_ids, last.positions).squeeze(1)
        value = value.masked_fill(is_over, 0.0)
        at_end = 0.0
        if not s.train_reward_function:
            # The model knows the outcome as the value of the last state, not as a reward.
            at_end = torch.where(is_over, outcome, 0.0).unsqueeze(1)
        return outcome_values(outcome, s.discount, left, value, n, at_end)


def _policy_fields(buffer: Any, info_path: str) -> tuple[str, str]:
    """Where in the infos of searches their policies are.

    Raises:
        ValueError: no searches are stored.
    """
    info = nest.get_field(buffer._data_spec, info_path)
    if not nest.flatten(getattr(info, "candidate_action_policy", ())):
        raise ValueError(
            f"train_policy=True needs the candidate_action_policy of searches in {info_path} of "
            f"the replay buffer, whose entries are {getattr(info, '_fields', info)}; without "
            "searches (MuzeroRepresentationLearner) use train_policy=False, for the model too"
        )
    return "candidate_actions", "candidate_action_policy"


def _members(transformer: DataTransformer | None) -> list[Any]:
    if isinstance(transformer, SequentialDataTransformer):
        return list(transformer.members())
    return [transformer]
