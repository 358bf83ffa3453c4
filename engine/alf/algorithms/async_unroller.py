"""Unrolls in another process, which goes on interacting while this one trains."""

from __future__ import annotations

import atexit
import contextlib
import io
import multiprocessing
import pickle
import queue
import time
from typing import Any

import torch

from alf._run_environment import get_conf_source
from alf.algorithms.config import TrainerConfig
from alf.algorithms.unrolling.process import (
    SECONDS_BETWEEN_LOOKS,
    UnrollJob,
    UnrollSetup,
    sent,
    work,
)
from alf.algorithms.unrolling.unroll import Interacted, Unroller, experience_of, observe, stack
from alf.data_structures import Experience, namedtuple
from alf.device_ctx import get_default_device
from alf.nest import nest
from alf.nest.utils import convert_device
from alf.summary import summary_ops as summary
from alf.utils import dist_utils
from alf.utils._child_process import Parent
from alf.utils._exe_mode import eval_context
from alf.utils._outside import OutsideError
from alf.utils._policy_state import get_initial_time_step
from alf.utils._waiting import waiting_for
from alf.utils.per_process_context import PerProcessContext
from alf.utils.rng_state import preserved_rng_state
from alf.utils.schedulers import get_all_progresses

__all__ = ["AsyncUnroller", "UnrollJob", "UnrollResult"]

_RESTART = "restart"
_UPDATE = "update_parameter"
_SECONDS_TO_END = 10.0

UnrollResult = namedtuple(
    "UnrollResult",
    ["time_step", "policy_step", "policy_state", "env_step_time", "step_time"],
    default_value=(),
)
UnrollResult.__doc__ = """One step of the unroll process.

Fields:
    time_step: raw `TimeStep`, `[B, ...]` on the host.
    policy_step: `AlgStep` without its state; distributions of its info are built here.
    policy_state: the state before the step.
    env_step_time: seconds the environment took.
    step_time: seconds of all of the step.
"""


