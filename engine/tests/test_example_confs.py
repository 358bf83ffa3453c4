"""The example runs train, and go on where they stopped; small, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import alf
import alf.examples
from alf.algorithms.config import TrainerConfig
from alf.summary import summary_ops as summary
from alf.trainers.policy_trainer import RLTrainer, Trainer

EXAMPLES = Path(alf.examples.__file__).parent
SUPERVISED = ("func_parvi_blobs_conf.py",)  # tested in test_particle_vi.py
NAMES = sorted(
    p.name
    for p in EXAMPLES.iterdir()
    if p.name.endswith(("_conf.py", ".gin")) and p.name not in SUPERVISED
)
SMALL = {
    "TrainerConfig.evaluate": False,
    "TrainerConfig.initial_collect_steps": 40,
    "TrainerConfig.mini_batch_size": 8,
    "TrainerConfig.num_updates_per_train_iter": 1,
    "ActorDistributionNetwork.fc_layer_params": (8,),
    "CriticNetwork.joint_fc_layer_params": (8,),
}
ON_POLICY = {
    "TrainerConfig.evaluate": False,
    "TrainerConfig.num_updates_per_train_iter": 1,
    "TrainerConfig.mini_batch_size": 256,
}


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.close_env()
    alf.reset_configs()
    summary.reset_global_counter()
    torch.use_deterministic_algorithms(False)


def _train(name: str, root_dir: Path, num_iterations: int) -> RLTrainer:
    alf.close_env()
    alf.reset_configs()
    settings = ON_POLICY if _is_on_policy(name) else SMALL
    settings = {**settings, "TrainerConfig.num_iterations": num_iterations}
    if _is_offline(name):
        settings["TrainerConfig.offline_buffer_dir"] = str(_data_for(root_dir))
    conf_file = str(EXAMPLES / name)
    alf.parse_config(conf_file, [f"{key}={value!r}" for key, value in settings.items()])
    trainer = RLTrainer(TrainerConfig(root_dir=str(root_dir), conf_file=conf_file))
    trainer.train()
    return trainer


def _is_on_policy(name: str) -> bool:
    return name.startswith(("ac_", "merlin_", "ppo_", "ppg_", "trac_"))


def _is_offline(name: str) -> bool:
    return "bc_pendulum" in name


def _data_for(root_dir: Path) -> Path:
    """A run that has left data."""
    data = root_dir.with_name("data")
    if not data.exists():
        _train("sac_pendulum_conf.py", data, 50)
        alf.close_env()
        alf.reset_configs()
        summary.reset_global_counter()
    return data


def _updates(trainer: RLTrainer) -> int:
    """How many steps the first optimizer has made."""
    optimizer = trainer._algorithm.optimizers()[0]
    return int(next(iter(optimizer.state.values()))["step"])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains_and_resumes(name: str, tmp_path: Path) -> None:
    # The first iteration of PPO trains nothing: its newest step has no outcome yet.
    before = 6 if name.startswith(("ac_", "merlin_", "ppo_", "ppg_", "trac_", "muzero_")) else 50
    first = _train(name, tmp_path, before)
    updates = _updates(first)
    assert updates >= 5
    weights = {key: p.detach().clone() for key, p in first._algorithm.named_parameters()}
    second = _train(name, tmp_path, before + 3)
    assert int(Trainer._trainer_progress._iter_num) == before + 3
    assert _updates(second) == updates + 3
    assert any(not p.equal(weights[key]) for key, p in second._algorithm.named_parameters())


def test_there_is_an_example_of_each_kind() -> None:
    kinds = (
        "ac_cart_pole",
        "ppo",
        "dqn",
        "ddpg",
        "qrsac",
        "icm",
        "rnd",
        "diayn",
        "trac",
        "ppg",
        "dsac",
        "doac",
    )
    kinds += (
        "encoder",
        "entropy_target",
        "muzero",
        "mbrl",
        "bc_pendulum",
        "causal_bc",
        "action_repeat",
        "sac_pendulum_conf",
        "lstm",
        "frame_stack",
        "priority",
        "her",
        "merlin",
        "seditor",
        "lagrangian",
        "latent_mbrl",
        "predictive",
        ".gin",
    )
    assert all(any(kind in name for name in NAMES) for kind in kinds), NAMES
