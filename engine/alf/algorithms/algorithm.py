"""Algorithm: states, data, gradient steps and training of any algorithm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.algorithms._module_modes import ModuleModes
from alf.algorithms._trained_module import TrainedModule
from alf.algorithms.config import TrainerConfig
from alf.algorithms.training import gradient_step, offline_training, replay_training
from alf.algorithms.training.carried_spec import links_steps
from alf.algorithms.training.optimizer_tree import flatten_module as _flatten_module
from alf.algorithms.training.optimizer_tree import params_of as _get_optimizer_params
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, StepType, TimeStep
from alf.nest import nest
from alf.optimizers.utils import GradientNoiseScaleEstimator
from alf.summary import summary_ops as summary
from alf.utils import finite_updates, summary_utils
from alf.utils._exe_mode import mark_replay
from alf.utils.spec_utils import zeros_from_spec

__all__ = [
    "AlgStep",
    "Algorithm",
    "Loss",
    "LossInfo",
    "TimeStep",
    "_flatten_module",
    "_get_optimizer_params",
]

Nest = Any
Optimizer = torch.optim.Optimizer
_MODES = "_module_modes"


class Algorithm(TrainedModule):
    """Base of all algorithms.

    Child modules are assigned after `super().__init__()`, as for any `nn.Module`.

    Args:
        train_state_spec: nest of specs of the state of `train_step()`.
        rollout_state_spec: of `rollout_step()`; None: as `train_state_spec`.
        predict_state_spec: of `predict_step()`; None: as `rollout_state_spec`.
        is_on_policy: None: not decided yet.
        optimizer: trains every parameter that no other optimizer trains, see `add_optimizer()`.
        checkpoint: "prefix@path": parameters come from below `prefix` (such as
            "algorithm._child"; "alg" is another name of "algorithm") of the model file `path`.
            `load_state_dict()` leaves them alone, a `Checkpointer` does not: what a run has saved
            is newer. Without "prefix@" all of the algorithm is meant.
        config: needed by an algorithm which trains by itself.
        debug_summaries: write more summaries.
        name: used in summary tags and messages.
    """

    def __init__(
        self,
        train_state_spec: Nest = (),
        rollout_state_spec: Nest | None = None,
        predict_state_spec: Nest | None = None,
        is_on_policy: bool | None = None,
        optimizer: Optimizer | None = None,
        checkpoint: str | None = None,
        config: TrainerConfig | None = None,
        debug_summaries: bool = False,
        name: str = "Algorithm",
    ) -> None:
        super().__init__(optimizer, checkpoint, name)
        self._config = config
        self._debug_summaries = debug_summaries
        self._path = ""
        self._is_on_policy: bool | None = None
        self._ddp_activated_rank = -1

        self._train_state_spec = train_state_spec
        self._rollout_state_spec = (
            train_state_spec if rollout_state_spec is None else rollout_state_spec
        )
        self._predict_state_spec = (
            self._rollout_state_spec if predict_state_spec is None else predict_state_spec
        )
        self._is_rnn = links_steps(train_state_spec)
        self._use_rollout_state = False

        self._replay_buffer: Any = None
        self._has_trained_from_all = False
        self._offline_replay_buffer: Any = None
        self._replay_buffer_num_envs: int | None = None
        self._replay_buffer_max_length: int | None = None
        self._prioritized_sampling = False
        # Specs are learnt from the first data.
        self._experience_spec: Nest = None
        self._processed_experience_spec: Nest = None
        self._train_info_spec: Nest = None
        self._rollout_info_spec: Nest = None
        self._processed_offline_spec: Nest = None
        self._offline_train_info_spec: Nest = None

        self._data_transformer = None if config is None else config.data_transformer
        stack_size = 1 if self._data_transformer is None else self._data_transformer.stack_size
        self._num_earliest_frames_ignored = stack_size - 1
        self._gns_estimator: GradientNoiseScaleEstimator | None = None
        if config is not None and config.summarize_gradient_noise_scale:
            self._gns_estimator = GradientNoiseScaleEstimator()
        if is_on_policy is not None:
            self.set_on_policy(is_on_policy)

    def _post_init(self) -> None:
        if self._config is not None and self._config.use_rollout_state:
            self.use_rollout_state = True
        super()._post_init()

    # ---- What it is -------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return self._path

    def set_path(self, path: str) -> None:
        self._path = path

    @property
    def on_policy(self) -> bool | None:
        return self._is_on_policy

    def set_on_policy(self, is_on_policy: bool) -> None:
        if self.on_policy is not None and self.on_policy != is_on_policy:
            raise ValueError(
                f"{self._name!r}: set_on_policy({is_on_policy}), but its on_policy is "
                f"{self.on_policy}"
            )
        self._is_on_policy = is_on_policy

    def is_rl(self) -> bool:
        """Is this a reinforcement learning algorithm?"""
        return False

    @property
    def has_offline(self) -> bool:
        """Is there offline data to train from? See `TrainerConfig.offline_buffer_dir`."""
        return self._offline_replay_buffer is not None

    def forward(self, *input: Any) -> Any:
        """Refused: which step is to be made has to be said."""
        raise ValueError(
            f"{type(self).__name__} cannot be called; use predict_step(), rollout_step() or "
            "train_step()"
        )

    # ---- States -----------------------------------------------------------------------------

    @property
    def train_state_spec(self) -> Nest:
        """Spec of the state of `train_step()`."""
        return self._train_state_spec

    @property
    def rollout_state_spec(self) -> Nest:
        """Spec of the state of `rollout_step()`."""
        return self._rollout_state_spec

    @property
    def predict_state_spec(self) -> Nest:
        """Spec of the state of `predict_step()`."""
        return self._predict_state_spec

    def get_initial_train_state(self, batch_size: int) -> Nest:
        """New zeros `[batch_size, ...]` for `train_step()`."""
        return zeros_from_spec(self._train_state_spec, batch_size)

    def get_initial_rollout_state(self, batch_size: int) -> Nest:
        """New zeros `[batch_size, ...]` for `rollout_step()`."""
        return zeros_from_spec(self._rollout_state_spec, batch_size)

    def get_initial_predict_state(self, batch_size: int) -> Nest:
        """New zeros `[batch_size, ...]` for `predict_step()`."""
        return zeros_from_spec(self._predict_state_spec, batch_size)

    def get_initial_transform_state(self, batch_size: int) -> Nest:
        """New zeros `[batch_size, ...]` for `transform_timestep()`."""
        if self._data_transformer is None:
            return ()
        return zeros_from_spec(self._data_transformer.state_spec, batch_size)

    def convert_train_state_to_predict_state(self, state: Nest) -> Nest:
        """The part of a train state that `predict_step()` needs."""
        return nest.prune_nest_like(state, self._predict_state_spec, value_to_match=())

    @property
    def use_rollout_state(self) -> bool:
        """Does training start from the rollout state stored in the replay buffer? Else from 0."""
        return self._use_rollout_state

    @use_rollout_state.setter
    def use_rollout_state(self, flag: bool) -> None:
        self._use_rollout_state = flag
        for child in self._child_algorithms():
            child.use_rollout_state = flag

    def need_full_rollout_state(self) -> bool:
        """Must the state given by `rollout_step()` have all that `train_step()` needs?"""
        return self._is_rnn and self._use_rollout_state

    # ---- Specs learnt from data -------------------------------------------------------------

    @property
    def experience_spec(self) -> Nest:
        """Spec of what is stored in the replay buffer; known after the first record."""
        return self._known("experience_spec", self._experience_spec)

    @property
    def processed_experience_spec(self) -> Nest:
        """Spec of what `preprocess_experience()` gives; known after the first training."""
        return self._known("processed_experience_spec", self._processed_experience_spec)

    @property
    def train_info_spec(self) -> Nest:
        """Spec of the info of `train_step()`; known after the first training."""
        return self._known("train_info_spec", self._train_info_spec)

    def _known(self, name: str, spec: Nest) -> Nest:
        assert spec is not None, f"{self._name}.{name} is not known before there was any data"
        return spec

    def activate_ddp(self, rank: int) -> None:
        """Average the gradients of each step over all processes from now on.

        So all have to make the same steps: what a process knows alone must not decide whether
        there is one. A container passes it on to algorithms which make gradient steps themselves.

        Args:
            rank: number of this process.
        """
        self._ddp_activated_rank = rank

    # ---- Data -------------------------------------------------------------------------------

    def set_replay_buffer(
        self, num_envs: int, max_length: int, prioritized_sampling: bool = False
    ) -> None:
        """Say how large the replay buffer is; it is made when the first record comes.

        Args:
            num_envs: number of environments.
            max_length: records kept of each environment.
            prioritized_sampling: whether it samples by priority.
        """
        self._replay_buffer_num_envs = num_envs
        self._replay_buffer_max_length = max_length
        self._prioritized_sampling = prioritized_sampling

    def observe_for_replay(self, exp: Experience) -> None:
        """Store one record of each environment, `[B, ...]`, in the replay buffer."""
        replay_training.store(self, exp)

    def observe_for_metrics(self, time_step: TimeStep) -> None:
        """Show a time step, `[B, ...]` on the host, to the metrics."""

    def transform_timestep(self, time_step: TimeStep, state: Nest) -> tuple[TimeStep, Nest]:
        """A raw time step as the algorithm sees it, and the new state of the transformers."""
        if self._data_transformer is None:
            return time_step, state
        return self._data_transformer.transform_timestep(time_step, state)

    def transform_experience(self, experience: Experience) -> Experience:
        """Raw experience `[B, T, ...]` as the algorithm sees it.

        Its `batch_info`, `replay_buffer` and `rollout_info_field` are set.
        """
        if self._data_transformer is None:
            return experience
        return self._data_transformer.transform_experience(experience)

    # ---- Training ---------------------------------------------------------------------------

    def _set_training(self, training: bool) -> None:
        """As `train(training)`, but cheap, as it happens twice in an iteration; cycles may be."""
        if self.training == training:
            return
        modes = self.__dict__.get(_MODES)
        if modes is None or not modes.is_current():
            modes = self.__dict__[_MODES] = ModuleModes(self)
        modes.set(training)

    def calc_loss(self, info: Nest) -> LossInfo:
        """The default takes infos that are `LossInfo` already."""
        if not isinstance(info, LossInfo):
            raise ValueError(
                f"{type(self).__name__}.calc_loss() is not written, so its info has to be a "
                f"LossInfo; it is a {type(info).__name__}"
            )
        return info

    def train_step_offline(
        self, inputs: Nest, state: Nest, rollout_info: Nest, pre_train: bool = False
    ) -> AlgStep:
        return self.train_step(inputs, state, rollout_info)

    def calc_loss_offline(self, info_offline: Nest, pre_train: bool = False) -> LossInfo:
        return self.calc_loss(info_offline)

    def update_with_gradient(
        self,
        loss_info: LossInfo,
        valid_masks: torch.Tensor | None = None,
        weight: float = 1.0,
        batch_info: Any = None,
    ) -> tuple[LossInfo, list[tuple[str, nn.Parameter]]]:
        """Make one step of all optimizers.

        What is minimised is `weight * (mean(loss * mask) + scalar_loss)`, the mean being over all
        T * B entries, those masked out included.

        Args:
            loss_info: `loss` and `extra` are [T, B] or scalars.
            valid_masks: [T, B], 0 where a sample does not count.
            weight: weight of this batch.
            batch_info: `BatchInfo` of a sampled batch, for its importance weights.

        Returns:
            `loss_info` with means in place of [T, B], and names and parameters that were trained.

        Raises:
            ValueError: a parameter has no optimizer.
        """
        return gradient_step.update(self, loss_info, valid_masks, weight, batch_info)

    def train_from_unroll(self, experience: Experience, train_info: Nest) -> int:
        masks = None
        if self._config.mask_out_loss_for_last_step:
            masks = (experience.step_type != StepType.LAST).to(torch.float32)
        with finite_updates.watch_of(self).on(self, experience):
            with gradient_step.autocast(self):
                loss_info = self.calc_loss(train_info)
            loss_info, params = self.update_with_gradient(loss_info, masks)
        self.after_update(experience.time_step, train_info)
        self.summarize_train(experience, train_info, loss_info, params)
        return experience.step_type.numel()

    @mark_replay
    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        if self.has_offline:
            return offline_training.train(self, update_global_counter)
        return replay_training.train(self, update_global_counter)

    def _compute_train_info_and_loss_info(self, experience: Experience) -> tuple[Nest, LossInfo]:
        """Infos and loss of a mini batch `[T, B, ...]`."""
        method = replay_training.online(self)
        return replay_training.train_info_and_loss(self, experience, method)

    def summarize_train(
        self,
        experience: Experience,
        train_info: Nest,
        loss_info: LossInfo,
        params: list[tuple[str, nn.Parameter]] | None,
    ) -> None:
        """Write summaries of a gradient step: the loss, and gradients and parameters if asked for.

        Args:
            experience: [T, B, ...], what was trained from.
            train_info: [T, B, ...], what `calc_loss()` got.
            loss_info: the loss.
            params: names and parameters, with gradients.
        """
        if not summary.should_record_summaries():
            return
        if params is not None and self._config.summarize_grads_and_vars:
            summary_utils.summarize_variables(params)
            summary_utils.summarize_gradients(params)
        summary_utils.summarize_loss(loss_info)


@configurable
class Loss(Algorithm):
    """The algorithm whose inputs are the loss.

    Args:
        loss_weight: the loss is multiplied by this.
        name: name of the algorithm.
    """

    def __init__(self, loss_weight: float = 1.0, name: str = "LossAlg") -> None:
        super().__init__(name=name)
        self._loss_weight = loss_weight

    def predict_step(self, inputs: Nest, state: Nest = None) -> AlgStep:
        return AlgStep(output=(), state=() if state is None else state, info=())

    def rollout_step(self, inputs: Nest, state: Nest = None) -> AlgStep:
        """Off-policy there is nothing to learn from yet."""
        return (
            self.train_step(inputs, state) if self.on_policy else self.predict_step(inputs, state)
        )

    def train_step(self, inputs: Nest, state: Nest = None, rollout_info: Nest = None) -> AlgStep:
        return AlgStep(output=(), state=() if state is None else state, info=inputs)

    def calc_loss(self, info: Nest) -> LossInfo:
        """The inputs are [T, B]."""
        return LossInfo(loss=self._loss_weight * info, extra=info)
