"""One optimizer object in the constructors of several levels: its moments survive a resume."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.optimizers import Adam
from alf.trainers.policy_trainer import RLTrainer
from alf_layered import HierarchyAgent, SacLevel, TrainingOptions, select, skill
from alf_layered.environments import maze2d_alf


def make_trainer(folder: Path, iterations: int) -> RLTrainer:
    """The lower level makes more transitions, so that it trains before the upper one."""
    alf.close_env()
    alf.reset_configs()
    alf.config(
        "create_environment",
        env_name="Maze2D-UMaze-v0",
        env_load_fn=maze2d_alf.load,
        num_parallel_environments=4,
    )
    level = partial(SacLevel, optimizer=Adam(lr=1e-3))
    training = partial(TrainingOptions, mini_batch_size=16, replay_buffer_length=200)
    agent = partial(
        HierarchyAgent,
        levels=[
            partial(level, name="top", training=training(warm_up=20)),
            partial(level, name="low", control_interval=3, training=training(warm_up=20)),
        ],
        joints=[skill(2)],
        observation_maps=[select("observation")] * 2,
    )
    return RLTrainer(
        TrainerConfig(
            root_dir=str(folder),
            algorithm_ctor=agent,
            num_iterations=iterations,
            unroll_length=4,
            random_seed=0,
            evaluate=False,
        )
    )


def moments(trainer: RLTrainer) -> dict[str, torch.Tensor]:
    """By name of the parameter."""
    names = {id(p): name for name, p in trainer._algorithm.named_parameters()}
    states = [o.state for o in trainer._algorithm.optimizers(include_ignored_attributes=True)]
    return {names[id(p)]: s["exp_avg"] for state in states for p, s in state.items()}


def test_moments_come_back_to_the_parameters_that_they_are_of(tmp_path: Path) -> None:
    first = make_trainer(tmp_path, 12)
    first.train()
    saved = moments(first)
    assert {name.split(".")[0] for name in saved} == {"level_0_top", "level_1_low"}
    second = make_trainer(tmp_path, 12)
    second._restore_checkpoint()
    loaded = moments(second)
    assert loaded.keys() == saved.keys()
    for name, moment in saved.items():
        assert torch.equal(moment, loaded[name]), name
    alf.close_env()
    alf.reset_configs()
