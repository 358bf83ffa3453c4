"""The unroll process: it acts with the parameters it is given, and sends what happens."""

from __future__ import annotations

import functools
import io
import multiprocessing
import pickle
import queue
import time
import traceback
from typing import Any, NamedTuple

import torch

from alf import _run_environment
from alf._global_env import set_transformed_observation_spec
from alf._run_environment import ConfSource
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import create_data_transformer
from alf.algorithms.unrolling.unroll import Interacted, Interaction
from alf.data_structures import namedtuple
from alf.device_ctx import get_default_device, set_default_device
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import dist_utils
from alf.utils._child_process import Parent, end_with, leave_signals_to_parent
from alf.utils._exe_mode import rollout_context
from alf.utils._waiting import end_now, waiting_for, watching
from alf.utils.schedulers import update_all_progresses
from alf.utils.spawned_process_utils import SpawnedProcessContext, set_spawned_process_context

SECONDS_BETWEEN_LOOKS = 1.0
"""How long one waits for the other side before looking whether it is still there."""

UnrollJob = namedtuple(
    "UnrollJob", ["type", "step_metrics", "global_counter", "state_dict"], default_value=()
)
UnrollJob.__doc__ = """What the unroll process is told.

Fields:
    type: "update_parameter", or "restart": the same, and begin with new episodes.
    step_metrics: values of the step metrics of the training, by name.
    global_counter: the global counter of the training.
    state_dict: what acting needs of the algorithm's state, as bytes of `torch.save()`.
"""


class UnrollSetup(NamedTuple):
    """What the unroll process is made from."""

    root_dir: str
    source: ConfSource
    device: str
    num_threads: int
    deterministic: bool
    rank: int
    num_processes: int
    parent: Parent


def work(setup: UnrollSetup, jobs: Any, results: Any, stop: Any) -> None:
    """The process: act until it is told to stop, and send back what goes wrong."""
    end_with(setup.parent)
    leave_signals_to_parent()
    connection = _Connection(jobs, results, stop)

    def end(text: str, signum: int | None) -> None:
        connection.fail(text)
        end_now(text, signum)

    try:
        with watching() as watch:
            worker = _Worker(setup, connection)
            watch.end = end
            watch.heartbeat, watch.timeout = worker.heartbeat_and_timeout
            worker.run()
    except Exception:
        connection.send((None, traceback.format_exc()))
    else:
        # Nobody reads what is left; without this the process would wait for that.
        results.cancel_join_thread()
    finally:
        _run_environment.close_env()


def sent(step: Interacted) -> Any:
    """What is sent of a step: time step, policy step, and the state before it."""
    policy_step = dist_utils.distributions_to_params(step.policy_step._replace(state=()))
    return step.time_step, policy_step, step.policy_state


class _Connection:
    """The queues as seen from the unroll process; nothing waits longer than the training lives."""

    def __init__(self, jobs: Any, results: Any, stop: Any) -> None:
        self._jobs = jobs
        self._results = results
        self._stop = stop
        self._parent = multiprocessing.parent_process()

    @property
    def is_over(self) -> bool:
        """Is the process to end?"""
        return self._stop.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the end."""
        if seconds > 0:
            self._stop.wait(seconds)

    def send(self, message: tuple[Any, Any]) -> None:
        """Put it into the queue; wait while that is full."""
        self._patiently(functools.partial(self._results.put, message))

    def fail(self, text: str) -> None:
        """Tell the training what is wrong, before this process is ended."""
        self.send((None, text))
        self._results.close()
        self._results.join_thread()

    def newest_job(self, wait: bool) -> Any:
        """The last message that came; None: none."""
        newest = self._patiently(self._jobs.get) if wait else None
        while True:
            try:
                newest = self._jobs.get_nowait()
            except queue.Empty:
                return newest

    def _patiently(self, act: Any) -> Any:
        while not self._stop.is_set():
            try:
                return act(timeout=SECONDS_BETWEEN_LOOKS)
            except (queue.Full, queue.Empty):
                if self._parent is not None and not self._parent.is_alive():
                    self._stop.set()
        return None


class _TimedEnv:
    """An environment that adds up the seconds of its steps."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, action: Any) -> Any:
        start = time.perf_counter()
        try:
            return self._env.step(action)
        finally:
            self.seconds += time.perf_counter() - start


class _Worker:
    def __init__(self, setup: UnrollSetup, connection: _Connection) -> None:
        self._connection = connection
        self._generation = -1
        self._alg, env, config = _build(setup)
        self._env = _TimedEnv(env)
        self._interaction = Interaction(self._alg, self._env)
        self._interval = config.unroll_step_interval
        self.heartbeat_and_timeout = (
            config.environment_heartbeat_secs,
            config.environment_timeout_secs,
        )

    def run(self) -> None:
        self._alg.eval()
        with torch.no_grad(), rollout_context():
            self._do(self._connection.newest_job(wait=True))
            due = time.monotonic()
            while not self._connection.is_over:
                self._send_step()
                due = max(due + self._interval, time.monotonic())
                self._connection.sleep(due - time.monotonic())
                self._do(self._connection.newest_job(wait=False))

    def _send_step(self) -> None:
        start, env_start = time.perf_counter(), self._env.seconds
        step = self._interaction.step()
        arrays = [x.detach().cpu().numpy() for x in nest.flatten(sent(step))]
        seconds = time.perf_counter() - start
        content = pickle.dumps((arrays, self._env.seconds - env_start, seconds), protocol=5)
        self._connection.send((self._generation, content))

    def _do(self, message: Any) -> None:
        if message is None:
            return
        generation, job, progresses = message
        job = UnrollJob(*job)
        update_all_progresses(progresses)
        summary.set_global_counter(job.global_counter)
        state = torch.load(
            io.BytesIO(job.state_dict), map_location=get_default_device(), weights_only=True
        )
        self._alg.load_state_dict(state, strict=False, skip_preloded=False)
        if generation != self._generation:
            self._generation = generation
            with waiting_for(self._env):
                self._env.reset()
            self._interaction.start_anew()


def _build(setup: UnrollSetup) -> tuple[Any, Any, TrainerConfig]:
    """Algorithm, environment and configuration, as the trainer makes them."""
    set_default_device(setup.device)
    torch.set_num_threads(setup.num_threads)
    set_spawned_process_context(
        SpawnedProcessContext(
            ddp_num_procs=setup.num_processes,
            ddp_rank=setup.rank,
            env_id=0,
            env_ctor=None,
            pre_configs=[],
        )
    )
    _run_environment.parse_source(setup.source)
    env = _run_environment.get_env()
    torch.use_deterministic_algorithms(setup.deterministic, warn_only=True)
    config = TrainerConfig(root_dir=setup.root_dir, conf_file=setup.source.conf_file)
    raw_spec = env.observation_spec()
    transformer = create_data_transformer(config.data_transformer_ctor, raw_spec)
    config.data_transformer = transformer
    set_transformed_observation_spec(transformer.transformed_observation_spec)
    assert config.algorithm_ctor is not None  # as the trainer has checked
    assert config.algorithm_ctor is not None  # the trainer has made one of it
    algorithm = config.algorithm_ctor(
        observation_spec=transformer.transformed_observation_spec,
        action_spec=env.action_spec(),
        reward_spec=env.reward_spec(),
        config=config,
    )
    algorithm.set_path("")
    return algorithm, env, config
