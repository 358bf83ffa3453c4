"""One environment as a batch of one (`create_environment(nonparallel=True)`)."""

from __future__ import annotations

from collections.abc import Callable

from alf.config_util import configurable
from alf.environments._vector_environment import VectorEnvironment
from alf.environments.alf_environment import AlfEnvironment


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
