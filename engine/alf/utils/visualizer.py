"""Pictures of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from alf.nest import nest


@torch.no_grad()
def critic_network_visualizer(
    net: Any,
    observation: Any,
    action_upper_left: torch.Tensor,
    action_upper_right: torch.Tensor,
    action_lower_left: torch.Tensor,
    H: int = 20,
    W: int = 20,
    batch_size: int | None = None,
) -> np.ndarray:
    """The values of a critic on a plane of actions.

    Args:
        net: called with (observation, action), gives values and state.
        observation: nest of tensors of one observation, without a batch axis.
        action_upper_left: [D], the action at the first row and column.
        action_upper_right: [D], the action at the first row and last column.
        action_lower_left: [D], the action at the last row and first column.
        H: number of rows.
        W: number of columns.
        batch_size: how many actions are computed at once; None for all.

    Returns:
        Values [H, W], or [H, W, ...] if a value is not a scalar.
    """
    if H < 2 or W < 2:
        raise ValueError(f"H and W must be at least 2, got {H} and {W}")
    rows = torch.linspace(0, 1, H, device=action_upper_left.device)[:, None, None]
    columns = torch.linspace(0, 1, W, device=action_upper_left.device)[None, :, None]
    right, down = action_upper_right - action_upper_left, action_lower_left - action_upper_left
    actions = (action_upper_left + rows * down + columns * right).flatten(0, 1)
    values = []
    for part in actions.split(batch_size or len(actions)):
        repeated = nest.map_structure(
            lambda x, n=len(part): x.unsqueeze(0).expand(n, *x.shape), observation
        )
        values.append(net((repeated, part))[0])
    return torch.cat(values).unflatten(0, (H, W)).cpu().numpy()
