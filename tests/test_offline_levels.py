"""Levels learn from data that another run has left: a hierarchy's own records, or flat episodes."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import alf
from alf.algorithms.bc_algorithm import BcAlgorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.data_structures import StepType, TimeStep
from alf.networks import ActorDistributionNetwork, ActorNetwork, CriticNetwork
from alf.optimizers import Adam
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec
from alf.utils.checkpoint_utils import Checkpointer, enable_checkpoint
from alf_layered import (
    AlgorithmLevel,
    Goal,
    HierarchyAgent,
    TrainingOptions,
    select,
    skill,
    subgoal,
)
from alf_layered.environments import maze2d_alf
from alf_layered.hierarchy.joined_replay import JoinedReplayBuffer
from tests.small_learners import GAMMA, dqn, iql, sac, taac

FIRST, MID, LAST = (int(t) for t in (StepType.FIRST, StepType.MID, StepType.LAST))


@pytest.fixture(autouse=True)
def _counter() -> Iterator[None]:
    summary.reset_global_counter()
    yield
    summary.reset_global_counter()


def _maze(batch_size: int = 2) -> Any:
    return maze2d_alf.load(
        "Maze2D-UMaze-v0", batch_size=batch_size, dense_reward=True, max_episode_steps=8
    )


def _config(**settings: Any) -> TrainerConfig:
    options = {"unroll_length": 4, "mini_batch_length": 2, **settings}
    return TrainerConfig(
        root_dir="", whole_replay_buffer_training=False, clear_replay_buffer=False, **options
    )


def _training(**options: Any) -> TrainingOptions:
    return TrainingOptions(
        **{"mini_batch_size": 8, "warm_up": 4, "replay_buffer_length": 64, **options}
    )


def _goals(
    top: Any = None,
    low: Any = None,
    *,
    joint: Any = None,
    goal: Any = Goal(radius=0.05, returns_control=False),
    **options: Any,
) -> HierarchyAgent:
    """Subgoals for 3 steps each; `options` are the trainer's."""
    env = _maze()
    alf.summary.enable_summary(False)
    levels = [
        partial(
            AlgorithmLevel,
            **{"algorithm_ctor": iql(), "training": _training(), "name": "top", **(top or {})},
        ),
        partial(
            AlgorithmLevel,
            **{
                "algorithm_ctor": sac(),
                "training": _training(),
                "control_interval": 3,
                "goal": goal,
                "name": "low",
                **(low or {}),
            },
        ),
    ]
    agent = HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=levels,
        joints=[joint or subgoal("achieved_goal")],
        observation_maps=[select("observation", "desired_goal"), select("observation")],
        env=env,
        config=_config(**options),
    )
    agent.load_offline_replay_buffer(env.observation_spec())
    return agent


def _save(algorithm: Any, folder: Path) -> str:
    Checkpointer(str(folder), algorithm=algorithm).save(1)
    summary.reset_global_counter()
    return str(folder)


def _leave_flat_run(folder: Path, iterations: int = 5) -> tuple[str, Any]:
    """A run that acts at random; returns its folder and its replay buffer."""
    env = _maze()
    explorer = DdpgAlgorithm(
        env.observation_spec(),
        env.action_spec(),
        actor_network_ctor=partial(
            ActorNetwork, preprocessing_combiner=alf.nest.utils.NestConcat()
        ),
        critic_network_ctor=partial(
            CriticNetwork, observation_preprocessing_combiner=alf.nest.utils.NestConcat()
        ),
        rollout_random_action=1.0,
        env=env,
        config=_config(initial_collect_steps=100, replay_buffer_length=64),
        **{f"{name}_optimizer": Adam(lr=1e-3) for name in ("actor", "critic")},
    )
    for _ in range(iterations):
        explorer.train_iter()
    enable_checkpoint(explorer._replay_buffer, True)
    return _save(explorer, folder), explorer._replay_buffer


def _leave_hierarchy(folder: Path, iterations: int = 5) -> tuple[str, HierarchyAgent]:
    agent = _goals()
    for _ in range(iterations):
        agent.train_iter()
    return _save(agent, folder), agent


def _rows(buffer: Any) -> Any:
    """All records, one environment after the other."""
    return alf.nest.map_structure(lambda x: x[0], buffer.gather_all()[0])


