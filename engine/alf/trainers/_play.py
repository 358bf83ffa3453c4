"""Playing episodes with a trained algorithm: printed, shown in a window, or recorded."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from typing import Any, NamedTuple

import torch

from alf.data_structures import StepType, TimeStep
from alf.metrics._episodes import SUCCESS_FIELDS
from alf.trainers.evaluator import play_steps, untouched_training
from alf.utils.video_recorder import VideoRecorder


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
    render_algorithm: bool = False,
) -> list[Episode]:
    """Play with `predict_step` and print each episode.

    Of each of the B environments the first ceil(num_episodes / B) episodes count, so that short
    ones are not preferred.

    Args:
        sleep_time_per_step: seconds to wait after each step, where a window is shown.
        recorder: gets every frame; B has to be 1.
        render: show a window; B has to be 1.
        render_algorithm: record the pictures in the info of `predict_step`, too.
    """
    B = env.batch_size
    if (recorder is not None or render) and B != 1:
        raise ValueError(f"showing or recording needs an environment of batch size 1, not {B}")
    episodes: list[Episode] = []
    if num_episodes < 1:
        return episodes
    missing = [math.ceil(num_episodes / B)] * B
    tallies = [_Tally() for _ in range(B)]
    with untouched_training(algorithm):
        for time_step, policy_step in play_steps(env, algorithm):
            if recorder is not None:
                pictures = policy_step.info if render_algorithm else None
                recorder.capture_frame(pictures, is_last_step=bool(time_step.is_last()))
            if render:
                env.render("human")
                time.sleep(sleep_time_per_step)
            for i, tally in enumerate(tallies):
                tally.add(time_step, i)
                if not missing[i] or not bool(time_step.step_type[i] == StepType.LAST):
                    continue
                missing[i] -= 1
                episodes.append(tally.episode())
                print(f"episode {len(episodes)}: {_described(episodes[-1])}", flush=True)
            if not any(missing):
                break
    print(f"average of {len(episodes)}: {_described(_average(episodes))}", flush=True)
    return episodes


class _Tally:
    """What has come out of the episode of one environment so far."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._total: Any = 0.0
        self._length = 0
        self._success: float | None = None

    def add(self, time_step: TimeStep, i: int) -> None:
        """Count the step of environment `i`."""
        if bool(time_step.step_type[i] == StepType.FIRST):
            self._start()
            return
        self._total = self._total + time_step.reward[i].double()
        self._length += 1
        success = _success(time_step, i)
        if success is not None:
            self._success = min(max(success, self._success or 0.0), 1.0)

    def episode(self) -> Episode:
        return Episode(torch.as_tensor(self._total).tolist(), self._length, self._success)


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


def _success(time_step: TimeStep, i: int) -> float | None:
    """What the environment says of success at this step, if it says something."""
    info = time_step.env_info
    for field in SUCCESS_FIELDS:
        if isinstance(info, dict) and field in info:
            return float(torch.as_tensor(info[field]).reshape(-1)[i])
    return None


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
