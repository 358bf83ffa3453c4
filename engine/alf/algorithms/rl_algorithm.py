"""RLAlgorithm: an algorithm which acts in an environment and learns from its rewards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from absl import logging
from torch import nn

from alf.algorithms._reachable import check_reachable
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.algorithm_interface import AlgorithmInterface
from alf.algorithms.async_unroller import QueuedUnroller
from alf.algorithms.config import TrainerConfig
from alf.algorithms.training import gradient_step, offline_training
from alf.algorithms.unrolling.unroll import Unroller
from alf.config_util import configurable
from alf.data_structures import (
    AlgStep,
    BasicRLInfo,
    BasicRolloutInfo,
    Experience,
    LossInfo,
    TimeStep,
)
from alf.metrics import metrics as metric_classes
from alf.metrics._together import Together
from alf.metrics.metric import StepMetric
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import distributed, finite_checks, summary_utils
from alf.utils._exe_mode import mark_rollout
from alf.utils._messages import warning_once
from alf.utils._waiting import waiting_for
from alf.utils.summary_utils import record_time

__all__ = [
    "AlgStep",
    "BasicRLInfo",
    "BasicRolloutInfo",
    "Experience",
    "RLAlgorithm",
    "TimeStep",
    "adjust_replay_buffer_length",
]

Nest = Any


def adjust_replay_buffer_length(config: TrainerConfig, num_earliest_frames_ignored: int = 0) -> int:
    """Records per environment that the replay buffer should have room for.

    That is `config.replay_buffer_length`, but when the whole buffer is trained from it is the
    length of one unroll, one step more for the last value, and the ignored frames.
    """
    if not config.whole_replay_buffer_training:
        return config.replay_buffer_length
    length = config.unroll_length or config.max_unroll_length
    return _whole(length) + 1 + num_earliest_frames_ignored


def _whole(length: float) -> int:
    """The largest number of steps that an unroll of `length` has."""
    return int(length) + (length != int(length))


def _make_unroller(alg: RLAlgorithm, env: Any) -> Unroller:
    if not alg._config.async_unroll:
        return Unroller(alg, env)
    return QueuedUnroller(alg, env)


@configurable
class RLAlgorithm(Algorithm):
    """Base of reinforcement learning algorithms.

    A subclass writes `rollout_step()` and `calc_loss()`, an off-policy one `train_step()` too.

    Args:
        observation_spec: nest of specs.
        action_spec: nest of bounded specs.
        train_state_spec: see `Algorithm`.
        reward_spec: of rank 0, or of rank 1 for several rewards.
        predict_state_spec: see `Algorithm`.
        rollout_state_spec: see `Algorithm`.
        is_on_policy: see `Algorithm`.
        reward_weights: with several rewards, their weights in the reward that is trained for; None:
            all 1.
        env: batched environment; only for the root algorithm of a training.
        config: needed by an algorithm which trains by itself. With `env` and whole-buffer training
            its `initial_collect_steps` is raised to what that needs.
        optimizer: see `Algorithm`.
        checkpoint: see `Algorithm`.
        is_eval: leave out what only training needs.
        overwrite_policy_output: take the `prev_action` of the next time step for the action.
        debug_summaries: write more summaries.
        name: name of the algorithm.
    """

    _reward_weights: torch.Tensor | None
    _unroll_length_fraction: torch.Tensor

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        train_state_spec: Nest,
        reward_spec: TensorSpec = TensorSpec(()),
        predict_state_spec: Nest | None = None,
        rollout_state_spec: Nest | None = None,
        is_on_policy: bool | None = None,
        reward_weights: Sequence[float] | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        is_eval: bool = False,
        overwrite_policy_output: bool = False,
        debug_summaries: bool = False,
        name: str = "RLAlgorithm",
    ) -> None:
        super().__init__(
            train_state_spec=train_state_spec,
            rollout_state_spec=rollout_state_spec,
            predict_state_spec=predict_state_spec,
            is_on_policy=is_on_policy,
            optimizer=optimizer,
            checkpoint=checkpoint,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        if reward_spec.ndim > 1:
            raise ValueError(f"reward_spec has shape {reward_spec.shape}; allowed: rank 0 or 1")
        self._env = env
        self._observation_spec = observation_spec
        self._action_spec = action_spec
        self._reward_spec = reward_spec
        self._is_eval = is_eval
        self._overwrite_policy_output = overwrite_policy_output
        self._init_reward_weights(reward_weights)
        self._metrics: list[StepMetric] = []
        self._metrics_together = Together(self._metrics)
        self._unroller: Unroller | None = None
        self._ensure_rollout_summary = summary.EnsureSummary()
        if env is not None:
            self._init_env(env)

    def _init_reward_weights(self, reward_weights: Sequence[float] | None) -> None:
        if not self.has_multidim_reward():
            self._reward_weights = None
            return
        n = self._reward_spec.numel
        weights = [1.0] * n if reward_weights is None else list(reward_weights)
        if len(weights) != n:
            raise ValueError(
                f"{len(weights)} reward_weights {weights} for {n} rewards (reward_spec "
                f"{self._reward_spec})"
            )
        self.register_buffer("_reward_weights", torch.tensor(weights, dtype=torch.float32))

    def _init_env(self, env: Any) -> None:
        config = self._config
        if config is None:
            raise ValueError(f"{self._name}: env is given, but config is None; training needs both")
        length = adjust_replay_buffer_length(config, self._num_earliest_frames_ignored)
        self.set_replay_buffer(env.batch_size, length, config.priority_replay)
        if config.whole_replay_buffer_training:
            self._raise_initial_collect_steps(length, env.batch_size)
        if not self.on_policy and self._replay_buffer is None:
            check_reachable(config, length, env.batch_size, self._num_earliest_frames_ignored)
        if config.unroll_length != int(config.unroll_length):
            fraction = torch.zeros((), dtype=torch.float64, device="cpu")
            self.register_buffer("_unroll_length_fraction", fraction)
        self._unroller = _make_unroller(self, env)
        with waiting_for(env):
            time_step = env.reset()
        self._metrics = self._make_metrics(time_step)
        self._metrics_together = Together(self._metrics)

    def _raise_initial_collect_steps(self, length: int, num_envs: int) -> None:
        """Do not train before the whole buffer is there.

        If it is emptied each time that is the shortest unroll, and the step before it.
        """
        config, ignored = self._config, self._num_earliest_frames_ignored
        if config.clear_replay_buffer:
            length = max(int(config.unroll_length), 1) + 1 + ignored
        least = length * num_envs
        if config.initial_collect_steps < least:
            logging.info("%s: initial_collect_steps is raised to %d", self._name, least)
            config.initial_collect_steps = least

    def _make_metrics(self, example: TimeStep) -> list[StepMetric]:
        example = example.cpu()
        num_envs = self._replay_buffer_num_envs
        assert num_envs is not None
        size = max(self._config.metric_min_buffer_size, num_envs)
        kwargs = {"example_time_step": example, "buffer_size": size}
        return [
            metric_classes.NumberOfEpisodes(),
            metric_classes.EnvironmentSteps(),
            metric_classes.AverageReturnMetric(**kwargs),
            metric_classes.AverageEpisodeLengthMetric(**kwargs),
            metric_classes.AverageEnvInfoMetric(name="AverageEnvInfo", **kwargs),
            metric_classes.AverageDiscountedReturnMetric(**kwargs),
            metric_classes.AverageRewardMetric(**kwargs),
            metric_classes.EpisodicStartAverageDiscountedReturnMetric(**kwargs),
        ]

    # ---- What it is -------------------------------------------------------------------------

    def is_rl(self) -> bool:
        return True

    @property
    def observation_spec(self) -> Nest:
        """Spec of the observations."""
        return self._observation_spec

    @property
    def action_spec(self) -> Nest:
        """Spec of the actions."""
        return self._action_spec

    @property
    def rollout_info_spec(self) -> Nest:
        """Spec of the info of `rollout_step()`; known after the first step."""
        return self._known("rollout_info_spec", self._rollout_info_spec)

    def has_multidim_reward(self) -> bool:
        """Is there more than one reward?"""
        return self._reward_spec.numel > 1

    @property
    def reward_weights(self) -> torch.Tensor | None:
        """Weights [n] of several rewards; None if there is one."""
        return self._reward_weights

    def set_reward_weights(self, reward_weights: Any) -> None:
        """Change the weights [n] from now on."""
        if self._reward_weights is None:
            raise ValueError(f"{self._name} has one reward, so there are no weights to set")
        weights = torch.as_tensor(reward_weights, dtype=torch.float32)
        if weights.shape != self._reward_weights.shape:
            raise ValueError(
                f"reward_weights have shape {tuple(weights.shape)}; allowed: "
                f"{tuple(self._reward_weights.shape)}"
            )
        self._reward_weights.copy_(weights)

    def load_offline_replay_buffer(self, untransformed_observation_spec: Nest) -> None:
        """Load what `TrainerConfig.offline_buffer_dir` names, if anything.

        Args:
            untransformed_observation_spec: spec of the raw observations.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: what is in it does not fit, or this algorithm cannot train from it.
        """
        if self._config is None or not self._config.offline_buffer_dir:
            return
        if self.on_policy or isinstance(self._replay_buffer, nn.ModuleDict):
            raise ValueError(
                f"TrainerConfig.offline_buffer_dir={self._config.offline_buffer_dir!r}: "
                f"{self._name} does not train from one replay buffer of its own"
            )
        self._offline_replay_buffer = offline_training.load(self, untransformed_observation_spec)

    def offline_rollout_info(self, action: Nest) -> Nest:
        """The rollout info which `train_step_offline()` gets for a stored action."""
        return BasicRLInfo(action=action)

    def load_state_dict(
        self, state_dict: dict[str, Any], strict: bool = True, skip_preloded: bool = True
    ) -> Any:
        """As `Algorithm.load_state_dict()`; the next unroll begins with a new rollout state."""
        result = super().load_state_dict(state_dict, strict, skip_preloded)
        if self._unroller is not None:
            self._unroller.start_anew()
        return result

    def predict_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        """As `rollout_step()`, without its info."""
        return self.rollout_step(inputs, state)._replace(info=())

    # ---- Metrics and summaries --------------------------------------------------------------

    def get_metrics(self) -> list[StepMetric]:
        """The metrics of the interaction."""
        self._metrics_together.gather()  # a metric that is reset now shall not get earlier rewards
        return self._metrics

    def get_step_metrics(self) -> list[StepMetric]:
        """`NumberOfEpisodes` and `EnvironmentSteps`, against which others are drawn."""
        return self._metrics[:2]

    def observe_for_metrics(self, time_step: TimeStep) -> None:
        self._metrics_together.call(time_step)

    def summarize_metrics(self) -> None:
        """Write the results of the metrics."""
        if not summary.should_record_summaries():
            return
        for metric in self._metrics:
            metric.gen_summaries(step_metrics=self.get_step_metrics())

    def summarize_reward(self, name: str, rewards: torch.Tensor) -> None:
        """Write mean and histogram of rewards [T, B] or [T, B, n], the latter one by one."""
        if self._reward_weights is None:
            summary_utils.add_mean_hist_summary(name, rewards)
            return
        for i, reward in enumerate(rewards.unbind(-1)):
            summary_utils.add_mean_hist_summary(f"{name}/{i}", reward)
        weighted = (rewards * self._reward_weights).sum(-1)
        summary_utils.add_mean_hist_summary(f"{name}/weighted_sum", weighted)

    @configurable
    def summarize_rollout(
        self,
        experience: Experience,
        custom_summary: Callable[[Experience], None] | None = None,
    ) -> None:
        """Write summaries of an unroll.

        Args:
            experience: [T, B, ...].
            custom_summary: called with the experience as well.
        """
        if self._debug_summaries:
            summary_utils.summarize_action(experience.action, self._action_spec, "rollout_action")
            self.summarize_reward("rollout_reward/original_reward", experience.reward)
        if self._config.summarize_action_distributions:
            self._summarize_distributions("rollout_action_dist", experience.rollout_info)
        if custom_summary is not None:
            custom_summary(experience)

    def summarize_train(
        self,
        experience: Experience,
        train_info: Nest,
        loss_info: LossInfo,
        params: list[tuple[str, nn.Parameter]] | None,
    ) -> None:
        """Also actions, rewards and observations with `debug_summaries`, and distributions."""
        super().summarize_train(experience, train_info, loss_info, params)
        if not summary.should_record_summaries():
            return
        if self._debug_summaries:
            summary_utils.summarize_action(experience.action, self._action_spec)
            self.summarize_reward("training_reward", experience.reward)
            summary_utils.summarize_nest("observation", experience.observation)
        if self._config.summarize_action_distributions:
            self._summarize_distributions("action_dist", train_info)

    def _summarize_distributions(self, name: str, info: Nest) -> None:
        found = nest.find_field(info, "action_distribution")
        if len(found) == 1:
            summary_utils.summarize_distribution(name, found[0])

    # ---- Training ---------------------------------------------------------------------------

    def unroll(self, unroll_length: int) -> Experience:
        """Make `unroll_length` steps in each environment.

        Returns:
            `Experience` [T, B, ...] of transformed time steps.
        """
        return self._unroll(unroll_length, True)

    @mark_rollout
    def _unroll(self, unroll_length: int, keep: bool) -> Experience | None:
        if self._unroller is None:
            raise ValueError(f"{self._name} was made without env, so it cannot be unrolled")
        mixed = gradient_step.autocast(self) if self.on_policy else contextlib.nullcontext()
        with record_time("time/unroll"), mixed:
            return self._unroller.unroll(unroll_length, keep)

    def train_iter(self) -> int:
        """One iteration: unroll, then train; returns the number of trained samples."""
        if self._config is not None and self._config.empty_cache and torch.cuda.is_available():
            torch.cuda.empty_cache()
        steps = self._train_iter()
        finite_checks.raise_pending()
        return steps

    def _train_iter(self) -> int:
        if not self.on_policy:
            return self._train_iter_off_policy()
        if self._config.async_unroll:
            raise ValueError(
                f"TrainerConfig.async_unroll=True: {self._name} is on-policy, it needs the "
                "gradients of its rollout steps, which another process cannot give"
            )
        return self._train_iter_on_policy()

    def _next_unroll_length(self) -> int:
        """A whole number of steps; what is left over counts for the next iteration."""
        length = self._config.unroll_length
        if length == int(length):
            return int(length)
        length = length + float(self._unroll_length_fraction)
        whole = int(length + 1e-9)  # 10 times 0.1 shall be 1
        self._unroll_length_fraction.fill_(length - whole)
        return whole

    def _is_interaction_over(self) -> bool:
        limit = self._config.num_env_steps
        if limit == 0:
            return False
        steps = int(self.get_step_metrics()[1].result())
        return distributed.mean_over_processes(self, steps) >= limit

    def _looks_at_unroll(self) -> bool:
        """Does anything need what an unroll returns?"""
        own = type(self).after_train_iter is not AlgorithmInterface.after_train_iter
        return own or summary.should_record_summaries()

    def _train_iter_on_policy(self) -> int:
        summary.increment_global_counter()
        self._ensure_rollout_summary.tick()
        self._set_training(True)
        length = self._next_unroll_length()
        if length == 0:
            return 0
        experience = self._unroll(length, True)
        train_info = experience.rollout_info
        experience = experience._replace(rollout_info=())
        with record_time("time/train"):
            steps = self.train_from_unroll(experience, train_info)
        with torch.no_grad(), self._ensure_rollout_summary:
            self._summarize_unroll(experience._replace(rollout_info=train_info))
        with record_time("time/after_train_iter"):
            self.after_train_iter(self._root_inputs(experience), train_info)
        return steps

    def _train_iter_off_policy(self) -> int:
        config = self._config
        if not config.update_counter_every_mini_batch:
            summary.increment_global_counter()
        self._ensure_rollout_summary.tick()
        pre_train = offline_training.is_pretraining(self)
        length = self._next_unroll_length()
        unrolls = length > 0 or config.unroll_length == 0
        unrolls = unrolls and not pre_train and not self._is_interaction_over()
        experience = None
        if unrolls:
            self._set_training(False)
            with torch.set_grad_enabled(config.unroll_with_grad), self._ensure_rollout_summary:
                experience = self._unroll(length, self._looks_at_unroll())
                if experience is not None:
                    self._summarize_unroll(experience)
        if self._replay_buffer is None and not self.has_offline:
            warning_once(
                "%s has no replay buffer after an unroll: it never trains. A container whose "
                "children have their own buffers needs self._replay_buffer = nn.ModuleDict()",
                self._name,
            )
            return 0
        self._set_training(True)
        steps = self.train_from_replay_buffer(update_global_counter=True)
        if self._unroller is not None:
            self._unroller.waits = steps == 0
        if unrolls or pre_train:
            with record_time("time/after_train_iter"):
                self.after_train_iter(
                    self._root_inputs(experience),
                    None if experience is None else experience.rollout_info,
                )
        return steps

    def _summarize_unroll(self, experience: Experience) -> None:
        if summary.should_record_summaries():
            self.summarize_rollout(experience)
            self.summarize_metrics()

    def _root_inputs(self, experience: Experience | None) -> TimeStep | None:
        if experience is None or not self._config.use_root_inputs_for_after_train_iter:
            return None
        return experience.time_step

    def finish_train(self) -> None:
        """Called when the training ends."""
        if self._unroller is not None:
            self._unroller.close()