# ---- records of a hierarchy ----


def test_each_level_gets_what_the_level_of_its_name_has_stored(tmp_path: Path) -> None:
    path, left = _leave_hierarchy(tmp_path)
    agent = _goals(offline_buffer_dir=path)
    for level, before in zip(agent.levels, left.levels, strict=True):
        (buffer,) = level._offline
        assert buffer.total_size == before._replay_buffer.total_size
        alf.nest.map_structure(
            torch.testing.assert_close, _rows(buffer), _rows(before._replay_buffer)
        )
        assert level._replay_buffer is None
        assert int(level._update_clock.transitions) == 0


def test_damaged_records_are_refused_and_code_is_not_run(tmp_path: Path) -> None:
    path, _ = _leave_hierarchy(tmp_path / "run")
    (file,) = (tmp_path / "run").glob("ckpt-*-replay_buffer")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"replay_buffer is damaged: record .*data"):
        _goals(offline_buffer_dir=path)
    torch.save({"algorithm": print}, file)
    with pytest.raises(pickle.UnpicklingError, match="print"):
        _goals(offline_buffer_dir=path)


def test_a_damaged_directory_of_records_names_the_file(tmp_path: Path) -> None:
    path, _ = _leave_hierarchy(tmp_path / "run")
    (file,) = (tmp_path / "run").glob("ckpt-*-replay_buffer")
    content = bytearray(file.read_bytes())
    content[content.rindex(b"PK\x01\x02")] ^= 1  # the last entry of the archive's directory
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} cannot be read: "):
        _goals(offline_buffer_dir=path)


def test_the_newest_records_of_several_runs_are_taken(tmp_path: Path) -> None:
    runs = [_leave_hierarchy(tmp_path / name)[0] for name in ("one", "two")]
    agent = _goals(offline_buffer_dir=runs, offline_buffer_length=4)
    for level in agent.levels:
        assert [buffer.total_size for buffer in level._offline] == [8, 8]


