"""Configurations as ALF's users write them train, resume and play: one for each kind of example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.config_helpers import parse_config
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.summary import summary_ops as summary
from alf.trainers._play import play_episodes
from alf.trainers._player import create_player
from alf.trainers.policy_trainer import RLTrainer
from alf.utils.checkpoint_utils import Checkpointer

CONFS = Path(__file__).with_name("alf_style")
NAMES = sorted(p.name for p in CONFS.iterdir() if p.name.endswith(("_conf.py", "scopes.gin")))
ROUNDS = ("ppo_", "actor_critic_", "icm_")


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    _reset()
    yield
    _reset()
    summary.reset_global_counter()
    torch.use_deterministic_algorithms(False)


def _reset() -> None:
    alf.close_env()
    alf.reset_configs()


def _parse(name: str, settings: dict[str, Any]) -> TrainerConfig:
    _reset()
    gin = name.endswith(".gin")
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    parse_config(str(CONFS / name), lines if gin else [line.replace(" = ", "=") for line in lines])
    return TrainerConfig(root_dir=str(settings["TrainerConfig.root_dir"]), conf_file=name)


def _train(name: str, root_dir: Path, num_iterations: int, **settings: Any) -> RLTrainer:
    settings = {
        "TrainerConfig.root_dir": str(root_dir),
        "TrainerConfig.num_iterations": num_iterations,
        "TrainerConfig.num_env_steps": 0,
        "TrainerConfig.random_seed": 1,
        **settings,
    }
    trainer = RLTrainer(_parse(name, settings))
    trainer.train()
    return trainer


def _updates(trainer: RLTrainer) -> int:
    """Steps that the optimizer which made most has made."""
    steps = [
        int(state["step"])
        for optimizer in trainer._algorithm.optimizers()
        for state in optimizer.state.values()
    ]
    return max(steps, default=0)


def _settings(name: str, tmp_path: Path) -> dict[str, Any]:
    if not name.startswith("hybrid"):
        return {}
    _train("sac_agent_pendulum_conf.py", tmp_path / "before", 40)
    return {"_CONFIG._USER.offline_dir": str(tmp_path / "before")}


def test_there_is_one_of_each_kind() -> None:
    assert len(NAMES) == 11


@pytest.mark.parametrize("name", NAMES)
def test_a_conf_in_the_style_of_alf_trains_resumes_and_plays(name: str, tmp_path: Path) -> None:
    if name.startswith("bipedal"):
        pytest.importorskip("Box2D", reason="the simulator of BipedalWalker: pip install box2d")
    settings = _settings(name, tmp_path)
    root = tmp_path / "run"
    # Three iterations with updates, after those that fill the replay buffer.
    collecting = 0 if name.startswith(ROUNDS) else 30
    first = _train(name, root, collecting + 3, **settings)
    updates = _updates(first)
    assert updates >= 3
    weights = {key: p.detach().clone() for key, p in first._algorithm.named_parameters()}
    second = _train(name, root, collecting + 5, **settings)
    assert _updates(second) > updates
    assert any(not p.equal(weights[key]) for key, p in second._algorithm.named_parameters())
    _reset()
    alf.config(
        "create_environment", for_evaluation=True, num_parallel_environments=1, mutable=False
    )
    config = _parse_again(name, root, settings)
    player = create_player(config, alf.get_env())
    Checkpointer(str(root / "train/algorithm"), algorithm=player).load(
        "latest", including_optimizer=False, including_replay_buffer=False
    )
    (episode,) = play_episodes(alf.get_env(), player, 1)
    assert episode.length > 0


def _parse_again(name: str, root: Path, settings: dict[str, Any]) -> TrainerConfig:
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    parse_config(str(CONFS / name), [line.replace(" = ", "=") for line in lines])
    return TrainerConfig(root_dir=str(root), conf_file=name)


def test_offline_data_are_trained_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings("hybrid_pendulum_conf.py", tmp_path)
    drawn: list[str] = []
    draw = ReplayBuffer.get_batch

    def get_batch(self: ReplayBuffer, *args: Any, **kwargs: Any) -> Any:
        drawn.append(self.name)
        return draw(self, *args, **kwargs)

    monkeypatch.setattr(ReplayBuffer, "get_batch", get_batch)
    _train("hybrid_pendulum_conf.py", tmp_path / "run", 60, **settings)
    offline = [name for name in drawn if "offline" in name]
    assert len(offline) >= 50
    assert 0 < len(drawn) - len(offline) < len(offline)
