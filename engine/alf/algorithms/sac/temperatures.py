"""The temperatures of soft actor-critic, one for each part of the action, and their entropies.

B batch rows.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from alf.algorithms.sac import values
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import dist_utils
from alf.utils.schedulers import ConstantScheduler, Scheduler

__all__ = [
    "LOG_ALPHA_LIMIT",
    "Temperatures",
    "parts_of",
    "set_target_entropy",
    "target_entropies",
]

# Where the target entropy cannot be reached log alpha moves on for ever: alpha would be 0, by which
# discrete actions divide, or infinite.
LOG_ALPHA_LIMIT = 40.0


@dataclass(eq=False, slots=True)
class Temperatures:
    """One temperature for each part of the action: a pair for mixed actions, else one.

    Attributes:
        log_alphas: scalars, the discrete part's first.
        target_entropies: the entropy that each part is held at.
        max_log_alpha: upper bound.
    """

    log_alphas: Sequence[Tensor]
    target_entropies: Sequence[float]
    max_log_alpha: float

    def alphas(self) -> list[Tensor]:
        """The temperatures, without gradients."""
        return [log_alpha.detach().exp() for log_alpha in self.log_alphas]

    def loss(self, log_pi: Any) -> Tensor:
        """The loss [B] of all; ``log_pi`` [B] is a pair for mixed actions."""
        parts = zip(self.log_alphas, parts_of(log_pi), self.target_entropies, strict=True)
        losses = [values.temperature_loss(*part) for part in parts]
        return sum(losses[1:], losses[0])

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring those that left their bounds back."""
        for log_alpha in self.log_alphas:
            log_alpha.clamp_(-LOG_ALPHA_LIMIT, self.max_log_alpha)

    def summarize(self) -> None:
        """Write each."""
        alphas = self.alphas()
        names = ["alpha/discrete", "alpha/continuous"] if len(alphas) > 1 else ["alpha"]
        for name, alpha in zip(names, alphas, strict=True):
            summary.scalar(name, alpha)


def parts_of(log_pi: Any) -> Sequence[Tensor]:
    """The log probabilities of the parts of an action: a pair for mixed actions, else one."""
    return [log_pi] if isinstance(log_pi, Tensor) else log_pi


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
    return set_target_entropy("SacAlgorithm", target, nest.flatten(part))


def set_target_entropy(
    name: str, target_entropy: float | Callable | None, flat_action_spec: Sequence
) -> float:
    """A number as it is; else the sum over the specs of the function given, or the default one."""
    if target_entropy is None:
        target_entropy = dist_utils.calc_default_target_entropy
    if isinstance(target_entropy, Scheduler | ConstantScheduler):
        raise ValueError(
            f"{name}.target_entropy is {target_entropy!r}; allowed are numbers and callables on an "
            "action's spec. Agent's EntropyTargetAlgorithm takes a scheduler."
        )
    if callable(target_entropy):
        entropy_of = cast("Callable[[Any], float]", target_entropy)
        return float(sum(map(entropy_of, flat_action_spec)))
    if isinstance(target_entropy, bool | str) or not isinstance(target_entropy, numbers.Real):
        raise TypeError(
            f"{name}.target_entropy must be a number or a function, got {target_entropy!r}."
        )
    return float(target_entropy)
