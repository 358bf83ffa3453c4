"""Playing: which episodes count, and what is recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_rl import CountingEnv, TinyOnPolicy

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.summary.render import Image
from alf.trainers._play import Episode, play_episodes, wants_episode
from alf.trainers.policy_trainer import play
from alf.utils.checkpoint_utils import Checkpointer
from alf.utils.video_recorder import VideoRecorder


class _Drawing(TinyOnPolicy):
    """Draws the step of the episode as grey."""

    def predict_step(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        step = self._act(inputs, state)
        grey = np.full((4, 4), int(inputs.observation[0, 1]), np.uint8)
        return step._replace(info={"picture": Image(grey), "other": state})


class _Frames(VideoRecorder):
    """Keeps what would be written."""

    def __init__(self, env: CountingEnv, **kwargs: int) -> None:
        super().__init__(env, path="none.mp4", **kwargs)
        self.frames: list[np.ndarray] = []

    def capture_env_frame(self) -> np.ndarray:
        return np.full((4, 2, 3), 100, np.uint8)

    def _write(self, frame: np.ndarray) -> None:
        self.frames.append(frame)


def test_the_first_episodes_of_each_environment_count(capsys):
    env = CountingEnv(batch_size=3, length=4)
    episodes = play_episodes(env, _Drawing(), 4)
    # rewards 1 + 2 + 3 + 4; two of each environment
    assert episodes == [Episode(10.0, 4, None)] * 6
    assert "average of 6: return 10.00  length 4" in capsys.readouterr().out


def test_a_run_is_played_by_its_directory(tmp_path, capsys):
    saved, other = (TinyOnPolicy() for _ in range(2))
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.fill_(2.5)
    Checkpointer(str(tmp_path / "train" / "algorithm"), algorithm=saved).save(7)
    env = CountingEnv(batch_size=2)
    episodes = play(str(tmp_path), env, other, num_episodes=4, render=False)
    assert len(episodes) == 4
    assert all((p == 2.5).all() for p in other.parameters())
    assert "checkpoint 7 of" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 3 .* there are: 7"):
        play(str(tmp_path), env, other, checkpoint_step=3)
    with pytest.raises(ValueError, match=r"selective_mode=True .* needs record_file"):
        play(str(tmp_path), env, other, selective_mode=True)


def test_frames_are_written_with_pictures_repeats_and_blanks():
    env = CountingEnv(batch_size=1, length=2)
    recorder = _Frames(env, last_step_repeats=2, append_blank_frames=1)
    play_episodes(env, _Drawing(), 1, recorder=recorder, render_algorithm=True)
    assert [frame.shape for frame in recorder.frames] == [(4, 6, 3)] * 6
    assert [frame[0, 5, 0] for frame in recorder.frames] == [0, 1, 2, 2, 2, 0]
    assert [frame[0, 0, 0] for frame in recorder.frames] == [100] * 5 + [0]


@pytest.mark.parametrize(
    ("criterion", "recorded"),
    [(None, [0, 2]), (lambda episode, earlier: len(earlier) == 1, [1])],
    ids=["failures", "criterion"],
)
def test_in_the_selective_mode_chosen_episodes_are_recorded(criterion, recorded, request):
    request.addfinalizer(alf.reset_configs)
    alf.reset_configs()
    alf.config("wants_episode", criterion=criterion)
    returns = iter([3.0, 9.0, 4.0])

    class Spoiled(CountingEnv):
        """The return of each episode is the next of `returns`."""

        def _make(self, action):
            step = super()._make(action)
            reward = next(returns, 0.0) if bool(step.is_last()) else 0.0
            return step._replace(reward=torch.full((1,), reward))

    env = Spoiled(batch_size=1, length=2)
    recorder = _Frames(env, last_step_repeats=1)
    shown = iter(range(100))
    recorder.capture_env_frame = lambda: np.full((4, 2, 3), next(shown), np.uint8)
    play_episodes(env, _Drawing(), 3, recorder=recorder, selective_mode=True)
    # Episodes of three frames; the last one twice.
    wanted = [frame for e in recorded for frame in (3 * e, 3 * e + 1, 3 * e + 2, 3 * e + 2)]
    assert [int(frame[0, 0, 0]) for frame in recorder.frames] == wanted


def test_an_episode_without_success_is_a_failure():
    earlier = [Episode(100.0, 5, 1.0)]
    assert wants_episode(Episode(200.0, 5, 0.0), earlier)
    assert not wants_episode(Episode(0.0, 5, 1.0), earlier)


def test_one_environment_is_recorded():
    env = CountingEnv(batch_size=2)
    with pytest.raises(ValueError, match="batch size 1, not 2"):
        play_episodes(env, _Drawing(), 1, recorder=_Frames(env))
