"""What a MuZero model is to say of spans of stored steps: returns, rewards, ends of games.

Axis letters: N spans, S their records (the root first), R steps that are unrolled. Record s earned
its reward on the way to it. A span's episode ends at record ``end``: its last step, or the newest
record there is; what lies behind is not of this episode.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from alf.data_structures import StepType


class Spans(NamedTuple):
    """Where spans lie in a replay buffer.

    Attributes:
        env_ids: int64 [N].
        positions: int64 [N, S], those behind ``end`` clamped to it.
        end: int64 [N], the record at which the episode ends, counted from the root.
        is_finished: bool [N], whether it terminated there.
    """

    env_ids: Tensor
    positions: Tensor
    end: Tensor
    is_finished: Tensor


def find_spans(buffer: Any, env_ids: Tensor, positions: Tensor, length: int) -> Spans:
    """The spans of ``length`` records that begin at ``positions`` [N], on their device."""
    newest = buffer._current_pos.to(positions.device)[env_ids] - 1
    step = torch.arange(length, device=positions.device)
    reach = torch.minimum(positions.unsqueeze(1) + step, newest.unsqueeze(1))
    step_type = read(buffer, "time_step.step_type", env_ids, reach)
    is_over = (step_type == StepType.LAST) | (reach == newest.unsqueeze(1))
    # Spans that go on need no end: then it is their last record.
    is_over[:, -1] = True
    end = is_over.int().argmax(dim=1)
    last = reach.gather(1, end.unsqueeze(1)).squeeze(1)
    discount = read(buffer, "time_step.discount", env_ids, last)
    is_last = step_type.gather(1, end.unsqueeze(1)).squeeze(1) == StepType.LAST
    return Spans(
        env_ids=env_ids,
        positions=torch.minimum(reach, last.unsqueeze(1)),
        end=end,
        is_finished=is_last & (discount == 0),
    )


def inside(part: str, path: str) -> str:
    """The field at ``path`` of a part of a record: of its rollout info, or its state."""
    return f"{part}.{path}" if path else part


def read(buffer: Any, field: str, env_ids: Tensor, positions: Tensor) -> Any:
    """A field [*positions.shape, ...] of the records at ``positions`` [N] or [N, S]."""
    ids = env_ids.reshape(-1, *[1] * (positions.ndim - 1)).expand_as(positions)
    return buffer.get_field(field, ids, positions)


def n_step_values(
    reward: Tensor, discount: Tensor, value: Tensor, end: Tensor, td_steps: Tensor, steps: int
) -> Tensor:
    """Returns [N, steps] of n steps, then the value, from each of the first ``steps`` records.

    At ``end`` and behind it is ``value`` there, or 0 if the episode terminated (the discount is 0
    there). With m = min(s + n, end):

        G[s] = sum_{s < j <= m} (prod_{s < i < j} c_i) r_j + (prod_{s < i <= m} c_i) v_m

    Args:
        reward: [N, S].
        discount: [N, S], c, the algorithm's discount included.
        value: [N, S].
        end: [N].
        td_steps: [N], n of each span, at most S - steps.
        steps: R + 1.
    """
    S = value.shape[1]
    at = torch.arange(steps, device=value.device).expand(len(value), steps)
    end, n = end.unsqueeze(1), td_steps.unsqueeze(1)
    here = torch.minimum(at, end)
    until = torch.minimum(here + n, end)
    is_terminal = (discount == 0).gather(1, end) & (here >= end)
    total, factor = torch.zeros_like(value[:, :steps]), torch.ones_like(value[:, :steps])
    for _ in range(S - steps):
        goes_on = here < until
        here = torch.where(goes_on, here + 1, here)
        total = torch.where(goes_on, total + factor * reward.gather(1, here), total)
        factor = torch.where(goes_on, factor * discount.gather(1, here), factor)
    return total + factor * value.gather(1, here).masked_fill(is_terminal, 0.0)


def outcome_values(
    outcome: Tensor,
    discount: float,
    steps_to_end: Tensor,
    bootstrap: Tensor,
    steps: int,
    at_end: Tensor | float = 0.0,
) -> Tensor:
    """Returns [N, steps] of games whose only reward, ``outcome``, comes with the last step.

    From s steps before the end it is ``discount ** (s - 1) * outcome``; at the end the reward has
    been earned, which leaves ``at_end``.

    Args:
        outcome: [N], the reward of the last step so far.
        steps_to_end: [N], from the root.
        bootstrap: [N], value at the last step; 0 where the game is finished.
        steps: R + 1.
        at_end: [N, 1], without the bootstrap.
    """
    at = torch.arange(steps, device=outcome.device)
    left = (steps_to_end.unsqueeze(1) - at).clamp(min=0).to(outcome.dtype)
    earned = torch.where(left > 0, discount ** (left - 1) * outcome.unsqueeze(1), at_end)
    return earned + discount**left * bootstrap.unsqueeze(1)
