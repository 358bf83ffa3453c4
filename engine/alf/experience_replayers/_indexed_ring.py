"""Ring buffers whose records and episodes can be looked up by environment and position."""

from __future__ import annotations

from typing import Any

import torch

from alf.experience_replayers._episode_index import EpisodeIndex
from alf.nest import nest
from alf.nest import utils as nest_utils
from alf.utils.data_buffer import RingBuffer


class IndexedRing(RingBuffer):
    """A ring buffer that tells about chosen records; arguments as for `RingBuffer`."""

    _episodes: EpisodeIndex | None
    """Begin and end of episodes, if they are kept; a subclass sets it."""

    @torch.no_grad()
    def get_field(self, field_name: Any, env_ids: torch.Tensor, positions: torch.Tensor) -> Any:
        """A field of chosen records, such as "time_step.observation.position".

        Args:
            field_name: path of a tensor or of a nest of tensors; or a nest of such paths, which
                gives a nest of fields.
            env_ids: any shape.
            positions: any shape that broadcasts against that of `env_ids`.

        Returns a nest of [*shape, ...], on the device of `positions`.
        """
        env_ids, pos = self._on_device(env_ids, positions)
        self._check_stored(env_ids, pos)
        field, slot = nest_utils.get_nested_field(self._buffer, field_name), self.circular(pos)
        return nest.map_structure(lambda x: like(positions, x[env_ids, slot]), field)

    def _on_device(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        return [torch.as_tensor(x, dtype=torch.int64, device=self._device) for x in tensors]

    def _check_stored(self, env_ids: torch.Tensor, pos: torch.Tensor) -> None:
        """Skipped on accelerators, where looking would wait for them."""
        if pos.device.type != "cpu":
            return
        end = self._current_pos[env_ids]
        gone = (pos < end - self._current_size[env_ids]) | (pos >= end)
        if bool(gone.any()):
            env_id = int(env_ids.expand_as(gone)[gone][0])
            end = int(self._current_pos[env_id])
            raise ValueError(
                f"{self.name}: there is no record at position {int(pos.expand_as(gone)[gone][0])} "
                f"of environment {env_id}; it has "
                f"[{end - int(self._current_size[env_id])}, {end})"
            )

    def _require_episodes(self) -> EpisodeIndex:
        if self._episodes is None:
            raise ValueError(
                f"{self.name}: begin and end of episodes are not kept; "
                "set ReplayBuffer.keep_episodic_info=True"
            )
        return self._episodes

    def get_episode_begin_position(self, pos: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        """Position of the first record of the episode that the record at `pos` belongs to.

        It lies before the oldest record if the begin of the episode has been overwritten.

        Args:
            pos: positions of stored records, any shape.
            env_ids: broadcasts against `pos`.
        """
        episodes = self._require_episodes()
        here, env_ids = self._on_device(pos, env_ids)
        self._check_stored(env_ids, here)
        return like(pos, episodes.begin(env_ids, here))

    def steps_to_episode_end(self, pos: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        """Steps from the record at `pos` to the last record of its episode (so far).

        Args:
            pos: positions of stored records, any shape.
            env_ids: broadcasts against `pos`.
        """
        episodes = self._require_episodes()
        here, env_ids = self._on_device(pos, env_ids)
        self._check_stored(env_ids, here)
        return like(pos, episodes.end(env_ids, here, self._current_pos[env_ids]) - here)

    def get_disc_0_begin_position(self, pos: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        """Refused: not built in this engine."""
        raise ValueError(
            f"{self.name}: get_disc_0_begin_position is not supported by this engine; there are "
            "get_episode_begin_position and steps_to_episode_end"
        )


def like(asked: Any, answer: torch.Tensor) -> torch.Tensor:
    """`answer` on the device of what was asked for."""
    return answer.to(asked.device) if isinstance(asked, torch.Tensor) else answer


def leaf_number(data_spec: Any, field: str) -> int | None:
    """Number of the leaf that is `record.<field>` or `record.time_step.<field>`."""
    numbers = nest.pack_sequence_as(data_spec, list(range(len(nest.flatten(data_spec)))))
    for record in (numbers, _member(numbers, "time_step")):
        number = _member(record, field)
        if isinstance(number, int):
            return number
    return None


def _member(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)
