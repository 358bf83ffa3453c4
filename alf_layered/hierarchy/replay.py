"""ALF's `ReplayBuffer` for levels whose environments fill at different rates."""

from __future__ import annotations

import math
import os
from typing import Any

import torch

import alf
from alf.data_structures import StepType
from alf.experience_replayers.replay_buffer import BatchInfo, ReplayBuffer
from alf.nest.utils import convert_device
from alf.tensor_specs import TensorSpec

Nest = Any


def _check_fits(storage: list[torch.Tensor], name: str) -> None:
    """Raises where tensors `[B, length, ...]` in host memory are larger than that."""
    size = sum(x.numel() * x.element_size() for x in storage if x.device.type == "cpu")
    memory = _host_memory()
    if size > memory:
        environments, length = storage[0].shape[:2]
        raise ValueError(
            f"{name} would take {size / 1e9:.1f} GB for {length} records of each of {environments} "
            f"environments, this machine has {memory / 1e9:.1f} GB: lower replay_buffer_length of "
            "the level's training"
        )


def _host_memory() -> float:
    """Bytes of the machine's memory; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


class LevelReplayBuffer(ReplayBuffer):
    """A replay buffer that samples uniformly over all spans it holds.

    ALF's own uniform sampler takes as many spans from every environment and refuses to sample while
    one environment holds fewer records than a span is long. Levels decide at different times in
    each environment, so here every stored span of any environment is as likely as any other, and an
    environment with too few records is not asked. Episodes are tracked, for hindsight, and the
    contents are saved with checkpoints. Prioritised sampling is ALF's.
    """

    draws_by_priority = False
    """Whether spans are drawn by priority, as ALF does, and not uniformly."""

    @classmethod
    def in_place_of(
        cls, buffer: ReplayBuffer, *, prioritized: bool, name: str
    ) -> LevelReplayBuffer:
        """An empty buffer for the same data, of the same size.

        Raises:
            ValueError: the machine has not as much memory, which would show when it is full alone.
        """
        storage = alf.nest.flatten(buffer._buffer)
        _check_fits(storage, name)
        made = cls(
            data_spec=alf.nest.map_structure(
                lambda x: TensorSpec(x.shape[2:], dtype=x.dtype), buffer._buffer
            ),
            num_environments=buffer.num_environments,
            max_length=storage[0].shape[1],
            prioritized_sampling=prioritized,
            keep_episodic_info=True,
            enable_checkpoint=True,
            name=name,
        )
        made.draws_by_priority = prioritized
        return made

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes records of releases in which the time discount was `env_info["passage"]`, too."""
        for key in [k for k in state_dict if k.startswith(prefix) and k.endswith("passage")]:
            now = f"{key.removesuffix('passage')}time_discount"
            state_dict.setdefault(now, state_dict.pop(key))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def has_spans(self, length: int) -> bool:
        """Whether some environment holds a span of `length` records."""
        return bool((self._current_size >= length).any())

    @torch.no_grad()
    def get_batch(self, batch_size: int, batch_length: int) -> tuple[Nest, BatchInfo]:
        """Draws spans of consecutive records of one environment, with replacement.

        Returns:
            The records, `[batch_size, batch_length, ...]`, and where they lie: `env_ids` and
            `positions` (of the first record) `[batch_size]`.
        """
        if self.draws_by_priority:
            return super().get_batch(batch_size, batch_length)
        spans_E = (self._current_size - (batch_length - 1)).clamp(min=0)
        ends_E = spans_E.cumsum(0)
        if int(ends_E[-1]) == 0:
            raise ValueError(
                f"no environment holds a span of {batch_length} records yet; the fullest holds "
                f"{int(self._current_size.max())}"
            )
        draw_B = torch.rand(batch_size, dtype=torch.float64, device=ends_E.device)
        span_B = (draw_B * ends_E[-1]).long().clamp(max=ends_E[-1] - 1)
        env_B = torch.searchsorted(ends_E, span_B, right=True)
        oldest_E = self._current_pos - self._current_size
        start_B = oldest_E[env_B] + span_B - (ends_E - spans_E)[env_B]
        positions_BT = start_B[:, None] + torch.arange(batch_length, device=start_B.device)
        slots_BT = self.circular(positions_BT)
        batch = alf.nest.map_structure(lambda x: x[env_B[:, None], slots_BT], self._buffer)
        info = BatchInfo(env_ids=env_B, positions=start_B, replay_buffer=self)
        return convert_device(batch), convert_device(info._replace(replay_buffer=()))._replace(
            replay_buffer=self
        )

    @torch.no_grad()
    def gather_all(
        self, ignore_earliest_frames: bool = False, convert_to_default_device: bool = True
    ) -> tuple[Nest, BatchInfo]:
        """All records, one environment after the other, each oldest first: one row of N.

        ALF's own wants equally many records of each environment. The newest record of each is made
        LAST here: what follows it in the row is another environment's.

        Returns:
            The records, `[1, N, ...]`, and a `BatchInfo` that says nothing of where they lie.
        """
        sizes_E, ends_E = self._current_size, self._current_size.cumsum(0)
        total = int(ends_E[-1])
        environments = torch.arange(self.num_environments, device=sizes_E.device)
        env_N = environments.repeat_interleave(sizes_E, output_size=total)
        number_N = torch.arange(total, device=sizes_E.device) - (ends_E - sizes_E)[env_N]
        slots_N = self.circular((self._current_pos - sizes_E)[env_N] + number_N)
        batch = alf.nest.map_structure(lambda x: x[env_N, slots_N].unsqueeze(0), self._buffer)
        batch.time_step.step_type[0, ends_E[sizes_E > 0] - 1] = int(StepType.LAST)
        nowhere = torch.zeros(1, dtype=torch.int64, device=sizes_E.device)
        info = BatchInfo(env_ids=nowhere, positions=nowhere)
        if convert_to_default_device:
            batch, info = convert_device(batch), convert_device(info)
        return batch, info._replace(replay_buffer=self)

    @torch.no_grad()
    def end_episodes(self, env_ids: torch.Tensor, begins: torch.Tensor) -> None:
        """Makes the newest record of environments LAST, if there is one.

        Before a FIRST record it is LAST already, but where the environment was reset from outside:
        all learners that ask for LAST then know that no transition leads on from it.

        Args:
            env_ids: `[n]`, all different.
            begins: `[n]`, bool, for which of them.
        """
        env_ids = env_ids.to(self._current_pos)
        slots = self.circular(self._current_pos[env_ids] - 1)
        ends = begins.to(env_ids.device) & (self._current_size[env_ids] > 0)
        step_type = self._buffer.time_step.step_type
        step_type[env_ids, slots] = torch.where(ends, int(StepType.LAST), step_type[env_ids, slots])

    def keep_newest(self, count: int = 1) -> None:
        """Forgets all records but the `count` newest of each environment."""
        self._current_size.clamp_(max=count)
