"""One environment as a batch of one (`create_environment(nonparallel=True)`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.environments._vector_environment import VectorEnvironment
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import TensorSpec


@configurable
class ThreadEnvironment(VectorEnvironment):
    """One environment as a batched, tensor based environment of batch size 1.

    It is stepped in the calling thread; the name is ALF's, where a second thread does it.
    """

    def __init__(self, env_constructor: Callable[[], AlfEnvironment]) -> None:
        """
        Args:
            env_constructor: called without arguments.
        """
        super().__init__([lambda env_id: env_constructor()])

    def _step(self, action: Any) -> TimeStep:
        """`action` may lack the batch axis."""
        return super()._step(nest.map_structure(_batched, action, self.action_spec()))


def _batched(action: Any, spec: TensorSpec) -> Any:
    return action[None] if action.ndim == spec.ndim else action
