"""Playing episodes with a trained algorithm: printed, shown in a window, or recorded."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.metrics._episodes import SUCCESS_FIELDS
from alf.trainers.evaluator import play_steps, untouched_training
from alf.utils.checkpoint_utils import Checkpointer
from alf.utils.video_recorder import VideoRecorder

PUBLIC_MODULE = "alf.trainers.policy_trainer"  # under which these names are configured


class Episode(NamedTuple):
    """What came out of one episode."""

    episode_return: float | list[float]
    length: int
    success: float | None
    """None where the environment says nothing of success."""


@configurable
def wants_episode(
    episode: Episode,
    earlier: Sequence[Episode],
    criterion: Callable[[Episode, Sequence[Episode]], bool] | None = None,
) -> bool:
    """Whether an episode is recorded in the selective mode.

    Args:
        episode: the one that has just ended.
        earlier: those before it.
        criterion: called with the two, to be configured; None: failures, which are episodes without
            success, or, where nothing is said of success, with a return below the mean of those
            before. Of the latter the first is recorded, too.
    """
    if criterion is not None:
        return bool(criterion(episode, earlier))
    if episode.success is not None:
        return episode.success < 1
    before = [_total(e) for e in earlier]
    return not before or _total(episode) < sum(before) / len(before)


def _total(episode: Episode) -> float:
    return float(torch.tensor(episode.episode_return, device="cpu").sum())


def play(
    root_dir: str,
    env: Any,
    algorithm: Any,
    checkpoint_step: int | str = "latest",
    num_episodes: int = 10,
    sleep_time_per_step: float = 0.01,
    record_file: str | None = None,
    last_step_repeats: int = 0,
    append_blank_frames: int = 0,
    render: bool = True,
    selective_mode: bool = False,
    ignored_parameter_prefixes: Sequence[str] = (),
    *,
    render_algorithm: bool = False,
) -> list[Episode]:
    """Load a checkpoint of a run into `algorithm` and play with it; see `play_episodes`.

    Args:
        root_dir: directory of the run.
        env: batched, tensor based; for a recording or a window with one environment.
        algorithm: made as for the run.
        checkpoint_step: number of the checkpoint, or "latest".
        num_episodes: how many to play.
        sleep_time_per_step: seconds between steps in a window.
        record_file: mp4 file to write.
        last_step_repeats: repeats of an episode's last frame in the recording.
        append_blank_frames: black frames after each episode in the recording.
        render: show a window, if nothing is recorded and there is a display.
        selective_mode: record only the episodes that `wants_episode` chooses: failures, unless its
            ``criterion`` is configured.
        ignored_parameter_prefixes: parameters that are not loaded.
        render_algorithm: record the pictures in the info of `predict_step`, too.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the checkpoint is one of another algorithm, or ``selective_mode`` is without
            ``record_file``.
    """
    if selective_mode and not record_file:
        raise ValueError("play: selective_mode=True chooses what is recorded; it needs record_file")
    checkpoint_dir = os.path.join(root_dir, "train", "algorithm")
    load_player(checkpoint_dir, algorithm, checkpoint_step, ignored_parameter_prefixes)
    return show_episodes(
        env,
        algorithm,
        num_episodes,
        sleep_time_per_step=sleep_time_per_step,
        record_file=record_file,
        last_step_repeats=last_step_repeats,
        append_blank_frames=append_blank_frames,
        render=render,
        render_algorithm=render_algorithm,
        selective_mode=selective_mode,
    )


def show_episodes(
    env: Any,
    algorithm: Any,
    num_episodes: int,
    *,
    sleep_time_per_step: float,
    record_file: str | None,
    last_step_repeats: int,
    append_blank_frames: int,
    render: bool,
    render_algorithm: bool,
    selective_mode: bool = False,
) -> list[Episode]:
    """Play in a window or into a file; see `play`."""
    with contextlib.ExitStack() as stack:
        recorder = None
        if record_file:
            recorder = stack.enter_context(
                VideoRecorder(
                    env,
                    last_step_repeats=last_step_repeats,
                    append_blank_frames=append_blank_frames,
                    path=record_file,
                )
            )
        episodes = play_episodes(
            env,
            algorithm,
            num_episodes,
            sleep_time_per_step=sleep_time_per_step,
            recorder=recorder,
            render=render and recorder is None and _has_window(env),
            render_algorithm=render_algorithm,
            selective_mode=selective_mode,
        )
    if recorder is not None:
        print(f"video: {recorder.path}" if recorder.has_written else "no episode was recorded")
    return episodes


def load_player(
    checkpoint_dir: str, algorithm: Any, step: int | str, ignored_prefixes: Sequence[str] = ()
) -> int:
    """Load what playing needs of a checkpoint, and print and return its number."""
    checkpointer = Checkpointer(checkpoint_dir, algorithm=algorithm)
    try:
        loaded = checkpointer.load(
            step,
            ignored_parameter_prefixes=list(ignored_prefixes),
            including_optimizer=False,
            including_replay_buffer=False,
        )
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint in {checkpoint_dir} was written with other settings: {error}"
        ) from error
    if loaded < 0:
        there = ", ".join(map(str, checkpointer.steps())) or "none"
        raise FileNotFoundError(
            f"there is no checkpoint {step} in {checkpoint_dir}; there are: {there}"
        )
    print(f"checkpoint {loaded} of {checkpoint_dir}", flush=True)
    return loaded


def _has_window(env: Any) -> bool:
    """Whether a window can be shown; says why not."""
    if env.batch_size > 1:
        return False
    reason = try_window(env)
    if reason is not None:
        print(f"nothing is rendered: {reason}. --record_file=<file>.mp4 writes a video", flush=True)
    return reason is None


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
    selective_mode: bool = False,
) -> list[Episode]:
    """Play with `predict_step` and print each episode.

    Of each of the B environments the first ceil(num_episodes / B) episodes count, so that short
    ones are not preferred.

    Args:
        sleep_time_per_step: seconds to wait after each step, where a window is shown.
        recorder: gets every frame; B has to be 1.
        render: show a window; B has to be 1.
        render_algorithm: record the pictures in the info of `predict_step`, too.
        selective_mode: see `play`.
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
                if selective_mode:
                    recorder.cache_frame_and_pred_info(recorder.capture_env_frame(), pictures)
                else:
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
                if recorder is not None and selective_mode:
                    if wants_episode(episodes[-1], episodes[:-1]):
                        recorder.generate_video_from_cache()
                    recorder.clear_cache()
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
