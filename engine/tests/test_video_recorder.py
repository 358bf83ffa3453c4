"""Frames of a video: those of the environment, with the pictures of the algorithm beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from alf.summary.render import Image
from alf.utils.video_recorder import VideoRecorder


class _Screen:
    """Shows 8 x 6 pixels whose value is the number of the frame."""

    count = 0

    def render(self, mode: str) -> np.ndarray:
        assert mode == "rgb_array"
        self.count += 1
        return np.full((8, 6, 3), self.count, dtype=np.uint8)


def test_pictures_of_the_algorithm_stand_at_the_right(tmp_path: Path) -> None:
    recorder = VideoRecorder(_Screen(), path=str(tmp_path / "a.mp4"))
    picture = Image(np.full((2, 1, 3), 200, dtype=np.uint8))
    info = {"picture": picture, "other": torch.zeros(3)}
    frame = recorder.capture_env_frame()
    recorder.cache_frame_and_pred_info(frame, info)
    recorder.cache_frame_and_pred_info(frame, {"other": torch.zeros(3)})
    with_picture, without = recorder._cache
    assert with_picture.shape == (8, 6 + 4, 3)
    assert with_picture[:, :6].max() == 1
    assert with_picture[:, 6:].min() == 200
    assert np.array_equal(without, frame)
    assert picture.shape == (2, 1, 3)
    recorder.clear_cache()
    recorder.close()


def test_a_video_is_written(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    with VideoRecorder(_Screen(), path=str(tmp_path / "a.mp4"), last_step_repeats=2) as recorder:
        recorder.capture_frame()
        recorder.capture_frame(is_last_step=True)
    assert (tmp_path / "a.mp4").stat().st_size > 0


def test_a_path_is_needed() -> None:
    with pytest.raises(ValueError, match="needs path="):
        VideoRecorder(_Screen())
    with pytest.raises(ValueError, match=r"end with \.mp4"):
        VideoRecorder(_Screen(), path="a.gif")
