"""Gymnasium wrappers for image observations: stacking, resizing, cropping, axis order."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import gymnasium
import numpy as np
from gymnasium import spaces

from alf.config_util import configurable

PUBLIC_MODULE = "alf.environments.gym_wrappers"  # under which these names are configured


def transform_space(
    observation_space: spaces.Space, field: str | None, func: Callable[[spaces.Space], Any]
) -> spaces.Space:
    """The space with `func` applied at `field` ("a.b" inside nested dicts; None: the whole)."""
    if field is None:
        return func(observation_space)
    head, _, rest = field.partition(".")
    if not isinstance(observation_space, spaces.Dict) or head not in observation_space.spaces:
        raise ValueError(f"there is no observation field {field!r} in {observation_space}")
    parts = dict(observation_space.spaces)
    parts[head] = transform_space(parts[head], rest or None, func)
    return spaces.Dict(parts)


def _transform_field(observation: Any, field: str | None, func: Callable[[Any], Any]) -> Any:
    if field is None:
        return func(observation)
    head, _, rest = field.partition(".")
    return {**observation, head: _transform_field(observation[head], rest or None, func)}


@configurable
class BaseObservationWrapper(gymnasium.ObservationWrapper):
    """Applies the same function to one or several fields of the observation.

    A subclass defines `transform_space()` and `transform_observation()` for one field.
    """

    def __init__(self, env: gymnasium.Env, fields: Sequence[str] | None = None) -> None:
        """
        Args:
            fields: names like "camera.left"; the whole observation if None.
        """
        super().__init__(env)
        self._fields: list[str | None] = [None] if fields is None else list(fields)
        space = env.observation_space
        for field in self._fields:
            self._field = field
            space = transform_space(space, field, self.transform_space)
        self.observation_space = space

    def observation(self, observation: Any) -> Any:
        for field in self._fields:
            self._field = field
            observation = _transform_field(observation, field, self.transform_observation)
        return observation

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        """The space after the transformation of one field."""
        raise NotImplementedError(f"{type(self).__name__}.transform_space()")

    def transform_observation(self, observation: Any) -> Any:
        """The transformed value of one field."""
        raise NotImplementedError(f"{type(self).__name__}.transform_observation()")


def _mapped_box(space: spaces.Space, func: Callable[[np.ndarray], np.ndarray]) -> spaces.Box:
    """The space of `func(x)` for a function which only moves, drops or copies components."""
    box = _as_box(space)
    return spaces.Box(func(box.low), func(box.high), dtype=box.dtype)


def _as_box(space: spaces.Space) -> spaces.Box:
    if not isinstance(space, spaces.Box):
        raise ValueError(f"this wrapper needs a Box observation; got {space}")
    return space


def _channel_axis(channel_order: str) -> int:
    if channel_order not in ("channels_last", "channels_first"):
        raise ValueError(
            f"channel_order is {channel_order!r}; allowed: 'channels_last', 'channels_first'"
        )
    return -1 if channel_order == "channels_last" else 0


@configurable
class ImageChannelFirst(BaseObservationWrapper):
    """Moves the channels of images `[H, W, C]` to the front; other observations stay as they are.

    An image is a uint8 Box with three axes. One whose first axis is the shortest, such as
    `[4, 84, 84]`, has its channels in front already, and stays as it is unless `fields` names it.
    """

    def __init__(self, env: gymnasium.Env, fields: Sequence[str] | None = None) -> None:
        if fields is None:
            fields = _image_fields(env.observation_space, "")
            fields = None if fields == [""] else fields
        super().__init__(env, fields)

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        if not _has_image_axes(observation_space):
            raise ValueError(
                f"ImageChannelFirst: the field {self._field!r} is {observation_space}; allowed are "
                "uint8 Boxes with three axes"
            )
        return _mapped_box(observation_space, self.transform_observation)

    def transform_observation(self, observation: Any) -> Any:
        return np.moveaxis(observation, -1, 0)


def _has_image_axes(space: spaces.Space) -> TypeGuard[spaces.Box]:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def _is_image(space: spaces.Space) -> bool:
    """Whether it is an image with its channels behind."""
    return _has_image_axes(space) and space.shape[0] >= min(space.shape[1:])


def _image_fields(space: spaces.Space, path: str) -> list[str]:
    """Paths of the images in nested dicts; `[""]` for an image itself."""
    if _is_image(space):
        return [path]
    if not isinstance(space, spaces.Dict):
        return []
    prefix = path + "." if path else ""
    return [p for k, s in space.spaces.items() for p in _image_fields(s, prefix + k)]


@configurable
class FrameStack(BaseObservationWrapper):
    """Joins the last `stack_size` frames along the channel axis; the first one is repeated.

    Vectors of options (MultiDiscrete) are joined, too.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        stack_size: int = 4,
        channel_order: str = "channels_last",
        fields: Sequence[str] | None = None,
    ) -> None:
        self._stack_size = stack_size
        self._axis = _channel_axis(channel_order)
        self._frames: dict[str | None, collections.deque[Any]] = {}
        super().__init__(env, fields)

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        def stack(x: np.ndarray) -> np.ndarray:
            return np.concatenate([x] * self._stack_size, self._axis)

        if isinstance(observation_space, spaces.MultiDiscrete):
            sizes, start = stack(observation_space.nvec), stack(observation_space.start)
            return spaces.MultiDiscrete(sizes, dtype=observation_space.dtype, start=start)
        return _mapped_box(observation_space, stack)

    def transform_observation(self, observation: Any, field: str | None = None) -> Any:
        field = self._field if field is None else field
        frames = self._frames.setdefault(field, collections.deque(maxlen=self._stack_size))
        frames.append(np.array(observation))
        while len(frames) < self._stack_size:
            frames.append(frames[-1])
        return np.concatenate(frames, axis=self._axis)

    def reset(self, **kwargs: Any) -> Any:
        self._frames.clear()
        return super().reset(**kwargs)


