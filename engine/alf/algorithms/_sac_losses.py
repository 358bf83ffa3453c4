"""The losses of soft actor-critic on time-major tensors, and the entropies they aim at.

T time, B batch rows, R critic replicas, n reward dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from alf.algorithms._sac_data import SacInfo
from alf.data_structures import StepType
from alf.nest import nest
from alf.utils import dist_utils
from alf.utils.schedulers import Scheduler

__all__ = ["loss_of_replicas", "priority_of", "reward_with_entropy", "target_entropies"]


@torch.no_grad()
def reward_with_entropy(
    info: SacInfo, alphas: Sequence[Tensor], gamma: Tensor, normalize: Callable | None
) -> Tensor:
    """Reward plus ``gamma * discount * alpha * entropy``: [T, B] or [T, B, n].

    The reward of a step belongs to the action before it, the entropy to the action after it: one
    discount later.
    """
    parts = [alpha * log_pi for alpha, log_pi in zip(alphas, info.log_pi, strict=True)]
    entropy = -sum(parts[1:], parts[0])
    if normalize is not None:
        entropy = normalize(entropy)
    entropy = entropy * info.discount
    if info.reward.dim() == 3:
        entropy = entropy.unsqueeze(-1)
    return info.reward + gamma * entropy


def loss_of_replicas(td_loss: Callable, info: SacInfo) -> Tensor:
    """The sum [T, B] of ``td_loss`` over replicas, one batch after the other in one call."""
    critics = info.critic.critics
    replicas = critics.shape[2]

    def repeat(x: Tensor) -> Tensor:
        return torch.cat([x] * replicas, dim=1)

    rows = SacInfo(
        reward=repeat(info.reward),
        step_type=repeat(info.step_type),
        discount=repeat(info.discount),
        discounted_return=nest.map_structure(repeat, info.discounted_return),
    )
    values = critics.transpose(1, 2).flatten(1, 2)
    loss = td_loss(rows, values, repeat(info.critic.target_critic)).loss
    return loss.unflatten(1, (replicas, -1)).sum(1)


def priority_of(step_type: Tensor, critic_loss: Tensor) -> Tensor:
    """The root of the mean critic loss [B] over the steps that are not LAST."""
    valid = (step_type != StepType.LAST).to(critic_loss.dtype)
    return ((critic_loss.detach() * valid).sum(0) / valid.sum(0).clamp(min=1.0)).sqrt()


def target_entropies(
    parts: Sequence,
    *,
    target_entropy: float | Callable | tuple | list | None,
    target_kld_per_dim: float | None,
) -> list[float]:
    """The entropy wanted of each part (a spec nest) of the action.

    With a prior (``target_kld_per_dim`` given) the "entropy" is minus the divergence from it.

    Raises:
        ValueError: the number of given entropies is not that of the parts, or one is a scheduler.
    """
    if target_kld_per_dim is not None:
        dims = [sum(spec.numel for spec in nest.flatten(part)) for part in parts]
        return [-target_kld_per_dim * dim for dim in dims]
    given: Sequence[Any] = [target_entropy] * len(parts)
    if isinstance(target_entropy, tuple | list):
        given = target_entropy
    if len(given) != len(parts):
        raise ValueError(
            "SacAlgorithm.target_entropy must be one number or callable for each part of the "
            f"action, here {len(parts)}; got {target_entropy!r}."
        )
    return [_target_entropy(target, part) for target, part in zip(given, parts, strict=True)]


def _target_entropy(target: Any, part: Any) -> float:
    if target is None:
        target = dist_utils.calc_default_target_entropy
    if isinstance(target, Scheduler):
        raise ValueError(
            f"SacAlgorithm.target_entropy is {target!r}; allowed are numbers and callables on an "
            "action's spec. Agent's EntropyTargetAlgorithm takes a scheduler."
        )
    if callable(target):
        entropy_of = cast("Callable[[Any], float]", target)
        return float(sum(map(entropy_of, nest.flatten(part))))
    return float(target)
