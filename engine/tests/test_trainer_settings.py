"""Settings of the trainer that change what a run writes, sees or continues from."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_conf import write_conf
from tiny_rl import CountingEnv, TinyOffPolicy, make_config

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.training import gradient_step
from alf.algorithms.training.gradient_step import LossScales
from alf.optimizers import Adam
from alf.summary import summary_ops as summary
from alf.trainers.policy_trainer import RLTrainer
from alf.utils.checkpoint_utils import Checkpointer
from alf.utils.finite_checks import skipped
from alf.utils.schedulers import get_progress, update_progress


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.close_env()
    alf.reset_configs()
    summary.reset_global_counter()
    for kind in ("percent", "iterations", "env_steps"):
        update_progress(kind, 0)
    torch.use_deterministic_algorithms(False)


def make_trainer(tmp_path: Path, **settings: Any) -> RLTrainer:
    alf.close_env()
    alf.reset_configs()
    conf = str(write_conf(tmp_path))
    params = [f"TrainerConfig.{name}={value!r}" for name, value in settings.items()]
    alf.parse_config(conf, params)
    return RLTrainer(TrainerConfig(root_dir=str(tmp_path / "run"), conf_file=conf))


def tags(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload().Tags()
    return {tag for kind in ("scalars", "histograms", "tensors") for tag in events[kind]}


def test_what_is_asked_for_is_summarized(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path,
        summarize_grads_and_vars=True,
        summarize_gradient_noise_scale=True,
        summarize_action_distributions=True,
        summarize_output=True,
        mini_batch_size=20,
        code_snapshots=["algorithms/agent.py"],
    )
    trainer.train()
    found = tags(tmp_path / "run" / "train")
    assert "gradient_noise_scale" in found
    assert any(tag.startswith("summarize_grads/") for tag in found)
    assert any(tag.startswith("output/_actor_network") for tag in found)
    assert any(tag.startswith("output/_critic_networks") for tag in found)
    assert any(tag.startswith("action_dist") for tag in found)
    assert any(tag.startswith("code/algorithms/agent.py") for tag in found)
    assert not summary.should_summarize_output()


def test_nothing_of_it_is_summarized_otherwise(tmp_path: Path) -> None:
    make_trainer(tmp_path).train()
    found = tags(tmp_path / "run" / "train")
    assert "loss" in found
    assert not [t for t in found if t.startswith(("output/", "gradient_noise", "summarize_"))]


def test_a_profile_comes_to_the_log(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="absl"):
        make_trainer(tmp_path, profiling=True, num_iterations=2).train()
    assert "cumulative" in caplog.text
    assert "train_iter" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there it changes something")
def test_mixed_precision_without_a_gpu_says_that_nothing_changes(
    tmp_path: Path, caplog: Any
) -> None:
    make_trainer(tmp_path, enable_amp=True, num_iterations=2).train()
    assert "enable_amp=True changes nothing: there is no CUDA device" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_mixed_precision_trains_on_a_gpu(tmp_path: Path) -> None:
    alf.set_default_device("cuda")
    try:
        trainer = make_trainer(tmp_path, enable_amp=True)
        trainer.train()
        assert all(torch.isfinite(p).all() for p in trainer._algorithm.parameters())
    finally:
        alf.set_default_device("cpu")


def test_the_scale_of_losses_is_part_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = make_config(enable_amp=True)
    found, new = (TinyOffPolicy(config=config) for _ in range(2))
    state = gradient_step._scaler(found).state_dict() | {"scale": 256.0, "_growth_tracker": 9}
    gradient_step._scaler(found).load_state_dict(state)
    Checkpointer(str(tmp_path), algorithm=found, loss_scales=LossScales(found)).save(1)
    assert Checkpointer(str(tmp_path), algorithm=new, loss_scales=LossScales(new)).load() == 1
    assert gradient_step._scaler(new).state_dict() == state


def test_a_resumed_run_goes_on_counting_what_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(skipped, "updates", 0)
    monkeypatch.setitem(skipped, "episodes", 0)
    trainer = make_trainer(tmp_path, num_iterations=2)
    skipped.update(updates=3, episodes=2)
    trainer.train()
    skipped.update(updates=0, episodes=0)  # as a new process has it
    make_trainer(tmp_path, num_iterations=3).train()
    assert skipped == {"updates": 3, "episodes": 2}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_continues_on_another_device(tmp_path: Path, devices: tuple[str, str]) -> None:
    try:
        alf.set_default_device(devices[0])
        first = make_trainer(tmp_path)
        first.train()
        saved = {name: p.detach().cpu() for name, p in first._algorithm.named_parameters()}
        alf.set_default_device(devices[1])
        second = make_trainer(tmp_path, num_iterations=14)
        second._restore_checkpoint()
        for name, p in second._algorithm.named_parameters():
            assert p.device.type == devices[1]
            assert torch.equal(p.detach().cpu(), saved[name])
        second.train()
        assert second.current_iterations() == 14
    finally:
        alf.set_default_device("cpu")


def test_so_many_summaries_are_written(tmp_path: Path) -> None:
    make_trainer(tmp_path, num_summaries=3, summarize_first_interval=False).train()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "train")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [4, 8, 12]


def test_the_writer_flushes_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    create = summary.create_summary_writer

    def spy(summary_dir: str, flush_secs: int, max_queue: int) -> Any:
        made.append((flush_secs, max_queue))
        return create(summary_dir, flush_secs, max_queue)

    monkeypatch.setattr(summary, "create_summary_writer", spy)
    make_trainer(tmp_path, num_iterations=1, summaries_flush_secs=7, summary_max_queue=3).train()
    assert made == [(7, 3)]


@pytest.mark.parametrize(("least", "size"), [(3, 4), (20, 20)])
def test_metrics_average_over_the_wanted_episodes_but_one_of_each_environment_at_least(
    tmp_path: Path, least: int, size: int
) -> None:
    trainer = make_trainer(tmp_path, metric_min_buffer_size=least)
    average_return = trainer._metrics()[2]
    assert average_return._buffer_size == size


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_the_cache_of_the_gpu_is_emptied_each_iteration_if_asked_for(
    is_asked_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alg = TinyOffPolicy(
        env=CountingEnv(), config=make_config(empty_cache=is_asked_for), optimizer=Adam(lr=0.1)
    )
    calls: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    for _ in range(2):
        alg.train_iter()
    assert len(calls) == 2 * is_asked_for


@pytest.mark.skipif(importlib.util.find_spec("graphviz") is not None, reason="it is installed")
def test_a_drawing_without_graphviz_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="visualize_alf_tree=True needs the package graphviz"):
        make_trainer(tmp_path, visualize_alf_tree=True).train()


def test_progress_reaches_schedulers_and_environments(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, sync_progress_to_envs=True, num_iterations=4)
    seen: list[Any] = []
    synced: list[float] = []
    env, alg = trainer._env, trainer._algorithm
    env.sync_progress = lambda: synced.append(get_progress("iterations"))
    train_iter = alg.train_iter
    alg.train_iter = lambda: (
        seen.append((get_progress("percent"), get_progress("iterations"))) or train_iter()
    )
    trainer.train()
    assert seen == [(0, 0), (0.25, 1), (0.5, 2), (0.75, 3)]
    assert synced == [0, 1, 2, 3]
    assert get_progress("percent") == 1


@pytest.mark.parametrize("no_thread_env", [False, True])
def test_settings_of_environments_in_processes_count_as_used(
    tmp_path: Path, no_thread_env: bool
) -> None:
    more = """
