"""The configurations of learners train, each level of them, and go on where they stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.summary import summary_ops as summary
from alf.trainers.policy_trainer import RLTrainer, Trainer
from tests.runs import REPOSITORY

COMMON: dict[str, Any] = {
    "TrainerConfig.evaluate": False,
    "TrainerConfig.num_env_steps": 0,
    "create_environment.num_parallel_environments": 4,
}
SAC: dict[str, Any] = {"_CONFIG._USER.reach_warm_up": 40}
MUZERO: dict[str, Any] = {
    "create_simple_encoding_net.layers": (16,),
    "create_simple_dynamics_net.layers": (16,),
    "create_simple_prediction_net.layers": (16,),
    "create_simple_encoding_net.latent_size": 8,
}
HIERARCHIES: dict[str, dict[str, Any]] = {
    "dqn_over_sac": SAC | {"_CONFIG._USER.subgoals_warm_up": 4},
    "sac_over_ddpg": SAC | {"_CONFIG._USER.subgoals_warm_up": 4},
    "taac_over_sac": SAC | {"_CONFIG._USER.subgoals_warm_up": 4},
    "ppo_over_sac": SAC | {"_CONFIG._USER.subgoals_round": 8},
    "muzero_over_sac": SAC | MUZERO | {"_CONFIG._USER.subgoals_warm_up": 4},
}
SINGLE: dict[str, Any] = MUZERO | {
    "TrainerConfig.unroll_length": 4,
    "TrainerConfig.mini_batch_size": 8,
    "TrainerConfig.num_updates_per_train_iter": 1,
    "TrainerConfig.initial_collect_steps": 16,
}


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.close_env()
    alf.reset_configs()
    summary.reset_global_counter()
    torch.use_deterministic_algorithms(False)


def _train(name: str, root: Path, settings: dict[str, Any], num_iterations: int) -> Any:
    """The algorithm after so many iterations in all; goes on with what is in `root`."""
    alf.close_env()
    alf.reset_configs()
    settings = COMMON | settings | {"TrainerConfig.num_iterations": num_iterations}
    conf_file = str(REPOSITORY / "alf_configs" / f"{name}_conf.py")
    alf.parse_config(conf_file, [f"{key}={value!r}" for key, value in settings.items()])
    trainer = RLTrainer(TrainerConfig(root_dir=str(root), conf_file=conf_file))
    trainer.train()
    assert int(Trainer._trainer_progress._iter_num) == num_iterations
    return trainer._algorithm


def _weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def _updates(module: Any) -> int:
    """Steps that the first optimizer in it has made."""
    state = next(iter(module.optimizers()[0].state.values()))
    return int(state["step"])


@pytest.mark.parametrize("name", HIERARCHIES)
def test_both_levels_of_a_hierarchy_train_and_resume(name: str, tmp_path: Path) -> None:
    conf, settings = f"{name}_maze2d", HIERARCHIES[name]
    first = _train(conf, tmp_path, settings, 20)
    counts = [int(level._update_clock.transitions) for level in first.levels]
    updates = [_updates(level) for level in first.levels]
    weights = [_weights(level) for level in first.levels]
    assert min(updates) >= 1
    second = _train(conf, tmp_path, settings, 32)
    for i, level in enumerate(second.levels):
        assert int(level._update_clock.transitions) > counts[i]
        assert _updates(level) > updates[i]
        after = level.parameters()
        assert any(not x.equal(y) for x, y in zip(weights[i], after, strict=True))


@pytest.mark.parametrize("name", ["muzero_cartpole", "muzero_pendulum"])
def test_muzero_alone_trains_and_resumes(name: str, tmp_path: Path) -> None:
    first = _train(name, tmp_path, SINGLE, 3)
    updates, weights = _updates(first), _weights(first)
    assert updates >= 1
    second = _train(name, tmp_path, SINGLE, 5)
    assert _updates(second) == updates + 2
    assert any(not x.equal(y) for x, y in zip(weights, second.parameters(), strict=True))


def test_a_hierarchy_is_pretrained_from_flat_data_and_goes_on_online(tmp_path: Path) -> None:
    data, root = tmp_path / "data", tmp_path / "iql"
    steps = {"_CONFIG._USER.num_env_steps": 400, "TrainerConfig.unroll_length": 25}
    _train("noise_data_maze2d", data, steps, 4)
    settings = {
        "_CONFIG._USER.data_dir": str(data),
        "_CONFIG._USER.offline_iterations": 3,
        "_CONFIG._USER.subgoals_warm_up": 4,
        "_CONFIG._USER.reach_warm_up": 40,
    }
    offline = _train("iql_over_iql_maze2d", root, settings, 2)
    assert [_updates(level) for level in offline.levels] == [2 * 4] * 2
    assert all(level._replay_buffer is None for level in offline.levels)
    online = _train("iql_over_iql_maze2d", root, settings, 23)
    assert min(_updates(level) for level in online.levels) > 3 * 4
    size = online.levels[1]._replay_buffer.total_size
    assert size >= 20 * 4 * 4
    resumed = _train("iql_over_iql_maze2d", root, settings, 25)
    assert resumed.levels[1]._replay_buffer.total_size > size
    assert all(level._offline for level in resumed.levels)


def test_implicit_q_learning_starts_from_the_data_of_an_earlier_run(tmp_path: Path) -> None:
    """Offline, then online, and on after a stop; data come from a run that only explored."""
    data, root = tmp_path / "data", tmp_path / "iql"
    steps = {"_CONFIG._USER.num_env_steps": 400, "TrainerConfig.unroll_length": 25}
    explorer = _train("noise_data_maze2d", data, steps, 4)
    assert not explorer.optimizers()[0].state
    settings = {
        "_CONFIG._USER.data_dir": str(data),
        "_CONFIG._USER.offline_iterations": 3,
        "TrainerConfig.mini_batch_size": 16,
        "TrainerConfig.initial_collect_steps": 32,
    }
    offline = _train("iql_maze2d", root, settings, 2)
    assert offline._offline_replay_buffer.total_size == 400
    own: Any = offline._replay_buffer
    assert own is None or own.total_size == 0
    assert _updates(offline) == 2 * 8
    online = _train("iql_maze2d", root, settings, 7)
    assert online._replay_buffer.total_size == 5 * 4 * 4
    assert _updates(online) == 7 * 8
    resumed = _train("iql_maze2d", root, settings, 9)
    assert resumed._replay_buffer.total_size == 7 * 4 * 4
    assert _updates(resumed) == 9 * 8
