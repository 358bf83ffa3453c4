"""The plumbing of an Agent: states, losses and hooks of its algorithms, each under its field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.data_structures import LossInfo
from alf.utils import math_ops

__all__ = ["AgentHelper"]


class AgentHelper:
    """Keeps for each algorithm of an agent the field it has in the agent's state and info."""

    def __init__(self, state_ctor: Callable[..., Any]) -> None:
        """Start with no algorithm.

        Args:
            state_ctor: the named tuple of the agent's state, all fields () by default.
        """
        self._state_ctor = state_ctor
        self._fields: dict[Algorithm, str] = {}

    def register_algorithm(self, alg: Algorithm, alg_field: str) -> None:
        """Make ``alg`` known under ``alg_field``.

        Raises:
            ValueError: the algorithm or its field is registered already.
        """
        if alg in self._fields or alg_field in self._fields.values():
            raise ValueError(
                f"The algorithm {alg.name!r} or the field {alg_field!r} is registered already; "
                f"registered are {sorted(self._fields.values())}."
            )
        self._fields[alg] = alg_field

    def state_specs(self) -> dict[str, Any]:
        """The three state specs, as keyword arguments of ``Algorithm``."""
        return {
            spec: self._state_ctor(
                **{
                    field: getattr(alg, spec)
                    for alg, field in self._fields.items()
                    if field in self._state_ctor._fields
                }
            )
            for spec in ("train_state_spec", "rollout_state_spec", "predict_state_spec")
        }

    def set_path(self, path: str) -> None:
        """Give each algorithm its path: ``path`` and its field."""
        prefix = f"{path}." if path else ""
        for alg, field in self._fields.items():
            alg.set_path(prefix + field)

    @staticmethod
    def accumulate_algorithm_rewards(
        rewards: Sequence[Any],
        weights: Sequence[float],
        names: Sequence[str],
        summary_prefix: str,
        summarize_fn: Callable[[str, Any], None],
    ) -> Any:
        """The weighted sum of ``rewards``, each of them and the sum summarized.

        A reward ``()`` is left out, and the sum of none is ``()``. Rewards [B] are added to each
        dimension of a reward [B, n].
        """
        total = ()
        parts = zip(rewards, weights, names, strict=True)
        given = [part for part in parts if isinstance(part[0], Tensor)]
        for reward, weight, name in given:
            summarize_fn(f"{summary_prefix}/{name}", reward)
            total = _add_rewards(total, reward * weight)
        if len(given) > 1:
            summarize_fn(f"{summary_prefix}/overall", total)
        return total

    def accumulate_loss_info(
        self,
        algorithms: Sequence[Algorithm],
        train_info: Any,
        offline: bool = False,
        pre_train: bool = False,
    ) -> LossInfo:
        """The sum of the algorithms' losses; ``extra`` has each algorithm's under its field.

        Args:
            train_info: [T, B, ...], each algorithm's under its field.
            offline: call ``calc_loss_offline(info, pre_train)`` instead of ``calc_loss(info)``.

        Raises:
            ValueError: two algorithms give priorities.
        """
        loss, scalar_loss, priority = (), (), ()
        extra = {}
        for alg in algorithms:
            field = self._fields[alg]
            info = getattr(train_info, field)
            part = alg.calc_loss_offline(info, pre_train) if offline else alg.calc_loss(info)
            loss = math_ops.add_ignore_empty(loss, part.loss)
            scalar_loss = math_ops.add_ignore_empty(scalar_loss, part.scalar_loss)
            if isinstance(part.priority, Tensor):
                if isinstance(priority, Tensor):
                    raise ValueError(f"More than one algorithm gives priorities, e.g. {field!r}.")
                priority = part.priority
            extra[field] = part.extra
        return LossInfo(loss=loss, scalar_loss=scalar_loss, extra=extra, priority=priority)

    def after_update(
        self, algorithms: Sequence[Algorithm], root_inputs: Any, train_info: Any
    ) -> None:
        """Call ``after_update`` of each algorithm with its part of ``train_info``."""
        for alg in algorithms:
            alg.after_update(root_inputs, getattr(train_info, self._fields[alg]))

    def after_train_iter(
        self, algorithms: Sequence[Algorithm], root_inputs: Any, rollout_info: Any = None
    ) -> None:
        """Call ``after_train_iter`` of each algorithm with its part of ``rollout_info``."""
        for alg in algorithms:
            info = None if rollout_info is None else getattr(rollout_info, self._fields[alg])
            alg.after_train_iter(root_inputs, info)


def _add_rewards(total: Any, reward: Tensor) -> Tensor:
    """The sum; one of the two can have a reward axis (the last) that the other lacks."""
    if isinstance(total, Tensor) and total.dim() != reward.dim():
        if total.dim() < reward.dim():
            total = total.unsqueeze(-1)
        else:
            reward = reward.unsqueeze(-1)
    return math_ops.add_ignore_empty(total, reward)