@configurable
class FrameSkip(gymnasium.Wrapper):
    """Repeats each action `skip` times (fewer at an episode's end) and sums the rewards.

    The info has the number of frames as `num_env_frames`.
    """

    def __init__(self, env: gymnasium.Env, skip: int) -> None:
        super().__init__(env)
        self._skip = skip

    def step(self, action: Any) -> Any:
        total: Any = 0.0
        frames = 0
        for _ in range(self._skip):
            frames += 1
            observation, reward, terminated, truncated, info = self.env.step(action)
            total = total + reward
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, {**info, "num_env_frames": frames}


@configurable
class FrameResize(BaseObservationWrapper):
    """Resizes images `[H, W, C]` (needs Pillow).

    `interpolation` numbers the methods as OpenCV does: 0 nearest, 1 linear, 2 cubic, 3 area.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        width: int = 84,
        height: int = 84,
        fields: Sequence[str] | None = None,
        interpolation: int = 3,
    ) -> None:
        if interpolation not in (0, 1, 2, 3):
            raise ValueError(f"interpolation is {interpolation}; allowed: 0, 1, 2, 3")
        self._size = (width, height)
        self._interpolation = interpolation
        super().__init__(env, fields)

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        box = _as_box(observation_space)
        shape = (self._size[1], self._size[0], *box.shape[2:])
        return spaces.Box(box.low.min(), box.high.max(), shape, box.dtype)

    def transform_observation(self, observation: Any) -> Any:
        return resize_image(observation, self._size, self._interpolation)


def resize_image(image: np.ndarray, size: tuple[int, int], interpolation: int = 3) -> np.ndarray:
    """An image `[H, W]` or `[H, W, C]` resized to `size = (width, height)`: uint8, or floats."""
    from PIL import Image

    kinds = Image.Resampling
    kind = (kinds.NEAREST, kinds.BILINEAR, kinds.BICUBIC, kinds.BOX)[interpolation]
    if image.dtype != np.uint8:  # Pillow's floats have 32 bits
        dtype, image = image.dtype, image.astype(np.float32)
        return _resized(image, size, kind).astype(dtype)
    return _resized(image, size, kind)


def _resized(image: np.ndarray, size: tuple[int, int], kind: Any) -> np.ndarray:
    from PIL import Image

    if image.ndim == 2:
        return np.asarray(Image.fromarray(image).resize(size, kind))
    channels = [
        np.asarray(Image.fromarray(c).resize(size, kind)) for c in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1)


@configurable
class FrameGrayScale(BaseObservationWrapper):
    """Turns RGB images `[H, W, 3]` into gray ones `[H, W, 1]`."""

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        return spaces.Box(0, 255, (*_as_box(observation_space).shape[:2], 1), np.uint8)

    def transform_observation(self, obs: Any) -> Any:
        return gray_scale(obs)[..., None]


def gray_scale(image: np.ndarray) -> np.ndarray:
    """Luma `[H, W]` of an RGB image `[H, W, 3]` (ITU-R BT.601 weights)."""
    return (image @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)


@configurable
class FrameCrop(BaseObservationWrapper):
    """Cuts the window `width` x `height` whose first column is `sx` and first row `sy`."""

    def __init__(
        self,
        env: gymnasium.Env,
        sx: int = 0,
        sy: int = 0,
        width: int = 84,
        height: int = 84,
        channel_order: str = "channels_last",
        fields: Sequence[str] | None = None,
    ) -> None:
        self._rows = slice(sy, sy + height)
        self._columns = slice(sx, sx + width)
        self._last = _channel_axis(channel_order) == -1
        super().__init__(env, fields)

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        shape = _as_box(observation_space).shape[0 if self._last else 1 :]
        if self._rows.stop > shape[0] or self._columns.stop > shape[1]:
            raise ValueError(
                f"the window rows {self._rows}, columns {self._columns} does not lie inside an "
                f"image of {shape[0]} rows and {shape[1]} columns"
            )
        return _mapped_box(observation_space, self.transform_observation)

    def transform_observation(self, observation: Any) -> Any:
        if self._last:
            return observation[self._rows, self._columns]
        return observation[..., self._rows, self._columns]


@configurable
class EpisodicRandomFrameCrop(BaseObservationWrapper):
    """Cuts a window at a place which is drawn anew for each episode.

    `cropping_fraction` is the window's part of each side. With `share_cropping` all fields are cut
    at the same (relative) place.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        cropping_fraction: float = 0.8,
        channel_order: str = "channels_last",
        share_cropping: bool = True,
        fields: Sequence[str] | None = None,
    ) -> None:
        self._fraction = cropping_fraction
        self._share = share_cropping
        self._last = _channel_axis(channel_order) == -1
        self._places: dict[str | None, tuple[float, float]] = {}
        super().__init__(env, fields)
        self._draw()

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        return _mapped_box(observation_space, lambda x: self.transform_observation(x, 0.0, 0.0))

    def transform_observation(
        self, observation: Any, sy: float | None = None, sx: float | None = None, space: Any = None
    ) -> Any:
        place_y, place_x = self._places.get(self._field, (0.0, 0.0))
        rows_axis = 0 if self._last else observation.ndim - 2
        rows = self._window(observation.shape[rows_axis], place_y if sy is None else sy)
        columns = self._window(observation.shape[rows_axis + 1], place_x if sx is None else sx)
        return observation[rows, columns] if self._last else observation[..., rows, columns]

    def reset(self, **kwargs: Any) -> Any:
        # the place is drawn after the environment has been seeded
        observation, info = self.env.reset(**kwargs)
        self._draw()
        return self.observation(observation), info

    def _window(self, size: int, place: float) -> slice:
        length = max(1, round(size * self._fraction))
        start = int(place * (size - length + 1))
        return slice(start, start + length)

    def _draw(self) -> None:
        shared = self.np_random.random(2)
        self._places = {
            field: tuple(shared if self._share else self.np_random.random(2))
            for field in self._fields
        }


