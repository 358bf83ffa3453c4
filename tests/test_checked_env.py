"""What a gymnasium environment returns to the loader is compared with its spaces."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

import alf
from alf.environments.alf_gym_wrapper import tensor_spec_from_gym_space
from alf.tensor_specs import BoundedTensorSpec
from alf_layered.environments import gymnasium_loader
from alf_layered.environments.gymnasium_spaces import IndicesSpec
from alf_layered.networks.flat_observation import flat_spec, flatten_observation


class Returning(gymnasium.Env):
    """Returns given observations, rewards and infos, the first ones at the reset."""

    action_space = spaces.Discrete(2)

    def __init__(
        self, space: spaces.Space, values: Any, rewards: Any = (0.0,), infos: Any = ({},)
    ) -> None:
        self.observation_space = space
        self._values, self._rewards, self._infos = values, rewards, infos
        self._t = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._t = 0
        return self._at(self._values), self._at(self._infos)

    def step(self, action: Any) -> Any:
        self._t += 1
        return (
            self._at(self._values),
            self._at(self._rewards),
            False,
            False,
            self._at(self._infos),
        )

    def _at(self, values: Any) -> Any:
        return values[min(self._t, len(values) - 1)]

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
    "a number": (VECTOR, fine_vector, 1.0, r"is 1.0 \(float\)"),
    "None": (VECTOR, fine_vector, None, r"is None \(NoneType\)"),
    "fraction": (IMAGE, fine_image, np.full((3, 4, 5), 0.5), "dtype float64"),
    "too large": (IMAGE, fine_image, np.full((3, 4, 5), 300), "dtype int64"),
    "index": (spaces.Discrete(3), 0, 3, r"is 3 \(int\); its space says Discrete\(3\)"),
    "fractional index": (spaces.Discrete(3, start=1), 1, 1.5, r"1.5 \(float\)"),
    "index that is no number": (spaces.Discrete(3), 1, np.nan, r"nan \(float\); its space says"),
    "indices": (spaces.MultiDiscrete([2, 3]), np.array([1, 2]), np.array([2, 2]), r"\[2, 2\]"),
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
    "tuple": (
        spaces.Tuple([VECTOR, VECTOR]),
        (fine_vector, fine_vector),
        (fine_vector, np.zeros(3)),
        r"the observation '\[1\]'",
    ),
}


def _load(*args: Any, vectorization: str = "sync", batch_size: int = 2) -> Any:
    return gymnasium_loader.load(
        lambda: Returning(*args), batch_size=batch_size, vectorization=vectorization
    )


def _steps(env: Any, count: int) -> list[Any]:
    action = torch.zeros(env.batch_size, dtype=torch.int64)
    return [env.reset(), *(env.step(action) for _ in range(count))]


@pytest.mark.parametrize("when", [0, 2])
@pytest.mark.parametrize("name", WRONG)
def test_an_observation_that_does_not_belong_to_its_space_is_named(name: str, when: int) -> None:
    space, fine, wrong, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as error:
        _steps(_load(space, [fine] * when + [wrong]), 2)
    assert len(str(error.value)) < 300


@pytest.mark.filterwarnings("ignore")  # gymnasium tells of it in the log, too
def test_axes_in_another_order_are_found_in_other_processes() -> None:
    """Their pixels were put into the shared memory one after the other."""
    env = _load(IMAGE, [fine_image] * 2 + [np.zeros((4, 5, 3), np.uint8)], vectorization="async")
    env.reset()
    env.step(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"is an array of shape \(4, 5, 3\)"):
        env.step(torch.zeros(2, dtype=torch.int64))
    env.close()


@pytest.mark.parametrize("name", WRONG)
def test_what_belongs_to_the_space_comes_as_it_is(name: str) -> None:
    space, fine, _, _ = WRONG[name]
    observation = _steps(_load(space, [fine]), 2)[-1].observation
    batch = gymnasium.vector.utils.concatenate(
        space, [fine, fine], gymnasium.vector.utils.create_empty_array(space, 2)
    )
    torch.testing.assert_close(observation, _tensors(batch), check_dtype=False, rtol=0, atol=0)


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tensors(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_tensors(part) for part in value)
    return torch.as_tensor(value)


@pytest.mark.parametrize("reward", [None, "1", [0.0, 1.0]])
def test_a_reward_that_is_no_number_is_named(reward: Any) -> None:
    env = _load(VECTOR, [fine_vector], [0.0, 0.0, reward])
    with pytest.raises(ValueError, match=r"the reward of <Returning> is .*it must be a number"):
        _steps(env, 2)


@pytest.mark.parametrize("first", [0, np.int64(0), False, np.array(0)])
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_number_that_was_whole_at_first_may_be_a_fraction(first: Any, vectorization: str) -> None:
    """In other instances at the same step, and later; the first one's type was taken."""
    made = []

    def make() -> Returning:
        made.append(())
        infos = [{"x": first}, {"x": first if len(made) % 2 else 0.7}, {"x": 0.6}]
        return Returning(VECTOR, [fine_vector], infos=infos)

    env = gymnasium_loader.load(make, batch_size=4, vectorization=vectorization)
    steps = _steps(env, 2)
    env.close()
    assert steps[0].env_info["x"].tolist() == [0.0] * 4
    assert steps[2].env_info["x"].tolist() == pytest.approx([0.6] * 4)
    if vectorization == "sync":
        assert sorted(steps[1].env_info["x"].tolist()) == pytest.approx([0.0, 0.0, 0.7, 0.7])


