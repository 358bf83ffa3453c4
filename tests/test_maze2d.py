"""Maze2D: geometry against a slow twin, episodes as ALF and gymnasium see them, pictures."""

from __future__ import annotations

import itertools
import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import alf
import alf_layered.environments.maze2d_gym  # noqa: F401  (registers the ids)
from alf.data_structures import StepType
from alf.environments.utils import create_environment
from alf_layered.environments import maze2d_alf, maze_layouts
from alf_layered.environments.maze2d import Maze2D, MazeState
from alf_layered.environments.maze2d_gym import Maze2DGym
from alf_layered.environments.render2d import MazePicture

LAYOUTS = {
    "simple": maze_layouts.simple(),
    "medium": maze_layouts.medium(),
    "corridor": maze_layouts.corridor(),
    "u": maze_layouts.u_maze(),
    "open": maze_layouts.open_field(),
    "unbordered": maze_layouts.layout_from_rows("0001", "0100", "0010"),
}
NAMES = sorted(maze_layouts.MAZE_TASKS)
MAX_STEP = 0.1 * math.sqrt(2.0) + 1e-5


# ------------------------------------------------------------------------------------ the slow twin


def slow_collides(layout: np.ndarray, cell: float, x: float, y: float) -> bool:
    rows, columns = layout.shape
    if not (0 <= x <= columns * cell and 0 <= y <= rows * cell):
        return True
    for row in range(rows):
        for column in range(columns):
            if layout[row, column]:
                nearest_x = min(max(x, column * cell), (column + 1) * cell)
                nearest_y = min(max(y, row * cell), (row + 1) * cell)
                if math.sqrt((x - nearest_x) ** 2 + (y - nearest_y) ** 2) < 0.15:
                    return True
    return False


def slow_move(layout, cell, position, action, max_velocity=1.0, dt=0.1):
    rows, columns = layout.shape
    x, y = position
    vx, vy = (min(max(float(a), -max_velocity), max_velocity) for a in action)
    new_x = min(max(x + vx * dt, 0.15), columns * cell - 0.15)
    new_y = min(max(y + vy * dt, 0.15), rows * cell - 0.15)
    for candidate in ((new_x, new_y), (new_x, y), (x, new_y)):
        if not slow_collides(layout, cell, *candidate):
            return candidate
    return x, y


def free_positions(layout, cell, rng, count):
    rows, columns = layout.shape
    found = []
    while len(found) < count:
        point = rng.uniform([0.15, 0.15], [columns * cell - 0.15, rows * cell - 0.15])
        if not slow_collides(layout, cell, *point):
            found.append(point)
    return np.array(found)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(LAYOUTS)),
    cell=st.sampled_from([1.0, 0.5, 2.5]),
    batch=st.sampled_from([1, 2, 17]),
    fast=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_moves_and_rewards_equal_those_of_the_slow_twin(name, cell, batch, fast, seed):
    layout, rng = LAYOUTS[name], np.random.default_rng(seed)
    max_velocity = 4.0 if fast else 1.0
    maze = Maze2D(layout, cell_size=cell, max_velocity=max_velocity, goal_radius=0.2 * cell)
    position = free_positions(layout, cell, rng, batch)
    goal = free_positions(layout, cell, rng, batch)
    state = MazeState(
        torch.from_numpy(position.copy()),
        torch.from_numpy(goal),
        torch.zeros(batch, dtype=torch.int64),
        torch.zeros(batch, dtype=torch.bool),
    )
    diameter = math.hypot(layout.shape[0] * cell, layout.shape[1] * cell)
    for _ in range(10):
        actions = rng.uniform(-1.5 * max_velocity, 1.5 * max_velocity, (batch, 2))
        actions = actions.astype(np.float32)
        state, outcome = maze.step(state, torch.from_numpy(actions))
        for row in range(batch):
            position[row] = slow_move(layout, cell, position[row], actions[row], max_velocity)
        distance = np.sqrt(((position - goal) ** 2).sum(axis=1))
        np.testing.assert_allclose(state.position, position, atol=1e-6)
        np.testing.assert_allclose(outcome.distance, distance, atol=1e-6)
        np.testing.assert_allclose(outcome.reward, -distance / diameter, atol=1e-6)
        np.testing.assert_array_equal(outcome.is_success, distance < 0.2 * cell)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 2, 17]))
