"""Evaluation of an algorithm in a given environment."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from alf.algorithms.config import TrainerConfig
from alf.data_structures import StepType, TimeStep
from alf.metrics import (
    AverageDiscountedReturnMetric,
    AverageEnvInfoMetric,
    AverageEpisodeLengthMetric,
    AverageReturnMetric,
    AverageRewardMetric,
    EpisodicStartAverageDiscountedReturnMetric,
)
from alf.metrics.metric import StepMetric
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils._exe_mode import eval_context
from alf.utils._paths import abs_path
from alf.utils._policy_state import reset_state_if_necessary
from alf.utils._waiting import waiting_for
from alf.utils.finite_checks import check_action, explained
from alf.utils.finite_steps import FiniteSteps, ending_once
from alf.utils.rng_state import preserved_rng_state


class SyncEvaluator:
    """Evaluates in the given environment and writes the summaries of `<root_dir>/eval`."""

    def __init__(self, env: Any, config: TrainerConfig) -> None:
        self._env = env
        self.config = self._config = config
        self._writer = summary.create_summary_writer(
            abs_path(config.root_dir) + "/eval",
            flush_secs=config.summaries_flush_secs,
            max_queue=config.summary_max_queue,
        )

    def eval(self, algorithm: Any, step_metric_values: Mapping[str, int]) -> list[StepMetric]:
        """Play `num_eval_episodes` episodes; nothing of the training changes.

        Args:
            step_metric_values: values of the step metrics of the training, by name. The results are
                also written against each of them.

        Returns the metrics.
        """
        metrics = evaluate(self._env, algorithm, self._config.num_eval_episodes)
        with (
            summary.push_summary_writer(self._writer),
            summary.record_if(lambda: True),
        ):
            for metric in metrics:
                metric.gen_summaries(
                    train_step=summary.get_global_counter(), other_steps=step_metric_values
                )
        self._writer.flush()
        return metrics

    def close(self) -> None:
        """Close the summary file."""
        self._writer.close()


@torch.no_grad()
def evaluate(env: Any, algorithm: Any, num_episodes: int) -> list[StepMetric]:
    """Play at least `num_episodes` episodes with `predict_step` and return their metrics.

    The first ceil(num_episodes / B) episodes of each of the B environments count, so that short
    episodes are not preferred. Random numbers, modes and summaries of the training are untouched.
    """
    episodes_per_env = math.ceil(num_episodes / env.batch_size)
    num_ended = torch.zeros(env.batch_size, dtype=torch.int64, device="cpu")
    metrics: list[StepMetric] = []
    with untouched_training(algorithm):
        for raw_time_step, _ in play_steps(env, algorithm):
            time_step = _on_cpu(raw_time_step)
            metrics = metrics or _create_metrics(time_step, episodes_per_env * env.batch_size)
            finished = num_ended >= episodes_per_env
            # A FIRST step counts for no metric.
            step_type = time_step.step_type.masked_fill(finished, int(StepType.FIRST))
            for metric in metrics:
                metric(time_step._replace(step_type=step_type))
            num_ended += step_type == int(StepType.LAST)
            if bool((num_ended >= episodes_per_env).all()):
                break
    return metrics


def play_steps(env: Any, algorithm: Any) -> Iterator[tuple[TimeStep, Any]]:
    """Reset `env` and play for ever with `predict_step`.

    Yields every raw time step, the first one included, with the AlgStep that answers it; the action
    is executed when the next item is asked for.
    """
    finite = FiniteSteps("evaluation", algorithm)
    with waiting_for(env):
        time_step = env.reset()
    time_step = finite.taken(time_step)
    initial_state = algorithm.get_initial_predict_state(env.batch_size)
    state = initial_state
    transform_state = algorithm.get_initial_transform_state(env.batch_size)
    while True:
        state = reset_state_if_necessary(state, initial_state, time_step.is_first())
        transformed, transform_state = algorithm.transform_timestep(time_step, transform_state)
        with explained(algorithm, "evaluation", observation=transformed.observation):
            policy_step = algorithm.predict_step(transformed, state)
            unseen = check_action(algorithm, policy_step.output, transformed.observation)
        yield ending_once(time_step, finite.repeats), policy_step
        state = policy_step.state
        with waiting_for(env):
            time_step = env.step(policy_step.output)
        time_step = finite.taken(time_step, unseen)


@contextlib.contextmanager
def untouched_training(algorithm: Any) -> Iterator[None]:
    """The algorithm is in evaluation mode inside; afterwards everything is as it was before."""
    modes = [(module, module.training) for module in algorithm.modules()]
    with (
        preserved_rng_state(),
        eval_context(),
        summary.record_if(lambda: False),
    ):
        algorithm.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def _create_metrics(example: TimeStep, buffer_size: int) -> list[StepMetric]:
    return [
        AverageReturnMetric(example, buffer_size=buffer_size),
        AverageEpisodeLengthMetric(example, buffer_size=buffer_size),
        AverageEnvInfoMetric(example, name="AverageEnvInfo", buffer_size=buffer_size),
        AverageDiscountedReturnMetric(example, buffer_size=buffer_size),
        EpisodicStartAverageDiscountedReturnMetric(example, buffer_size=buffer_size),
        AverageRewardMetric(example, buffer_size=buffer_size),
    ]


def _on_cpu(time_step: TimeStep) -> TimeStep:
    return nest.map_structure(lambda x: x.cpu() if isinstance(x, torch.Tensor) else x, time_step)