@configurable
class FrameFlip(BaseObservationWrapper):
    """Mirrors images up-down and left-right; whether it does is drawn anew for each episode."""

    def __init__(
        self,
        env: gymnasium.Env,
        ud_flip_prob: float = 0.5,
        lr_flip_prob: float = 0.5,
        channel_order: str = "channels_last",
        fields: Sequence[str] | None = None,
    ) -> None:
        self._probs = (ud_flip_prob, lr_flip_prob)
        self._last = _channel_axis(channel_order) == -1
        self._flip_axes: tuple[int, ...] = ()
        super().__init__(env, fields)

    def transform_space(self, observation_space: spaces.Space) -> spaces.Space:
        return observation_space

    def transform_observation(self, observation: Any) -> Any:
        first = 0 if self._last else observation.ndim - 2
        return np.flip(observation, tuple(first + axis for axis in self._flip_axes))

    def reset(self, **kargs: Any) -> Any:
        observation, info = self.env.reset(**kargs)
        draws = self.np_random.random(2)
        self._flip_axes = tuple(i for i in range(2) if draws[i] < self._probs[i])
        return self.observation(observation), info


@configurable
class NonEpisodicEnv(gymnasium.Wrapper):
    """Never ends an episode: steps go on behind what the environment calls its end."""

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = self.env.step(action)
        return observation, reward, False, False, info