def test_permuting_environments_permutes_results(seed, batch):
    generator = torch.Generator().manual_seed(seed)
    maze = Maze2D(maze_layouts.medium(), start_jitter=0.3, max_episode_steps=3)
    order = torch.randperm(batch, generator=generator)
    uniform = torch.rand((batch, 4), generator=generator)
    state, permuted = maze.begin(uniform), maze.begin(uniform[order])
    for _ in range(4):
        action = torch.rand((batch, 2), generator=generator) * 2 - 1
        state, outcome = maze.step(state, action)
        permuted, permuted_outcome = maze.step(permuted, action[order])
        for one, other in zip((*state, *outcome), (*permuted, *permuted_outcome), strict=True):
            assert torch.equal(one[order], other)


# ------------------------------------------------------------------------------------- hand numbers


def test_agent_slides_along_x_before_y_and_stays_in_a_corner():
    maze = Maze2D(maze_layouts.u_maze())

    def move(position, velocity):
        moved = maze.move(torch.tensor([position], dtype=torch.float64), torch.tensor([velocity]))
        return moved[0].tolist()

    assert move((1.5, 1.5), (1.0, 0.5)) == pytest.approx([1.6, 1.55])
    # The wall below the upper arm begins at y = 2: only x moves.
    assert move((1.5, 1.8), (1.0, 1.0)) == pytest.approx([1.6, 1.8])
    # The border at the left ends at x = 1: only y moves.
    assert move((1.2, 1.5), (-1.0, 0.5)) == pytest.approx([1.2, 1.55])
    assert move((1.2, 1.2), (-1.0, -1.0)) == pytest.approx([1.2, 1.2])
    # Velocities are clipped component by component.
    assert move((1.5, 1.5), (30.0, -0.5)) == pytest.approx([1.6, 1.45])


def test_the_edge_of_an_open_field_stops_the_agent():
    maze = Maze2D()
    corner = torch.tensor([[0.2, 9.8]], dtype=torch.float64)
    assert maze.move(corner, torch.tensor([[-1.0, 1.0]]))[0].tolist() == pytest.approx([0.15, 9.85])


def test_layouts_have_the_documented_free_cells():
    assert len(maze_layouts.free_cells(maze_layouts.simple())) == 55
    assert len(maze_layouts.free_cells(maze_layouts.medium())) == 26
    assert len(maze_layouts.free_cells(maze_layouts.corridor())) == 54
    assert len(maze_layouts.free_cells(maze_layouts.u_maze())) == 7
    simple = maze_layouts.simple()
    assert simple[3, 6]
    assert not simple[3, 5]
    assert not simple[5, 6]
    assert not maze_layouts.simple(9)[1:-1, 1:-1].any()


def test_starts_are_uniform_among_those_that_are_not_the_goal():
    task = maze_layouts.maze_task("Maze2D-Medium-v0")
    maze = Maze2D(task.layout, start_cells=task.start_cells, goal_cells=task.goal_cells)
    state = maze.begin(torch.rand((12000, 4), generator=torch.Generator().manual_seed(0)))
    pairs = torch.cat([state.goal, state.position], dim=1)
    found, counts = torch.unique(pairs, dim=0, return_counts=True)
    assert len(found) == 12
    assert (found[:, :2] != found[:, 2:]).any(dim=1).all()
    assert counts.min() > 850
    assert counts.max() < 1150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": [[0, 2]]}, "0 \\(free\\) and 1 \\(wall\\)"),
        ({"layout": [[0], [0, 1]]}, "rows of one length"),
        ({"layout": [[1, 1]]}, "needs a free cell"),
        ({"cell_size": 0.2}, "cell_size >= 0.3, got 0.2"),
        ({"dt": math.nan}, "Maze2D.dt is nan; allowed: a number above 0"),
        ({"goal_radius": 0}, "Maze2D.goal_radius is 0; allowed: a number above 0"),
        ({"start_jitter": 0.4}, "start_jitter must be in"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0; allowed: .* at least 1 or None"),
        ({"start_cells": [(10, 0)]}, r"start_cells has \(column, row\) \(10, 0\)"),
        ({"start_cells": []}, "start_cells is empty"),
        ({"start_cells": [(1, 2)], "goal_cells": [(1, 2)]}, "every start lies within"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Maze2D(**arguments)


def test_an_unknown_maze_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'Maze2D-UMaze-v0'"):
        maze2d_alf.load("Maze2D-Umaze-v0")


# ------------------------------------------------------------------------------------------ for ALF


def unroll(env, steps, seed=3):
    """`steps` time steps under random actions, with the actions taken."""
    generator = torch.Generator().manual_seed(seed)
    time_steps, actions = [env.reset()], []
    for _ in range(steps):
        actions.append(torch.rand((env.batch_size, 2), generator=generator) * 2 - 1)
        time_steps.append(env.step(actions[-1]))
    return time_steps, actions


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 2, 17])
def test_time_steps_keep_their_specs(name, batch_size):
    env = maze2d_alf.load(name, batch_size=batch_size, max_episode_steps=4)
    assert env.batched
    assert env.is_tensor_based
    assert env.batch_size == batch_size
    for time_step in unroll(env, 10)[0]:
        assert time_step.step_type.dtype == torch.int32
        assert time_step.env_id.tolist() == list(range(batch_size))
        assert time_step.env_id.dtype == torch.int32
        assert time_step.observation.keys() == env.observation_spec().keys()
        for key, spec in env.observation_spec().items():
            value = time_step.observation[key]
            assert value.dtype == spec.dtype
            assert value.shape == (batch_size, 2)
            assert (value >= torch.tensor(spec.minimum)).all()
            assert (value <= torch.tensor(spec.maximum)).all()
        assert time_step.env_info.keys() == env.env_info_spec().keys()
        for value in (time_step.reward, time_step.discount, *time_step.env_info.values()):
            assert value.dtype == torch.float32
            assert value.shape == (batch_size,)
        assert time_step.prev_action.shape == (batch_size, 2)
        assert ((time_step.reward <= 0) & (time_step.reward >= -1)).all()


