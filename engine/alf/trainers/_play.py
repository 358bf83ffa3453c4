"""Playing episodes with a trained algorithm: printed, shown in a window, or recorded."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any, NamedTuple

import torch

from alf.data_structures import TimeStep
from alf.trainers.evaluator import play_steps, untouched_training
from alf.utils.video_recorder import VideoRecorder

_SUCCESS_FIELDS = ("success", "is_success")


class Episode(NamedTuple):
    """What came out of one episode."""

    episode_return: float | list[float]
    length: int
    success: float | None
    """None where the environment says nothing of success."""


@torch.no_grad()
def play_episodes(
    env: Any,
    algorithm: Any,
    num_episodes: int,
    *,
    sleep_time_per_step: float = 0.0,
    recorder: VideoRecorder | None = None,
    render: bool = False,
) -> list[Episode]:
    """Play with `predict_step` in an environment of batch size 1 and print each episode.

    Args:
        sleep_time_per_step: seconds to wait after each step, where a window is shown.
        recorder: gets every frame.
        render: show a window.
    """
    if env.batch_size != 1:
        raise ValueError(f"play needs an environment of batch size 1, not {env.batch_size}")
    episodes: list[Episode] = []
    if num_episodes < 1:
        return episodes
    total: Any = 0.0
    length = 0
    success: torch.Tensor | None = None
    with untouched_training(algorithm):
        for time_step, _ in play_steps(env, algorithm):
            is_last = bool(time_step.is_last())
            if bool(time_step.is_first()):
                total, length, success = 0.0, 0, None
            else:
                total = total + time_step.reward[0].double()
                length += 1
                success = _with_success(success, time_step)
            if recorder is not None:
                recorder.capture_frame(is_last_step=is_last)
            if render:
                env.render("human")
                time.sleep(sleep_time_per_step)
            if is_last:
                episodes.append(_episode(total, length, success))
                print(f"episode {len(episodes)}: {_described(episodes[-1])}", flush=True)
                if len(episodes) >= num_episodes:
                    break
    print(f"average of {len(episodes)}: {_described(_average(episodes))}", flush=True)
    return episodes


def window_is_possible() -> bool:
    """Whether this machine seems to have a screen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def try_window(env: Any) -> str | None:
    """Show `env` in a window; the reason if that cannot be done."""
    if not window_is_possible():
        return "there is no display"
    try:
        env.render("human")
    except Exception as error:
        with contextlib.suppress(Exception):
            env.reset()
        return str(error) or type(error).__name__
    return None


def _with_success(success: torch.Tensor | None, time_step: TimeStep) -> torch.Tensor | None:
    """Largest success reported so far in the episode."""
    info = time_step.env_info
    for field in _SUCCESS_FIELDS:
        if isinstance(info, dict) and field in info:
            now = torch.as_tensor(info[field]).reshape(-1)[0].double()
            return now if success is None else torch.maximum(success, now)
    return success


def _episode(total: Any, length: int, success: torch.Tensor | None) -> Episode:
    return Episode(
        torch.as_tensor(total).tolist(), length, None if success is None else float(success)
    )


def _average(episodes: list[Episode]) -> Episode:
    successes = [e.success for e in episodes if e.success is not None]
    mean_return = torch.tensor([e.episode_return for e in episodes], device="cpu").double().mean(0)
    return Episode(
        mean_return.tolist(),
        round(sum(e.length for e in episodes) / len(episodes)),
        sum(successes) / len(successes) if successes else None,
    )


def _described(episode: Episode) -> str:
    value = episode.episode_return
    values = value if isinstance(value, list) else [value]
    text = f"return {', '.join(f'{v:.2f}' for v in values)}  length {episode.length}"
    return text if episode.success is None else f"{text}  success {episode.success:.2f}"
