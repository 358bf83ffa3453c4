"""How soft actor-critic's target networks follow, and its networks start anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alf.utils._periodic import PeriodicReset, TargetUpdater

__all__ = ["make_periodic_reset", "make_target_updater"]


def make_target_updater(
    pairs: Sequence[tuple[Any, Any]], *, tau: float, period: int
) -> TargetUpdater:
    """Moves the second of each pair towards the first, where there is a first.

    Args:
        pairs: a network, and the target that follows it.
    """
    there = [pair for pair in pairs if pair[0] is not None]
    models, targets = zip(*there, strict=True)
    return TargetUpdater(models=list(models), target_models=list(targets), tau=tau, period=period)


def make_periodic_reset(
    actor: Any, critics: Any, target_critics: Any, *, period: int
) -> PeriodicReset | None:
    """Actor, critics and target critics start anew every ``period``; None if not positive."""
    if period <= 0:
        return None
    return PeriodicReset(
        models=[network for network in (actor, critics) if network is not None],
        period=period,
        post_processings=[TargetUpdater(models=[critics], target_models=[target_critics])],
    )