def test_the_step_after_a_last_one_is_first_and_ignores_its_action():
    env = maze2d_alf.load("Maze2D-Simple-v0", batch_size=2, max_episode_steps=3)
    start = env.reset()
    assert env.current_time_step() is start
    east = torch.tensor([[1.0, 0.0]] * 2)
    steps = [env.step(east) for _ in range(5)]
    expected = [StepType.MID, StepType.MID, StepType.LAST, StepType.FIRST, StepType.MID]
    assert [step.step_type.tolist() for step in steps] == [[int(e)] * 2 for e in expected]
    x = [step.observation["observation"][0, 0].item() for step in steps]
    assert x == pytest.approx([1.6, 1.7, 1.8, 1.5, 1.6])
    assert steps[2].discount.tolist() == [1.0, 1.0]
    assert steps[3].reward.tolist() == [0.0, 0.0]
    assert torch.equal(steps[3].prev_action, torch.zeros(2, 2))
    assert torch.equal(steps[4].prev_action, east)


def test_reaching_the_goal_counts_once_and_ends_the_episode_only_on_request():
    arguments = {
        "start_cells": [(1, 1)],
        "goal_cells": [(2, 1)],
        "start_jitter": 0.0,
        "goal_radius": 0.35,
        "dense_reward": False,
        "max_episode_steps": 9,
    }
    east = torch.tensor([[1.0, 0.0]])
    env = maze2d_alf.load("Maze2D-UMaze-v0", **arguments)
    env.reset()
    steps = [env.step(east) for _ in range(11)]
    # The goal at x = 2.5 has radius 0.35: 2.2, after 7 steps, is inside.
    is_success = [step.env_info["is_success"].item() for step in steps]
    assert is_success == [0.0] * 6 + [1.0] * 3 + [0.0] * 2
    assert [step.env_info["success"].item() for step in steps] == [0.0] * 6 + [1.0] + [0.0] * 4
    assert [step.reward.item() for step in steps] == is_success
    assert steps[8].step_type == StepType.LAST
    assert steps[8].discount == 1.0

    env = maze2d_alf.load("Maze2D-UMaze-v0", terminate_at_goal=True, **arguments)
    env.reset()
    steps = [env.step(east) for _ in range(9)]
    assert [step.step_type.item() for step in steps[5:8]] == [1, 2, 0]
    assert [step.discount.item() for step in steps[5:8]] == [1.0, 0.0, 1.0]
    assert steps[6].env_info["success"] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_no_step_but_a_first_one_is_longer_than_the_agent_is_fast(name):
    env = maze2d_alf.load(name, batch_size=7, max_episode_steps=5)
    time_steps, _ = unroll(env, 40)
    jumps = 0
    for before, after in itertools.pairwise(time_steps):
        moved = (after.observation["observation"] - before.observation["observation"]).norm(dim=1)
        same_goal = (after.observation["desired_goal"] == before.observation["desired_goal"]).all(
            dim=1
        )
        first = after.step_type == StepType.FIRST
        assert torch.equal(first, before.step_type == StepType.LAST)
        assert ((moved <= MAX_STEP) & same_goal | first).all()
        jumps += int((moved > MAX_STEP).sum())
    assert jumps > 0


