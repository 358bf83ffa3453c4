"""Off-policy training: records go into a replay buffer, mini batches come out, gradients follow."""

from __future__ import annotations

import math
from typing import Any

import torch

from alf.algorithms import _gradient_step
from alf.data_structures import Experience, LossInfo, StepType, add_batch_info, clear_batch_info
from alf.experience_replayers.replay_buffer import BatchInfo, ReplayBuffer
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import common, dist_utils
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
    alg._replay_buffer.add_batch(dist_utils.distributions_to_params(exp), exp.env_id)


def _make_buffer(alg: Any, exp: Experience) -> bool:
    if alg._replay_buffer_num_envs is None:
        common.warning_once(
            "%s.observe_for_replay(): experience is dropped, because set_replay_buffer() was not "
            "called",
            alg.name,
        )
        return False
    alg._experience_spec = dist_utils.extract_spec(exp)
    if alg._rollout_info_spec is None:
        alg._rollout_info_spec = alg._experience_spec.rollout_info
    alg._replay_buffer = ReplayBuffer(
        data_spec=dist_utils.to_distribution_param_spec(alg._experience_spec),
        num_environments=alg._replay_buffer_num_envs,
        max_length=alg._replay_buffer_max_length,
        num_earliest_frames_ignored=alg._num_earliest_frames_ignored,
        prioritized_sampling=alg._prioritized_sampling,
        name=f"{alg.name}_replay_buffer",
    )
    return True


# ---- Sampling -------------------------------------------------------------------------------


def train(alg: Any, update_global_counter: bool) -> int:
    """One iteration of training from the replay buffer; returns the number of trained samples."""
    config, buffer = alg._config, alg._replay_buffer
    if buffer is None or buffer.total_size < max(config.initial_collect_steps, 1):
        return 0
    mini_batch_size = config.mini_batch_size or buffer.num_environments
    with record_time("time/replay"):
        if config.whole_replay_buffer_training:
            experience, batch_info = buffer.gather_all(ignore_earliest_frames=True)
            num_epochs, batch_length = config.num_updates_per_train_iter, config.mini_batch_length
        else:
            if config.mini_batch_length is None:
                raise ValueError(
                    f"{alg.name!r} samples sequences, but mini_batch_length of its config is None"
                )
            experience, batch_info = buffer.get_batch(
                mini_batch_size * config.num_updates_per_train_iter, config.mini_batch_length
            )
            num_epochs, batch_length = 1, config.mini_batch_length
    with record_time("time/train"):
        steps = _train_experience(
            alg,
            experience,
            batch_info,
            num_epochs,
            mini_batch_size,
            batch_length,
            config.update_counter_every_mini_batch and update_global_counter,
        )
    if config.clear_replay_buffer:
        buffer.clear()
    return steps


def _train_experience(
    alg: Any,
    experience: Experience,
    batch_info: BatchInfo,
    num_epochs: int,
    mini_batch_size: int,
    mini_batch_length: int | None,
    count_mini_batches: bool,
) -> int:
    """Train from [B, T, ...], `num_epochs` times, in mini batches of so many rows and steps."""
    with record_time("time/preprocess_experience"):
        experience = _preprocess(alg, experience, batch_info)
    experience, batch_info = _cut(experience, batch_info, mini_batch_length)
    # time first, as training wants it
    experience = nest.map_structure(lambda x: x.transpose(0, 1), experience)
    batch_size = experience.step_type.shape[1]
    num_mini_batches = math.ceil(batch_size / mini_batch_size)
    num_updates = num_epochs * num_mini_batches
    enabled = summary.is_summary_enabled()
    try:
        for u in range(num_updates):
            if u % num_mini_batches == 0 and num_mini_batches > 1:
                order = torch.randperm(batch_size, device=experience.step_type.device)
            if count_mini_batches:
                summary.increment_global_counter()
            summary.enable_summary(enabled and (count_mini_batches or u == num_updates - 1))
            if num_mini_batches == 1:
                _update(alg, experience, batch_info, batch_size / mini_batch_size)
                continue
            start = u % num_mini_batches * mini_batch_size
            rows = order[start : start + mini_batch_size]
            _update(
                alg,
                nest.map_structure(lambda x, rows=rows: x.index_select(1, rows), experience),
                _map_info(lambda x, rows=rows: x.index_select(0, rows), batch_info),
                len(rows) / mini_batch_size,
            )
    finally:
        summary.enable_summary(enabled)
    return num_epochs * experience.step_type.numel()


def _preprocess(alg: Any, experience: Experience, batch_info: BatchInfo) -> Experience:
    """Transformed and preprocessed experience [B, T, ...], distributions as parameters."""
    experience = _with_distributions(experience, alg.experience_spec)
    experience = add_batch_info(experience, batch_info, alg._replay_buffer)
    experience = clear_batch_info(alg.transform_experience(experience))
    time_step, rollout_info = alg.preprocess_experience(
        experience.time_step, experience.rollout_info, batch_info
    )
    experience = experience._replace(time_step=time_step, rollout_info=rollout_info)
    if alg._processed_experience_spec is None:
        alg._processed_experience_spec = dist_utils.extract_spec(experience, from_dim=2)
    return dist_utils.distributions_to_params(experience)


