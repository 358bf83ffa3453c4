"""An environment in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import traceback
import warnings
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import torch

from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.environments._single_wrappers import AlfEnvironmentBaseWrapper
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.utils._child_process import Parent, end_with, leave_signals_to_parent
from alf.utils._outside import OutsideError
from alf.utils.schedulers import get_all_progresses, update_all_progresses

_OK = "ok"
_ERROR = "error"


def process_call(conn: Connection, env: AlfEnvironment, flatten: bool, action_spec: Any) -> bool:
    """Serve one message of the controlling process.

    A message is (name of a method, arguments, keyword arguments). With `flatten`, actions arrive
    and time steps leave as lists of leaves.

    Returns:
        Whether there may be another message.
    """
    name, args, kwargs = conn.recv()
    if name == "close":
        return False
    if name == "sync_progress":
        update_all_progresses(*args)
        result: Any = None
    elif name == "step":
        action = nest.pack_sequence_as(action_spec, args[0]) if flatten else args[0]
        result = _leaves(env.step(action), flatten)
    elif name == "reset":
        result = _leaves(env.reset(), flatten)
    else:
        value = getattr(env, name)
        result = value(*args, **kwargs) if callable(value) else value
    conn.send((_OK, result))
    return True


def _kill(process: Any, starter: int) -> None:
    if os.getpid() == starter:  # and not a process that was forked meanwhile
        process.kill()


def _leaves(time_step: TimeStep, flatten: bool) -> Any:
    return nest.flatten(time_step) if flatten else time_step


def _worker(
    conn: Connection,
    pickled_constructor: bytes,
    env_id: int | None,
    flatten: bool,
    threads: int,
    parent: Parent,
) -> None:
    """The process: build the environment, serve messages, send back what goes wrong."""
    end_with(parent)
    leave_signals_to_parent()
    env = None
    try:
        torch.set_num_threads(threads)
        env = cloudpickle.loads(pickled_constructor)(env_id=env_id)
        env = _NumpyBased(env) if env.is_tensor_based else env
        action_spec = env.action_spec()
        conn.send((_OK, None))
        while process_call(conn, env, flatten, action_spec):
            continue
    except EOFError:  # the controlling process has gone
        return
    except Exception:
        conn.send((_ERROR, traceback.format_exc()))
    finally:
        if env is not None:
            env.close()
        conn.close()


class _NumpyBased(AlfEnvironmentBaseWrapper):
    """A tensor based environment that gives and takes arrays, which travel between processes."""

    @property
    def is_tensor_based(self) -> bool:
        return False

    def _reset(self) -> TimeStep:
        return nest.map_structure(lambda x: x.numpy(force=True), self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        action = nest.map_structure(torch.as_tensor, action)
        return nest.map_structure(lambda x: x.numpy(force=True), self._env.step(action))


@configurable
class ProcessEnvironment:
    """One environment in a process of its own, batched or not; it gives and takes numpy arrays.

    What goes wrong there is raised here, as a RuntimeError with the traceback of the process.
    """

    def __init__(
        self,
        env_constructor: Callable[..., AlfEnvironment],
        env_id: int | None = None,
        flatten: bool = False,
        fast: bool = False,
        num_envs: int = 0,
        torch_num_threads_per_env: int = 1,
        start_method: str = "fork",
        name: str = "",
    ) -> None:
        """
        Args:
            env_constructor: called with `env_id=` in the process.
            flatten: send lists of leaves, which are smaller than nests.
            fast: send lists of leaves, too; in ALF the way is another one, the steps are the same.
            num_envs: batch size of the environment that is made; 0: any, or none.
            torch_num_threads_per_env: number of threads torch may use there.
            start_method: "fork", "forkserver" or "spawn". Only with "fork" does the process see
                what has been configured here; otherwise `env_constructor` has to carry it.
            name: used in messages.
        """
        if num_envs < 0:
            raise ValueError(f"num_envs is {num_envs}; allowed: 0 or more")
        self._num_envs = num_envs
        self._constructor = env_constructor
        self._env_id = env_id
        self._flatten = flatten or fast
        self._threads = torch_num_threads_per_env
        self._context = multiprocessing.get_context(start_method)
        self._name = name or f"environment {env_id}"
        self._process: Any = None
        self._conn: Any = None
        self._is_asked = True  # for its first word
        self._structure: Any = None

    def start(self, wait_to_start: bool = True) -> None:
        """Start the process; `wait_start()` is needed before use if this does not wait."""
        self._conn, other = self._context.Pipe()
        self._process = self._context.Process(
            target=_worker,
            args=(
                other,
                cloudpickle.dumps(self._constructor),
                self._env_id,
                self._flatten,
                self._threads,
                Parent.here(),
            ),
            daemon=True,
        )
        with warnings.catch_warnings():
            # torch always has threads; the new process uses none of their locks
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            self._process.start()
        # At exit Python would send it SIGTERM, which it passes over, and wait.
        weakref.finalize(self, _kill, self._process, os.getpid())
        other.close()
        if wait_to_start:
            self.wait_start()

    def wait_start(self) -> None:
        """Wait until the environment has been made."""
        self._receive()
        if self._num_envs:
            self._check_batch_size()
        if self._flatten:
            time_step = self.time_step_spec()
            self._structure = time_step._replace(env_info=self.env_info_spec())

    def _check_batch_size(self) -> None:
        size, is_batched = self.call("batch_size")(), self.call("batched")()
        if size != self._num_envs or not is_batched:
            self.close()
            made = f"a batch of {size}" if is_batched else "an environment without a batch axis"
            raise ValueError(f"{self._name}: num_envs={self._num_envs}, but {made} was made")

    def call(self, name: str, *args: Any, **kwargs: Any) -> Callable[[], Any]:
        """Call a method or read an attribute there; returns a function that waits for it."""
        self._send(name, *args, **kwargs)
        return self._receive

    def step(self, action: Any, blocking: bool = True) -> Any:
        """The next time step, or a function which waits for it."""
        self._send("step", nest.flatten(action) if self._flatten else action)
        return self._receive_time_step() if blocking else self._receive_time_step

    def reset(self, blocking: bool = True) -> Any:
        """The first time step, or a function which waits for it."""
        self._send("reset")
        return self._receive_time_step() if blocking else self._receive_time_step

    def observation_spec(self) -> Any:
        """As `AlfEnvironment.observation_spec()`; the same goes for the next four."""
        return self.call("observation_spec")()

    def action_spec(self) -> Any:
        return self.call("action_spec")()

    def reward_spec(self) -> Any:
        return self.call("reward_spec")()

    def env_info_spec(self) -> Any:
        return self.call("env_info_spec")()

    def time_step_spec(self) -> Any:
        return self.call("time_step_spec")()

    def render(self, mode: str = "human") -> Any:
        """As `AlfEnvironment.render()`."""
        return self.call("render", mode)()

    def sync_progress(self) -> None:
        """Bring the progress that schedulers follow to the process."""
        self.call("sync_progress", dict(get_all_progresses()))()

    @property
    def is_unanswered(self) -> bool:
        """Whether the process was asked for something and has sent nothing yet."""
        try:
            return self._is_asked and not self._conn.poll()
        except OSError:
            return False

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        try:
            self._conn.send(("close", (), {}))
        except OSError:
            self._process.join(0)  # it has ended already
        self._conn.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process = None

    def _send(self, name: str, *args: Any, **kwargs: Any) -> None:
        self._is_asked = True
        try:
            self._conn.send((name, args, kwargs))
        except OSError:
            # the reason may have been sent before the process ended
            self._receive()
            raise self._ended() from None

    def _receive(self) -> Any:
        try:
            status, result = self._conn.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        self._is_asked = False
        if status == _ERROR:
            raise OutsideError(f"{self._name} failed in its process:\n{result}")
        return result

    def _receive_time_step(self) -> Any:
        result = self._receive()
        return nest.pack_sequence_as(self._structure, result) if self._flatten else result

    def _ended(self) -> OutsideError:
        self._process.join(1)
        return OutsideError(
            f"the process of {self._name} has ended (exit code {self._process.exitcode})"
        )