def test_an_instance_depends_on_no_other_ones_episodes():
    def second_instance(first_action):
        env = maze2d_alf.load(
            "Maze2D-UMaze-v0",
            batch_size=2,
            start_cells=[(1, 1), (1, 3)],
            goal_cells=[(3, 1), (3, 3)],
            terminate_at_goal=True,
            max_episode_steps=40,
        )
        env.seed(5)
        time_steps = [env.reset()]
        for _ in range(150):
            time_steps.append(env.step(torch.tensor([first_action, [0.3, 0.0]])))
        return torch.stack(
            [
                torch.cat([t.observation[k][1] for k in ("observation", "desired_goal")])
                for t in time_steps
            ]
        )

    assert torch.equal(second_instance([1.0, 0.0]), second_instance([-1.0, 0.0]))


def test_the_same_seed_gives_the_same_episodes_and_another_one_others():
    def positions(seed):
        env = maze2d_alf.load("Maze2D-Medium-v0", batch_size=17, max_episode_steps=4)
        env.seed(seed)
        return torch.stack([t.observation["achieved_goal"] for t in unroll(env, 20)[0]])

    assert torch.equal(positions(1), positions(1))
    assert not torch.equal(positions(1), positions(2))
    assert torch.equal(positions([1, 2]), positions([1, 2]))
    assert not torch.equal(positions([1, 2]), positions([1, 3]))


def test_making_and_running_it_draws_nothing_from_torchs_generator():
    torch_before = torch.get_rng_state()
    unroll(maze2d_alf.load("Maze2D-Medium-v0", batch_size=3, max_episode_steps=2), 5)
    gym_env = Maze2DGym("Maze2D-UMaze-v0")
    assert gym_env._np_random is None
    gym_env.reset(seed=0)
    assert torch.equal(torch_before, torch.get_rng_state())


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_an_action_that_is_not_allowed_is_named(wrong):
    env = maze2d_alf.load("Maze2D-UMaze-v0", batch_size=3, max_episode_steps=1)
    env.reset()
    action = torch.zeros(3, 2)
    action[1, 0] = wrong
    with pytest.raises(ValueError, match=r"instance 1 is .*from -1.0 to 1.0"):
        env.step(action)
    env.step(torch.zeros(3, 2))
    # Now all have ended, and their actions are ignored.
    assert (env.step(action).step_type == StepType.FIRST).all()
    with pytest.raises(ValueError, match=r"shape \(3, 2\), got \(2, 2\)"):
        env.step(torch.zeros(2, 2))


def test_alf_creates_it_as_one_environment_and_configures_it():
    alf.reset_configs()
    try:
        alf.config("maze2d_alf.load", dense_reward=False, max_episode_steps=7)
        env = create_environment(
            "Maze2D-UMaze-v0",
            env_load_fn=maze2d_alf.load,
            num_parallel_environments=8,
            seed=1,
        )
    finally:
        alf.reset_configs()
    assert env.batch_size == 8
    time_step = [env.reset(), *(env.step(torch.zeros(8, 2)) for _ in range(7))][-1]
    assert time_step.step_type.tolist() == [int(StepType.LAST)] * 8
    assert time_step.reward.tolist() == [0.0] * 8
    assert time_step.env_id.tolist() == list(range(8))


def test_a_time_limit_of_zero_is_refused():
    with pytest.raises(
        ValueError, match=r"maze2d_alf\.load\.max_episode_steps is 0; .*at least 1 or None"
    ):
        maze2d_alf.load("Maze2D-UMaze-v0", max_episode_steps=0)


def test_several_batched_environments_number_their_instances_one_after_the_other():
    env = maze2d_alf.load("Maze2D-UMaze-v0", env_id=2, batch_size=3)
    assert env.reset().env_id.tolist() == [6, 7, 8]


# ------------------------------------------------------------------------------------ for gymnasium


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_accepts_it(name):
    env = gymnasium.make(f"alf_layered.environments.maze2d_gym:{name}", render_mode="rgb_array")
    check_env(env.unwrapped)
    task = maze_layouts.maze_task(name)
    assert env.spec.max_episode_steps == task.max_episode_steps
    np.testing.assert_array_equal(env.unwrapped.maze.layout, task.layout)
    env.close()


