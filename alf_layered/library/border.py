"""Between a gymnasium environment's values and the tensors of a hierarchy.

What comes in as NumPy arrays goes out as NumPy arrays, tensors as tensors.

Axis letters: B environments of a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

import alf
from alf_layered.environments.checked_env import check_batch_shape
from alf_layered.environments.gymnasium_resets import as_mode
from alf_layered.environments.gymnasium_spaces import (
    Actions,
    map_space,
    observation_spec,
    to_tensors,
)

Nest = Any
FINAL_KEYS = ("final_obs", "final_observation")
"""Where gymnasium since 1.0, and before, puts the last observations of episodes."""


class NumpyAction(np.ndarray):
    """An action as a NumPy array, with the methods of a tensor that loops for LayeredRL call."""

    def cpu(self) -> NumpyAction:
        """Itself: it is on the host."""
        return self

    def detach(self) -> NumpyAction:
        """Itself: it has no gradient."""
        return self

    def numpy(self) -> np.ndarray:
        """The plain array."""
        return self.view(np.ndarray)


class Border:
    """Specs of one environment, and its values as tensors and back.

    Args:
        env: a gymnasium environment or vector environment.
        autoreset_mode: how a vector environment begins new episodes, where it does not say so.
        device: of the tensors; None: torch's default.
    """

    def __init__(
        self,
        env: gymnasium.Env | VectorEnv,
        autoreset_mode: Any = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.is_vector = _is_vector(env)
        self.num_envs: int = env.num_envs if self.is_vector else 1  # type: ignore[union-attr]
        prefix = "single_" if self.is_vector else ""
        self.observation_space: spaces.Space = getattr(env, f"{prefix}observation_space")
        self.action_space: spaces.Space = getattr(env, f"{prefix}action_space")
        self.observation_spec = observation_spec(self.observation_space)
        self._actions = Actions(self.action_space)
        self.action_spec = self._actions.spec
        self.mode = self._mode_of(env, autoreset_mode)
        self.device = torch.empty(0).device if device is None else torch.device(device)
        self._name = str(env)

    def _mode_of(self, env: Any, given: Any) -> str:
        """NEXT_STEP, SAME_STEP or DISABLED, where the caller begins new episodes."""
        if not self.is_vector:
            return "DISABLED"
        mode = as_mode(given if given is not None else env.metadata.get("autoreset_mode"))
        if mode is None:
            raise ValueError(
                f"{env} does not say how it begins new episodes (metadata['autoreset_mode']); give "
                "Hierarchy(autoreset_mode=...): 'NEXT_STEP', 'SAME_STEP' or 'DISABLED'"
            )
        return mode.name

    def check_like(self, other: Border) -> None:
        """Raises `ValueError` where another environment has other spaces."""
        for name in ("observation_space", "action_space"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"{self._name} has the {name} {mine}; it must be {theirs}")

    def observations(self, batch: Nest, rows: int) -> Nest:
        """Observations as a nest of tensors `[B, ...]`.

        Args:
            batch: of B environments; of one without an axis for them if it is not a vector.
            rows: B.

        Raises:
            ValueError: shapes are not those of the observation space.
        """

        def leaf(space: spaces.Space, value: Any, spec: Any) -> torch.Tensor:
            if not self.is_vector:
                value = value[None] if isinstance(value, torch.Tensor) else np.asarray(value)[None]
            if isinstance(value, torch.Tensor):
                tensor = value.detach().to(self.device, spec.dtype, copy=True)
            else:
                tensor = to_tensors(space, value, self.device, env=self._name)
            if tensor.shape != (rows, *spec.shape):
                check_batch_shape(space, np.empty(tensor.shape), self._name)
                raise ValueError(
                    f"an observation has shape {list(tensor.shape)} for {rows} environments; "
                    f"allowed: {[rows, *spec.shape]}"
                )
            return tensor

        return map_space(leaf, self.observation_space, batch, self.observation_spec)

    def final_observations(self, final: Any, rows: np.ndarray) -> Nest:
        """The rows of the last observations of episodes, as tensors `[n, ...]`.

        Args:
            final: of B environments: an object array with one observation or None for each, or a
                batch.
            rows: `[n]`, which of the B.
        """
        space = self.observation_space
        if isinstance(final, np.ndarray) and final.dtype == object:
            final = map_space(lambda _, *v: np.stack(v), space, *final[rows])
        else:
            final = map_space(lambda _, batch: batch[rows], space, final)
        return self.observations(final, len(rows))

    def numbers(self, values: Any, rows: int, dtype: torch.dtype, name: str) -> torch.Tensor:
        """Numbers of a step as `[B]`.

        Raises:
            ValueError: there are not B of them, or a real number is NaN.
        """
        if isinstance(values, torch.Tensor):
            tensor = values.detach().to(self.device, dtype).reshape(-1)
        else:
            array = np.asarray(values)
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise ValueError(f"{name} is {array.tolist()}; it must be numbers")
            tensor = torch.tensor(array.reshape(-1), dtype=dtype, device=self.device)
        if len(tensor) != rows:
            raise ValueError(f"{name} has {len(tensor)} entries for {rows} environments")
        return tensor

    def flags(self, values: Any, rows: int, name: str) -> np.ndarray:
        """Flags of a step as an array `[B]` on the host, where the loop is steered.

        Raises:
            ValueError: there are not B of them.
        """
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        array = np.asarray(values, dtype=bool).reshape(-1)
        if len(array) != rows:
            raise ValueError(f"{name} has {len(array)} entries for {rows} environments")
        return array

    def actions(self, action: Nest, like: Nest) -> Nest:
        """A hierarchy's action `[B, ...]` as the environment takes it.

        Args:
            action: nest of tensors.
            like: observations; if they are tensors, so is the action.
        """
        rows = len(alf.nest.flatten(action)[0])
        arrays = self._actions.to_numpy(action, np.zeros(rows, dtype=bool))
        as_tensors = isinstance(_first_leaf(like), torch.Tensor)

        def out(_: Any, array: np.ndarray) -> Any:
            array = array if self.is_vector else array[0]
            if as_tensors:
                return torch.as_tensor(array, device=self.device)
            return np.asarray(array).view(NumpyAction)

        return map_space(out, self.action_space, arrays)

    def ids(self, env_ids: Sequence[int] | np.ndarray | torch.Tensor | None) -> np.ndarray:
        """The environments of a call, `[B]`; all for None.

        Raises:
            ValueError: one does not exist, or comes twice.
        """
        if env_ids is None:
            return np.arange(self.num_envs)
        if isinstance(env_ids, torch.Tensor):
            env_ids = env_ids.cpu().numpy()
        ids = np.asarray(env_ids, dtype=np.int64).reshape(-1)
        inside = (ids >= 0) & (ids < self.num_envs)
        if not inside.all() or len(np.unique(ids)) != len(ids) or len(ids) == 0:
            raise ValueError(
                f"env_ids is {ids.tolist()}; allowed: different numbers from 0 to "
                f"{self.num_envs - 1}, at least one"
            )
        return ids


def _is_vector(env: Any) -> bool:
    """Also other libraries' vector environments, such as EnvPool's, which are no `VectorEnv`."""
    return isinstance(env, VectorEnv) or hasattr(env, "single_observation_space")


def _first_leaf(nest: Nest) -> Any:
    while isinstance(nest, (dict, tuple)):
        nest = next(iter(nest.values())) if isinstance(nest, dict) else nest[0]
    return nest
