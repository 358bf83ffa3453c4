"""Evaluation in a process of its own, while training goes on."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import io
import multiprocessing as mp
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch
from absl import logging

from alf import config_helpers
from alf.algorithms.config import TrainerConfig
from alf.config_helpers import ConfSource
from alf.config_util import config
from alf.data_structures import namedtuple
from alf.device_ctx import get_default_device, set_default_device
from alf.summary import summary_ops as summary
from alf.trainers._player import create_player
from alf.trainers._sync_evaluator import SyncEvaluator
from alf.utils import schedulers
from alf.utils._child_process import Parent, end_with, leave_signals_to_parent
from alf.utils._outside import OutsideError
from alf.utils._waiting import end_now, waiting_for, watching
from alf.utils.checkpoint_utils import load_model_state, model_state
from alf.utils.rng_state import preserved_rng_state
from alf.utils.spawned_process_utils import SpawnedProcessContext, set_spawned_process_context

EvalJob = namedtuple(
    "EvalJob", ["type", "global_counter", "step_metrics", "state_dict"], default_value=()
)
"""What the process is asked for.

    type: "eval".
    global_counter: the step under which the results are written.
    step_metrics: values of the step metrics of the training, by name.
    state_dict: state of the algorithm and progress of the training, as the bytes of a file.
"""

# A job and the progress of all schedulers; None: there is no more.
_Message = tuple[EvalJob, dict[str, float]] | None

_MOST_JOBS_WAITING = 2
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 5.0


class EvaluationError(OutsideError):
    """The evaluation process has failed; the message holds its traceback."""


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """The outcome of one metric."""

    name: str
    value: Any

    def has_result(self) -> bool:
        return True

    def result(self) -> Any:
        return self.value


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What the process has to know of the one that starts it."""

    source: ConfSource
    root_dir: str
    num_environments: int
    seed: int | None
    device: str
    num_threads: int
    is_deterministic: bool
    parent: Parent


