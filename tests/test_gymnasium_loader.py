"""Gymnasium environments as ALF's: the three ways to begin episodes, spaces, infos, errors."""

from __future__ import annotations

import functools
import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import alf
import alf_layered.environments.maze2d_gym  # noqa: F401  (registers the ids)
from alf.data_structures import StepType
from alf.environments.utils import create_environment
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.environments import gymnasium_loader
from alf_layered.environments.gymnasium_loader import GymnasiumEnvironment

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)
MODES = ["next_step", "same_step", "disabled"]


class Counting(gymnasium.Env):
    """Observes 100 * length + the episode's steps; ends after `length` of them."""

    observation_space = spaces.Box(-1.0, 1000.0, (1,), dtype=np.float64)
    action_space = spaces.Box(np.array([-2.0, -2.0]), np.array([2.0, 4.0]), dtype=np.float64)

    def __init__(self, length: int, *, terminates: bool = True) -> None:
        self.length, self.terminates = length, terminates
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {"count": 0, "label": "begun"}

    def step(self, action):
        self.steps += 1
        end = self.steps == self.length
        assert self.steps <= self.length, "stepped after its end"
        info = {"count": self.steps, "is_success": np.bool_(self.steps >= 2), "label": "on"}
        reward = float(self.steps) + 0.001 * float(action[0])
        return (
            self._observation(),
            reward,
            end and self.terminates,
            end and not self.terminates,
            info,
        )

    def _observation(self):
        return np.array([100.0 * self.length + self.steps])


def counting(mode, lengths=(2, 3, 3, 5), vector_class=SyncVectorEnv):
    makers = [lambda n=n: Counting(n, terminates=n != 5) for n in lengths]
    return GymnasiumEnvironment(vector_class(makers, autoreset_mode=AutoresetMode[mode.upper()]))


def unroll(env, steps):
    """What happens in `steps` steps under actions that tell step and instance."""
    time_steps = [env.reset()]
    for step in range(1, steps + 1):
        action = 0.07 * step + 0.01 * torch.arange(env.batch_size)
        time_steps.append(env.step(torch.stack([action, -action], dim=1)))
    env.close()
    return time_steps


def slow_time_steps(length, terminates, steps, row):
    """(step type, reward, discount, observation, count, is_success, success) of one instance."""
    expected, position, done = [(FIRST, 0.0, 1.0, 100 * length, 0.0, 0.0, 0.0)], 0, False
    for step in range(1, steps + 1):
        if done:
            position, done = 0, False
            expected.append((FIRST, 0.0, 1.0, 100 * length, 0.0, 0.0, 0.0))
            continue
        position += 1
        done = position == length
        expected.append(
            (
                LAST if done else MID,
                position + 0.001 * (0.07 * step + 0.01 * row),
                0.0 if done and terminates else 1.0,
                100 * length + position,
                float(position),
                float(position >= 2),
                float(position == 2),
            )
        )
    return expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lengths", [(2, 3, 3, 5), (3,), (1, 1), (1, 4)])
def test_each_mode_gives_the_time_steps_of_the_slow_twin(mode, lengths):
    time_steps = unroll(counting(mode, lengths), 25)
    for row, length in enumerate(lengths):
        got = [
            (
                t.step_type[row].item(),
                t.reward[row].item(),
                t.discount[row].item(),
                t.observation[row, 0].item(),
                t.env_info["count"][row].item(),
                t.env_info["is_success"][row].item(),
                t.env_info["success"][row].item(),
            )
            for t in time_steps
        ]
        expected = slow_time_steps(length, length != 5, 25, row)
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_processes_give_the_same_as_one_after_the_other(mode):
    env = gymnasium_loader.load(
        lambda: Counting(3), batch_size=2, autoreset_mode=mode, vectorization="async"
    )
    assert isinstance(env.vector_env, gymnasium.vector.AsyncVectorEnv)
    here = gymnasium_loader.load(lambda: Counting(3), batch_size=2, autoreset_mode=mode)
    for one, other in zip(unroll(env, 9), unroll(here, 9), strict=True):
        assert torch.equal(one.step_type, other.step_type)
        assert torch.equal(one.reward, other.reward)
        assert torch.equal(one.observation, other.observation)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_size", [1, 2, 17])