def test_a_vector_environment_of_another_maker_is_checked_too() -> None:
    class Wrong(VectorEnv):
        num_envs = 2
        single_observation_space, single_action_space = IMAGE, spaces.Discrete(2)
        metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return np.zeros((2, 4, 5, 3), np.uint8), {}

        def step(self, actions: Any) -> Any:
            never = np.zeros(2, bool)
            return self.reset()[0], np.zeros(2), never, never, {}

    env = gymnasium_loader.load(Wrong, batch_size=2)
    with pytest.raises(ValueError, match=r"batch of shape \(2, 4, 5, 3\).*\(3, 4, 5\)"):
        env.reset()


# ---- numbers and indices ----


def test_a_scalar_integer_box_is_a_number_and_a_discrete_an_index() -> None:
    box = spaces.Box(0, 1_000_002, (), np.int64)
    env = _load(
        spaces.Dict({"index": spaces.Discrete(3), "number": box}), [{"index": 2, "number": 77}]
    )
    spec = env.observation_spec()
    assert flat_spec(spec).shape == (4,)
    assert flatten_observation(env.reset().observation, spec)[0].tolist() == [0, 0, 1, 77]


INTEGERS = [  # space, value, vector
    (spaces.Discrete(3, start=-1), 1, [0, 0, 1]),
    (spaces.MultiDiscrete([3, 2]), [2, 0], [0, 0, 1, 1, 0]),
    (spaces.MultiDiscrete([3, 2], start=[5, -1]), [6, 0], [0, 1, 0, 0, 1]),
    (
        spaces.MultiDiscrete(np.array([[3, 2], [2, 1]])),
        [[1, 1], [0, 0]],
        [0, 1, 0, 0, 1, 1, 0, 1],
    ),
    (spaces.MultiBinary(3), [1, 0, 1], [1, 0, 1]),
    (spaces.Box(0, 9, (2,), np.int64), [7, 3], [7, 3]),
    (spaces.Box(0, 255, (1, 2), np.uint8), [[7, 255]], [7, 255]),
    (spaces.Box(0, 500, (), np.int64), 77, [77]),
]


@pytest.mark.parametrize(("space", "value", "vector"), INTEGERS)
def test_discrete_and_multi_discrete_are_indices_and_boxes_numbers(
    space: spaces.Space, value: Any, vector: list[float]
) -> None:
    value = np.array(value, space.dtype)
    env = _load(spaces.Dict({"x": space, "v": VECTOR}), [{"x": value, "v": fine_vector}])
    spec = pickle.loads(pickle.dumps(env.observation_spec()))
    assert flat_spec(spec).shape == (2 + len(vector),)
    observation = env.reset().observation
    assert flatten_observation(observation, spec).tolist() == [[0, 0, *vector]] * 2
    spans = alf.nest.map_structure(lambda x: x[:, None].repeat_interleave(3, 1), observation)
    assert flatten_observation(spans, spec).tolist() == [[[0, 0, *vector]] * 3] * 2


@pytest.mark.parametrize(("space", "value", "vector"), INTEGERS)
def test_suite_gym_tells_indices_from_numbers_too(
    space: spaces.Space, value: Any, vector: list[float]
) -> None:
    spec = pickle.loads(pickle.dumps(tensor_spec_from_gym_space(spaces.Dict({"x": space}))))
    assert spec["x"] == BoundedTensorSpec.from_spec(spec["x"])
    observation = {"x": torch.tensor([value, value], dtype=spec["x"].dtype)}
    assert flat_spec(spec).shape == (len(vector),)
    assert flatten_observation(observation, spec).tolist() == [vector] * 2


@pytest.mark.parametrize(
    "spec",
    [
        BoundedTensorSpec((), torch.int64, 0, 1_000_002),
        IndicesSpec((2,), torch.int64, 0, np.array([3, 1_000_002])),
    ],
)
def test_an_index_with_very_many_values_is_refused(spec: BoundedTensorSpec) -> None:
    with pytest.raises(ValueError, match="an index with 1,000,003 values"):
        flat_spec(spec)
