"""Actions that need no learning: given as numbers, or drawn uniformly."""

from __future__ import annotations

from typing import Any

import torch

import alf
from alf.data_structures import AlgStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.hierarchy.bounds import has_finite_bounds


def check_bounded(action_spec: Any, *, level: str) -> None:
    """Raises where there is no uniform distribution over a (nest of) action spec(s)."""
    for spec in alf.nest.flatten(action_spec):
        if not has_finite_bounds(spec):
            raise ValueError(f"level {level!r} needs an action spec with finite bounds, not {spec}")


def uniform_actions(action_spec: Any, batch_size: int) -> Any:
    """Nest of `[batch_size, ...]`, uniform between the bounds, both included if discrete."""
    return alf.nest.map_structure(lambda spec: spec.sample([batch_size]), action_spec)


def with_decision(step: AlgStep, action: Any) -> AlgStep:
    """The step of an algorithm as if it had decided for `action`."""
    return step._replace(output=action, info=with_action(step.info, action))


def nearest(choices: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """The number `[B]`, int64, of the choice `[N, ...]` that lies nearest to each action."""
    flat = choices.flatten(1).to(torch.float32)
    return torch.cdist(actions.flatten(1).to(torch.float32), flat).argmin(1)


def with_action(info: Any, action: Any) -> Any:
    """What an algorithm remembers of its step, had it taken `action`; also inside an `Agent`."""
    if hasattr(info, "action"):
        return info._replace(action=action)
    for part in ("rl", "ac"):  # of an Agent, of TRAC
        if hasattr(info, part):
            inner = with_action(getattr(info, part), action)
            return info._replace(**{part: inner})
    return info


def action_in(info: Any) -> Any:
    """The action that an algorithm remembers of its step; also TRAC."""
    return info.ac.action if hasattr(info, "ac") else info.action


def as_actions(value: Any, spec: TensorSpec, *, level: str, leading: int = 0) -> torch.Tensor:
    """`value` as a tensor of the spec's type, with `leading` axes before the spec's own.

    Raises:
        ValueError: a shape that differs, or a number outside the spec's bounds.
    """
    if not isinstance(spec, TensorSpec):
        raise ValueError(f"level {level!r} takes one action tensor, the action spec is {spec}")
    actions = torch.as_tensor(value, dtype=spec.dtype)
    if actions.shape[leading:] != torch.Size(spec.shape) or actions.ndim != leading + spec.ndim:
        raise ValueError(
            f"level {level!r} got an action of shape {tuple(actions.shape)}; "
            f"each action must have the shape {tuple(spec.shape)}"
        )
    if isinstance(spec, BoundedTensorSpec):
        low, high = (
            torch.as_tensor(bound, dtype=spec.dtype) for bound in (spec.minimum, spec.maximum)
        )
        outside = (actions < low) | (actions > high) | ~torch.isfinite(actions)
        if bool(outside.any()):
            raise ValueError(
                f"level {level!r} got the action {actions[outside].tolist()}, outside its bounds "
                f"{low.tolist()} to {high.tolist()}"
            )
    return actions