from alf.environments.parallel_environment import ParallelAlfEnvironment
alf.config("create_environment", parallel_environment_ctor=ParallelAlfEnvironment)
alf.config("suite_gym.load", max_episode_steps=3)
"""
    conf = str(write_conf(tmp_path, more))
    alf.parse_config(conf, [f"TrainerConfig.no_thread_env_for_conf={no_thread_env}"])
    RLTrainer(TrainerConfig(root_dir=str(tmp_path / "run"), conf_file=conf))
    unused = [name for name, _ in alf.get_inoperative_configs()]
    assert ("alf.environments.suite_gym.load.max_episode_steps" in unused) == no_thread_env


def first_numbers(trainer: RLTrainer) -> list[float]:
    """The random numbers of the episodes that begin first."""
    trainer._restore_checkpoint()
    trainer._start()
    return trainer._env.current_time_step().observation[:, 0].tolist()


def test_a_continued_run_meets_new_episodes_the_same_each_time(tmp_path: Path) -> None:
    new = first_numbers(make_trainer(tmp_path))
    make_trainer(tmp_path).train()
    continued = [first_numbers(make_trainer(tmp_path, num_iterations=20)) for _ in range(2)]
    assert continued[0] == continued[1]
    assert not set(continued[0]) & set(new)
    make_trainer(tmp_path, num_iterations=20).train()
    later = first_numbers(make_trainer(tmp_path, num_iterations=30))
    assert not set(later) & set(continued[0])


def test_a_run_made_from_a_checkpoint_continues_from_its_own(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    make_trainer(tmp_path / "old").train()
    old = tmp_path / "old" / "run" / "train" / "algorithm" / "ckpt-12"

    def preloaded(num_iterations: int) -> RLTrainer:
        alf.close_env()
        alf.reset_configs()
        text = f"alf.config('SacAlgorithm', checkpoint='alg@{old}')\n"
        conf = str(write_conf(tmp_path, text))
        alf.parse_config(conf, [f"TrainerConfig.num_iterations={num_iterations}"])
        return RLTrainer(TrainerConfig(root_dir=str(tmp_path / "run"), conf_file=conf))

    before = torch.load(old, weights_only=True)["algorithm"]
    first = preloaded(12)
    name, weight = next(iter(first._algorithm.named_parameters()))
    assert torch.equal(weight, before[name])
    first.train()
    trained = weight.detach().clone()
    assert not torch.equal(trained, before[name])
    second = preloaded(14)
    second._restore_checkpoint()
    assert isinstance(second._algorithm, SacAlgorithm)
    assert torch.equal(dict(second._algorithm.named_parameters())[name], trained)