class AsyncUnroller:
    """A process that acts with the parameters it was given last, and sends what happens.

    It parses the conf file again and makes its own environment and algorithm, the latter without
    `env`. So whatever `rollout_step()` writes to its object stays there.

    The process ends with `close()`, and also when this one ends in any way. What goes wrong in it
    is raised here as a RuntimeError with its traceback.

    Args:
        algorithm: the root algorithm, made with an environment.
        config: the trainer's.
    """

    def __init__(self, algorithm: Any, config: TrainerConfig) -> None:
        self._algorithm = algorithm
        self._example = _example_step(algorithm)
        self._generation = 0
        context = multiprocessing.get_context("spawn")
        self._jobs = context.Queue()
        self._results = context.Queue(config.unroll_queue_size)
        self._stop = context.Event()
        self._process = context.Process(
            target=work,
            args=(_make_setup(config), self._jobs, self._results, self._stop),
            name="unroll",
        )
        self._process.start()
        # Before that of multiprocessing, which waits for processes.
        atexit.register(self.close)
        self._send(_RESTART, algorithm)

    def gather_unroll_results(
        self, unroll_length: int, max_unroll_length: int
    ) -> list[UnrollResult]:
        """The next steps, oldest first.

        Args:
            unroll_length: wait for so many. 0: take what is there.
            max_unroll_length: with 0, take at most so many.

        Raises:
            RuntimeError: the process has failed or is gone.
        """
        results: list[UnrollResult] = []
        while len(results) < (unroll_length or max_unroll_length):
            with waiting_for("the unroll process", is_limited=False):
                message = self._next_message(wait=unroll_length > 0)
            if message is None:
                break
            generation, content = message
            if generation == self._generation:
                results.append(self._unpack(content))
        return results

    def update_parameter(self, algorithm: Any) -> None:
        """Let the process act with the present parameters of `algorithm`."""
        self._send(_UPDATE, algorithm)

    def restart(self, algorithm: Any) -> None:
        """As `update_parameter()`; what the process did before does not come any more."""
        self._generation += 1
        self._send(_RESTART, algorithm)

    def get_queue_size(self) -> int:
        """How many steps are there to be taken (about)."""
        return self._results.qsize()

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
        if self._stop.is_set():
            return
        self._stop.set()
        deadline = time.monotonic() + _SECONDS_TO_END
        while self._process.is_alive() and time.monotonic() < deadline:
            # It may wait for what it has sent to be read.
            with contextlib.suppress(queue.Empty):
                self._results.get(timeout=0.1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        for q in (self._jobs, self._results):
            q.cancel_join_thread()
            q.close()

    def _send(self, kind: str, algorithm: Any) -> None:
        values = {m.name: int(m.result()) for m in algorithm.get_step_metrics()}
        state = _acting_state(algorithm)
        job = UnrollJob(kind, values, summary.get_global_counter(), state)
        self._jobs.put((self._generation, tuple(job), get_all_progresses()))

    def _next_message(self, wait: bool) -> tuple[int, bytes] | None:
        while True:
            gone = not self._process.is_alive()
            try:
                timeout = SECONDS_BETWEEN_LOOKS if wait and not gone else 0.0
                generation, content = self._results.get(wait, timeout)
            except queue.Empty:
                if gone:
                    raise OutsideError(
                        f"the unroll process has ended with exit code {self._process.exitcode}"
                    ) from None
                if wait:
                    continue
                return None
            if generation is None:
                self.close()
                raise OutsideError(f"the unroll process has failed:\n{content}")
            return generation, content

    def _unpack(self, content: bytes) -> UnrollResult:
        arrays, env_step_time, step_time = pickle.loads(content)
        leaves = [torch.from_numpy(array) for array in arrays]
        time_step, policy_step, policy_state = nest.pack_sequence_as(self._example, leaves)
        spec = self._algorithm.rollout_info_spec
        if any(isinstance(s, dist_utils.DistributionSpec) for s in nest.flatten(spec)):
            info = dist_utils.params_to_distributions(policy_step.info, spec)
            policy_step = policy_step._replace(info=info)
        return UnrollResult(time_step, policy_step, policy_state, env_step_time, step_time)


class QueuedUnroller(Unroller):
    """As `Unroller`, with the steps of an `AsyncUnroller`, which starts with the first unroll.

    Args:
        alg: the root algorithm.
        env: its environment, which only tells the structure of things here.
    """

    def __init__(self, alg: Any, env: Any) -> None:
        super().__init__(alg, env)
        self._source: AsyncUnroller | None = None
        self._transform_state: Any = None
        self._num_unrolls = 0

    def start_anew(self) -> None:
        super().start_anew()
        self._transform_state = None
        if self._source is not None:
            self._source.restart(self._alg)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def unroll(self, length: int, keep: bool = True) -> Experience | None:
        """The next `length` steps; 0: those that are there, up to `max_unroll_length`."""
        config = self._alg._config
        if self._source is None:
            self._source = AsyncUnroller(self._alg, config)
        elif self._num_unrolls % config.unroll_parameter_update_period == 0:
            self._source.update_parameter(self._alg)
        self._num_unrolls += 1
        if length == 0 and self.waits:
            results = self._source.gather_unroll_results(1, 0)
            results += self._source.gather_unroll_results(0, config.max_unroll_length - 1)
        else:
            results = self._source.gather_unroll_results(length, config.max_unroll_length)
        _summarize(results, self._source.get_queue_size)
        steps = [self._observed(result) for result in results]
        return stack(self._alg, [experience_of(step) for step in steps]) if keep else None

    def _observed(self, result: UnrollResult) -> Interacted:
        alg = self._alg
        if self._transform_state is None:
            self._transform_state = alg.get_initial_transform_state(self._env.batch_size)
        time_step = convert_device(result.time_step)
        # Here too, because statistics of the transformers are learnt in this process.
        transformed, self._transform_state = alg.transform_timestep(
            time_step, self._transform_state
        )
        step = Interacted(time_step, transformed, result.policy_step, result.policy_state)
        observe(alg, step)
        return step


def _summarize(results: list[UnrollResult], queue_size: Any) -> None:
    if not results or not summary.should_record_summaries():
        return
    count = len(results)
    summary.scalar("async_unroll/unroll_length", count)
    summary.scalar("async_unroll/queue_size", queue_size())
    summary.scalar("time/unroll_env_step", sum(r.env_step_time for r in results) / count)
    summary.scalar("time/unroll_step", sum(r.step_time for r in results) / count)


def _make_setup(config: TrainerConfig) -> UnrollSetup:
    source = get_conf_source()
    if source is None or not config.conf_file:
        raise ValueError(
            "TrainerConfig.async_unroll=True needs a conf file (alf.parse_config): the unroll "
            "process is configured by it"
        )
    context = PerProcessContext()
    return UnrollSetup(
        root_dir=config.root_dir,
        source=source,
        device=get_default_device(),
        num_threads=torch.get_num_threads(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        rank=context.ddp_rank,
        num_processes=context.num_processes,
        parent=Parent.here(),
    )


@torch.no_grad()
def _example_step(alg: Any) -> Any:
    """What is sent of one step, from one rollout step of `alg`.

    It also lets the algorithm learn the specs of what it gives, as the first step of an unroll does
    otherwise.
    """
    env = alg._env
    time_step = get_initial_time_step(env)
    with preserved_rng_state(), eval_context():  # no statistics are to be learnt from it
        transformed, _ = alg.transform_timestep(
            time_step, alg.get_initial_transform_state(env.batch_size)
        )
        state = alg.get_initial_rollout_state(env.batch_size)
        policy_step = alg.rollout_step(transformed, state)
    if alg._rollout_info_spec is None:
        alg._rollout_info_spec = dist_utils.extract_spec(policy_step.info)
    return sent(Interacted(time_step, transformed, policy_step, state))


def _acting_state(alg: Any) -> bytes:
    """The state without data and optimizers."""
    state = {
        key: value
        for key, value in alg.state_dict().items()
        if "_replay_buffer." not in key and "_optimizers." not in key
    }
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()
