"""Loading gymnasium environments: names, time limits, actions, images."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import alf
from alf.data_structures import StepType
from alf.environments import gym_wrappers, suite_gym
from alf.environments.alf_gym_wrapper import tensor_spec_from_gym_space
from alf.environments.utils import create_environment, load_with_random_max_episode_steps


class Camera(gymnasium.Env):
    """Images `[6, 8, 3]` whose pixels say where they are: 10 * row + column, plus 100 * channel."""

    def __init__(self, nested=False):
        image = spaces.Box(0, 255, (6, 8, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": image, "t": spaces.Box(-1, 99, (1,))})
        if not nested:
            self.observation_space = image
        self._nested = nested
        self.action_space = spaces.Discrete(2)
        self.metadata = {"render_modes": ["rgb_array"]}
        self.render_mode = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        self.t += 1
        return self._observe(), 1.0, self.t == 5, False, {}

    def render(self):
        return self._image()

    def _image(self):
        row, column, channel = np.indices((6, 8, 3))
        return (10 * row + column + 80 * channel + self.t).astype(np.uint8)

    def _observe(self):
        if not self._nested:
            return self._image()
        return {"image": self._image(), "t": np.array([self.t], np.float32)}


def lengths(env, num_steps):
    """Lengths of the episodes within that many steps with zero actions."""
    env.reset()
    result, t = [], 0
    for _ in range(num_steps):
        step = env.step(env.action_spec().numpy_zeros())
        t = 0 if step.is_first() else t + 1
        if step.is_last():
            result.append((t, float(step.discount)))
    return result


def test_time_limits_cut_off_and_do_not_terminate():
    assert lengths(suite_gym.load("Pendulum-v1"), 450) == [(200, 1.0), (200, 1.0)]
    assert lengths(suite_gym.load("Pendulum-v1", max_episode_steps=7), 22) == [(7, 1.0)] * 2
    assert lengths(suite_gym.load("Pendulum-v1", max_episode_steps=0), 250) == []
    (length, discount), *_ = lengths(suite_gym.load("CartPole-v1"), 60)
    assert length < 20
    assert discount == 0
    with pytest.raises(ValueError, match="max_episode_steps is -3"):
        suite_gym.load("Pendulum-v1", max_episode_steps=-3)


def test_random_time_limits_lie_in_their_range():
    env = load_with_random_max_episode_steps("Pendulum-v1", min_steps=3, max_steps=5)
    assert lengths(env, 10)[0][0] in (3, 4, 5)


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    with pytest.raises(ValueError, match=r"'Pendulm-v1'.*Pendulum-v1"):
        suite_gym.load("Pendulm-v1")
    with pytest.raises(ValueError, match=r"Pendulum-v1"):
        suite_gym.load("Pendulum-v77")


def test_continuous_actions_are_normalized_and_clipped():
    env = suite_gym.load("Pendulum-v1")
    assert env.action_spec() == alf.BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
    inner = env.gym.unwrapped
    env.reset()
    for action, torque in [(0.5, 1.0), (1.0, 2.0), (-3.0, -2.0), (np.inf, 2.0)]:
        step = env.step(np.array([action], np.float32))
        assert inner.last_u == torque
        assert step.prev_action == np.float32(action)
    with pytest.raises(ValueError, match=r"nan\] is outside"):
        env.step(np.array([np.nan], np.float32))


def test_discounts_and_wrappers_can_be_configured():
    calls = []

    def gym_wrapper(env):
        calls.append(type(env.unwrapped).__name__)
        return env

    def alf_wrapper(env):
        calls.append(type(env).__name__)
        return env

    env = suite_gym.load(
        "Pendulum-v1",
        env_id=4,
        discount=0.9,
        gym_env_wrappers=[gym_wrapper],
        alf_env_wrappers=[alf_wrapper],
    )
    env.reset()
    step = env.step(np.zeros(1, np.float32))
    assert (step.discount, step.env_id) == (np.float32(0.9), 4)
    assert calls == ["PendulumEnv", "AlfGymWrapper"]


def test_the_mapping_hits_the_bounds_exactly_and_leaves_infinite_ones():
    env = gymnasium.Env()
    env.action_space = spaces.Box(
        np.array([0.1, -np.inf, -3.3], np.float32), np.array([0.7, np.inf, 7.7], np.float32)
    )
    env.observation_space = spaces.Discrete(2)
    mapped = gym_wrappers.ContinuousActionMapping(env, -1.0, 1.0)
    assert mapped.action_space.low.tolist() == [-1, -np.inf, -1]
    low, high = (mapped.action(np.array([v, 5.0, v], np.float32)) for v in (-1, 1))
    assert low.tolist() == [np.float32(0.1), 5, np.float32(-3.3)]
    assert high.tolist() == [np.float32(0.7), 5, np.float32(7.7)]
    clip = gym_wrappers.ContinuousActionClip(mapped, min_v=-0.5)
    assert clip.action(np.array([-9, -9, 9], np.float32)).tolist() == [-0.5, -0.5, 1]


def test_nested_actions_are_mapped_leaf_by_leaf():
    env = gymnasium.Env()
    box = spaces.Box(0.0, 10.0, (1,))
    env.action_space = spaces.Dict({"a": spaces.Tuple([box, spaces.Discrete(3)]), "b": box})
    env.observation_space = spaces.Discrete(2)
    mapped = gym_wrappers.NormalizedAction(env)
    action = {"a": (np.zeros(1, np.float32), 2), "b": np.ones(1, np.float32)}
    assert mapped.action(action) == {"a": (5.0, 2), "b": 10.0}
    assert gym_wrappers.has_continuous_actions(env.action_space)
    assert not gym_wrappers.has_continuous_actions(spaces.Tuple([spaces.Discrete(3)]))


@pytest.mark.parametrize("nested", [False, True])
def test_images_come_with_their_channels_first(nested):
    env = suite_gym.wrap_env(Camera(nested))
    spec, observation = env.observation_spec(), env.reset().observation
    image_spec = spec["image"] if nested else spec
    image = observation["image"] if nested else observation
    assert tuple(image_spec.shape) == image.shape == (3, 6, 8)
    assert image[2, 4, 5] == 160 + 45
    unchanged = suite_gym.wrap_env(Camera(), image_channel_first=False)
    assert unchanged.observation_spec().shape == (6, 8, 3)


def test_rendering_of_a_batch_shows_environment_0():
    env = create_environment(
        "x", lambda name, env_id: suite_gym.wrap_env(Camera(), env_id), num_parallel_environments=2
    )
    env.reset()
    env.step(torch.zeros(2, dtype=torch.int64))
    assert env.render("rgb_array")[0, 0, 0] == 1
    with pytest.raises(ValueError, match=r"'human'.*rgb_array"):
        env.render("human")


def test_frames_are_stacked_from_the_reset_on():
    env = gym_wrappers.FrameStack(Camera(), stack_size=3)
    assert env.observation_space.shape == (6, 8, 9)
    first, _ = env.reset()
    assert first[0, 0, ::3].tolist() == [0, 0, 0]
    env.step(0)
    assert env.step(0)[0][0, 0, ::3].tolist() == [0, 1, 2]
    assert env.reset()[0][0, 0, ::3].tolist() == [0, 0, 0]


def test_frames_of_nested_fields_are_stacked_apart():
    env = gym_wrappers.FrameStack(Camera(True), stack_size=2, fields=["image", "t"])
    env.reset()
    observation = env.step(0)[0]
    assert observation["t"].tolist() == [0, 1]
    assert observation["image"].shape == (6, 8, 6)
    with pytest.raises(ValueError, match="'x'"):
        gym_wrappers.FrameStack(Camera(True), fields=["x"])


def test_skipped_frames_sum_their_rewards_and_stop_at_the_end():
    env = gym_wrappers.FrameSkip(Camera(), 3)
    env.reset()
    for expected, frames in (((3.0, False), 3), ((2.0, True), 2)):
        step = env.step(0)
        assert step[1:3] == expected
        assert step[4]["num_env_frames"] == frames


def test_frames_are_cropped_flipped_resized_and_made_gray():
    crop = gym_wrappers.FrameCrop(Camera(), sx=2, sy=1, width=4, height=3)
    frame = crop.reset()[0]
    assert frame.shape == crop.observation_space.shape == (3, 4, 3)
    assert frame[0, 0, 0] == 12
    with pytest.raises(ValueError, match="does not lie inside"):
        gym_wrappers.FrameCrop(Camera(), sx=5, width=4, height=3)
    flip = gym_wrappers.FrameFlip(Camera(), ud_flip_prob=1.0, lr_flip_prob=0.0)
    assert flip.reset()[0][0, 3, 0] == 53
    resize = gym_wrappers.FrameResize(Camera(), width=4, height=3)
    assert resize.reset()[0].shape == resize.observation_space.shape == (3, 4, 3)
    gray = gym_wrappers.FrameGrayScale(Camera())
    frame = gray.reset()[0]
    assert frame.shape == gray.observation_space.shape == (6, 8, 1)
    assert frame[0, 0, 0] == round(80 * 0.587 + 160 * 0.114)


def test_random_crops_stay_for_an_episode_and_follow_the_seed():
    def corners(seed):
        env = gym_wrappers.EpisodicRandomFrameCrop(Camera(), cropping_fraction=0.5)
        assert env.observation_space.shape == (3, 4, 3)
        result = []
        for i in range(20):
            frame, _ = env.reset(seed=seed if i == 0 else None)
            assert env.step(0)[0][0, 0, 0] == frame[0, 0, 0] + 1
            result.append(int(frame[0, 0, 0]))
        return result

    assert corners(0) == corners(0) != corners(1)
    assert len(set(corners(0))) > 5


def test_a_non_episodic_environment_never_ends():
    env = gym_wrappers.NonEpisodicEnv(Camera())
    env.reset()
    assert [env.step(0)[2:4] for _ in range(7)] == [(False, False)] * 7


def test_vectors_of_options_are_stacked():
    class Dice(gymnasium.Env):
        observation_space = gymnasium.spaces.MultiDiscrete([6, 4])
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, **kwargs):
            return np.array([1, 2]), {}

        def step(self, action):
            return np.array([5, 3]), 0.0, False, False, {}

    env = gym_wrappers.FrameStack(Dice(), stack_size=2)
    assert env.observation_space == gymnasium.spaces.MultiDiscrete([6, 4, 6, 4])
    assert env.reset()[0].tolist() == [1, 2, 1, 2]
    assert env.step(0)[0].tolist() == [1, 2, 5, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_images_of_any_kind_are_resized(dtype):
    class Ramp(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 1, (4, 8, 2), dtype)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, **kwargs):
            left = np.arange(8) < 4
            return np.broadcast_to(left[None, :, None], (4, 8, 2)).astype(dtype), {}

    env = gym_wrappers.FrameResize(Ramp(), width=2, height=2)
    frame = env.reset()[0]
    assert frame.dtype == env.observation_space.dtype == dtype
    assert frame[:, :, 0].tolist() == [[1, 0], [1, 0]]


def test_what_wrapping_does_can_be_chosen():
    def wrapped(**options):
        return suite_gym.wrap_env(gymnasium.make("Pendulum-v1"), **options)

    assert wrapped().action_spec().maximum == 1
    plain = wrapped(normalize_action=False)
    assert plain.action_spec().maximum == 2
    limited = wrapped(max_episode_steps=2)
    limited.reset()
    action = np.zeros(1, np.float32)
    steps = [limited.step(action) for _ in range(3)]
    assert [(int(s.step_type), float(s.discount)) for s in steps] == [(1, 1), (2, 1), (0, 1)]
    calls = []
    wrapped(max_episode_steps=3, time_limit_wrapper=lambda e, n: calls.append(n) or e)
    assert calls == [3]
    once = wrapped(max_episode_steps=0, auto_reset=False)
    once.reset()
    for _ in range(200):
        step = once.step(action)
    assert step.step_type == 2
    with pytest.raises(ValueError, match="auto_reset is off"):
        once.step(action)
    far = wrapped(normalize_action=False, clip_action=False)
    far.reset()
    assert far.step(np.array([9.0], np.float32)).prev_action == 9
    clipped = wrapped(normalize_action=False)
    clipped.reset()
    clipped.step(np.array([9.0], np.float32))


def test_spaces_keep_their_dtype_if_asked_to_and_options_have_one_minimum():
    space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    assert tensor_spec_from_gym_space(space).dtype == torch.float32
    assert tensor_spec_from_gym_space(space, float_dtype=None).dtype == torch.float64
    options = tensor_spec_from_gym_space(gymnasium.spaces.MultiDiscrete([2, 3]))
    assert options.minimum.shape == ()
    assert options.maximum.tolist() == [1, 2]


class Game(Camera):
    def get_action_meanings(self):
        return ["NOOP", "FIRE"]


def test_atari_frames_are_the_maximum_of_the_last_two_gray_and_resized():
    env = gym_wrappers.DMAtariPreprocessing(Game(), frame_skip=2, noop_max=0, screen_size=6)
    frame, _ = env.reset()
    assert env.unwrapped.t == 1  # FIRE has been pressed
    assert frame.shape == env.observation_space.shape == (6, 6, 1)
    assert env.step(0)[1] == 2.0
    assert env.unwrapped.t == 3


def test_a_step_type_is_first_after_seeding():
    env = suite_gym.load("Pendulum-v1")
    env.reset()
    env.seed(3)
    assert env.step(np.zeros(1, np.float32)).step_type == StepType.FIRST