def _cut(
    experience: Experience, batch_info: BatchInfo, length: int | None
) -> tuple[Experience, BatchInfo]:
    """Sequences of `length` steps: [B, T, ...] becomes [B * T / length, length, ...]."""
    total = experience.step_type.shape[1]
    if length is None or length == total:
        return experience, batch_info
    if total % length != 0:
        raise ValueError(
            f"the replay buffer holds {total} steps of each environment, which cannot be cut into "
            f"sequences of mini_batch_length={length}"
        )
    pieces = total // length
    experience = nest.map_structure(lambda x: x.reshape(-1, length, *x.shape[2:]), experience)
    starts = torch.arange(0, total, length, device=experience.step_type.device)
    positions = batch_info.positions
    info = _map_info(lambda x: x.repeat_interleave(pieces, dim=0), batch_info)
    if isinstance(positions, torch.Tensor):
        starts = starts.to(positions.device)
        info = info._replace(positions=(positions.unsqueeze(1) + starts).reshape(-1))
    returns = batch_info.discounted_return
    if isinstance(returns, torch.Tensor):
        info = info._replace(discounted_return=returns.reshape(-1, length))
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
    with _gradient_step.autocast(alg):
        train_info, loss_info = alg._compute_train_info_and_loss_info(experience)
    _update_priorities(alg, batch_info, loss_info)
    masks = None
    if alg._config.mask_out_loss_for_last_step:
        masks = (experience.step_type != StepType.LAST).to(torch.float32)
    loss_info, params = alg.update_with_gradient(loss_info, masks, weight, batch_info)
    alg.after_update(experience.time_step, train_info)
    if summary.should_record_summaries():
        experience = _with_distributions(experience, alg.processed_experience_spec)
        alg.summarize_train(experience, train_info, loss_info, params)


def _update_priorities(alg: Any, batch_info: BatchInfo, loss_info: LossInfo) -> None:
    config = alg._config
    if isinstance(loss_info.priority, torch.Tensor):
        if isinstance(batch_info.importance_weights, torch.Tensor):
            alpha = as_scheduler(config.priority_replay_alpha)()
            priority = loss_info.priority.detach() ** alpha + config.priority_replay_eps
            batch_info.replay_buffer.update_priority(
                batch_info.env_ids, batch_info.positions, priority
            )
    elif config.priority_replay and isinstance(batch_info.importance_weights, torch.Tensor):
        raise ValueError(
            f"TrainerConfig.priority_replay is True, but the loss of {alg.name!r} gives no priority"
        )


def train_info_and_loss(alg: Any, experience: Experience) -> tuple[Nest, LossInfo]:
    """See `Algorithm._compute_train_info_and_loss_info()`."""
    independent = alg._config.temporally_independent_train_step
    if independent is None:
        independent = len(nest.flatten(alg.train_state_spec)) == 0
    if independent or experience.step_type.shape[0] == 1:
        info = _train_steps_at_once(alg, experience)
    else:
        info = _train_steps_in_order(alg, experience)
    info = _with_distributions(info, alg.train_info_spec)
    return info, alg.calc_loss(info)


def _train_steps_at_once(alg: Any, experience: Experience) -> Nest:
    T, B = experience.step_type.shape
    flat = nest.map_structure(lambda x: x.reshape(T * B, *x.shape[2:]), experience)
    info = _train_step(alg, flat, _first_state(alg, flat))[0]
    return nest.map_structure(lambda x: x.reshape(T, B, *x.shape[1:]), info)


def _train_steps_in_order(alg: Any, experience: Experience) -> Nest:
    infos = []
    state: Nest = None
    for t in range(experience.step_type.shape[0]):
        step = nest.map_structure(lambda x, t=t: x[t], experience)
        state = _first_state(alg, step) if t == 0 else state
        info, state = _train_step(alg, step, state)
        infos.append(info)
    return nest.map_structure(lambda *xs: torch.stack(xs), *infos)


def _first_state(alg: Any, step: Experience) -> Nest:
    """The state [B, ...] before `step`: the stored one, else zeros."""
    if alg.use_rollout_state:
        return step.state
    return alg.get_initial_train_state(step.step_type.shape[0])


def _train_step(alg: Any, step: Experience, state: Nest) -> tuple[Nest, Nest]:
    """Info, distributions as parameters, and state after one train step [B, ...]."""
    if alg._is_rnn:
        initial = alg.get_initial_train_state(step.step_type.shape[0])
        state = common.reset_state_if_necessary(state, initial, step.is_first())
    step = _with_distributions(step, alg.processed_experience_spec)
    result = alg.train_step(step.time_step, state, step.rollout_info)
    if alg._train_info_spec is None:
        alg._train_info_spec = dist_utils.extract_spec(result.info)
    return dist_utils.distributions_to_params(result.info), result.state
