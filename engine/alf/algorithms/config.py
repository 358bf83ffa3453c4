"""TrainerConfig: the settings of one training run."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Literal

from alf.config_util import configurable
from alf.utils._waiting import HEARTBEAT_SECS, TIMEOUT_SECS
from alf.utils.schedulers import Scheduler, as_scheduler
from alf.utils.seeds import as_seed

_logger = logging.getLogger("absl")


@configurable
@dataclasses.dataclass(eq=False)
class TrainerConfig:
    """The settings of one training run, set by ``alf.config('TrainerConfig', ...)``.

    The defaults of ``whole_replay_buffer_training`` and ``clear_replay_buffer`` are made for PPO:
    an off-policy algorithm which learns from random mini batches needs both False.

    Args:
        root_dir: directory of summaries and checkpoints.
        conf_file: the file from which the run is configured.
        ml_type: "rl" or "sl" (supervised).
        algorithm_ctor: called as ``algorithm_ctor(observation_spec=, action_spec=, reward_spec=,
            env=, config=, debug_summaries=)``.
        data_transformer_ctor: one constructor or a list of them, called with ``observation_spec=``.
            Transformers which read the replay buffer (frame stacking, hindsight) come first.
        random_seed: an integer from 0 to 2**63 - 1; None takes one from the clock.
        num_iterations: number of train iterations; 0: ``num_env_steps`` alone ends the training.
        num_env_steps: number of environment steps; 0: no limit. With both, the environments are
            no longer stepped after so many steps, while training goes on.
        unroll_length: environment steps per environment and iteration. The fraction of a number
            that is not whole is carried over to the next iteration. 0 only with `async_unroll`.
        unroll_with_grad: keep gradients while an off-policy algorithm unrolls.
        use_root_inputs_for_after_train_iter: give ``after_train_iter()`` the unrolled time steps.
        async_unroll: interact with the environment in a process of its own, which goes on while
            this one trains; not for on-policy algorithms. An iteration takes `unroll_length` steps
            from it; with `unroll_length=0` those that are there, up to `max_unroll_length`.
        max_unroll_length: used by ``async_unroll`` with ``unroll_length=0``.
        unroll_queue_size: with ``async_unroll``: how many steps may wait to be taken; the other
            process waits while there are so many.
        unroll_step_interval: with ``async_unroll``: seconds from one environment step to the next,
            where they would be less; for environments in real time.
        unroll_parameter_update_period: with ``async_unroll``: iterations between two times that the
            other process gets the parameters.
        use_rollout_state: store the rollout state in the replay buffer, and start training from it.
        temporally_independent_train_step: call ``train_step()`` once with `[T * B]` rows instead of
            once per step; None: if training needs no state.
        mask_out_loss_for_last_step: the loss of LAST steps counts as 0.
        sync_progress_to_envs: tell environments in other processes each iteration how far the
            training is, for schedulers there.
        environment_heartbeat_secs: after so many seconds without an answer it is said which
            environment does not answer; 0: never.
        environment_timeout_secs: after so many seconds without an answer the run ends with a
            checkpoint; 0: never.
        num_checkpoints: how many checkpoints are written during the run.
        best_checkpoint_metric: keep the checkpoint whose evaluation had the largest value of this
            metric, such as "AverageReturn" or "AverageEnvInfo/success", beside the newest ones;
            "-AverageEpisodeLength": the smallest. Each evaluation writes a checkpoint then.
            `play --best_checkpoint` plays it. None: there is none.
        confirm_checkpoint_upon_crash: ask on a terminal whether to write one after a crash.
        no_thread_env_for_conf: do not make an environment in this process only to see which
            settings are operative, where environments of training or evaluation are in others.
        evaluate: evaluate during training.
        num_evals: how many times over the whole training; replaces ``eval_interval`` if given.
        eval_interval: iterations between evaluations.
        epsilon_greedy: in evaluation, probability of a sampled instead of the best action.
        eval_uncertainty: of supervised training: evaluate the uncertainty too.
        num_eval_episodes: episodes per evaluation.
        num_eval_environments: environments of an evaluation in its own process.
        async_eval: evaluate in a process of its own.
        ddp_paras_check_interval: with several processes: iterations between checks that all have
            the same parameters; 0: never.
        num_summaries: how many times summaries are written; replaces ``summary_interval``.
        summary_interval: steps of the global counter between summaries; 0: none are written.
        summarize_first_interval: write every step of the first interval.
        update_counter_every_mini_batch: the global counter counts mini batches, not iterations.
        summaries_flush_secs: seconds between flushes to disk.
        summary_max_queue: summaries that wait for a flush.
        metric_min_buffer_size: episodes over which metrics average, at least the environments.
        debug_summaries: write more summaries.
        profiling: profile the training and log the result.
        enable_amp: automatic mixed precision, float16 with scaled losses. Only on CUDA; elsewhere
            it is said once that nothing changes.
        code_snapshots: source files written as summary texts; paths relative to the package alf.
        summarize_grads_and_vars: write gradients and parameters.
        summarize_gradient_noise_scale: write `gradient_noise_scale`, see
            `alf.optimizers.utils.GradientNoiseScaleEstimator`. An update then takes two to three
            times as long.
        summarize_action_distributions: write parameters of action distributions.
        summarize_output: write the outputs of all networks.
        initial_collect_steps: no training before the replay buffer holds so many records, counted
            over all environments.
        num_updates_per_train_iter: gradient steps per iteration; with whole-buffer training, passes
            over the buffer.
        mini_batch_length: steps per sampled sequence; needed unless the whole buffer is used.
        mini_batch_size: sequences per mini batch; None: the number of environments.
        whole_replay_buffer_training: train with all records of the buffer.
        replay_buffer_length: records per environment.
        priority_replay: sample by priority.
        priority_replay_alpha: exponent of a priority, a number or a scheduler.
        priority_replay_beta: exponent of the importance weights, a number or a scheduler.
        priority_replay_eps: added to a priority, before the exponent.
        offline_buffer_dir: one or several replay buffers saved in checkpoints, to train from as
            well: the file, or a directory whose newest is taken; or "minari:NAME", a Minari data
            set on this machine (needs the extra "minari"), as one environment. Each update then
            has one mini batch of offline data, and one of the own replay buffer when it is time
            for that.
        offline_buffer_length: records of each environment taken from each offline buffer, the
            newest; None: all.
        rl_train_after_update_steps: with offline data: pretrain with them alone, without
            interaction, up to this global counter.
        rl_train_every_update_steps: with offline data: use the own replay buffer only when the
            global counter is a multiple of this.
        empty_cache: give cached CUDA memory back each iteration.
        normalize_importance_weights_by_max: divide importance weights by their largest.
        clear_replay_buffer: empty the buffer after it was trained from. With
            ``whole_replay_buffer_training`` the newest step stays until its outcome is there, so
            the first iteration trains nothing, and later ones from ``unroll_length + 1`` steps.
        visualize_alf_tree: draw the tree of modules to `<root_dir>/alf_tree.*`; needs the package
            graphviz.

    Raises:
        ValueError: a value is not allowed or contradicts another one.
    """

    root_dir: str
    conf_file: str = ""
    ml_type: Literal["rl", "sl"] = "rl"
    algorithm_ctor: Callable[..., Any] | None = None
    data_transformer_ctor: Callable[..., Any] | list[Callable[..., Any]] | None = None
    random_seed: int | None = None
    num_iterations: int = 1000
    num_env_steps: int = 0
    unroll_length: float = 8
    unroll_with_grad: bool = False
    use_root_inputs_for_after_train_iter: bool = True
    async_unroll: bool = False
    max_unroll_length: int = 0
    unroll_queue_size: int = 200
    unroll_step_interval: float = 0
    unroll_parameter_update_period: int = 10
    use_rollout_state: bool = False
    temporally_independent_train_step: bool | None = None
    mask_out_loss_for_last_step: bool = True
    sync_progress_to_envs: bool = False
    num_checkpoints: int = 10
    confirm_checkpoint_upon_crash: bool = True
    no_thread_env_for_conf: bool = False
    evaluate: bool = False
    num_evals: int | None = None
    eval_interval: int = 10
    epsilon_greedy: float = 0.0
    eval_uncertainty: bool = False
    num_eval_episodes: int = 10
    num_eval_environments: int = 1
    async_eval: bool = True
    ddp_paras_check_interval: int = 0
    num_summaries: int | None = None
    summary_interval: int = 50
    summarize_first_interval: bool = True
    update_counter_every_mini_batch: bool = False
    summaries_flush_secs: int = 1
    summary_max_queue: int = 10
    metric_min_buffer_size: int = 10
    debug_summaries: bool = False
    profiling: bool = False
    enable_amp: bool = False
    code_snapshots: list[str] | None = None
    summarize_grads_and_vars: bool = False
    summarize_gradient_noise_scale: bool = False
    summarize_action_distributions: bool = False
    summarize_output: bool = False
    initial_collect_steps: int = 0
    num_updates_per_train_iter: int = 4
    mini_batch_length: int | None = None
    mini_batch_size: int | None = None
    whole_replay_buffer_training: bool = True
    replay_buffer_length: int = 1024
    priority_replay: bool = False
    priority_replay_alpha: float | Scheduler = 0.7
    priority_replay_beta: float | Scheduler = 0.4
    priority_replay_eps: float = 1e-6
    offline_buffer_dir: str | list[str] | None = None
    offline_buffer_length: int | None = None
    rl_train_after_update_steps: int = 0
    rl_train_every_update_steps: int = 1
    empty_cache: bool = False
    normalize_importance_weights_by_max: bool = False
    clear_replay_buffer: bool = True
    visualize_alf_tree: bool = False
    # The engine's own, after ALF's places.
    environment_heartbeat_secs: float = HEARTBEAT_SECS
    environment_timeout_secs: float = TIMEOUT_SECS
    best_checkpoint_metric: str | None = None
    # The transformer built from ``data_transformer_ctor``; the trainer sets it.
    data_transformer: Any = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.random_seed is not None:
            self.random_seed = as_seed(self.random_seed, owner="TrainerConfig.random_seed")
        self._check_unroll_length()
        self._check_contradictions()
        self.priority_replay_alpha = as_scheduler(self.priority_replay_alpha)
        self.priority_replay_beta = as_scheduler(self.priority_replay_beta)

    def _check_unroll_length(self) -> None:
        if self.unroll_length == 0 and not self.async_unroll:
            raise ValueError(
                f"TrainerConfig.unroll_length must be positive; got {self.unroll_length!r} (0 is "
                "allowed with async_unroll=True)"
            )

    def _check_contradictions(self) -> None:
        if self.eval_uncertainty and self.ml_type != "sl":
            raise ValueError(
                f"TrainerConfig.eval_uncertainty=True needs TrainerConfig.ml_type='sl'; "
                f"it is {self.ml_type!r}"
            )
        if self.num_iterations == 0 and self.num_env_steps == 0:
            raise ValueError(
                "TrainerConfig.num_iterations=0 and TrainerConfig.num_env_steps=0: the training "
                "would never end; one of them must be positive"
            )
        self._check_async_unroll()
        self._check_offline()
        if self.whole_replay_buffer_training:
            if self.priority_replay:
                raise ValueError(
                    "TrainerConfig.whole_replay_buffer_training=True takes every record, "
                    "TrainerConfig.priority_replay=True chooses records; set one of them to False"
                )
            return
        if self.mini_batch_length is None:
            raise ValueError(
                "TrainerConfig.whole_replay_buffer_training=False samples sequences, but "
                "TrainerConfig.mini_batch_length is None; give the length of a sequence"
            )
        if self.clear_replay_buffer:
            _logger.warning(
                "TrainerConfig.clear_replay_buffer=True with whole_replay_buffer_training=False "
                "throws away all records after one sampled batch; set it to False for replay"
            )

    def _check_async_unroll(self) -> None:
        if not self.async_unroll:
            return
        if self.unroll_length == 0 and self.max_unroll_length == 0:
            raise ValueError(
                "TrainerConfig.unroll_length=0 and TrainerConfig.max_unroll_length=0: nothing "
                "would ever be unrolled; one of them must be positive"
            )
        if self.unroll_with_grad:
            raise ValueError(
                "TrainerConfig.async_unroll=True unrolls in another process, where gradients stay; "
                "TrainerConfig.unroll_with_grad=True needs them here; set one of them to False"
            )

    def _check_offline(self) -> None:
        if not self.offline_buffer_dir:
            for name, unused in (
                ("offline_buffer_length", None),
                ("rl_train_after_update_steps", 0),
                ("rl_train_every_update_steps", 1),
            ):
                if getattr(self, name) != unused:
                    _logger.warning(
                        "TrainerConfig.%s=%r has no effect without offline_buffer_dir",
                        name,
                        getattr(self, name),
                    )
        elif self.whole_replay_buffer_training:
            raise ValueError(
                "TrainerConfig.whole_replay_buffer_training=True trains from the own buffer as a "
                f"whole, TrainerConfig.offline_buffer_dir={self.offline_buffer_dir!r} needs mini "
                "batches; set whole_replay_buffer_training to False"
            )
