"""The losses of soft actor-critic's critics on time-major tensors.

T time, B batch rows, R critic replicas, n reward dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.sac.data import SacInfo
from alf.algorithms.sac.temperatures import parts_of
from alf.data_structures import StepType
from alf.nest import nest

__all__ = [
    "CriticLosses",
    "loss_of_replicas",
    "priority_of",
    "reward_with_entropy",
]


# What a stateless loss looks at, besides the values.
_READ_BY_LOSSES = ("reward", "step_type", "discount", "discounted_return", "b", "rollout_b")


@torch.no_grad()
def reward_with_entropy(
    info: SacInfo, alphas: Sequence[Tensor], gamma: Any, normalize: Callable | None
) -> Tensor:
    """Reward plus ``gamma * discount * alpha * entropy``: [T, B] or [T, B, n].

    The reward of a step belongs to the action before it, the entropy to the action after it: one
    discount later.
    """
    parts = [alpha * log_pi for alpha, log_pi in zip(alphas, parts_of(info.log_pi), strict=True)]
    entropy = -sum(parts[1:], parts[0])
    if normalize is not None:
        entropy = normalize(entropy)
    entropy = entropy * info.discount
    if info.reward.dim() == 3:
        entropy = entropy.unsqueeze(-1)
    return info.reward + gamma * entropy


def loss_of_replicas(
    td_losses: Sequence[Callable] | nn.ModuleList, info: Any, **arguments: Tensor
) -> Tensor:
    """The sum [T, B] over replicas of their losses.

    Losses that were made together and have no state of their own are computed in one call of the
    first, one batch after the other.

    Args:
        info: a tuple such as ``SacInfo``, whose ``critic`` has ``critics`` and ``target_critic``.
        arguments: more arguments [T, B, ...] of each loss.
    """
    critics, target = info.critic.critics, info.critic.target_critic
    replicas = critics.shape[2]
    if not (isinstance(td_losses, CriticLosses) and td_losses.are_alike()):
        parts = [
            td_losses[i](info, critics[:, :, i], target, **arguments).loss for i in range(replicas)
        ]
        return sum(parts[1:], parts[0])

    def repeat(x: Tensor) -> Tensor:
        return torch.cat([x] * replicas, dim=1)

    read = {name: getattr(info, name) for name in _READ_BY_LOSSES if hasattr(info, name)}
    rows = type(info)(**nest.map_structure(repeat, read))
    repeated = {name: repeat(x) for name, x in arguments.items()}
    values = critics.transpose(1, 2).flatten(1, 2)
    loss = td_losses[0](rows, values, repeat(target), **repeated).loss
    return loss.unflatten(1, (replicas, -1)).sum(1)


class CriticLosses(nn.ModuleList):
    """One loss for each replica of the critic, made by the same constructor.

    Args:
        ctor: called with ``debug_summaries`` and ``name``.
    """

    def __init__(self, ctor: Callable, replicas: int, debug_summaries: bool) -> None:
        made = [
            ctor(debug_summaries=debug_summaries, name=f"critic_loss{i + 1}")
            for i in range(replicas)
        ]
        super().__init__(made)
        self._made = tuple(made)

    def are_alike(self) -> bool:
        """Whether one of them can do the work of all: none was replaced, none has a state."""
        return len(self) == len(self._made) and all(
            loss is made and getattr(loss, "is_stateless", False)
            for loss, made in zip(self, self._made, strict=True)
        )


def priority_of(step_type: Tensor, critic_loss: Tensor) -> Tensor:
    """The root of the mean critic loss [B] over the steps that are not LAST."""
    valid = (step_type != StepType.LAST).to(critic_loss.dtype)
    return ((critic_loss.detach() * valid).sum(0) / valid.sum(0).clamp(min=1.0)).sqrt()
