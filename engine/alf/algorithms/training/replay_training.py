"""Off-policy training: records go into a replay buffer, mini batches come out, gradients follow."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from alf.algorithms.training import gradient_step
from alf.algorithms.training.carried_spec import links_steps
from alf.algorithms.training.row_layout import rows_are
from alf.config_util import is_configured
from alf.data_structures import Experience, LossInfo, StepType, add_batch_info, clear_batch_info
from alf.experience_replayers.replay_buffer import BatchInfo, ReplayBuffer
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import dist_utils, finite_updates
from alf.utils._messages import warning_once
from alf.utils._policy_state import reset_state_if_necessary
from alf.utils.finite_checks import explained
from alf.utils.schedulers import as_scheduler
from alf.utils.summary_utils import record_time

Nest = Any


# ---- Storing --------------------------------------------------------------------------------


def store(alg: Any, exp: Experience) -> None:
    """Put one record of each environment of `exp` into the replay buffer, made if there is none."""
    if not alg.use_rollout_state:
        exp = exp._replace(state=())
    elif alg.rollout_state_spec is not alg.train_state_spec:
        exp = exp._replace(
            state=nest.prune_nest_like(exp.state, alg.train_state_spec, value_to_match=())
        )
    if alg._replay_buffer is None and not _make_buffer(alg, exp):
        return
    if alg._has_trained_from_all:
        _forget_all_but_newest(alg)
    alg._replay_buffer.add_batch(dist_utils.distributions_to_params(exp), exp.env_id)


def _forget_all_but_newest(alg: Any) -> None:
    """What was trained from goes, but for the newest step: its outcome comes only now."""
    buffer = alg._replay_buffer
    kept = 1 + alg._num_earliest_frames_ignored
    buffer.remove_up_to(max(int(buffer._current_size.max()) - kept, 0))
    alg._has_trained_from_all = False


def _make_buffer(alg: Any, exp: Experience) -> bool:
    if alg._replay_buffer_num_envs is None:
        warning_once(
            "%s.observe_for_replay(): experience is dropped, because set_replay_buffer() was not "
            "called",
            alg.name,
        )
        return False
    alg._experience_spec = dist_utils.extract_spec(exp)
    if alg._rollout_info_spec is None:
        alg._rollout_info_spec = alg._experience_spec.rollout_info
    # Without its experience a resumed run would learn from little and unlike the one that stopped;
    # ALF's own default keeps none.
    make = ReplayBuffer
    if not is_configured("ReplayBuffer.enable_checkpoint"):
        make = functools.partial(ReplayBuffer, enable_checkpoint=True)
    alg._replay_buffer = make(
        data_spec=dist_utils.to_distribution_param_spec(alg._experience_spec),
        num_environments=alg._replay_buffer_num_envs,
        max_length=alg._replay_buffer_max_length,
        num_earliest_frames_ignored=alg._num_earliest_frames_ignored,
        prioritized_sampling=alg._prioritized_sampling,
        name=f"{alg.name}_replay_buffer",
    )
    return True


# ---- Sampling -------------------------------------------------------------------------------


class Method(NamedTuple):
    """How an algorithm is trained from one kind of data.

    Attributes:
        train_step: called with time step, state and rollout info.
        calc_loss: called with the infos.
        processed_spec: attribute of the algorithm with the spec of the preprocessed experience.
        info_spec: attribute of the algorithm with the spec of the infos.
    """

    train_step: Callable[..., Any]
    calc_loss: Callable[..., LossInfo]
    processed_spec: str
    info_spec: str


def online(alg: Any) -> Method:
    """How `alg` is trained from its own experience."""
    return Method(alg.train_step, alg.calc_loss, "_processed_experience_spec", "_train_info_spec")


def is_ready(alg: Any) -> bool:
    """Is there enough own experience to train from?"""
    buffer = alg._replay_buffer
    if buffer is None or alg._has_trained_from_all:
        return False
    return buffer.total_size >= max(alg._config.initial_collect_steps, 1)


def train(alg: Any, update_global_counter: bool) -> int:
    """One iteration of training from the replay buffer; returns the number of trained samples."""
    if not is_ready(alg):
        return 0
    config = alg._config
    num_epochs = config.num_updates_per_train_iter if config.whole_replay_buffer_training else 1
    with record_time("time/replay"):
        if config.whole_replay_buffer_training:
            experience, info = alg._replay_buffer.gather_all(ignore_earliest_frames=True)
        else:
            experience, info = sample(alg, alg._replay_buffer)
    with record_time("time/train"):
        experience, info = prepare(
            alg, experience, info, alg._replay_buffer, alg.experience_spec, online(alg)
        )
        size = mini_batch_size(alg, alg._replay_buffer)
        batches = mini_batches(experience, info, size, num_epochs)
        num_updates = num_epochs * max(experience.step_type.shape[1] // size, 1)
        count = config.update_counter_every_mini_batch and update_global_counter
        for batch in summarized_at_end(batches, num_updates, count):
            _update(alg, *batch)
    if config.clear_replay_buffer:
        clear(alg)
    return num_epochs * experience.step_type.numel()


def clear(alg: Any) -> None:
    """Forget what was trained from; of the whole buffer the newest step stays, when more comes."""
    if alg._config.whole_replay_buffer_training:
        alg._has_trained_from_all = True
    else:
        alg._replay_buffer.clear()


def mini_batch_size(alg: Any, buffer: ReplayBuffer) -> int:
    """Sequences in a mini batch."""
    return alg._config.mini_batch_size or buffer.num_environments


def sample(alg: Any, buffer: ReplayBuffer) -> tuple[Experience, BatchInfo]:
    """Sequences `[B, T, ...]` for all updates of an iteration."""
    config = alg._config
    if config.mini_batch_length is None:
        raise ValueError(
            f"{alg.name!r} samples sequences, but mini_batch_length of its config is None"
        )
    size = mini_batch_size(alg, buffer) * config.num_updates_per_train_iter
    return buffer.get_batch(size, config.mini_batch_length)


def prepare(
    alg: Any,
    experience: Experience,
    batch_info: BatchInfo,
    buffer: ReplayBuffer,
    spec: Nest,
    method: Method,
) -> tuple[Experience, BatchInfo]:
    """What training sees of sampled experience.

    Args:
        experience: [B, T, ...], as it was stored, distributions as parameters.
        spec: its spec, with distributions.

    Returns:
        Preprocessed experience `[T, B, ...]`, time first, distributions as parameters, in sequences
        of `mini_batch_length`.
    """
    env_ids = batch_info.env_ids if isinstance(batch_info.env_ids, torch.Tensor) else None
    watched = explained(alg, "update", env_ids=env_ids, experience=experience)
    with record_time("time/preprocess_experience"), watched:
        experience = _preprocess(alg, experience, batch_info, buffer, spec, method)
    experience, batch_info = _cut(experience, batch_info, alg._config.mini_batch_length)
    return nest.map_structure(lambda x: x.transpose(0, 1), experience), batch_info


def mini_batches(
    experience: Experience, batch_info: BatchInfo, size: int, num_epochs: int = 1
) -> Iterator[tuple[Experience, BatchInfo, float]]:
    """Mini batches `[T, size, ...]` of `[T, B, ...]` in random order, with their weights.

    All of the experience is in them `num_epochs` times. Sizes are made almost equal where `size`
    does not divide the experience: 14 sequences by 4 are 5, 5, 4. The weight of a smaller one is
    its share of a whole one.
    """
    batch_size = experience.step_type.shape[1]
    if batch_size <= size:
        for _ in range(num_epochs):
            yield experience, batch_info, batch_size / size
        return
    size = math.ceil(batch_size / (batch_size // size))
    for _ in range(num_epochs):
        order = torch.randperm(batch_size, device=experience.step_type.device)
        for start in range(0, batch_size, size):
            rows = order[start : start + size]
            yield (
                nest.map_structure(lambda x, rows=rows: x.index_select(1, rows), experience),
                _map_info(lambda x, rows=rows: x.index_select(0, rows), batch_info),
                len(rows) / size,
            )


def summarized_at_end(
    batches: Iterator[Any], num_batches: int, count_mini_batches: bool
) -> Iterator[Any]:
    """The batches, with summaries only while the last is worked on, or if each is counted."""
    enabled = summary.is_summary_enabled()
    try:
        for u, batch in enumerate(batches):
            if count_mini_batches:
                summary.increment_global_counter()
            summary.enable_summary(enabled and (count_mini_batches or u == num_batches - 1))
            yield batch
    finally:
        summary.enable_summary(enabled)


def _preprocess(
    alg: Any,
    experience: Experience,
    batch_info: BatchInfo,
    buffer: ReplayBuffer,
    spec: Nest,
    method: Method,
) -> Experience:
    """Transformed and preprocessed experience [B, T, ...], distributions as parameters."""
    experience = _with_distributions(experience, spec)
    experience = add_batch_info(experience, batch_info, buffer)
    experience = clear_batch_info(alg.transform_experience(experience))
    time_step, rollout_info = alg.preprocess_experience(
        experience.time_step, experience.rollout_info, batch_info
    )
    experience = experience._replace(time_step=time_step, rollout_info=rollout_info)
    if getattr(alg, method.processed_spec) is None:
        setattr(alg, method.processed_spec, dist_utils.extract_spec(experience, from_dim=2))
    return dist_utils.distributions_to_params(experience)


def _cut(
    experience: Experience, batch_info: BatchInfo, length: int | None
) -> tuple[Experience, BatchInfo]:
    """Sequences of `length` steps: [B, T, ...] becomes [B * (T // length), length, ...].

    The newest steps that make no whole sequence are left out.
    """
    total = experience.step_type.shape[1]
    if length is None or length == total:
        return experience, batch_info
    if total < length:
        raise ValueError(
            f"the replay buffer holds {total} steps of each environment, which are fewer than "
            f"mini_batch_length={length}"
        )
    pieces = total // length
    total = pieces * length
    experience = nest.map_structure(lambda x: x[:, :total], experience)
    experience = nest.map_structure(lambda x: x.reshape(-1, length, *x.shape[2:]), experience)
    starts = torch.arange(0, total, length, device=experience.step_type.device)
    positions = batch_info.positions
    info = _map_info(lambda x: x.repeat_interleave(pieces, dim=0), batch_info)
    if isinstance(positions, torch.Tensor):
        starts = starts.to(positions.device)
        info = info._replace(positions=(positions.unsqueeze(1) + starts).reshape(-1))
    returns = batch_info.discounted_return
    if isinstance(returns, torch.Tensor):
        info = info._replace(discounted_return=returns[:, :total].reshape(-1, length))
    return experience, info


def _map_info(func: Any, batch_info: BatchInfo) -> BatchInfo:
    mapped = nest.map_structure(func, batch_info._replace(replay_buffer=()))
    return mapped._replace(replay_buffer=batch_info.replay_buffer)


def _with_distributions(params: Nest, spec: Nest) -> Nest:
    """`params` with distributions where `spec` has them."""
    if any(isinstance(leaf, dist_utils.DistributionSpec) for leaf in nest.flatten(spec)):
        return dist_utils.params_to_distributions(params, spec)
    return params


# ---- One update -----------------------------------------------------------------------------


def _update(alg: Any, experience: Experience, batch_info: BatchInfo, weight: float) -> None:
    """One gradient step from a mini batch [T, B, ...], distributions as parameters."""
    with finite_updates.watch_of(alg).on(alg, experience, batch_info):
        with gradient_step.autocast(alg):
            train_info, loss = alg._compute_train_info_and_loss_info(experience)
        loss_info, params = alg.update_with_gradient(
            loss, valid_masks(alg, experience), weight, batch_info
        )
        update_priorities(alg, batch_info, loss)
    conclude(alg, experience, train_info, loss_info, params, online(alg))


def conclude(
    alg: Any,
    experience: Experience,
    train_info: Nest,
    loss_info: LossInfo,
    params: Any,
    method: Method,
) -> None:
    """What follows a gradient step."""
    alg.after_update(experience.time_step, train_info)
    if summary.should_record_summaries():
        experience = _with_distributions(experience, getattr(alg, method.processed_spec))
        alg.summarize_train(experience, train_info, loss_info, params)


def valid_masks(alg: Any, experience: Experience) -> torch.Tensor | None:
    """[T, B], 0 where the loss does not count; None: it counts everywhere."""
    if not alg._config.mask_out_loss_for_last_step:
        return None
    return (experience.step_type != StepType.LAST).to(torch.float32)


def update_priorities(alg: Any, batch_info: BatchInfo, loss_info: LossInfo) -> None:
    """Tell a prioritized replay buffer what the loss says of the sampled spans."""
    config = alg._config
    if isinstance(loss_info.priority, torch.Tensor):
        if isinstance(batch_info.importance_weights, torch.Tensor):
            alpha = as_scheduler(config.priority_replay_alpha)()
            priority = (loss_info.priority.detach() + config.priority_replay_eps) ** alpha
            if finite_updates.watch_of(alg).has_skipped:
                return  # a loss that is not finite says nothing of the spans
            batch_info.replay_buffer.update_priority(
                batch_info.env_ids, batch_info.positions, priority
            )
    elif config.priority_replay and isinstance(batch_info.importance_weights, torch.Tensor):
        raise ValueError(
            f"TrainerConfig.priority_replay is True, but the loss of {alg.name!r} gives no priority"
        )


def train_info_and_loss(alg: Any, experience: Experience, method: Method) -> tuple[Nest, LossInfo]:
    """Infos and loss of a mini batch `[T, B, ...]`, distributions as parameters."""
    independent = alg._config.temporally_independent_train_step
    if independent is None:
        independent = not links_steps(alg.train_state_spec)
    if independent or experience.step_type.shape[0] == 1:
        info = _train_steps_at_once(alg, experience, method)
    else:
        info = _train_steps_in_order(alg, experience, method)
    info = _with_distributions(info, getattr(alg, method.info_spec))
    return info, method.calc_loss(info)


def _train_steps_at_once(alg: Any, experience: Experience, method: Method) -> Nest:
    T, B = experience.step_type.shape
    flat = nest.map_structure(lambda x: x.reshape(T * B, *x.shape[2:]), experience)
    with rows_are(alg, T, B):
        info = _train_step(alg, flat, _first_state(alg, flat), method)[0]
    return nest.map_structure(lambda x: x.reshape(T, B, *x.shape[1:]), info)


def _train_steps_in_order(alg: Any, experience: Experience, method: Method) -> Nest:
    infos = []
    state: Nest = None
    for t in range(experience.step_type.shape[0]):
        step = nest.map_structure(lambda x, t=t: x[t], experience)
        state = _first_state(alg, step) if t == 0 else state
        info, state = _train_step(alg, step, state, method)
        infos.append(info)
    return nest.map_structure(lambda *xs: torch.stack(xs), *infos)


def _first_state(alg: Any, step: Experience) -> Nest:
    """The state [B, ...] before `step`: the stored one, if there is one, else zeros."""
    if alg.use_rollout_state and nest.flatten(step.state):
        return step.state
    return alg.get_initial_train_state(step.step_type.shape[0])


def _train_step(alg: Any, step: Experience, state: Nest, method: Method) -> tuple[Nest, Nest]:
    """Info, distributions as parameters, and state after one train step [B, ...]."""
    if alg._is_rnn:
        initial = alg.get_initial_train_state(step.step_type.shape[0])
        state = reset_state_if_necessary(state, initial, step.is_first())
    step = _with_distributions(step, getattr(alg, method.processed_spec))
    result = method.train_step(step.time_step, state, step.rollout_info)
    if getattr(alg, method.info_spec) is None:
        setattr(alg, method.info_spec, dist_utils.extract_spec(result.info))
    return dist_utils.distributions_to_params(result.info), result.state
