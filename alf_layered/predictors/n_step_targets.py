"""n-step value targets within spans of a semi-MDP's records.

Axis letters: B spans, T records.
"""

from __future__ import annotations

import torch

from alf_layered.hierarchy.transitions import is_transition


def n_step_targets(
    reward: torch.Tensor,
    discount: torch.Tensor,
    step_type: torch.Tensor,
    value: torch.Tensor,
    n: int,
) -> torch.Tensor:
    """`r_{t+1} + g_{t+1} (r_{t+2} + g_{t+2} (... V_{t+m}))`, m as many of n steps as there are.

    The chain ends, with the value of the record it has reached, at the end of an episode and at
    the end of the span. An episode's last record holds its true last observation, so a truncated
    episode bootstraps from where it was; a terminated one has g = 0.

    Args:
        reward: `[B, T]`, of the decision before each record.
        discount: `[B, T]`, g: gamma^k of a decision that lasted k environment steps, times the
            environment's discounts: 0 where it terminated.
        step_type: `[B, T]`.
        value: `[B, T]`, V of each record's observation.
        n: steps, at least 1.

    Returns:
        `[B, T - 1]`, targets for the values of all records but the last; V itself where there is no
        transition.
    """
    if n < 1:
        raise ValueError(f"n_steps is {n}; a target looks at least 1 step ahead")
    real = is_transition(step_type)
    target = value
    for _ in range(min(n, value.shape[1] - 1)):
        longer = reward[:, 1:] + discount[:, 1:] * target[:, 1:]
        target = torch.cat([torch.where(real, longer, value[:, :-1]), value[:, -1:]], dim=1)
    return target[:, :-1]