def test_records_of_another_kind_are_refused_with_what_differs(tmp_path: Path) -> None:
    path, _ = _leave_hierarchy(tmp_path)
    with pytest.raises(ValueError, match=r"level 'low' has records with rollout_info/action of"):
        _goals(low={"algorithm_ctor": taac()}, offline_buffer_dir=path)
    with pytest.raises(
        ValueError, match=r"action of float32 \[2\], in this hierarchy with .*\[3\]"
    ):
        _goals(joint=skill(3), goal=None, offline_buffer_dir=path)
    with pytest.raises(ValueError, match=r"no data of level 'reach'.*offline_updates=0"):
        _goals(low={"name": "reach"}, offline_buffer_dir=path)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_a_file_that_cannot_be_read_is_named(damage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ckpt-1-replay_buffer"
    file.write_bytes(damage)
    with pytest.raises(ValueError, match=f"{file} cannot be read"):
        _goals(offline_buffer_dir=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no replay buffer of a checkpoint"):
        _goals(offline_buffer_dir=str(tmp_path / "nothing"))


# ---- records made of flat episodes ----


def test_levels_are_told_what_was_reached_and_done(tmp_path: Path) -> None:
    """3 steps for each subgoal, episodes of 8 steps: 3 + 3 + 2."""
    path, flat = _leave_flat_run(tmp_path)
    agent = _goals(offline_buffer_dir=path)
    records = alf.nest.map_structure(lambda x: x[0, :9], flat._buffer)
    position, reward = records.time_step.observation["observation"], records.time_step.reward
    top = _first_episode(agent.levels[0])
    assert top.step_type.tolist() == [FIRST, MID, MID, LAST]
    ends = [3, 6, 8]
    assert torch.equal(top.action[:3], position[ends])
    assert top.time_step.env_info["steps"].tolist() == [0, 3, 3, 2]
    for number, (start, end) in enumerate(zip([0, 3, 6], ends, strict=True)):
        gains = [GAMMA**j * r for j, r in enumerate(reward[start + 1 : end + 1].tolist())]
        assert float(top.time_step.reward[number + 1]) == pytest.approx(sum(gains), abs=1e-5)
        # ALF multiplies a discount by gamma once more
        assert float(top.time_step.discount[number + 1]) == pytest.approx(
            GAMMA ** (end - start - 1)
        )
    low = _first_episode(agent.levels[1], records=3 * 2 + 5)
    assert low.step_type.tolist() == [FIRST, MID, MID, LAST] * 2 + [FIRST, MID, LAST]
    at = [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8]
    assert torch.equal(low.observation.observation, position[at])
    assert torch.equal(low.action, records.action[at])
    asked = position[[3] * 4 + [6] * 4 + [8] * 3]
    assert torch.equal(low.observation.input, asked)
    arrived = (position[at] - asked).norm(dim=-1) <= 0.05
    wanted = torch.where(arrived, 0.0, -1.0)
    outcome = low.step_type != FIRST
    assert torch.equal(low.time_step.reward[outcome], wanted[outcome])
    assert bool(arrived[low.step_type == LAST].all())


def _first_episode(level: Any, records: int = 4) -> Any:
    (buffer,) = level._offline
    return alf.nest.map_structure(lambda x: x[0, :records], buffer._buffer)


def test_every_recorded_episode_becomes_one_row(tmp_path: Path) -> None:
    path, flat = _leave_flat_run(tmp_path, iterations=6)
    assert flat._current_size.tolist() == [24, 24]  # 9 + 9 + 6
    agent = _goals(offline_buffer_dir=path)
    sizes = agent.levels[0]._offline[0]._current_size.tolist()
    assert sizes == [4, 4, 3, 4, 4, 3]
    assert int(agent.levels[1]._offline[0]._current_size.sum()) == 2 * (11 + 11 + 7)


def test_levels_learn_from_a_minari_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Episodes of 4 steps to the left in the U-maze, subgoals for 3 of them."""
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    position = np.stack([np.linspace(3.5, 3.1, 5), np.full(5, 1.5)], axis=1).astype(np.float32)
    seen = {"observation": position, "achieved_goal": position, "desired_goal": 0 * position}
    spaces: Any = {key: gymnasium.spaces.Box(0.0, 5.0, (2,)) for key in seen}
    actions: Any = np.tile(np.array([-1, 0], dtype=np.float32), (4, 1))
    episode = EpisodeBuffer(
        observations=seen,
        actions=actions,
        rewards=[0.0, 0.0, 0.0, 1.0],
        terminations=[False, False, False, True],
        truncations=[False] * 4,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it would like to know of the author
        minari.create_dataset_from_buffers(
            "test/left-v0",
            [episode] * 8,
            observation_space=gymnasium.spaces.Dict(spaces),
            action_space=gymnasium.spaces.Box(-1.0, 1.0, (2,)),
            data_format="hdf5",
        )
    agent = _goals(offline_buffer_dir="minari:test/left-v0", rl_train_after_update_steps=9)
    top, low = agent.levels
    assert top._offline[0]._current_size.tolist() == [3] * 8
    record = _first_episode(top, records=3)
    torch.testing.assert_close(record.action[:2], torch.from_numpy(position[[3, 4]]))
    assert record.time_step.reward.tolist() == [0, 0, 1]
    assert float(record.discount[2]) == 0
    agent.train_iter()
    assert [_updates(top), _updates(low)] == [1, 1]


def test_a_choice_of_subgoals_is_the_nearest_one(tmp_path: Path) -> None:
    path, flat = _leave_flat_run(tmp_path)
    choices = torch.tensor([[1.5, 1.5], [3.5, 1.5], [3.5, 3.5]])
    agent = _goals(top={"algorithm_ctor": dqn(), "choices": choices}, offline_buffer_dir=path)
    top = _first_episode(agent.levels[0])
    reached = flat._buffer.time_step.observation["observation"][0][[3, 6, 8]]
    nearest = (reached[:, None] - choices).norm(dim=-1).argmin(1)
    assert torch.equal(top.rollout_info.action[:3], nearest)
    assert torch.equal(top.action[:3], choices[nearest])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"joint": skill(2), "goal": None}, "what level 'low' was asked for cannot be seen"),
        (
            {"top": {"algorithm_ctor": taac(), "training": _training(mini_batch_length=3)}},
            "learns from its trajectory",
        ),
    ],
)
def test_what_flat_data_cannot_tell_is_refused_with_what_can(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path, _ = _leave_flat_run(tmp_path)
    with pytest.raises(ValueError, match=words) as error:
        _goals(offline_buffer_dir=path, **options)
    assert "allowed" in str(error.value)
    assert len(str(error.value)) < 300


def test_a_level_that_does_not_use_them_needs_no_data(tmp_path: Path) -> None:
    path, _ = _leave_flat_run(tmp_path)
    without = {
        "algorithm_ctor": taac(),
        "training": _training(mini_batch_length=3, offline_updates=0, offline_share=0.0),
    }
    agent = _goals(top=without, offline_buffer_dir=path)
    assert [len(level._offline) for level in agent.levels] == [0, 1]


# ---- training ----


def _updates(level: Any) -> int:
    states = [s for o in level.optimizers() for s in o.state.values()]
    return int(states[0]["step"]) if states else 0


@pytest.mark.parametrize("flat", [True, False])
def test_levels_learn_offline_before_a_step_is_made_then_from_both(
    flat: bool, tmp_path: Path
) -> None:
    path, _ = (_leave_flat_run if flat else _leave_hierarchy)(tmp_path)
    agent = _goals(
        low={"training": _training(offline_updates=3, offline_share=0.25)},
        offline_buffer_dir=path,
        rl_train_after_update_steps=3,
    )
    top, low = agent.levels
    for _ in range(2):
        agent.train_iter()
    assert [_updates(top), _updates(low)] == [2, 6]
    assert int(agent.get_step_metrics()[1].result()) == 0
    drawn: list[tuple[str, float]] = []
    for level in (top, low):
        level.preprocess_experience = partial(_watch, level, level.preprocess_experience, drawn)
    for _ in range(8):
        agent.train_iter()
    assert int(agent.get_step_metrics()[1].result()) > 0
    shares = {name: {s for n, s in drawn if n == name} for name in ("top", "low")}
    assert shares == {"top": {0.5}, "low": {0.25}}


def _watch(level: Any, function: Any, drawn: list, inputs: Any, info: Any, batch: Any) -> Any:
    assert isinstance(batch.replay_buffer, JoinedReplayBuffer)
    known = level._offline[0].num_environments
    drawn.append((level.name, float((batch.env_ids < known).float().mean())))
    return function(inputs, info, batch)


def test_a_checkpoint_has_no_offline_data(tmp_path: Path) -> None:
    path, _ = _leave_flat_run(tmp_path / "data")
    agent = _goals(offline_buffer_dir=path)
    for _ in range(4):
        agent.train_iter()
    Checkpointer(str(tmp_path / "run"), algorithm=agent).save(1)
    saved = torch.load(tmp_path / "run" / "ckpt-1-replay_buffer", weights_only=True)["algorithm"]
    sizes = [int(v.sum()) for k, v in saved.items() if k.endswith("_current_size")]
    assert sizes == [level._replay_buffer.total_size for level in agent.levels]
    assert not any("_offline" in key for key in saved)


def test_cloning_is_a_level_that_learns_offline_alone(tmp_path: Path) -> None:
    """The bottom level imitates a run that always moved the same way."""
    torch.manual_seed(0)
    _leave_flat_run(tmp_path)
    content = torch.load(tmp_path / "ckpt-1-replay_buffer", weights_only=True)
    key = next(k for k in content["algorithm"] if k.endswith("_buffer/action"))
    content["algorithm"][key][:] = torch.tensor([0.25, -0.5])
    torch.save(content, tmp_path / "same")
    clone = partial(
        BcAlgorithm,
        actor_network_cls=partial(ActorDistributionNetwork, fc_layer_params=(16,)),
        actor_optimizer=Adam(lr=1e-2),
    )
    agent = _goals(
        low={
            "algorithm_ctor": clone,
            "training": _training(updates_per_transition=0, offline_updates=150),
        },
        offline_buffer_dir=str(tmp_path / "same"),
        rl_train_after_update_steps=100,
    )
    for _ in range(4):
        agent.train_iter()
    env = _maze()
    step = agent.predict_step(env.reset(), agent.get_initial_predict_state(2))
    torch.testing.assert_close(
        step.output, torch.tensor([[0.25, -0.5]]).expand(2, 2), atol=0.1, rtol=0
    )


# ---- the buffer ----


def test_a_joined_buffer_looks_up_what_its_parts_hold(tmp_path: Path) -> None:
    path, _ = _leave_hierarchy(tmp_path)
    level = _goals(offline_buffer_dir=[path, path]).levels[1]
    first, second = level._offline
    second._buffer.time_step.reward.add_(100)
    joined = JoinedReplayBuffer([first, second], [0.25, 0.75])
    batch, info = joined.get_batch(8, 2)
    assert (batch.time_step.reward > 50).any(1).tolist() == [False] * 2 + [True] * 6
    assert joined.total_size == 2 * first.total_size
    looked_up = joined.get_field("time_step.reward", info.env_ids, info.positions)
    assert torch.equal(looked_up, batch.time_step.reward[:, 0])
    left_over = joined.steps_to_episode_end(info.positions, info.env_ids)
    alone = first.steps_to_episode_end(info.positions, info.env_ids % first.num_environments)
    assert torch.equal(left_over, alone)
    odd = [int((joined.get_batch(3, 2)[1].env_ids >= 2).sum()) for _ in range(3)]
    assert odd == [2, 2, 2]


# ---- learning ----


def _leave_random_walks(path: Path, episodes: int = 512) -> str:
    """x' = clip(x + 0.3 a, -1, 1), 8 steps at random; the reward is minus the distance from 0."""
    steps = 8
    action = 2 * torch.rand(episodes, steps + 1, 2) - 1
    x = [2 * torch.rand(episodes, 2) - 1]
    for t in range(steps):
        x.append((x[-1] + 0.3 * action[:, t]).clamp(-1, 1))
    step_type = torch.full((episodes, steps + 1), MID, dtype=torch.int32)
    step_type[:, 0], step_type[:, -1] = FIRST, LAST
    position = torch.stack(x, dim=1)
    fields = {
        "action": action,
        "time_step/step_type": step_type,
        "time_step/reward": -position.norm(dim=-1),
        "time_step/discount": torch.ones(episodes, steps + 1),
        "time_step/observation": position,
        "time_step/prev_action": torch.zeros(episodes, steps + 1, 2),
        "time_step/env_id": torch.zeros(episodes, steps + 1, dtype=torch.int32),
    }
    content = {f"_replay_buffer._buffer/{name}": value for name, value in fields.items()}
    for name in ("size", "pos"):
        content[f"_replay_buffer._current_{name}"] = torch.full((episodes,), steps + 1)
    torch.save({"algorithm": content}, path)
    return str(path)


@torch.no_grad()
def _final_distance(agent: HierarchyAgent, rows: int = 128) -> float:
    """The mean distance from 0 after 8 greedy steps."""
    x, state = 2 * torch.rand(rows, 2) - 1, agent.get_initial_predict_state(rows)
    for t in range(8):
        step = TimeStep(
            step_type=torch.full((rows,), MID if t else FIRST, dtype=torch.int32),
            reward=torch.zeros(rows),
            discount=torch.ones(rows),
            observation=x,
            prev_action=torch.zeros(rows, 2),
            env_id=torch.arange(rows, dtype=torch.int32),
            env_info=(),
        )
        decided = agent.predict_step(step, state)
        x, state = (x + 0.3 * decided.output).clamp(-1, 1), decided.state
    return float(x.norm(dim=-1).mean())


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_a_hierarchy_learns_from_random_walks_alone(seed: int, tmp_path: Path) -> None:
    """It ends within 0.3 of 0, which a random walk leaves for 0.81, without a step of its own."""
    torch.manual_seed(seed)
    position = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    training = _training(mini_batch_size=64, offline_updates=8)
    goal = Goal(radius=0.1, returns_control=False)
    agent = HierarchyAgent(
        position,
        position,
        levels=[
            partial(AlgorithmLevel, algorithm_ctor=iql(), training=training, name="top"),
            partial(
                AlgorithmLevel,
                algorithm_ctor=iql(),
                training=training,
                control_interval=2,
                goal=goal,
                name="low",
            ),
        ],
        joints=[position],
        config=_config(
            offline_buffer_dir=_leave_random_walks(tmp_path / "walks"),
            rl_train_after_update_steps=1000,
        ),
    )
    agent.load_offline_replay_buffer(position)
    for _ in range(40):
        agent.train_iter()
    assert _final_distance(agent) < 0.3
