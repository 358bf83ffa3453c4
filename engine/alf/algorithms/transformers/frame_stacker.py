"""Stacking of the last observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from alf.algorithms.transformers.base import DataTransformer, check_fields, transform_fields
from alf.config_util import configurable
from alf.data_structures import Experience, TimeStep, namedtuple
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

PUBLIC_MODULE = "alf.algorithms.data_transformer"  # under which these names are configured

FrameStackState = namedtuple("FrameStackState", ["steps", "prev_frames"])
"""State of `FrameStacker`.

    steps: int64 [B], how many frames of the episode have been seen, at most stack_size.
    prev_frames: for each field the last stack_size - 1 frames [B, stack_size - 1, ...].
"""


@configurable
class FrameStacker(DataTransformer):
    """Joins each observation with those before it, the oldest first.

    Before the first observation of an episode, copies of it stand in for what is missing.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        stack_size: number of observations joined.
        stack_axis: axis of an observation along which they are joined; (C, H, W) becomes
            (stack_size * C, H, W) with axis 0, and a scalar a vector of stack_size.
        fields: paths of the parts of the observation to be stacked, e.g. "camera.left"; None if it
            is a single tensor.
    """

    def __init__(
        self,
        observation_spec: Any,
        stack_size: int = 4,
        stack_axis: int = 0,
        fields: list[str] | None = None,
    ) -> None:
        check_fields("FrameStacker", fields)
        if fields is None and nest.is_nested(observation_spec):
            raise ValueError(
                "FrameStacker: fields has to say what to stack of an observation with several "
                f"parts, {observation_spec}"
            )
        self._stack_size = stack_size
        self._stack_axis = stack_axis
        self._fields = fields
        prev_frames: list = []

        def stacked_spec(part: Any) -> Any:
            prev_frames.append(nest.map_structure(self._prev_frames_spec, part))
            return nest.map_structure(self._stacked_spec, part)

        spec = transform_fields(observation_spec, fields, stacked_spec)
        steps = TensorSpec((), torch.int64)
        super().__init__(spec, FrameStackState(steps=steps, prev_frames=prev_frames))

    @property
    def stack_size(self) -> int:
        return self._stack_size

    def _axis(self, rank: int) -> int:
        if rank == 0 and self._stack_axis in (0, -1):
            return 0
        if not -rank <= self._stack_axis < rank:
            raise ValueError(
                f"stack_axis has to be an axis of the observation, which has {rank}, got "
                f"{self._stack_axis}"
            )
        return self._stack_axis % rank

    def _prev_frames_spec(self, spec: TensorSpec) -> TensorSpec:
        return TensorSpec((self._stack_size - 1, *spec.shape), spec.dtype)

    def _stacked_spec(self, spec: TensorSpec) -> TensorSpec:
        axis = self._axis(len(spec.shape))
        shape = list(spec.shape) or [1]
        if not spec.is_bounded():
            shape[axis] *= self._stack_size
            return TensorSpec(tuple(shape), spec.dtype)
        low, high = (
            np.concatenate([np.broadcast_to(limit, shape)] * self._stack_size, axis=axis)
            for limit in (spec.minimum, spec.maximum)
        )
        return BoundedTensorSpec(low.shape, spec.dtype, minimum=low, maximum=high)

    def _join(self, frames: torch.Tensor, batch_dims: int) -> torch.Tensor:
        """[*batch, stack_size, ...] to [*batch, ...], where the axis is stack_size times longer."""
        axis = batch_dims + self._axis(frames.dim() - batch_dims - 1)
        if frames.dim() == batch_dims + 1:  # of scalars
            return frames
        return frames.movedim(batch_dims, axis).flatten(axis, axis + 1)

    def transform_timestep(
        self, time_step: TimeStep, state: FrameStackState
    ) -> tuple[TimeStep, FrameStackState]:
        is_new = time_step.is_first() | (state.steps == 0)
        next_frames: list = []

        def stack(frame: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
            frame = frame.unsqueeze(1)
            unseen = is_new.reshape(-1, *[1] * (frame.dim() - 1))
            frames = torch.cat([torch.where(unseen, frame, previous), frame], dim=1)
            next_frames[-1].append(frames[:, 1:])
            return self._join(frames, 1)

        def stack_part(part: Any, previous: Any) -> Any:
            next_frames.append([])
            stacked = nest.map_structure(stack, part, previous)
            next_frames[-1] = nest.pack_sequence_as(part, next_frames[-1])
            return stacked

        observation = transform_fields(
            time_step.observation, self._fields, stack_part, state.prev_frames
        )
        steps = torch.where(is_new, 1, (state.steps + 1).clamp(max=self._stack_size))
        next_state = FrameStackState(steps=steps, prev_frames=next_frames)
        return time_step._replace(observation=observation), next_state

    def transform_experience(self, experience: Experience) -> Experience:
        """Frames before the sampled ones are looked up in the replay buffer.

        It has to leave out the stack_size - 1 earliest records when it samples
        (`num_earliest_frames_ignored`) and to keep the begin of episodes.
        """
        info, buffer = experience.batch_info, experience.replay_buffer
        length = experience.step_type.shape[1]
        env_ids = info.env_ids.unsqueeze(-1)
        pos = info.positions.unsqueeze(-1) + torch.arange(length, device=info.positions.device)
        begin = buffer.get_episode_begin_position(pos, env_ids).unsqueeze(-1)
        age = torch.arange(self._stack_size - 1, -1, -1, device=pos.device)
        frame_pos = torch.maximum(pos.unsqueeze(-1) - age, begin)  # [B, T, stack_size]

        def stack_part(_: Any, field: str) -> Any:
            path = "time_step.observation." + field if field else "time_step.observation"
            frames = buffer.get_field(path, env_ids.unsqueeze(-1), frame_pos)
            return nest.map_structure(lambda x: self._join(x, 2), frames)

        time_step = experience.time_step
        observation = transform_fields(
            time_step.observation, self._fields, stack_part, self._fields or [""]
        )
        return experience._replace(time_step=time_step._replace(observation=observation))