def test_gymnasium_gets_plain_numbers_and_never_terminates_by_itself():
    env = gymnasium.make("Maze2D-Medium-v0", max_episode_steps=10)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert info == {"dist_to_goal": pytest.approx(5.0, abs=2.1), "is_success": False}
    env.action_space.seed(0)
    for step in range(1, 11):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert {key: value.dtype for key, value in observation.items()} == dict.fromkeys(
            ("observation", "achieved_goal", "desired_goal"), np.float32
        )
        assert type(reward) is float
        assert -1.0 <= reward <= 0.0
        assert terminated is False
        assert truncated is (step == 10)
        assert set(info) == {"dist_to_goal", "is_success", "success"}
        assert type(info["dist_to_goal"]) is float
        assert type(info["is_success"]) is bool
        assert type(info["success"]) is bool


def test_a_longer_limit_asked_for_at_make_is_kept():
    env = gymnasium.make("Maze2D-UMaze-v0", max_episode_steps=450)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, dtype=np.float32))[3] for _ in range(450)]
    assert ends == [False] * 449 + [True]


def test_by_itself_it_truncates_at_its_own_limit():
    env = Maze2DGym(max_episode_steps=10)
    env.reset(seed=0)
    assert [env.step(np.zeros(2))[3] for _ in range(10)] == [False] * 9 + [True]


def test_the_gymnasium_version_moves_as_the_batched_one_does():
    env = gymnasium.make("Maze2D-Corridor-v0", dense_reward=False)
    batched = maze2d_alf.load("Maze2D-Corridor-v0", dense_reward=False)
    observation, _ = env.reset(seed=0)
    time_step = batched.reset()
    rng = np.random.default_rng(0)
    for _ in range(200):
        for key, value in observation.items():
            np.testing.assert_array_equal(value, time_step.observation[key][0])
        action = rng.uniform([0.5, -1.0], [1.0, 1.0]).astype(np.float32)
        observation, reward, _, _, info = env.step(action)
        time_step = batched.step(torch.from_numpy(action)[None])
        assert reward == time_step.reward.item()
        assert info["success"] == bool(time_step.env_info["success"])


# ----------------------------------------------------------------------------------------- pictures


def test_a_picture_shows_walls_goal_and_agent_where_they_are():
    env = maze2d_alf.load("Maze2D-UMaze-v0", start_jitter=0.0, pixel_size=320)
    frame = env.render("rgb_array")
    assert frame.shape == (320, 320, 3)
    assert frame.dtype == np.uint8
    pixels_per_cell = 64

    def colour(x, y):
        return frame[int(y * pixels_per_cell), int(x * pixels_per_cell)].astype(int)

    wall, agent, goal, free = colour(0.5, 0.5), colour(1.5, 1.5), colour(1.5, 3.5), colour(2.5, 1.5)
    assert wall.max() < 100
    assert free.min() > 200
    assert agent[0] > agent[1:].max() + 100
    assert goal[1] > max(goal[0], goal[2]) + 50
    assert (colour(1.5, 2.5) == wall).all()
    with pytest.raises(ValueError, match="'rgb_array' only, got 'human'"):
        env.render("human")


def test_pictures_of_named_mazes_suit_video_encoders():
    for name in NAMES:
        height, width, _ = maze2d_alf.load(name).render().shape
        assert height % 16 == width % 16 == 0


def test_plans_are_drawn_if_they_start_at_the_agent_and_forgotten_otherwise():
    env = maze2d_alf.load("Maze2D-UMaze-v0", start_jitter=0.0, max_episode_steps=2)
    env.reset()
    bare = env.render()
    plan = {"trajectory": [(1.5, 1.505), (2.0, 1.2), (3.0, 1.5)], "color": "blue"}
    assert env.set_plans([plan, {"trajectory": [(1.5, 1.5)], "color": (255, 0, 0)}])
    assert (env.render() != bare).any()
    assert not env.set_plans([plan, {"trajectory": [(1.52, 1.5), (2.0, 1.5)]}])
    assert (env.render() == bare).all()
    assert env.set_plans([plan])
    env.picture.set_subgoals([(3.5, 2.5)])
    assert (env.render()[300:340, 400:480] != bare[300:340, 400:480]).any()
    for _ in range(3):
        env.step(torch.zeros(1, 2))
    assert (env.render() == bare).all()
    with pytest.raises(ValueError, match=r"shape \[T, 2\], T >= 1, got \(3,\)"):
        env.set_plans([{"trajectory": [1.0, 2.0, 3.0]}])


def test_a_picture_of_any_layout_has_its_shape():
    picture = MazePicture(LAYOUTS["unbordered"], cell_size=0.5, pixel_size=100)
    frame = picture.draw(np.array([0.3, 0.3]), np.array([1.0, 1.0]), goal_radius=0.1)
    assert frame.shape == (75, 100, 3)
