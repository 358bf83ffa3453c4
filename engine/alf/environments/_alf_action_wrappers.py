"""Wrappers of ALF environments whose actions differ from those of the environment inside."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import torch

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments._single_wrappers import AlfEnvironmentBaseWrapper, needs_single
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.seeds import wrapper_generator
from alf.utils.spec_utils import has_finite_bounds

PUBLIC_MODULE = "alf.environments.alf_wrappers"  # under which these names are configured


class _ActionWrapper(AlfEnvironmentBaseWrapper):
    """Base of the wrappers whose actions differ from those of the wrapped environment."""

    def _inner_action(self, action: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def _first_action(self, time_step: TimeStep) -> Any:
        """The `prev_action` of a FIRST step: zeros."""
        outer = np.shape(time_step.step_type)
        make = "zeros" if isinstance(time_step.step_type, torch.Tensor) else "numpy_zeros"
        return nest.map_structure(lambda spec: getattr(spec, make)(outer), self.action_spec())

    def _reset(self) -> TimeStep:
        time_step = self._env.reset()
        return time_step._replace(prev_action=self._first_action(time_step))

    def _step(self, action: Any) -> TimeStep:
        time_step = self._env.step(self._inner_action(action))
        first = time_step.is_first()
        zeros = self._first_action(time_step)
        prev_action = nest.map_structure(lambda z, a: _select(first, z, a), zeros, action)
        return time_step._replace(prev_action=prev_action)


def _select(mask: Any, x: Any, y: Any) -> Any:
    """`x` in the rows where `mask` is true, else `y`."""
    mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    if isinstance(x, torch.Tensor):
        return torch.where(mask, x, y)
    return np.where(mask, x, y).astype(x.dtype)


@configurable
class NormalizedActionWrapper(_ActionWrapper):
    """Gives continuous actions the bounds [-1, 1], mapped linearly to the environment's."""

    def __init__(self, env: AlfEnvironment) -> None:
        super().__init__(env)
        self._inner_spec = env.action_spec()
        self._outer_spec = nest.map_structure(self._normalized_spec, self._inner_spec)

    def action_spec(self) -> Any:
        return self._outer_spec

    @staticmethod
    def _normalized_spec(spec: TensorSpec) -> TensorSpec:
        if spec.is_discrete:
            return spec
        if not isinstance(spec, BoundedTensorSpec) or not has_finite_bounds(spec):
            raise ValueError(f"NormalizedActionWrapper needs finite action bounds; got {spec}")
        return BoundedTensorSpec(spec.shape, spec.dtype, minimum=-1.0, maximum=1.0)

    def _inner_action(self, action: Any) -> Any:
        return nest.map_structure(self._denormalized, action, self._inner_spec)

    @staticmethod
    def _denormalized(action: Any, spec: TensorSpec) -> Any:
        if spec.is_discrete:
            return action
        low, high = spec.minimum, spec.maximum
        if isinstance(action, torch.Tensor):
            low, high = (torch.as_tensor(b, device=action.device) for b in (low, high))
        return low + (action + 1) * (0.5 * (high - low))


@configurable
class DiscreteActionWrapper(_ActionWrapper):
    """Offers a grid of `actions_num` values per component of a continuous action as options.

    The grid includes the bounds. There are `actions_num ** n` options for n components.
    """

    def __init__(self, env: AlfEnvironment, actions_num: int) -> None:
        super().__init__(env)
        spec = env.action_spec()
        if actions_num < 2:
            raise ValueError(f"actions_num must be at least 2; got {actions_num}")
        if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete or spec.ndim > 1:
            raise ValueError(f"DiscreteActionWrapper needs one continuous action; got {spec}")
        low = np.broadcast_to(spec.minimum, spec.shape).reshape(-1)
        high = np.broadcast_to(spec.maximum, spec.shape).reshape(-1)
        values = [np.linspace(a, b, actions_num) for a, b in zip(low, high, strict=True)]
        grid = np.array(list(itertools.product(*values)), np.float32)
        self._options = grid.reshape(-1, *spec.shape)
        self._outer_spec = BoundedTensorSpec(
            (), torch.int64, minimum=0, maximum=len(self._options) - 1
        )

    def action_spec(self) -> Any:
        return self._outer_spec

    def _inner_action(self, action: Any) -> Any:
        if isinstance(action, torch.Tensor):
            return torch.as_tensor(self._options, device=action.device)[action]
        return self._options[action]


@configurable
class TemporallyCorrelatedNoiseWrapper(_ActionWrapper):
    """Adds noise to continuous actions, of this and the previous step.

    With draws `d_t = sigma * N(0, 1)` and `d_0 = 0` in each episode the noise is
    `past_noise_weight * d_{t-1} + d_t`: it does not add up, so that actions do not stay at a bound.
    The noisy action is clipped to the bounds. `prev_action` is the action without noise.
    """

    def __init__(
        self, env: AlfEnvironment, sigma: float = 0.5, past_noise_weight: float = 1.0
    ) -> None:
        super().__init__(env)
        needs_single(env, self)
        self._sigma = sigma
        self._weight = past_noise_weight
        self._rng = np.random.default_rng(random.getrandbits(32))
        self._draw = nest.map_structure(lambda spec: spec.numpy_zeros(), env.action_spec())
        self._zero_draw = self._draw

    def seed(self, seed: int) -> Any:
        self._rng = wrapper_generator(seed, self)
        return super().seed(seed)

    def _reset(self) -> TimeStep:
        self._draw = self._zero_draw
        return super()._reset()

    def _step(self, action: Any) -> TimeStep:
        time_step = super()._step(action)
        if time_step.step_type == StepType.FIRST:
            self._draw = self._zero_draw
        return time_step

    def _inner_action(self, action: Any) -> Any:
        past, self._draw = self._draw, nest.map_structure(self._next_draw, self._draw)
        return nest.map_structure(self._noisy, action, past, self._draw, self.action_spec())

    def _next_draw(self, like: np.ndarray) -> np.ndarray:
        return self._sigma * self._rng.normal(size=like.shape).astype(like.dtype)

    def _noisy(
        self, action: np.ndarray, past: np.ndarray, draw: np.ndarray, spec: TensorSpec
    ) -> np.ndarray:
        if spec.is_discrete:
            return action
        noise = self._weight * past + draw
        return np.clip(action + noise, spec.minimum, spec.maximum).astype(spec.dtype_str)
