"""The field of an observation that conditions all but the dynamics."""

from __future__ import annotations

from typing import Any

Nest = Any


def split_goal(observation: Nest, field: str | None, *, owner: str) -> tuple[Nest, Nest]:
    """An observation, or its spec, without the goal, and the goal.

    Args:
        observation: a dict or named tuple, unless `field` is None.
        field: of the goal; None: there is none, `()`.
        owner: for the error.

    Raises:
        ValueError: there is no such field.
    """
    if field is None:
        return observation, ()
    is_dict = isinstance(observation, dict)
    fields = sorted(observation) if is_dict else list(getattr(observation, "_fields", ()))
    if field not in fields:
        raise ValueError(
            f"goal_field {field!r} of {owner!r} is not in the observation, which has {fields}"
        )
    if is_dict:
        return {k: v for k, v in observation.items() if k != field}, observation[field]
    return observation._replace(**{field: ()}), getattr(observation, field)