def test_final_observations_are_those_of_the_episode_that_ends(mode, batch_size):
    env = gymnasium_loader.load(
        "Maze2D-Medium-v0", batch_size=batch_size, autoreset_mode=mode, max_episode_steps=4
    )
    env.seed(0)
    generator = torch.Generator().manual_seed(0)
    before, jumps = env.reset(), 0
    for _ in range(20):
        after = env.step(torch.rand((batch_size, 2), generator=generator) * 2 - 1)
        moved = (after.observation["observation"] - before.observation["observation"]).norm(dim=1)
        first = after.step_type == FIRST
        assert torch.equal(first, before.step_type == LAST)
        assert (first | (moved <= 0.1415)).all()
        jumps += int((first & (moved > 1.0)).sum())
        before = after
    assert jumps > 0


class SameStepOnly(VectorEnv):
    """Counting environments in one array, which begin again at once and know no requests."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    num_envs = 2
    render_mode = None
    single_observation_space = spaces.Box(0.0, 10.0, (1,), dtype=np.float32)
    single_action_space = spaces.Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        assert not options
        self.count = np.zeros(2)
        return self._observation(), {}

    def step(self, actions):
        assert np.isin(actions, (3, 4)).all()
        self.count += 1
        done = self.count == (3, 4)
        info = {"final_obs": self._observation()} if done.any() else {}
        self.count[done] = 0
        return self._observation(), np.ones(2), done, np.zeros(2, dtype=bool), info

    def _observation(self):
        return self.count[:, None].astype(np.float32)


def test_a_same_step_environment_that_takes_no_requests_begins_after_an_idle_step():
    env = gymnasium_loader.load(SameStepOnly, batch_size=2)
    assert env.action_spec() == BoundedTensorSpec((), torch.int64, 0, 1)
    time_steps = [env.reset()] + [env.step(torch.tensor([0, 1])) for _ in range(8)]
    observations = [t.observation[:, 0].tolist() for t in time_steps]
    assert [o[0] for o in observations] == [0, 1, 2, 3, 1, 2, 3, 1, 2]
    assert [t.step_type[0].item() for t in time_steps] == [0, 1, 1, 2, 0, 1, 2, 0, 1]
    assert [o[1] for o in observations] == [0, 1, 2, 3, 4, 1, 2, 3, 4]
    assert [t.discount[1].item() for t in time_steps] == [1, 1, 1, 1, 0, 1, 1, 1, 0]


def test_a_vector_environment_must_say_how_it_begins_and_what_was_final():
    class Silent(SameStepOnly):
        metadata = {}  # noqa: RUF012

        def step(self, actions):
            return *super().step(actions)[:-1], {}

    with pytest.raises(ValueError, match="give autoreset_mode, one of NEXT_STEP, SAME_STEP"):
        GymnasiumEnvironment(Silent())
    env = GymnasiumEnvironment(Silent(), autoreset_mode="same_step")
    env.reset()
    action = torch.tensor([0, 1])
    for _ in range(2):
        env.step(action)
    with pytest.raises(ValueError, match="has no 'final_obs'"):
        env.step(action)


# ----------------------------------------------------------------------------------------- spaces


class Nested(gymnasium.Env):
    """All kinds of spaces in its observations and actions; observes its last action."""

    action_space = spaces.Dict(
        {
            "steer": spaces.Box(np.float32([-1.0, 0.0]), np.float32([1.0, 10.0])),
            "pair": spaces.Tuple(
                (spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 3], start=[5, 0]))
            ),
        }
    )
    observation_space = spaces.Dict(
        {
            "taken": action_space,
            "image": spaces.Box(0, 255, (4, 4, 3), dtype=np.uint8),
            "bits": spaces.MultiBinary(3),
            "free": spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64),
        }
    )

    def __init__(self):
        self.last = self.action_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.last = {
            "steer": np.zeros(2, dtype=np.float32),
            "pair": (np.int64(0), np.array([5, 0])),
        }
        return self._observation(), {}

    def step(self, action):
        assert action in self.action_space
        self.last = action
        return self._observation(), 0.0, False, False, {}

    def _observation(self):
        return {
            "taken": self.last,
            "image": np.full((4, 4, 3), 7, dtype=np.uint8),
            "bits": np.array([1, 0, 1], dtype=np.int8),
            "free": np.array([1e300, -2.0]),
        }


def test_nested_spaces_become_nested_specs_and_tensors():
    env = gymnasium_loader.load(Nested, batch_size=2)
    spec = env.observation_spec()
    assert spec["image"] == BoundedTensorSpec((4, 4, 3), torch.uint8, 0, 255)
    assert spec["free"] == TensorSpec((2,))
    assert spec["taken"]["pair"][0] == BoundedTensorSpec((), torch.int64, -1, 1)
    action_spec = env.action_spec()
    assert action_spec["pair"][0] == BoundedTensorSpec((), torch.int64, 0, 2)
    assert action_spec["pair"][1].maximum.tolist() == [1, 2]
    assert action_spec["steer"].maximum.tolist() == [1.0, 10.0]
    env.reset()
    action = {
        "steer": torch.tensor([[0.5, 3.0], [-1.0, 10.0]]),
        "pair": (torch.tensor([0, 2]), torch.tensor([[1, 2], [0, 1]])),
    }
    time_step = env.step(action)
    taken = time_step.observation["taken"]
    assert torch.equal(taken["steer"], action["steer"])
    assert taken["pair"][0].tolist() == [-1, 1]
    assert taken["pair"][1].tolist() == [[6, 2], [5, 1]]
    assert time_step.observation["image"].dtype == torch.uint8
    assert time_step.observation["bits"].tolist() == [[1, 0, 1]] * 2
    assert torch.equal(time_step.prev_action["pair"][1], action["pair"][1])


@pytest.mark.parametrize("mode", MODES)
def test_nested_observations_are_final_at_the_end_in_every_mode(mode):
    env = gymnasium_loader.load(Nested, batch_size=2, autoreset_mode=mode, max_episode_steps=2)
    env.reset()
    ones = {
        "steer": torch.ones(2, 2),
        "pair": (torch.ones(2).long(), torch.ones(2, 2).long()),
    }
    last = [env.step(ones) for _ in range(2)][-1]
    assert last.step_type.tolist() == [LAST] * 2
    assert last.discount.tolist() == [1.0] * 2
    assert last.observation["taken"]["pair"][1].tolist() == [[6, 1]] * 2
    assert env.step(ones).observation["taken"]["pair"][1].tolist() == [[5, 0]] * 2


def test_normalised_actions_are_mapped_to_the_bounds():
    env = gymnasium_loader.load(Nested, batch_size=1, normalize_actions=True)
    assert env.action_spec()["steer"] == BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    env.reset()
    action = {
        "steer": torch.tensor([[0.5, 0.5]]),
        "pair": (torch.tensor([0]), torch.tensor([[0, 0]])),
    }
    taken = env.step(action).observation["taken"]["steer"]
    assert taken[0].tolist() == pytest.approx([0.5, 7.5])


def test_observations_of_earlier_steps_are_not_overwritten():
    time_steps = unroll(counting("next_step", (4,)), 3)
    assert [t.observation.item() for t in time_steps] == [400, 401, 402, 403]


# ------------------------------------------------------------------------ what a load function does


def test_a_registered_environment_is_limited_seeded_and_drawn():
    def observations(seed):
        env = gymnasium_loader.load("Pendulum-v1", batch_size=2, max_episode_steps=3)
        env.seed(seed)
        steps = [env.reset()] + [env.step(torch.zeros(2, 1)) for _ in range(3)]
        assert steps[-1].step_type.tolist() == [LAST] * 2
        assert steps[-1].discount.tolist() == [1.0] * 2
        env.close()
        return torch.stack([step.observation for step in steps])

    assert torch.equal(observations(1), observations(1))
    assert not torch.equal(observations(1), observations(2))
    assert torch.equal(observations([1, 2])[:, 0], observations([1, 3])[:, 0])
    assert not torch.equal(observations(1)[:, 0], observations(1)[:, 1])
    env = gymnasium_loader.load("Maze2D-UMaze-v0", env_id=1, batch_size=2)
    assert env.reset().env_id.tolist() == [2, 3]
    assert env.render("rgb_array").shape == (640, 640, 3)
    assert set(env.env_info_spec()) == {"dist_to_goal", "is_success", "success"}
    with pytest.raises(ValueError, match="cannot be drawn with mode 'human'"):
        env.render("human")


def test_alf_creates_it_as_one_environment():
    env = create_environment(
        "Pendulum-v1", env_load_fn=gymnasium_loader.load, num_parallel_environments=3, seed=4
    )
    direct = gymnasium_loader.load("Pendulum-v1", batch_size=3)
    direct.seed(4)
    assert env.batch_size == 3
    assert torch.equal(env.reset().observation, direct.reset().observation)


def test_steps_but_terminal_ones_have_the_discount_asked_for():
    env = gymnasium_loader.load(lambda: Counting(2), discount=0.9)
    env.reset()
    discounts = [env.step(torch.zeros(1, 2)).discount.item() for _ in range(3)]
    assert discounts == pytest.approx([0.9, 0.0, 1.0])


def test_wrappers_are_applied_in_their_order():
    env = gymnasium_loader.load(
        "Maze2D-UMaze-v0", gym_env_wrappers=(gymnasium.wrappers.FlattenObservation,)
    )
    assert env.observation_spec().shape == (6,)


def test_named_info_entries_are_kept_whether_seen_or_not():
    env = gymnasium_loader.load(lambda: Counting(2), info_keys=("late", "count"))
    assert set(env.env_info_spec()) == {"late", "count"}
    env.reset()
    info = env.step(torch.zeros(1, 2)).env_info
    assert (info["late"].item(), info["count"].item()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Pendulun-v1", {}, r"no gymnasium environment 'Pendulun-v1'; near it are Pendulum-v1"),
        ("Pendulum-v0", {}, r"near it are .*Pendulum-v1"),
        ("Pendulum-v1", {"vectorization": "serial"}, "one of sync, async, got 'serial'"),
        ("Pendulum-v1", {"autoreset_mode": "never"}, "NEXT_STEP, SAME_STEP, DISABLED or None"),
        (
            "Pendulum-v1",
            {"batch_size": 0},
            "batch_size is 0; allowed: a whole number of at least 1",
        ),
        (SameStepOnly, {"batch_size": 3}, "has 2 instances, but batch_size=3"),
        (SameStepOnly, {"batch_size": 2, "autoreset_mode": "disabled"}, "works by SAME_STEP"),
        (SameStepOnly, {"batch_size": 2, "max_episode_steps": 3}, "is a vector environment"),
        (Nested, {"make_kwargs": {"a": 1}}, "go with a registered id"),
    ],
)
def test_a_wrong_argument_is_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        gymnasium_loader.load(name, **arguments)


def test_a_space_without_a_spec_is_named():
    class Text(Counting):
        observation_space = spaces.Dict({"text": spaces.Text(5)})

    with pytest.raises(ValueError, match="no spec for the space Text"):
        gymnasium_loader.load(lambda: Text(2))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_an_action_that_is_not_finite_is_named(wrong):
    env = gymnasium_loader.load(lambda: Counting(2), batch_size=2)
    env.reset()
    action = torch.zeros(2, 2)
    action[1, 0] = wrong
    with pytest.raises(ValueError, match=r"instance 1 is \[.*allowed is \[-2.0, -2.0\] to \[2.0"):
        env.step(action)
    for _ in range(2):
        env.step(torch.zeros(2, 2))
    # Now both have ended, and their actions are ignored.
    assert env.step(action).step_type.tolist() == [FIRST] * 2
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got \(1, 2\)"):
        env.step(torch.zeros(1, 2))


def test_a_reward_that_is_no_number_is_named_where_alf_does_not_look(monkeypatch):
    monkeypatch.setattr(gymnasium_loader, "_ALF_LOOKS_AT_REWARDS", False)

    class Bad(Counting):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, math.nan if action[0] > 1 else reward, *rest

    env = gymnasium_loader.load(lambda: Bad(5), batch_size=3)
    env.reset()
    env.step(torch.zeros(3, 2))
    action = torch.zeros(3, 2)
    action[2] = 2.0
    with pytest.raises(ValueError, match="reward of instance 2 is nan"):
        env.step(action)


class HalfBounded(gymnasium.Env):
    """Observes the action that it got; no dimension but the last has two bounds."""

    action_space = spaces.Box(
        np.float32([0.0, -np.inf, -np.inf, -1.0]), np.float32([np.inf, 2.0, np.inf, 1.0])
    )
    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(4, np.float32), {}

    def step(self, action):
        return action, 0.0, False, False, {}


def test_prev_action_is_what_was_executed_where_bounds_are_on_one_side():
    env = gymnasium_loader.load(HalfBounded, batch_size=2)
    env.reset()
    step = env.step(torch.tensor([[-3.0, 5.0, 7.0, 1.5], [3.0, -5.0, -7.0, 0.5]]))
    executed = torch.tensor([[0.0, 2.0, 7.0, 1.0], [3.0, -5.0, -7.0, 0.5]])
    assert torch.equal(step.observation, executed)
    assert torch.equal(step.prev_action, executed)


def test_a_conf_file_can_name_a_function_that_makes_the_environment():
    env = create_environment(
        HalfBounded, gymnasium_loader.load, num_parallel_environments=2, seed=0
    )
    assert env.batch_size == 2
    alf.config("create_environment", env_name=functools.partial(HalfBounded))
    assert create_environment(env_load_fn=gymnasium_loader.load, num_parallel_environments=3)
    alf.reset_configs()
