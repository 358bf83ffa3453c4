"""What passes from a level to the one below it: skills, subgoals, options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

NestedSpec = Any
Joint = NestedSpec | Callable[[NestedSpec], NestedSpec]


def skill(dim: int) -> BoundedTensorSpec:
    """A skill vector in `[-1, 1]^dim`."""
    if dim < 1:
        raise ValueError(f"skill({dim}): a skill has at least 1 dimension")
    return BoundedTensorSpec((dim,), torch.float32, minimum=-1.0, maximum=1.0)


def option(count: int) -> BoundedTensorSpec:
    """The index of one of `count` options: an int64 scalar in `0 .. count - 1`."""
    if count < 2:
        raise ValueError(f"option({count}): there must be at least 2 options")
    return BoundedTensorSpec((), torch.int64, minimum=0, maximum=count - 1)


def subgoal(
    field: str,
    *,
    minimum: float | Sequence[float] | None = None,
    maximum: float | Sequence[float] | None = None,
) -> Callable[[NestedSpec], BoundedTensorSpec]:
    """A point in the space of the observation's `field`, such as `"achieved_goal"`.

    Args:
        field: path of the field inside the environment's observation, parts joined by dots.
        minimum: lower bounds; default the field's own.
        maximum: upper bounds; default the field's own.

    Returns:
        A joint: a function from the observation spec to the subgoal's spec.
    """

    def resolve(observation_spec: NestedSpec) -> BoundedTensorSpec:
        spec = field_spec(observation_spec, field)
        bounded = isinstance(spec, BoundedTensorSpec)
        low = minimum if minimum is not None else (spec.minimum if bounded else None)
        high = maximum if maximum is not None else (spec.maximum if bounded else None)
        if low is None or high is None:
            raise ValueError(
                f"subgoal({field!r}): the observation's spec {spec} has no bounds; "
                "give minimum and maximum"
            )
        return BoundedTensorSpec(spec.shape, torch.float32, minimum=low, maximum=high)

    return resolve


def field_spec(observation_spec: NestedSpec, field: str) -> TensorSpec:
    """The spec at a dotted path of an observation spec; a `ValueError` lists what there is."""
    spec = observation_spec
    for part in field.split("."):
        if isinstance(spec, dict) and part in spec:
            spec = spec[part]
        elif part.isidentifier() and hasattr(spec, "_fields") and part in spec._fields:
            spec = getattr(spec, part)
        else:
            allowed = sorted(spec) if isinstance(spec, dict) else getattr(spec, "_fields", ())
            raise ValueError(
                f"the observation has no field {field!r}: {part!r} is not one of {list(allowed)}"
            )
    return spec


def resolve_joints(
    joints: Sequence[Joint] | None, declared: Sequence[NestedSpec], observation_spec: NestedSpec
) -> list[NestedSpec]:
    """The spec of each joint.

    Args:
        joints: one for each pair of neighbours, top first; None where every level but the top
            one declares its input.
        declared: for each level the `input_spec` it was given beforehand, or None.
        observation_spec: the environment's, for joints which are functions of it.
    """
    count = len(declared) - 1
    if joints is None:
        joints = list(declared[1:])
        missing = [i + 1 for i, spec in enumerate(joints) if spec is None]
        if missing:
            raise ValueError(
                f"joints is missing, and levels {missing} declare no input_spec: give one joint "
                f"for each of the {count} pairs of neighbouring levels"
            )
    if len(joints) != count:
        raise ValueError(
            f"{len(joints)} joints for {count + 1} levels: there must be one for each of the "
            f"{count} pairs of neighbouring levels"
        )
    return [j(observation_spec) if _is_function(j) else j for j in joints]


def check_joint(upper: str, action_spec: NestedSpec, lower: str, input_spec: NestedSpec) -> None:
    """Raises where what the upper level emits is not what the lower level takes."""
    if not same_spec(action_spec, input_spec):
        raise ValueError(
            f"the joint between level {upper!r} and level {lower!r} does not match: "
            f"{upper!r} emits {action_spec}, {lower!r} takes {input_spec}"
        )


def same_spec(one: NestedSpec, other: NestedSpec) -> bool:
    """Whether two nests of specs have the same structure, shapes, types and bounds."""
    ones, others = alf.nest.flatten(one), alf.nest.flatten(other)
    try:
        alf.nest.assert_same_structure(one, other)
    except (AssertionError, ValueError, TypeError):
        return False
    return all(a == b for a, b in zip(ones, others, strict=True))


def _is_function(joint: Joint) -> bool:
    return callable(joint) and not isinstance(joint, TensorSpec)
