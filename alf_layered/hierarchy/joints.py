"""What passes from a level to the one below it: skills, subgoals, options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_1, FINITE, Range, checked, shown
from alf_layered.hierarchy.bounds import has_finite_bounds

Nest = Any
NestedSpec = Any
Joint = NestedSpec | Callable[[NestedSpec], NestedSpec]


@checked(dim=AT_LEAST_1)
def skill(dim: int) -> BoundedTensorSpec:
    """A skill vector in `[-1, 1]^dim`."""
    return BoundedTensorSpec((dim,), torch.float32, minimum=-1.0, maximum=1.0)


@checked(count=Range(2))
def option(count: int) -> BoundedTensorSpec:
    """The index of one of `count` options: an int64 scalar in `0 .. count - 1`."""
    return BoundedTensorSpec((), torch.int64, minimum=0, maximum=count - 1)


@checked(minimum=FINITE, maximum=FINITE)
def subgoal(
    field: str,
    *,
    minimum: float | Sequence[float] | None = None,
    maximum: float | Sequence[float] | None = None,
) -> Callable[[NestedSpec], BoundedTensorSpec]:
    """A point in the space of the observation's `field`, such as `"achieved_goal"`.

    Args:
        field: path of the field inside the environment's observation, names joined by dots.
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
        made = None
        if low is not None and high is not None:
            made = BoundedTensorSpec(spec.shape, torch.float32, minimum=low, maximum=high)
        if made is None or not has_finite_bounds(made):
            raise ValueError(
                f"subgoal({field!r}): the observation's spec {spec} has no bounds that are finite; "
                "give minimum and maximum"
            )
        return made

    return resolve


def field_spec(observation_spec: NestedSpec, field: str) -> TensorSpec:
    """The spec of a field of an observation spec; a `ValueError` lists what there is."""
    return field_value(observation_spec, field_path(observation_spec, field))


def field_path(observation: Nest, field: str) -> tuple[str, ...]:
    """The names that lead to a field of an observation, or of its spec.

    Args:
        observation: nest of dicts and named tuples.
        field: names joined by dots, which may have dots themselves.

    Raises:
        ValueError: there is no such field.
    """
    path = _find(observation, field)
    if path is None:
        raise ValueError(
            f"the observation has no field {field!r}; it is one of {_fields_in(observation)}"
        )
    return path


def field_value(observation: Nest, path: Sequence[str]) -> Nest:
    """What lies at a path of names."""
    for name in path:
        observation = _members(observation)[name]
    return observation


def _find(nest: Nest, field: str) -> tuple[str, ...] | None:
    members = _members(nest)
    if field in members:
        return (field,)
    for end in (i for i, letter in enumerate(field) if letter == "."):
        if field[:end] in members:
            rest = _find(members[field[:end]], field[end + 1 :])
            if rest is not None:
                return (field[:end], *rest)
    return None


def _members(nest: Nest) -> dict[str, Nest]:
    if isinstance(nest, dict):
        return nest
    return nest._asdict() if hasattr(nest, "_asdict") else {}


def _fields_in(nest: Nest) -> list[str]:
    """The paths of all tensors, parts joined by dots."""
    found = []
    for name, member in sorted(_members(nest).items()):
        below = _fields_in(member)
        found += [f"{name}.{path}" for path in below] if below else [name]
    return found


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
    return [_resolved(joint, f"joints[{i}]", observation_spec) for i, joint in enumerate(joints)]


def _resolved(joint: Joint, what: str, observation_spec: NestedSpec) -> NestedSpec:
    """The spec of one joint; a `TypeError` where it is none."""
    spec = joint(observation_spec) if _is_function(joint) else joint
    if spec is None or not all(isinstance(leaf, TensorSpec) for leaf in alf.nest.flatten(spec)):
        came = f"a function that returns {shown(spec)}" if spec is not joint else shown(spec)
        raise TypeError(
            f"{what} is {came}; allowed: a spec, such as skill(2) or option(4), or a function from "
            "the observation's spec to one, such as subgoal('achieved_goal')"
        )
    return spec


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
