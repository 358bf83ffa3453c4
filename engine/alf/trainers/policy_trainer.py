"""The training loop: iterations, checkpoints, evaluation, progress, and the orderly end."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from absl import logging
from torch import nn

from alf import config_helpers
from alf._global_env import set_transformed_observation_spec
from alf.algorithms._trained_module import TrainedModule
from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import create_data_transformer
from alf.algorithms.training.gradient_step import LossScales
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.metrics.metric import StepMetric
from alf.summary import summary_ops as summary
from alf.trainers._checkpoint_keeping import CheckpointKeeper
from alf.trainers._checkpoint_schedule import (
    CheckpointSchedule,
    EvaluationSchedule,
    TrainerProgress,
)
from alf.trainers._conf_environments import use_settings_of_other_processes
from alf.trainers._console import (
    ProgressReport,
    describe,
    duration,
    interesting_numbers,
    say,
)
from alf.trainers._continuation import Continuation
from alf.trainers._play import play  # noqa: F401  (a name of this module, too)
from alf.trainers._recorded_run import run_under_record_context
from alf.trainers._run_files import write_config
from alf.trainers._setting import Setting
from alf.trainers._signals import SignalRequests, debug, signal_requests
from alf.trainers._together import Together, derived_seed
from alf.trainers.evaluator import Evaluator
from alf.utils._outside import OutsideError
from alf.utils._paths import abs_path
from alf.utils._run_lock import run_lock
from alf.utils._run_numbers import compute_summary_or_eval_interval
from alf.utils._waiting import end_now, waiting_for, watching
from alf.utils.checkpoint_utils import Checkpointer, LoadedIfItFits, is_checkpoint_enabled
from alf.utils.finite_checks import skipped
from alf.utils.finite_saving import SkippedCounts
from alf.utils.rng_state import RngState
from alf.utils.seeds import independent_seeds, set_random_seed
from alf.utils.summary_utils import record_time


class Trainer:
    """Base of the trainers. There is one in a process.

    `train()` continues from the newest complete checkpoint of `<root_dir>/train/algorithm`.

    Checkpoints are written `num_checkpoints` times over the training. A temporary one is written
    every so many minutes as well (environment variable ALF_CHECKPOINT_MINUTES, default 1, 0: never;
    less often where saving would take more than a twentieth of the time), and at a stop. It goes
    when two newer ones are there. With `TrainerConfig.best_checkpoint_metric` each evaluation has a
    checkpoint, and the best of these stays.

    A checkpoint that cannot be written, as on a full disk, is an error in the log, and training
    goes on; at the end of the training it ends the program.

    With several processes (`ddp_rank` is 0, 1, ...; -1: only this one) all go through the same
    iterations and have the same parameters. Process 0 writes; what it counts and measures is its
    own part of the work. All continue from the same checkpoint, so `root_dir` has to be the same
    folder on all machines.

    SIGUSR1 asks for the debugger pdb, after the iteration that is being made; SIGUSR2 asks for a
    checkpoint; SIGTERM and SIGINT ask for a checkpoint and the end, and `stop_signal` then is the
    number of the signal.
    """

    _trainer_progress = TrainerProgress()

    def __init__(self, config: TrainerConfig, ddp_rank: int = -1) -> None:
        self._is_main = ddp_rank <= 0
        self._ddp_rank = ddp_rank
        if config.algorithm_ctor is None:
            raise ValueError(
                "TrainerConfig.algorithm_ctor is None: it has to be the algorithm to train, such "
                "as alf.config('TrainerConfig', algorithm_ctor=SacAlgorithm)"
            )
        self._config = config
        self._root_dir = abs_path(config.root_dir)
        self._train_dir = os.path.join(self._root_dir, "train")
        self._checkpoint_dir = os.path.join(self._train_dir, "algorithm")
        self._progress = TrainerProgress(config.num_iterations, self._num_env_steps())
        if not self._progress.total:
            raise ValueError(
                "TrainerConfig: num_iterations and num_env_steps are both 0, so the training would "
                "have no end"
            )
        Trainer._trainer_progress = self._progress
        self._schedule = CheckpointSchedule(self._progress, config.num_checkpoints)
        self._evaluations = EvaluationSchedule(
            self._progress, config.eval_interval, config.num_evals
        )
        self._summary_interval = config.summary_interval
        if config.num_summaries is not None:
            self._summary_interval = compute_summary_or_eval_interval(config, config.num_summaries)
        self._last_evaluation: list[Any] = []
        self.stop_signal: int | None = None
        self._together = Together(self._create_algorithm(), ddp_rank)
        self._algorithm: Any = self._together.algorithm
        # Optimizers that several parts share get their parameters in the order of the parts, not in
        # the order in which these happen to train first: moments are saved and loaded by position.
        if isinstance(self._algorithm, TrainedModule):
            self._algorithm._setup_all_optimizers()
        is_mixed = config.enable_amp and torch.cuda.is_available()
        self._checkpointer = Checkpointer(
            self._checkpoint_dir,
            algorithm=self._algorithm,
            metrics=LoadedIfItFits(nn.ModuleList(self._metrics()), "metrics"),
            trainer_progress=self._progress,
            rng=LoadedIfItFits(RngState(), "random generators"),
            skipped=LoadedIfItFits(SkippedCounts(), "counts of what was skipped"),
            **self._more_to_save(),
            **(
                {"loss_scales": LoadedIfItFits(LossScales(self._algorithm), "loss scales")}
                if is_mixed
                else {}
            ),
        )
        self._requests = SignalRequests()
        self._keeper = CheckpointKeeper(
            self._checkpointer, self._checkpoint_dir, config.best_checkpoint_metric
        )

    @staticmethod
    def progress() -> float:
        """Fraction of the training that is done, in [0, 1] (or somewhat above at its end)."""
        return Trainer._trainer_progress.progress

    @staticmethod
    def current_iterations() -> int:
        """Number of iterations done."""
        return Trainer._trainer_progress.iter_num

    @staticmethod
    def current_env_steps() -> int:
        """Number of environment steps done."""
        return Trainer._trainer_progress.env_steps

    def train(self) -> None:
        """Train to the end, from the newest checkpoint if there is one.

        Raises RunInUseError if another process trains in the root directory.
        """
        os.makedirs(self._root_dir, exist_ok=True)
        lock = run_lock(self._root_dir) if self._is_main else contextlib.nullcontext()
        with signal_requests() as self._requests, lock, watching() as watch:
            watch.heartbeat = self._config.environment_heartbeat_secs
            watch.timeout = self._config.environment_timeout_secs
            watch.stop_request = self._requests.stop_request
            watch.end = self._end_waiting
            self._restore_and_train()

    def _end_waiting(self, text: str, signum: int | None) -> None:
        """Called by the watch while the main thread waits: save what can be saved and end."""
        if self._is_main and self._schedule.ever_trained and self._save_checkpoint(temporary=True):
            counter = summary.get_global_counter()
            text += f"; checkpoint {counter} is written, the same command continues from it"
        if signum is not None:
            text += f"; stopped by signal {signum}"
        end_now(text, signum)

    def _restore_and_train(self) -> None:
        try:
            self._restore_checkpoint()
            if self._requests.stop_signal and self._ddp_rank < 0:
                self.stop_signal = self._requests.stop_signal
                self._say(f"stopped by signal {self.stop_signal} before the first iteration")
                return
            if self._progress.progress >= 1:
                self._say(
                    f"{self._root_dir}: the training is complete ({self._progress.iter_num:,} "
                    f"iterations, {self._progress.env_steps:,} environment steps); to go on, raise "
                    "TrainerConfig.num_iterations or num_env_steps"
                )
                return
            train = self._profiled(self._train) if self._config.profiling else self._train
            if not self._is_main:
                train()
                return
            if self._config.conf_file:
                write_config(self._root_dir)
            summary.enable_summary()
            run_under_record_context(
                train,
                summary_dir=self._train_dir,
                summary_interval=self._summary_interval,
                flush_secs=self._config.summaries_flush_secs,
                summarize_first_interval=self._config.summarize_first_interval,
                summary_max_queue=self._config.summary_max_queue,
            )
        except OutsideError:
            self._save_upon_failure_outside()
            raise
        except Exception:
            self._offer_checkpoint()
            raise
        finally:
            summary.disable_summary()
            self._close()

    def _create_algorithm(self) -> Any:
        raise NotImplementedError

    def _more_to_save(self) -> dict[str, Any]:
        """Further entries of checkpoints."""
        return {}

    def _num_env_steps(self) -> int:
        return 0

    def _metrics(self) -> list[StepMetric]:
        return []

    def _count_env_steps(self) -> int:
        return 0

    def _start(self) -> None:
        """What has to happen after loading and before the first iteration."""

    def _build_lazy_parts(self) -> None:
        """Make the algorithm build whatever it builds at its first iteration."""

    def _evaluate(self) -> list[Any]:
        return []

    def _await_evaluation(self) -> list[Any] | None:
        """The results of evaluations that were going on, if there are newer ones."""
        return None

    def _close(self) -> None:
        """Free everything, whether or not training came to its end."""

    def _train(self) -> None:
        config, progress = self._config, self._progress
        start, start_steps = time.monotonic(), progress.env_steps
        progress.tell_schedulers()
        setting = Setting(config, self._algorithm, self._root_dir)
        if self._is_main:
            setting.write_start()
        self._start()
        self._evaluations.start_here()
        self._together.share_state()
        requests = self._requests
        if config.evaluate and progress.iter_num == 0 and not requests.stop_signal:
            self._last_evaluation = self._evaluate()
        report = ProgressReport(self._metrics(), progress.progress, progress.env_steps)
        is_setting_complete = False
        with report, setting.output_summaries():
            while True:
                self._before_train_iter()
                with record_time("time/train_iter"):
                    num_trained = self._algorithm.train_iter()
                if num_trained and not is_setting_complete:
                    is_setting_complete = True
                    if self._is_main:
                        setting.write_complete()
                env_steps, stop_signal = self._together.agreed(
                    self._count_env_steps(), requests.stop_signal
                )
                progress.update(progress.iter_num + 1, env_steps)
                if self._is_main:
                    report.update(progress.iter_num, progress.env_steps, progress.progress)
                last = progress.progress >= 1
                if config.evaluate and (self._evaluations.has_come() or last):
                    self._evaluate_candidate()
                interval = config.ddp_paras_check_interval
                if interval > 0 and progress.iter_num % interval == 0:
                    self._together.check_parameters()
                if last or stop_signal:
                    break
                if requests.take_debugger_request():
                    debug()
                if requests.take_checkpoint_request():
                    if self._save_checkpoint():
                        step = summary.get_global_counter()
                        self._say(f"checkpoint {step} written as asked by SIGUSR2")
                elif self._schedule.is_due():
                    self._save_checkpoint(self._schedule.is_temporary())
            self._write_checkpoint(temporary=not last and self._schedule.is_temporary())
            self.stop_signal = stop_signal
            if last:
                self._after_training()
        if not self.stop_signal:
            self._last_evaluation = self._await_evaluation() or self._last_evaluation
        if self._is_main:
            self._conclude(time.monotonic() - start, progress.env_steps - start_steps)

    def _before_train_iter(self) -> None:
        """What comes before each iteration."""

    def _after_training(self) -> None:
        """What comes when the training is complete."""

    def _say(self, message: str) -> None:
        if self._is_main:
            say(message)

    def _save_checkpoint(self, temporary: bool = False) -> bool:
        """Write a checkpoint; False with an error in the log if the disk does not take it."""
        try:
            self._write_checkpoint(temporary)
        except OSError as error:
            self._schedule.failed()
            logging.error("%s; training goes on without this checkpoint", error.strerror or error)
            return False
        return True

    def _write_checkpoint(self, temporary: bool = False) -> None:
        if not self._is_main:
            return
        step = summary.get_global_counter()
        start = time.monotonic()
        self._keeper.announce(step, temporary=temporary)
        with record_time("time/checkpoint"):
            self._checkpointer.save(step)
        self._schedule.saved(time.monotonic() - start)
        self._keeper.saved()

    def _evaluate_candidate(self) -> None:
        """Evaluate, with a checkpoint that stays if it turns out to be the best."""
        if self._config.best_checkpoint_metric and self._save_checkpoint(temporary=True):
            self._keeper.await_result(summary.get_global_counter())
        self._last_evaluation = self._evaluate()

    def _take_result(self, step: int, metrics: list[Any]) -> None:
        """The evaluation of the parameters that `step` had is there."""
        if self._is_main and self._keeper.evaluated(step, metrics):
            self._say(f"best checkpoint so far: {self._keeper.best}")

    def _restore_checkpoint(self) -> None:
        newest = self._checkpointer.newest_step()
        # What an iteration builds may depend on its number: no own experience in pretraining.
        summary.set_global_counter(max(newest - 1, 0))
        # What follows waits for all processes, so that all have to do it, or none.
        self._together.check_same_checkpoint(newest)
        if newest < 0:
            return
        self._build_lazy_parts()
        try:
            step = self._checkpointer.load()
        except RuntimeError as error:
            raise ValueError(
                f"the checkpoint in {self._checkpoint_dir} was written with other settings than "
                f"those of {self._config.conf_file or 'this run'}: {error}. Go back to the "
                "settings of that run, or choose another root_dir"
            ) from error
        self._together.check_same_checkpoint(step)  # a damaged one is skipped
        if self._is_main:
            self._checkpointer.set_newer_aside(step)
        emptied = self._drop_unsaved_experience()
        summary.set_global_counter(step)
        self._schedule.start_here()
        what = [*self._after_restoring(), *emptied]
        self._say(
            f"continuing {self._root_dir} from checkpoint {step}: "
            f"{self._progress.iter_num:,} iterations, {self._progress.env_steps:,} environment "
            f"steps done{''.join('; ' + text for text in what)}"
        )

    def _after_restoring(self) -> list[str]:
        """What has to be done once a checkpoint is loaded; returns what a user should know."""
        if self._ddp_rank > 0:
            # The state of the generators is that of process 0.
            set_random_seed(derived_seed(self._ddp_rank))
        return []

    def _drop_unsaved_experience(self) -> list[str]:
        """A buffer that is not in the checkpoint has experience of untrained parameters by now.

        Returns the news of it.
        """
        names = []
        offline = getattr(self._algorithm, "_offline_replay_buffer", None)
        for module in self._algorithm.modules():
            if not isinstance(module, ReplayBuffer) or module is offline:
                continue
            if not is_checkpoint_enabled(module):
                module.clear()
                names.append(module.name)
        return [f"{name} is empty, as it is not saved" for name in names]

    def _conclude(self, seconds: float, env_steps: int) -> None:
        """Say what has come out and where it is."""
        progress = self._progress
        if self.stop_signal:
            what = f"stopped by signal {self.stop_signal}; the same command continues from here"
        else:
            what = "training is complete"
        rate = f", {env_steps / seconds:,.0f} steps/s" if env_steps else ""
        root_dir = shlex.quote(self._root_dir)
        rows = {
            "done": f"{progress.iter_num:,} iterations, {progress.env_steps:,} environment steps "
            f"({duration(seconds)}{rate})",
            "skipped": ", ".join(f"{n:,} {kind}" for kind, n in skipped.items() if n),
            "training": describe(interesting_numbers(self._metrics())),
            "evaluation": describe(interesting_numbers(self._last_evaluation)),
            "logs": f"{self._root_dir}/py_train.INFO",
            "curves": f"tensorboard --logdir {root_dir}",
            "checkpoint": f"{self._checkpoint_dir}/ckpt-{summary.get_global_counter()}",
            "best": str(self._keeper.best or ""),
            "play": f"python -m alf.bin.play --root_dir {root_dir}",
        }
        lines = [f"  {name:<11} {text}" for name, text in rows.items() if text]
        say("\n".join([what, *lines]))

    def _save_upon_failure_outside(self) -> None:
        """What was trained is as good as before, if another process has failed."""
        if self._is_main and self._schedule.ever_trained:
            try:
                if self._save_checkpoint(temporary=True):
                    self._say(f"checkpoint {summary.get_global_counter()} is written")
            except (ValueError, RuntimeError) as error:
                logging.error("no checkpoint is written: %s", error)

    def _offer_checkpoint(self) -> None:
        """After a crash: ask whether to save, where there is someone to answer."""
        if not self._is_main or not (
            self._config.confirm_checkpoint_upon_crash and sys.stdin and sys.stdin.isatty()
        ):
            return
        if not self._schedule.ever_trained:
            return
        if input("training has failed. Write a checkpoint of where it was? (y/N) ") in ("y", "Y"):
            self._save_checkpoint()

    @staticmethod
    def _profiled(function: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            import cProfile
            import io
            import pstats

            profile = cProfile.Profile()
            try:
                profile.runcall(function)
            finally:
                text = io.StringIO()
                pstats.Stats(profile, stream=text).sort_stats("cumtime").print_stats(100)
                logging.info("profile:\n%s", text.getvalue())

        return run


class RLTrainer(Trainer):
    """Trains a reinforcement learning algorithm in the environment of `alf.get_env()`."""

    def __init__(self, config: TrainerConfig, ddp_rank: int = -1) -> None:
        if ddp_rank >= 0 and config.async_unroll and config.unroll_length == 0:
            raise ValueError(
                "TrainerConfig.async_unroll=True with TrainerConfig.unroll_length=0 takes what "
                "steps are there, so that processes which train together would begin to train at "
                "different iterations and wait for ever; with --distributed, unroll_length must be "
                "positive"
            )
        self._env: Any = None
        self._evaluator: Evaluator | None = None
        self._goes_on = False
        super().__init__(config, ddp_rank)
        if config.evaluate:
            self._evaluator = Evaluator(config, config.conf_file, self._take_result)
        if self._is_main:
            use_settings_of_other_processes(config, self._env)

    def _num_env_steps(self) -> int:
        return self._config.num_env_steps

    def _create_algorithm(self) -> Any:
        config = self._config
        self._env = env = config_helpers.get_env()
        raw_spec = env.observation_spec()
        transformer = create_data_transformer(config.data_transformer_ctor, raw_spec)
        config.data_transformer = transformer
        set_transformed_observation_spec(transformer.transformed_observation_spec)
        assert config.algorithm_ctor is not None  # as the constructor has checked
        algorithm = config.algorithm_ctor(
            observation_spec=transformer.transformed_observation_spec,
            action_spec=env.action_spec(),
            reward_spec=env.reward_spec(),
            env=env,
            config=config,
            debug_summaries=config.debug_summaries,
        )
        algorithm.set_path("")
        algorithm.load_offline_replay_buffer(raw_spec)
        return algorithm

    def _metrics(self) -> list[StepMetric]:
        return self._algorithm.get_metrics()

    def _step_metric_values(self) -> dict[str, int]:
        return {metric.name: int(metric.result()) for metric in self._algorithm.get_step_metrics()}

    def _count_env_steps(self) -> int:
        return self._step_metric_values()["EnvironmentSteps"]

    def _build_lazy_parts(self) -> None:
        with waiting_for(self._env):
            self._env.reset()
        with summary.record_if(lambda: False):
            self._algorithm.train_iter()

    def _more_to_save(self) -> dict[str, Any]:
        is_alone = self._ddp_rank < 0
        self._continuation = Continuation(self._algorithm, self._env, is_alone=is_alone)
        return {"continuation": LoadedIfItFits(self._continuation, "running episodes")}

    def _after_restoring(self) -> list[str]:
        what = super()._after_restoring()
        self._goes_on = self._continuation.resume()
        if self._goes_on:
            return [*what, "the environments go on in their episodes"]
        if self._config.random_seed is not None:
            # Otherwise the environments would begin as they did when the training was new.
            self._env.seed(independent_seeds(derived_seed(-1), self._env.batch_size))
        return [*what, "the environments begin new episodes"]

    def _before_train_iter(self) -> None:
        if self._config.sync_progress_to_envs:
            self._env.sync_progress()

    def _start(self) -> None:
        if self._goes_on:
            return
        with waiting_for(self._env):
            self._env.reset()

    def _evaluate(self) -> list[Any]:
        assert self._evaluator is not None
        with record_time("time/evaluation"):
            return self._evaluator.eval(self._algorithm, self._step_metric_values())

    def _await_evaluation(self) -> list[Any] | None:
        return self._evaluator.wait() if self._evaluator is not None else None

    def _close(self) -> None:
        self._algorithm.finish_train()
        if self._evaluator is not None:
            self._evaluator.close()
        config_helpers.close_env()


class SLTrainer(Trainer):
    """Trains a supervised algorithm: one iteration is one epoch.

    The algorithm is made by `algorithm_ctor(config=config)`; its `evaluate()` is called every
    `eval_interval` epochs, and at the end its `eval_uncertainty()`, if those are asked for.
    """

    def __init__(self, config: TrainerConfig) -> None:
        set_random_seed(config.random_seed)
        super().__init__(config)

    def _create_algorithm(self) -> Any:
        assert self._config.algorithm_ctor is not None  # as the constructor has checked
        return self._config.algorithm_ctor(config=self._config)

    def _evaluate(self) -> list[StepMetric]:
        self._algorithm.evaluate()
        return []

    def _after_training(self) -> None:
        if self._config.eval_uncertainty:
            self._algorithm.eval_uncertainty()
