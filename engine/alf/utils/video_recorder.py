"""Recording what an environment shows as an mp4 file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from alf.config_util import configurable
from alf.summary.render import Image

_DEFAULT_FRAMES_PER_SEC = 30


@configurable
class VideoRecorder:
    """Writes the frames of `env.render("rgb_array")` to an mp4 file as they come.

    Args:
        env: environment with `render(mode)`.
        frame_max_width: wider frames are made smaller.
        frames_per_sec: None: what the environment names as its own rate, or else 30.
        last_step_repeats: how often the frame of an episode's last step is repeated.
        append_blank_frames: number of black frames after an episode.
        kwargs: `path`, the file to write.

    Frames can be kept back with `cache_frame_and_pred_info` until it is known whether they are
    wanted; `generate_video_from_cache` then writes them.
    """

    def __init__(
        self,
        env: Any,
        frame_max_width: int = 2560,
        frames_per_sec: int | None = None,
        last_step_repeats: int = 0,
        append_blank_frames: int = 0,
        **kwargs: Any,
    ) -> None:
        unknown = set(kwargs) - {"path"}
        if unknown or not kwargs.get("path"):
            raise ValueError(f"VideoRecorder needs path=<mp4 file> and nothing else; got {kwargs}")
        self.path = os.path.abspath(os.path.expanduser(kwargs["path"]))
        if not self.path.endswith(".mp4"):
            raise ValueError(f"a video file has to end with .mp4; got {kwargs['path']!r}")
        self._env = env
        self._frame_max_width = frame_max_width
        self._frames_per_sec = frames_per_sec or _own_rate(env)
        self._last_step_repeats = last_step_repeats
        self._append_blank_frames = append_blank_frames
        self._writer: Any = None
        self._size: tuple[int, int] | None = None
        self._cache: list[np.ndarray] = []

    def capture_frame(self, pred_info: Any = None, is_last_step: bool = False) -> None:
        """Write what the environment shows now.

        Args:
            pred_info: info of `predict_step()`; the pictures in it (`alf.summary.render.Image`) are
                put beside the frame.
            is_last_step: whether the episode ends here.
        """
        frame = _with_pictures(self.capture_env_frame(), pred_info)
        self._write(frame)
        if is_last_step:
            self._write_end(frame)

    def _write_end(self, frame: np.ndarray) -> None:
        """What follows the last frame of an episode."""
        for _ in range(self._last_step_repeats):
            self._write(frame)
        for _ in range(self._append_blank_frames):
            self._write(np.zeros_like(frame))

    def capture_env_frame(self) -> np.ndarray:
        """What the environment shows now, `[H, W, 3]` uint8."""
        frame = np.asarray(self._env.render("rgb_array"))
        if frame.ndim != 3 or frame.shape[-1] != 3:
            raise ValueError(
                f"render('rgb_array') of {self._env} returned the shape {frame.shape}; a video "
                "needs [H, W, 3]"
            )
        return frame.astype(np.uint8)

    def cache_frame_and_pred_info(self, frame: np.ndarray, pred_info: Any = None) -> None:
        """Keep a frame back."""
        self._cache.append(_with_pictures(frame, pred_info))

    def generate_video_from_cache(self) -> None:
        """Write the frames kept back, an episode, as `capture_frame` does."""
        for frame in self._cache:
            self._write(frame)
        if self._cache:
            self._write_end(self._cache[-1])
        self.clear_cache()

    def clear_cache(self) -> None:
        """Forget the frames kept back."""
        self._cache.clear()

    @property
    def has_written(self) -> bool:
        """Whether there is anything in the file."""
        return self._size is not None

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> VideoRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, frame: np.ndarray) -> None:
        frame = _fitted(frame, self._frame_max_width, self._size)
        if self._writer is None:
            self._size = frame.shape[1], frame.shape[0]
            self._writer = self._open(self._size)
        self._writer.send(np.ascontiguousarray(frame))

    def _open(self, size: tuple[int, int]) -> Any:
        try:
            import imageio_ffmpeg
        except ImportError as error:
            raise ValueError(
                "writing a video needs the package imageio-ffmpeg: pip install imageio-ffmpeg"
            ) from error
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        writer = imageio_ffmpeg.write_frames(
            self.path,
            size,
            fps=self._frames_per_sec,
            codec="libx264",
            macro_block_size=1,
            ffmpeg_log_level="error",
        )
        writer.send(None)
        return writer


def _own_rate(env: Any) -> int:
    """Frames per second that an environment, or one it wraps, names in its metadata."""
    for _ in range(100):
        rate = (getattr(env, "metadata", None) or {}).get("render_fps")
        if rate:
            return int(rate)
        inner = [getattr(env, name, None) for name in ("gym", "_env", "env")]
        inner += list(getattr(env, "envs", ()))[:1]
        env = next((e for e in inner if e is not None and e is not env), None)
        if env is None:
            break
    return _DEFAULT_FRAMES_PER_SEC


def _fitted(frame: np.ndarray, max_width: int, size: tuple[int, int] | None) -> np.ndarray:
    """The frame in the (width, height) of the video; both are even, as its colours need."""
    if size is None:
        factor = min(1.0, max_width / frame.shape[1])
        width, height = round(frame.shape[1] * factor), round(frame.shape[0] * factor)
        size = max(width - width % 2, 2), max(height - height % 2, 2)
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    if 0 <= frame.shape[1] - size[0] <= 1 and 0 <= frame.shape[0] - size[1] <= 1:
        return frame[: size[1], : size[0]]
    from PIL import Image as PilImage

    return np.asarray(PilImage.fromarray(frame).resize(size, PilImage.Resampling.BILINEAR))


def _with_pictures(frame: np.ndarray, pred_info: Any) -> np.ndarray:
    """The frame with the pictures of `pred_info`, which get its height, at its right."""
    pictures = None if pred_info is None else Image.pack_image_nest(pred_info)
    if pictures is None:
        return frame
    return Image.stack_images([Image(frame), pictures.resize(height=frame.shape[0])]).data
