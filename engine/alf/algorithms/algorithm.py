"""Algorithm: states, optimizers, replay buffer, gradient steps and checkpoints of any algorithm."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from alf.algorithms import _gradient_step, _optimizer_tree, _replay_training, _state_dict
from alf.algorithms.algorithm_interface import AlgorithmInterface
from alf.algorithms.config import TrainerConfig
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, StepType, TimeStep
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import checkpoint_utils, common, summary_utils
from alf.utils.common import mark_replay
from alf.utils.distributed import data_distributed
from alf.utils.spec_utils import zeros_from_spec

__all__ = ["AlgStep", "Algorithm", "Loss", "LossInfo", "TimeStep"]

Nest = Any
Optimizer = torch.optim.Optimizer
_CONSTRUCTING = "_is_constructing"


def _then_post_init(init: Callable[..., None]) -> Callable[..., None]:
    """`init`, with `_post_init()` called once when the outermost constructor has ended."""

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.__dict__.get(_CONSTRUCTING):
            init(self, *args, **kwargs)
            return
        self.__dict__[_CONSTRUCTING] = True
        init(self, *args, **kwargs)
        del self.__dict__[_CONSTRUCTING]
        self._post_init()

    return wrapped


class Algorithm(AlgorithmInterface):
    """Base of all algorithms.

    Child modules are assigned after `super().__init__()`, as for any `nn.Module`.

    Args:
        train_state_spec: nest of specs of the state of `train_step()`.
        rollout_state_spec: of `rollout_step()`; None: as `train_state_spec`.
        predict_state_spec: of `predict_step()`; None: as `rollout_state_spec`.
        is_on_policy: None: not decided yet.
        optimizer: trains every parameter that no other optimizer trains, see `add_optimizer()`.
        checkpoint: "prefix@path": parameters come from below `prefix` (such as
            "algorithm._child"; "alg" is another name of "algorithm") of the model file `path`, and
            are not overwritten by later loading. Without "prefix@" all of the algorithm is meant.
        config: needed by an algorithm which trains by itself.
        debug_summaries: write more summaries.
        name: used in summary tags and messages.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _then_post_init(cls.__init__)

    @_then_post_init
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
        super().__init__()
        self._name = name
        self._config = config
        self._debug_summaries = debug_summaries
        self._path = ""
        self._is_on_policy: bool | None = None
        self._checkpoint = checkpoint
        self._pre_loaded = False
        self._ddp_activated_rank = -1

        self._train_state_spec = train_state_spec
        self._rollout_state_spec = (
            train_state_spec if rollout_state_spec is None else rollout_state_spec
        )
        self._predict_state_spec = (
            self._rollout_state_spec if predict_state_spec is None else predict_state_spec
        )
        self._is_rnn = len(nest.flatten(train_state_spec)) > 0
        self._use_rollout_state = False

        self._default_optimizer = optimizer
        self._optimizers: list[Optimizer] = [] if optimizer is None else [optimizer]
        self._added_optimizers: list[tuple[Optimizer, list[Any]]] = []
        self._force_params_visible_to_parent = False
        self._assignment: tuple[Any, _optimizer_tree.Assignment] | None = None

        self._replay_buffer: Any = None
        self._replay_buffer_num_envs: int | None = None
        self._replay_buffer_max_length: int | None = None
        self._prioritized_sampling = False
        # Specs are learnt from the first data.
        self._experience_spec: Nest = None
        self._processed_experience_spec: Nest = None
        self._train_info_spec: Nest = None
        self._rollout_info_spec: Nest = None

        self._data_transformer = None if config is None else config.data_transformer
        stack_size = 1 if self._data_transformer is None else self._data_transformer.stack_size
        self._num_earliest_frames_ignored = stack_size - 1
        if is_on_policy is not None:
            self.set_on_policy(is_on_policy)

    def _post_init(self) -> None:
        """What can only be done when all of the object is there."""
        if self._config is not None and self._config.use_rollout_state:
            self.use_rollout_state = True
        if self._checkpoint is not None:
            self._pre_load(self._checkpoint)

    # ---- What it is -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of this algorithm."""
        return self._name

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
        """Is there offline data? Not in this engine."""
        return False

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

    # ---- Optimizers -------------------------------------------------------------------------

    def _trainable_attributes_to_ignore(self) -> list[str]:
        """Names of attributes whose parameters are none of this algorithm's business."""
        return []

    def _child_algorithms(self) -> Iterable[Algorithm]:
        """The next algorithms below, outside of ignored attributes."""
        ignored = self._trainable_attributes_to_ignore()
        stack = [m for name, m in self._modules.items() if m is not None and name not in ignored]
        seen: set[int] = {id(self)}
        while stack:
            module = stack.pop(0)
            if id(module) in seen:
                continue
            seen.add(id(module))
            if isinstance(module, Algorithm):
                yield module
            else:
                stack.extend(m for m in module._modules.values() if m is not None)

    @property
    def default_optimizer(self) -> Optimizer | None:
        """The optimizer of all parameters that have no other one."""
        return self._default_optimizer

    def add_optimizer(
        self, optimizer: Optimizer, modules_and_params: Iterable[nn.Module | nn.Parameter]
    ) -> None:
        """Let `optimizer` train these modules and parameters, which must be attributes too."""
        if optimizer is None:
            raise ValueError(f"{self._name}.add_optimizer(): the optimizer is None")
        if all(optimizer is not known for known in self._optimizers):
            self._optimizers.append(optimizer)
        self._added_optimizers.append((optimizer, list(modules_and_params)))
        self._assignment = None

    @property
    def force_params_visible_to_parent(self) -> bool:
        """Does the parent's optimizer train this algorithm's parameters too? Normally not."""
        return self._force_params_visible_to_parent

    @force_params_visible_to_parent.setter
    def force_params_visible_to_parent(self, flag: bool) -> None:
        self._force_params_visible_to_parent = flag

    def optimizers(
        self, recurse: bool = True, include_ignored_attributes: bool = False
    ) -> list[Optimizer]:
        """The optimizers of this algorithm, each once.

        Args:
            recurse: those of child algorithms too.
            include_ignored_attributes: and of those under ignored attributes.
        """
        self._setup_optimizers()
        if not recurse:
            return list(self._optimizers)
        if include_ignored_attributes:
            algorithms = [m for m in self.modules() if isinstance(m, Algorithm)]
        else:
            algorithms = [self]
            for algorithm in algorithms:
                algorithms.extend(c for c in algorithm._child_algorithms() if c not in algorithms)
        found = {id(o): o for algorithm in algorithms for o in algorithm._optimizers}
        return list(found.values())

    def _setup_optimizers(self) -> _optimizer_tree.Assignment:
        """Give the optimizers their parameters; computed again only if the modules changed."""
        signature = _optimizer_tree.signature(self)
        if self._assignment is None or self._assignment[0] != signature:
            self._assignment = (signature, _optimizer_tree.assign(self))
        return self._assignment[1]

    def _setup_all_optimizers(self) -> None:
        """As `_setup_optimizers()`, for algorithms under ignored attributes as well."""
        covered: set[int] = set()
        for module in self.modules():
            if isinstance(module, Algorithm) and id(module) not in covered:
                covered |= module._setup_optimizers().algorithms

    def get_optimizer_info(self) -> str:
        """Json text: which optimizer, with which settings, trains which parameters."""
        return _optimizer_tree.describe(self._setup_optimizers())

    def get_unoptimized_parameter_info(self) -> str:
        """The names of all parameters no optimizer trains, those in plain containers included."""
        self._setup_all_optimizers()
        optimizers = self.optimizers(include_ignored_attributes=True)
        trained = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
        # each parameter once, under the first name
        names: dict[int, str] = {}
        for name, param in common.get_all_parameters(self):
            if id(param) not in trained:
                names.setdefault(id(param), name)
        return "\n".join(sorted(names.values()))

    def get_param_name(self, param: nn.Parameter) -> str | None:
        """The path of a parameter; None if it is not one of this algorithm."""
        return next((name for name, p in self.named_parameters() if p is param), None)

    def compute_paras_statistics(self) -> dict[str, np.ndarray]:
        """For each parameter its L1 norm, L2 norm, mean and standard deviation."""
        statistics = {}
        for name, p in self.named_parameters():
            x = p.detach().double()
            values = torch.stack([x.abs().sum(), x.norm(), x.mean(), x.std(correction=0)])
            statistics[name] = values.cpu().numpy()
        return statistics

    def activate_ddp(self, rank: int) -> None:
        """Average gradients over processes from now on.

        Args:
            rank: number of this process, which is also that of its CUDA device.
        """
        self._ddp_activated_rank = rank

    # ---- Checkpoints ------------------------------------------------------------------------

    @property
    def pre_loaded(self) -> bool:
        """Did the parameters come from the constructor's `checkpoint`?"""
        return self._pre_loaded

    def _pre_load(self, checkpoint: str) -> None:
        prefix, at, path = checkpoint.rpartition("@")
        state = checkpoint_utils.extract_sub_state_dict_from_checkpoint(
            prefix if at else "alg", path
        )
        _state_dict.load(self, state, with_optimizers=False)
        self._pre_loaded = True

    def state_dict(
        self,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        visited: set[int] | None = None,
        *,
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """The state of modules and optimizers (`<path>_optimizers.<i>`).

        Cycles end, and shared modules and parameters are saved once, under the first path in
        registration order. Modules with disabled checkpoints are left out.

        Args:
            destination: where it is put; None: a new dict.
            prefix: put before each key.
            visited: ids of what is saved already; grows.
            keep_vars: whether tensors stay attached to the graph.
        """
        self._setup_all_optimizers()
        destination = {} if destination is None else destination
        visited = set() if visited is None else visited
        return _state_dict.save(self, destination, prefix, visited, keep_vars)

    def load_state_dict(
        self, state_dict: dict[str, Any], strict: bool = True, skip_preloded: bool = True
    ) -> _state_dict.IncompatibleKeys:
        """Load what `state_dict()` gave.

        Args:
            strict: raise RuntimeError listing missing and unexpected keys, if there are any.
            skip_preloded: leave algorithms alone whose parameters came from `checkpoint`.

        Returns:
            The missing and the unexpected keys.
        """
        self._setup_all_optimizers()

        def skip(module: nn.Module) -> bool:
            return skip_preloded and isinstance(module, Algorithm) and module.pre_loaded

        return _state_dict.load(self, state_dict, strict, skip)

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
        _replay_training.store(self, exp)

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
        """`train()` or `eval()`; nothing is done where the mode is right already."""
        if self.training != training:
            self.train(training)

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
        return _gradient_step.update(self, loss_info, valid_masks, weight, batch_info)

    def train_from_unroll(self, experience: Experience, train_info: Nest) -> int:
        masks = None
        if self._config.mask_out_loss_for_last_step:
            masks = (experience.step_type != StepType.LAST).to(torch.float32)
        with _gradient_step.autocast(self):
            loss_info = self.calc_loss(train_info)
        loss_info, params = self.update_with_gradient(loss_info, masks)
        self.after_update(experience.time_step, train_info)
        self.summarize_train(experience, train_info, loss_info, params)
        return experience.step_type.numel()

    @mark_replay
    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        return _replay_training.train(self, update_global_counter)

    @data_distributed
    def _compute_train_info_and_loss_info(self, experience: Experience) -> tuple[Nest, LossInfo]:
        """Infos and loss of a mini batch `[T, B, ...]`."""
        return _replay_training.train_info_and_loss(self, experience)

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
        return AlgStep(output=(), state=() if state is None else state, info=inputs)

    def train_step(self, inputs: Nest, state: Nest = None, rollout_info: Nest = None) -> AlgStep:
        return self.rollout_step(inputs, state)

    def calc_loss(self, info: Nest) -> LossInfo:
        """The inputs are [T, B]."""
        return LossInfo(loss=self._loss_weight * info, extra=info)
