"""Evaluation of an algorithm during training, in environments of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from alf.algorithms.config import TrainerConfig
from alf.config_helpers import ConfSource, get_conf_source
from alf.environments.utils import create_environment
from alf.summary import summary_ops as summary
from alf.trainers._eval_process import EvalJob, EvalProcess, EvaluationError
from alf.trainers._sync_evaluator import (
    SyncEvaluator,
    evaluate,
    play_steps,
    untouched_training,
)
from alf.utils.rng_state import preserved_rng_state
from alf.utils.seeds import independent_seeds

__all__ = [
    "EvalJob",
    "EvaluationError",
    "Evaluator",
    "SyncEvaluator",
    "evaluate",
    "play_steps",
    "untouched_training",
]

_EVALUATION = 1  # the part of a run whose seed it is


class Evaluator:
    """Evaluates in environments made for it from the configuration.

    With `async_eval` a spawned process does it, which parses the conf file again; the training only
    waits until a copy of the parameters is taken, and where an evaluation takes longer than the
    time between two of them. A training that was configured without conf file is evaluated in its
    own process.

    Args:
        conf_file: the conf file that is being used; "": there is none.
        on_result: called with the global counter of an evaluation and its metrics, when they are
            there.
    """

    def __init__(
        self,
        config: TrainerConfig,
        conf_file: str,
        on_result: Callable[[int, list[Any]], None] = lambda step, metrics: None,
    ) -> None:
        seed = None
        if config.random_seed is not None:
            # From the one number alone follow the seeds of the training's environments.
            (seed,) = independent_seeds([config.random_seed, _EVALUATION], 1)
        self._on_result = on_result
        self._process: EvalProcess | None = None
        self._sync: SyncEvaluator | None = None
        if config.async_eval and conf_file:
            source = get_conf_source() or ConfSource(conf_file, ())
            self._process = EvalProcess(config, source, seed, on_result)
            return
        if config.async_eval:
            logging.warning(
                "TrainerConfig.async_eval=True needs a conf file that another process can parse; "
                "without one the evaluation happens in the training process"
            )
        with preserved_rng_state():
            self._env = create_environment(
                for_evaluation=True,
                num_parallel_environments=config.num_eval_environments,
                seed=seed,
            )
        self._sync = SyncEvaluator(self._env, config)

    def eval(self, algorithm: Any, step_metric_values: Mapping[str, int]) -> list[Any]:
        """Evaluates the algorithm as it is now; see `SyncEvaluator.eval`.

        Returns the metrics, asynchronously those of the last evaluation that is complete. Raises
        `EvaluationError` if the process has failed in an earlier one.
        """
        if self._process is not None:
            return list(self._process.eval(algorithm, step_metric_values))
        assert self._sync is not None
        metrics = list(self._sync.eval(algorithm, step_metric_values))
        self._on_result(summary.get_global_counter(), metrics)
        return metrics

    def wait(self) -> list[Any] | None:
        """Waits until all evaluations are complete and returns the metrics of the last one.

        None where that is what `eval()` has returned.
        """
        return None if self._process is None else list(self._process.wait())

    def close(self) -> None:
        """Ends the process, or closes environments and summary file."""
        if self._process is not None:
            self._process.close()
        if self._sync is not None:
            self._sync.close()
            self._env.close()
