"""Replay buffer: one ring per environment, sampled in spans of consecutive records."""

from __future__ import annotations

from typing import Any

import torch
from absl import logging

from alf.config_util import configurable
from alf.data_structures import StepType, namedtuple
from alf.experience_replayers._episode_index import EpisodeIndex, EpisodicReturns
from alf.experience_replayers._indexed_ring import IndexedRing, leaf_number
from alf.experience_replayers._priorities import SpanPriorities
from alf.experience_replayers._stratified_spans import StratifiedSpans
from alf.utils import checkpoint_utils
from alf.utils.data_buffer import atomic, to_default_device

__all__ = ["BatchInfo", "ReplayBuffer"]

BatchInfo = namedtuple(
    "BatchInfo",
    ["env_ids", "positions", "importance_weights", "replay_buffer", "discounted_return"],
    default_value=(),
)
"""Where a batch of spans came from.

    env_ids: int64 [B], the environment of each span.
    positions: int64 [B], the position of the first record of each span.
    importance_weights: [B], probability of the span relative to uniform sampling, so that weights
        of 1 mean "as often as any other"; only with prioritized sampling.
    replay_buffer: the buffer.
    discounted_return: [B, T], only with `record_episodic_return`.
"""


@configurable
class ReplayBuffer(IndexedRing):
    """Records of B environments, each the newest `max_length` of its environment, for training.

    Environments may be filled at different rates: `add_batch` takes any subset of them.

    Uniform sampling is stratified: each environment gives the same number of spans (give or take
    one), however many records it has. Prioritized sampling is over all spans of all environments.

    Args:
        data_spec: nest of `TensorSpec` of one record, usually an `Experience`.
        num_environments: B.
        max_length: the length of each ring.
        num_earliest_frames_ignored: so many of the oldest records of each environment start no
            span; a `FrameStacker` looks back to them.
        prioritized_sampling: sample spans in proportion to the priority of their first record.
        initial_priority: what the priority of a new record is at least. It is the largest priority
            of all records, so that what is new is drawn soon.
        recent_data_steps: the newest so many spans of each environment count as recent.
        recent_data_ratio: so large a part of each batch is drawn from recent spans only.
        with_replacement: draw spans independently. By default draws are spread evenly: without
            priorities no span occurs twice as long as there are enough of them.
        device: where the records are stored.
        allow_multiprocess: only False is supported.
        keep_episodic_info: keep track of the begin and end of episodes. None means: if
            `num_earliest_frames_ignored` or `record_episodic_return` needs it.
        record_episodic_return: keep the discounted return of each record. It is known once the
            episode has terminated; before, and after a time limit, it is `default_return`.
        default_return: see `record_episodic_return`.
        gamma: discount of `record_episodic_return`.
        reward_clip: (min, max) of the rewards in `record_episodic_return`; None for no limits.
        enable_checkpoint: whether the records go into checkpoints. An algorithm's own buffer does
            unless this is configured. After loading, the newest record of each environment is made
            the last of its episode, as the environment starts anew; see `continue_episodes()`.
        name: name of the buffer.
    """

    def __init__(
        self,
        data_spec: Any,
        num_environments: int,
        max_length: int = 1024,
        num_earliest_frames_ignored: int = 0,
        prioritized_sampling: bool = False,
        initial_priority: float = 1.0,
        recent_data_steps: int = 1,
        recent_data_ratio: float = 0.0,
        with_replacement: bool = False,
        device: str = "cpu",
        allow_multiprocess: bool = False,
        keep_episodic_info: bool | None = None,
        record_episodic_return: bool = False,
        default_return: float = -1000.0,
        gamma: float = 0.99,
        reward_clip: tuple[float, float] | None = None,
        enable_checkpoint: bool = False,
        name: str = "ReplayBuffer",
    ) -> None:
        if keep_episodic_info is None:
            keep_episodic_info = num_earliest_frames_ignored > 0 or record_episodic_return
        if record_episodic_return and not keep_episodic_info:
            raise ValueError(f"{name}: record_episodic_return=True needs keep_episodic_info")
        super().__init__(data_spec, num_environments, max_length, device, allow_multiprocess, name)
        self._num_earliest_frames_ignored = num_earliest_frames_ignored
        self._initial_priority = initial_priority
        self._recent_data_steps = recent_data_steps
        self._recent_data_ratio = recent_data_ratio
        self._with_replacement = with_replacement
        self._compares_batch_size = True
        self._leaf_of = {
            field: leaf_number(data_spec, field) for field in ("step_type", "reward", "discount")
        }
        if keep_episodic_info:
            self._require_fields("keep_episodic_info", "step_type")
        if record_episodic_return:
            self._require_fields("record_episodic_return", "step_type", "reward", "discount")
        self._priorities = (
            SpanPriorities(
                num_environments,
                max_length,
                num_earliest_frames_ignored,
                initial_priority,
                self._device,
            )
            if prioritized_sampling
            else None
        )
        self._episodes = (
            EpisodeIndex(num_environments, max_length, self._device) if keep_episodic_info else None
        )
        self._returns = (
            EpisodicReturns(self._stored("reward"), default_return, gamma, reward_clip)
            if record_episodic_return
            else None
        )
        self._ended: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._stratified = StratifiedSpans(num_environments, with_replacement)
        checkpoint_utils.enable_checkpoint(self, enable_checkpoint)

    def _require_fields(self, option: str, *fields: str) -> None:
        missing = [f for f in fields if self._leaf_of[f] is None]
        if missing:
            raise ValueError(
                f"{self.name}: {option} needs records with {', '.join(fields)} (as TimeStep and "
                f"Experience have); {', '.join(missing)} not found in {self._data_spec}"
            )

    def _stored(self, field: str) -> torch.Tensor:
        """Storage [B, max_length, ...] of "step_type", "reward" or "discount"."""
        storage = self._buffers[self._leaf_names[self._number_of(field)]]
        assert storage is not None, field
        return storage

    def _number_of(self, field: str) -> int:
        number = self._leaf_of[field]
        assert number is not None, field
        return number

    @property
    def initial_priority(self) -> float:
        """Priority of a new record: the largest present one, at least what was configured."""
        if self._priorities is None:
            return self._initial_priority
        return float(self._priorities.of_new_spans)

    @property
    def total_size(self) -> int:
        """Number of records of all environments together."""
        return int(self._current_size.sum())

    @property
    def _indexed_pos(self) -> torch.Tensor:
        """For each slot [B, max_length] where its episode begins; at its begin where it ends (so
        far). ALF's name, read by algorithms of third parties."""
        episodes = self._require_episodes()
        slots = torch.arange(self._max_length, device=self._device)
        newest = (self._current_pos - 1).unsqueeze(-1)
        pos = newest - (newest - slots) % self._max_length
        ids = self._all_env_ids.unsqueeze(-1).expand_as(pos)
        begin = episodes.begin(ids, pos)
        end = episodes.end(ids, pos, self._current_pos.unsqueeze(-1).expand_as(pos))
        return torch.where(pos == begin, end, begin)

    @property
    def _headless_indexed_pos(self) -> torch.Tensor:
        """[B], where the oldest record's episode ends (so far), whose begin may be overwritten."""
        episodes = self._require_episodes()
        oldest = self.get_earliest_position(self._all_env_ids)
        return episodes.end(self._all_env_ids, oldest, self._current_pos)

    # ---- Adding and removing ----------------------------------------------------------------

    def add_batch(
        self, batch: Any, env_ids: torch.Tensor | None = None, blocking: bool = False
    ) -> None:
        """Add one record to each of the given environments; full rings lose their oldest one.

        Args:
            batch: nest of [n, ...]; row i goes to `env_ids[i]`. n = 0 changes nothing.
            env_ids: [n], all different; None for all environments.
            blocking: only False is supported.
        """
        self.enqueue(batch, env_ids, blocking)

    def _write(self, leaves: list[torch.Tensor], env_ids: torch.Tensor) -> torch.Tensor:
        old_size = None
        if self._episodes is not None:
            old_size = self._current_size.index_select(0, env_ids)
        pos = super()._write(leaves, env_ids)
        if self._priorities is not None:
            self._priorities.add(env_ids, pos, self._current_size.index_select(0, env_ids))
        if self._episodes is not None:
            step_type = leaves[self._number_of("step_type")]
            self._episodes.add(env_ids, pos, (step_type == int(StepType.FIRST)) | (old_size == 0))
        if self._returns is not None:
            self._returns.add(env_ids, self.circular(pos))
            ended = (step_type == int(StepType.LAST)) & (leaves[self._number_of("discount")] == 0)
            if ended.any():
                self._finish_episodes(env_ids[ended], pos[ended])
        return pos

    def _finish_episodes(self, env_ids: torch.Tensor, end: torch.Tensor) -> None:
        begin = torch.maximum(
            self._episodes.begin(env_ids, end), self.get_earliest_position(env_ids)
        )
        rewards, discounts = self._stored("reward"), self._stored("discount")
        self._returns.finish(env_ids, begin, end, rewards, discounts)

    @atomic
    def remove_up_to(self, n: int, env_ids: torch.Tensor | None = None) -> None:
        env_ids = self.check_convert_env_ids(env_ids)
        if self._priorities is not None:
            self._priorities.remove(env_ids, self.get_earliest_position(env_ids), n)
        super().remove_up_to(n, env_ids)

    @atomic
    def clear(self, env_ids: torch.Tensor | None = None) -> None:
        self.remove_up_to(self._max_length, env_ids)

    def dequeue(self, env_ids: torch.Tensor | None = None) -> Any:
        """Take the oldest record out of each of the given environments: nest of [n, 1, ...]."""
        return super().dequeue(env_ids)

    # ---- Sampling ---------------------------------------------------------------------------

    @atomic
    @torch.no_grad()
    def get_batch(self, batch_size: int, batch_length: int) -> tuple[Any, BatchInfo]:
        """Draw spans of consecutive records; a span may reach from one episode into the next.

        Without prioritized sampling the spans are ordered by environment.

        Args:
            batch_size: number of spans B.
            batch_length: records per span T. With prioritized sampling better always the same.

        Returns the records, a nest of [B, T, ...], and their `BatchInfo`; both on the default
        device. Raises ValueError if there is not enough data.
        """
        num_recent = int(batch_size * self._recent_data_ratio)
        num_starts = self._num_starts(batch_length)
        if self._compares_batch_size:
            self._warn_of_repetition(batch_size, num_starts)
        parts = []
        if self._priorities is not None:
            self._priorities.set_span(batch_length, self._current_size, self._current_pos)
            if batch_size > num_recent:
                parts.append(self._sample_by_priority(batch_size - num_recent))
        elif batch_size > num_recent:
            self._check_num_starts(num_starts, batch_length)
            parts.append(self._sample_uniformly(batch_size - num_recent, num_starts, batch_length))
        if num_recent > 0:
            self._check_num_starts(num_starts, batch_length)
            recent = num_starts.clamp(max=self._recent_data_steps)
            parts.append(self._sample_uniformly(num_recent, recent, batch_length))
        env_ids, pos = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return self._make_batch(env_ids, pos, batch_length, num_starts, num_recent / batch_size)

    def _warn_of_repetition(self, batch_size: int, num_starts: torch.Tensor) -> None:
        """Say that the first batch is larger than all there is; later there is more."""
        self._compares_batch_size = False
        different = int(num_starts.clamp(min=0).sum())
        if 0 < different < batch_size:
            logging.warning(
                "%s: a batch of %d spans is drawn from %d different ones, so that some come "
                "several times; collect more before the first update (TrainerConfig."
                "initial_collect_steps, a level's TrainingOptions.warm_up) or set a smaller "
                "mini_batch_size",
                self.name,
                batch_size,
                different,
            )

    def _num_starts(self, batch_length: int) -> torch.Tensor:
        """At how many records of each environment a span can start; not positive if nowhere."""
        return self._current_size - (self._num_earliest_frames_ignored + batch_length - 1)

    def _check_num_starts(self, num_starts: torch.Tensor, batch_length: int) -> None:
        if int(num_starts.min()) < 1:
            lacking = int((num_starts < 1).sum())
            raise ValueError(
                f"{self.name}: spans of {batch_length} records were asked for with "
                f"{self._num_earliest_frames_ignored} earliest ones ignored, which needs "
                f"{batch_length + self._num_earliest_frames_ignored} records in every environment; "
                f"{lacking} of {self._num_envs} environments have fewer, the least filled one "
                f"(environment {int(num_starts.argmin())}) has {int(self._current_size.min())}"
            )

    def _sample_uniformly(
        self, batch_size: int, num_starts: torch.Tensor, batch_length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from the newest `num_starts` [B] spans of each environment: ids and positions."""
        env_ids, back = self._stratified.draw(batch_size, num_starts)
        return env_ids, self._current_pos.index_select(0, env_ids) - batch_length - back

    def _sample_by_priority(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows, _ = self._priorities.sample(batch_size, self._with_replacement)
        env_ids, slot = rows // self._max_length, rows % self._max_length
        newest = self._current_pos.index_select(0, env_ids) - 1
        return env_ids, newest - (newest - slot) % self._max_length

    def _make_batch(
        self,
        env_ids: torch.Tensor,
        pos: torch.Tensor,
        batch_length: int,
        num_starts: torch.Tensor,
        recent_ratio: float,
    ) -> tuple[Any, BatchInfo]:
        ids = env_ids.unsqueeze(-1)
        span = pos.unsqueeze(-1) + torch.arange(batch_length, device=self._device)
        weights = ()
        if self._priorities is not None:
            weights = self._importance_weights(env_ids, pos, batch_length, num_starts, recent_ratio)
        returns = () if self._returns is None else self._returns.get(ids, self.circular(span))
        info = BatchInfo(env_ids, pos, weights, (), returns)
        experience, info = to_default_device((self._read(ids, span), info))
        return experience, info._replace(replay_buffer=self)

    def _importance_weights(
        self,
        env_ids: torch.Tensor,
        pos: torch.Tensor,
        batch_length: int,
        num_starts: torch.Tensor,
        recent_ratio: float,
    ) -> torch.Tensor:
        """Probability of each span times the number of spans whose priority is not 0."""
        tree = self._priorities.tree
        num_spans = tree.nnz
        weights = tree[self._row_index(env_ids, pos)] / tree.summary() * num_spans
        if recent_ratio == 0:
            return weights
        recent = num_starts.clamp(0, self._recent_data_steps).index_select(0, env_ids)
        is_recent = self._current_pos.index_select(0, env_ids) - batch_length - pos < recent
        chance = is_recent * num_spans / (self._num_envs * recent)
        return (1 - recent_ratio) * weights + recent_ratio * chance

    @atomic
    @torch.no_grad()
    def gather_all(
        self, ignore_earliest_frames: bool = False, convert_to_default_device: bool = True
    ) -> tuple[Any, BatchInfo]:
        """All records of all environments, which need to have equally many, oldest first.

        Args:
            ignore_earliest_frames: leave out the `num_earliest_frames_ignored` oldest ones.
            convert_to_default_device: otherwise the result stays on the device of the buffer.

        Returns the records, a nest of [B, T, ...], and their `BatchInfo`.
        """
        sizes = self._current_size
        size = int(sizes[0])
        if bool((sizes != size).any()):
            raise ValueError(
                f"{self.name}: gather_all needs equally many records in each environment, but they "
                f"have from {int(sizes.min())} to {int(sizes.max())}; environments that are filled "
                "at different rates are to be sampled with get_batch"
            )
        ignored = self._num_earliest_frames_ignored if ignore_earliest_frames else 0
        length = size - ignored
        if length < 1:
            raise ValueError(
                f"{self.name}: nothing to gather, each environment has {size} records of which the "
                f"{ignored} earliest are ignored"
            )
        pos = self._current_pos - length
        span = pos.unsqueeze(-1) + torch.arange(length, device=self._device)
        ids = self._all_env_ids.unsqueeze(-1)
        returns = () if self._returns is None else self._returns.get(ids, self.circular(span))
        result = self._read(ids, span), BatchInfo(self._all_env_ids, pos, (), (), returns)
        experience, info = to_default_device(result) if convert_to_default_device else result
        return experience, info._replace(replay_buffer=self)

    @atomic
    @torch.no_grad()
    def update_priority(
        self, env_ids: torch.Tensor, positions: torch.Tensor, priorities: torch.Tensor
    ) -> None:
        """Set the priorities [n] of the spans that start at `positions` [n] of `env_ids` [n].

        Spans that have been overwritten since they were sampled are passed over.

        Raises:
            ValueError: a priority is negative, infinite or NaN. Where the buffer lies on an
                accelerator, the next `get_batch` raises it.
        """
        if self._priorities is None:
            raise ValueError(f"{self.name}: update_priority needs prioritized_sampling=True")
        env_ids = self.check_convert_env_ids(env_ids)
        self._priorities.update(
            env_ids,
            positions.to(self._device),
            priorities.detach().to(self._device),
            self.get_earliest_position(env_ids),
            self._current_pos[env_ids],
        )

    # ---- Restoring --------------------------------------------------------------------------

    def _misfit(self, state_dict: dict, prefix: str) -> tuple[str, str] | None:
        reason = super()._misfit(state_dict, prefix)
        if reason is not None or self._priorities is None:
            return reason
        own = self._priorities.state_dict(prefix=prefix + "_priorities.")
        if all(state_dict[k].shape == v.shape for k, v in own.items() if k in state_dict):
            return None
        return self.name, (
            f"rings of {self._max_length} records, other ones in the checkpoint, with priorities "
            "(TrainerConfig.replay_buffer_length)"
        )

    def _fit(self, state_dict: dict, prefix: str, num_slots: int) -> None:
        super()._fit(state_dict, prefix, num_slots)
        pos, size = state_dict[prefix + "_current_pos"], state_dict[prefix + "_current_size"]
        if self._episodes is not None:
            self._episodes.fit(state_dict, prefix + "_episodes.", num_slots, pos, size)
        if self._returns is not None:
            self._returns.fit(state_dict, prefix + "_returns.", num_slots, pos, size)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + "_current_pos" in state_dict and self._leaf_of["step_type"] is not None:
            self._end_newest_episodes()

    def _end_newest_episodes(self) -> None:
        filled = torch.nonzero(self._current_size > 0).flatten()
        slot = self.circular(self._current_pos[filled] - 1)
        step_types = self._stored("step_type")
        self._ended = filled, slot, step_types[filled, slot].clone()
        step_types[filled, slot] = int(StepType.LAST)

    def continue_episodes(self) -> None:
        """Undo that loading has made the newest records the last ones of their episodes.

        For environments that go on where they were, before anything is added.
        """
        if self._ended is not None:
            filled, slot, were = self._ended
            self._stored("step_type")[filled, slot] = were
            self._ended = None
