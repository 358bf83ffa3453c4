"""What an environment returns is compared with its spaces: one clear error, or the right value."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from alf.environments import gym_wrappers
from alf.environments.alf_gym_wrapper import AlfGymWrapper
from alf.environments.suite_gym import wrap_env


class Returning(gymnasium.Env):
    """Returns given observations one after the other, given rewards and infos."""

    action_space = spaces.Discrete(2)

    def __init__(
        self,
        space: spaces.Space,
        observations: Any,
        rewards: Any = (0.0,),
        infos: Any = ({},),
    ) -> None:
        self.observation_space = space
        self._observations, self._rewards, self._infos = observations, rewards, infos
        self._t = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._t = 0
        return self._at(self._observations), {}

    def step(self, action: Any) -> Any:
        self._t += 1
        return (
            self._at(self._observations),
            self._at(self._rewards, 1),
            False,
            False,
            self._at(self._infos, 1),
        )

    def _at(self, values: Any, first: int = 0) -> Any:
        return values[min(self._t - first, len(values) - 1)]

    def __str__(self) -> str:
        return "<Returning>"


IMAGE = spaces.Box(0, 255, (3, 4, 5), np.uint8)
VECTOR = spaces.Box(-1.0, 1.0, (2,), np.float32)
NESTED = spaces.Dict({"a": spaces.Dict({"b": VECTOR}), "c": spaces.Discrete(3)})
fine_image = np.zeros((3, 4, 5), np.uint8)
fine_vector = np.zeros(2, np.float32)

WRONG: dict[str, tuple[spaces.Space, Any, Any, str]] = {
    "axes in another order": (
        IMAGE,
        fine_image,
        np.zeros((4, 5, 3), np.uint8),
        r"the observation of <Returning> is an array of shape \(4, 5, 3\) and dtype uint8; its "
        r"space says Box\(0, 255, \(3, 4, 5\), uint8\)",
    ),
    "shape": (VECTOR, fine_vector, np.zeros(3), r"is an array of shape \(3,\).*\(2,\)"),
    "another axis": (VECTOR, fine_vector, np.zeros((1, 2)), r"an array of shape \(1, 2\)"),
    "a number": (VECTOR, fine_vector, 1.0, r"is 1.0 \(float\)"),
    "None": (VECTOR, fine_vector, None, r"is None \(NoneType\)"),
    "fraction": (IMAGE, fine_image, np.full((3, 4, 5), 0.5), "dtype float64"),
    "too large": (IMAGE, fine_image, np.full((3, 4, 5), 300), "dtype int64"),
    "negative": (IMAGE, fine_image, np.full((3, 4, 5), -1), "dtype int64"),
    "index": (spaces.Discrete(3), 0, 3, r"is 3 \(int\); its space says Discrete\(3\)"),
    "fractional index": (spaces.Discrete(3), 0, 1.5, r"1.5 \(float\)"),
    "indices": (
        spaces.MultiDiscrete([2, 3]),
        np.array([1, 2]),
        np.array([2, 2]),
        r"dtype int64 \[2, 2\]",
    ),
    "bits": (spaces.MultiBinary(2), np.array([0, 1], np.int8), np.array([0, 2]), r"\[0, 2\]"),
    "field": (
        NESTED,
        {"a": {"b": fine_vector}, "c": 1},
        {"a": {"b": np.zeros(3)}, "c": 1},
        r"the observation 'a.b' of <Returning>",
    ),
    "missing field": (
        NESTED,
        {"a": {"b": fine_vector}, "c": 1},
        {"a": {"b": fine_vector}},
        r"a dict with the keys \['a'\]; its space says a dict with the keys \['a', 'c'\]",
    ),
    "no dict": (NESTED, {"a": {"b": fine_vector}, "c": 1}, {"a": fine_vector, "c": 1}, "'a' of"),
    "tuple": (
        spaces.Tuple([VECTOR, VECTOR]),
        (fine_vector, fine_vector),
        (fine_vector, np.zeros(3)),
        r"the observation '\[1\]'",
    ),
    "length": (
        spaces.Tuple([VECTOR, VECTOR]),
        (fine_vector, fine_vector),
        (fine_vector,),
        "a tuple of 2",
    ),
}


@pytest.mark.parametrize("when", ["at the reset", "later"])
@pytest.mark.parametrize("name", WRONG)
def test_an_observation_that_does_not_belong_to_its_space_is_named(name: str, when: str) -> None:
    space, fine, wrong, message = WRONG[name]
    observations = [wrong] if when == "at the reset" else [fine, fine, wrong]
    env = AlfGymWrapper(Returning(space, observations))
    for _ in range(len(observations) - 1):
        env.step(np.int64(0))
    with pytest.raises(ValueError, match=message) as error:
        env.step(np.int64(0))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", WRONG)
def test_what_belongs_to_the_space_comes_as_it_is(name: str) -> None:
    space, fine, _, _ = WRONG[name]
    env = AlfGymWrapper(Returning(space, [fine]))
    for _ in range(3):
        np.testing.assert_equal(env.step(np.int64(0)).observation, fine)


def test_numbers_of_other_types_that_the_space_can_hold_are_converted() -> None:
    env = AlfGymWrapper(Returning(IMAGE, [np.full((3, 4, 5), 255)]))
    observation = env.reset().observation
    assert observation.dtype == np.uint8
    assert (observation == 255).all()
    env = AlfGymWrapper(Returning(VECTOR, [[1, 0]]))
    assert env.reset().observation.dtype == np.float32


@pytest.mark.parametrize("reward", [None, "1", [0.0, 1.0], np.zeros((1, 1))])
def test_a_reward_that_is_no_number_is_named(reward: Any) -> None:
    env = AlfGymWrapper(Returning(VECTOR, [fine_vector], rewards=[0.0, reward]))
    env.reset()
    env.step(np.int64(0))
    with pytest.raises(ValueError, match=r"the reward of <Returning> is .*it must be a number"):
        env.step(np.int64(0))


# ---- info ----


@pytest.mark.parametrize("first", [0, 0.0, np.int64(0), np.float64(0)])
@pytest.mark.parametrize("later", [0.7, np.float32(0.7)])
def test_a_number_that_was_whole_at_first_may_be_a_fraction_later(first: Any, later: Any) -> None:
    env = AlfGymWrapper(Returning(VECTOR, [fine_vector], infos=[{"x": first}, {"x": later}]))
    env.reset()
    assert [float(env.step(np.int64(0)).env_info["x"]) for _ in range(2)] == [
        0.0,
        pytest.approx(0.7),
    ]
    assert env.env_info_spec()["x"].dtype.is_floating_point


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (False, 0.7),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2, np.int64), np.full(2, 0.7)),
        (0.0, "text"),
        (0.0, None),
        (0.0, np.zeros(2)),
    ],
)
def test_info_that_does_not_fit_its_first_value_is_named(first: Any, later: Any) -> None:
    env = AlfGymWrapper(Returning(VECTOR, [fine_vector], infos=[{"x": first}, {"x": later}]))
    env.reset()
    env.step(np.int64(0))
    with pytest.raises(ValueError, match=r"env_info\['x'\] of <Returning> is .* at the first step"):
        env.step(np.int64(0))


# ---- images ----


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ((84, 84, 4), (4, 84, 84)),
        ((4, 84, 84), (4, 84, 84)),
        ((1, 28, 28), (1, 28, 28)),
        ((2, 3, 1), (1, 2, 3)),
        ((8, 8, 17), (17, 8, 8)),
        ((5, 5, 5), (5, 5, 5)),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_channels_come_first_unless_they_are(given: Any, seen: Any, nested: bool) -> None:
    pixels = np.arange(np.prod(given)).reshape(given).astype(np.uint8)
    space: spaces.Space = spaces.Box(0, 255, given, np.uint8)
    observation: Any = pixels
    if nested:
        space, observation = spaces.Dict({"view": space}), {"view": pixels}
    env = wrap_env(Returning(space, [observation]))
    result = env.reset().observation
    result = result["view"] if nested else result
    assert result.shape == seen
    moved = given != seen or given == (5, 5, 5)
    np.testing.assert_array_equal(result, np.moveaxis(pixels, -1, 0) if moved else pixels)


def test_a_field_that_is_named_is_moved_and_must_be_an_image() -> None:
    space = spaces.Dict({"view": spaces.Box(0, 255, (4, 9, 9), np.uint8), "x": VECTOR})
    env = Returning(space, [{"view": np.zeros((4, 9, 9), np.uint8), "x": fine_vector}])
    moved = AlfGymWrapper(gym_wrappers.ImageChannelFirst(env, fields=["view"]))
    assert moved.reset().observation["view"].shape == (9, 4, 9)
    with pytest.raises(ValueError, match="the field 'x' is Box"):
        gym_wrappers.ImageChannelFirst(env, fields=["x"])
