"""States of policies and the tensors in them: made, reset, detached."""

from __future__ import annotations

from typing import Any

import torch

from alf.nest import nest
from alf.utils import dist_utils
from alf.utils.spec_utils import zeros_from_spec


def get_initial_policy_state(batch_size: int, policy_state_spec: Any) -> Any:
    """A new state of zeros `[batch_size, ...]`."""
    return zeros_from_spec(policy_state_spec, batch_size)


def zero_tensor_from_nested_spec(nested_spec: Any, batch_size: int = 1) -> Any:
    """Zeros `[batch_size, *shape]` for each spec of a nest."""
    return zeros_from_spec(nested_spec, batch_size)


def get_initial_time_step(env: Any, first_env_id: int = 0) -> Any:
    """The current time step of `env`, with `first_env_id` added to its environment ids."""
    time_step = env.current_time_step()
    if first_env_id == 0:
        return time_step
    return time_step._replace(env_id=time_step.env_id + first_env_id)


def reset_state_if_necessary(state: Any, initial_state: Any, reset_mask: torch.Tensor) -> Any:
    """`state` with the rows where `reset_mask` [B] is true taken from `initial_state`."""
    # to look is cheap where it does not mean to wait for an accelerator
    if reset_mask.device.type == "cpu" and not bool(reset_mask.any()):
        nest.assert_same_structure(initial_state, state)
        return state

    def choose(initial: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.where(expand_dims_as(reset_mask, value), initial, value)

    return nest.map_structure(choose, initial_state, state)


def detach(nests: Any) -> Any:
    """The nest with each tensor, and the parameters of each distribution, detached."""
    leaves = nest.flatten(nests)
    if all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        return nest.map_structure(torch.Tensor.detach, nests)
    params = nest.map_structure(torch.Tensor.detach, dist_utils.distributions_to_params(nests))
    return dist_utils.params_to_distributions(params, dist_utils.extract_spec(nests))


def expand_dims_as(x: torch.Tensor, y: torch.Tensor, end: bool = True) -> torch.Tensor:
    """`x` with axes of size 1 added, at its end or at its front, until it has as many as `y`."""
    missing = y.ndim - x.ndim
    if missing < 0:
        raise ValueError(f"x has {x.ndim} axes, more than the {y.ndim} of y")
    if missing == 0:
        return x
    ones = (1,) * missing
    return x.reshape(*x.shape, *ones) if end else x.reshape(*ones, *x.shape)