class EvalProcess:
    """A spawned process that parses the conf file again and plays with the parameters it gets.

    Args:
        config: of the training.
        source: where its configuration came from.
        seed: of the process.
        on_result: called with the global counter of each evaluation and its results.
    """

    def __init__(
        self,
        config: TrainerConfig,
        source: ConfSource,
        seed: int | None,
        on_result: Callable[[int, list[Any]], None] = lambda step, results: None,
    ) -> None:
        settings = _Settings(
            source=source,
            root_dir=config.root_dir,
            num_environments=config.num_eval_environments,
            seed=seed,
            device=get_default_device(),
            num_threads=torch.get_num_threads(),
            is_deterministic=torch.are_deterministic_algorithms_enabled(),
            parent=Parent.here(),
        )
        context = mp.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._ending = context.Event()
        self._process = context.Process(
            target=_work, args=(theirs, settings, self._ending), name="evaluation of alf"
        )
        with preserved_rng_state():
            self._process.start()
        # With no copy of it here, the end of either process is noticed by the other.
        theirs.close()
        self._on_result = on_result
        self._waiting: deque[int] = deque()  # global counters, oldest first
        self._results: list[EvalResult] = []
        # The pipe blocks while the process plays, so that another thread fills it.
        self._jobs: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_jobs, daemon=True)
        self._sender.start()
        atexit.register(self.close)

    def eval(self, algorithm: Any, step_metrics: Mapping[str, int]) -> list[EvalResult]:
        """Asks for an evaluation and returns the newest results that are there already.

        Raises `EvaluationError` if the process has failed.
        """
        while self._receive(0):
            continue
        with waiting_for("the evaluation process", is_limited=False):
            while len(self._waiting) >= _MOST_JOBS_WAITING:
                self._receive(_POLL_SECONDS)
        file = io.BytesIO()
        torch.save(model_state(algorithm), file)
        job = EvalJob("eval", summary.get_global_counter(), dict(step_metrics), file.getvalue())
        self._waiting.append(job.global_counter)
        self._jobs.put((job, schedulers.get_all_progresses()))
        return self._results

    def wait(self) -> list[EvalResult]:
        """Waits for all that was asked for; returns the newest results."""
        with waiting_for("the evaluation process", is_limited=False):
            while self._waiting:
                self._receive(_POLL_SECONDS)
        return self._results

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        atexit.unregister(self.close)
        self._jobs.put(None)
        self._ending.set()
        if self._waiting:
            self._process.terminate()
        self._process.join(_GRACE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._sender.join()
        self._connection.close()

    def _send_jobs(self) -> None:
        message: _Message = (EvalJob(), {})
        while message is not None:
            message = self._jobs.get()
            try:
                self._connection.send(message)
            except OSError:  # the process has ended; `_receive` finds out why
                return

    def _receive(self, timeout: float) -> bool:
        """Takes one answer, if there is one within so many seconds."""
        was_alive = self._process.is_alive()
        try:
            if not self._connection.poll(timeout):
                if was_alive:
                    return False
                raise EOFError
            error, self._results = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(_GRACE_SECONDS)
            raise EvaluationError(
                f"the evaluation process has died with exit status {self._process.exitcode}"
            ) from None
        if error:
            raise EvaluationError(f"the evaluation process has failed:\n{error}")
        self._on_result(self._waiting.popleft(), self._results)
        return True


def _work(connection: Connection, settings: _Settings, ending: Any) -> None:
    """The whole life of the process."""
    end_with(settings.parent)
    # Closes the environments if it is `EvalProcess.close()` that sends the signal.
    leave_signals_to_parent(lambda *_: sys.exit(1) if ending.is_set() else None)

    def end(text: str, signum: int | None) -> None:
        with contextlib.suppress(OSError):
            connection.send((text, []))
        end_now(text, signum)

    try:
        with watching() as watch:
            watch.end = end
            algorithm, evaluator = _set_up(settings)
            watch.heartbeat = evaluator.config.environment_heartbeat_secs
            watch.timeout = evaluator.config.environment_timeout_secs
            _serve(connection, algorithm, evaluator)
    except Exception:
        with contextlib.suppress(OSError):
            connection.send((traceback.format_exc(), []))
    finally:
        config_helpers.close_env()


def _serve(connection: Connection, algorithm: Any, evaluator: SyncEvaluator) -> None:
    while (received := _next_job(connection)) is not None:
        job, progresses = received
        schedulers.update_all_progresses(progresses)
        summary.set_global_counter(job.global_counter)
        load_model_state(algorithm, torch.load(io.BytesIO(job.state_dict), weights_only=True))
        metrics = evaluator.eval(algorithm, job.step_metrics)
        results = [EvalResult(m.name, _plain(m.result())) for m in metrics if m.has_result()]
        with contextlib.suppress(OSError):
            connection.send(("", results))


def _next_job(connection: Connection) -> _Message:
    """None: there is no more, or the training has ended."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def _set_up(settings: _Settings) -> tuple[Any, SyncEvaluator]:
    torch.set_num_threads(settings.num_threads)
    set_default_device(settings.device)
    context = SpawnedProcessContext(
        ddp_num_procs=1, ddp_rank=-1, env_id=0, env_ctor=None, pre_configs=[]
    )
    set_spawned_process_context(context)
    logging.set_verbosity(logging.ERROR)  # what is fixed here need not be said
    config(
        {
            "create_environment.for_evaluation": True,
            "create_environment.num_parallel_environments": settings.num_environments,
            "TrainerConfig.random_seed": settings.seed,
        },
        mutable=False,
    )
    config_helpers.parse_source(settings.source)
    torch.use_deterministic_algorithms(settings.is_deterministic, warn_only=True)
    trainer_config = TrainerConfig(root_dir=settings.root_dir, conf_file=settings.source.conf_file)
    env = config_helpers.get_env()
    algorithm = create_player(trainer_config, env)
    logging.set_verbosity(logging.WARNING)
    summary.enable_summary()
    return algorithm, SyncEvaluator(env, trainer_config)


def _plain(result: Any) -> Any:
    """Python numbers, so that nothing of torch passes through the pipe."""
    if isinstance(result, torch.Tensor):
        return result.tolist()
    if isinstance(result, Mapping):
        return {key: _plain(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [_plain(value) for value in result]
    return result
