"""`Collector`: counts of episodes, tests, callbacks, and the same losses as ALF's trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alf_layered import Callback, Collector, FlatHierarchy, Hierarchy, KeepBest, SacLevel, StopAt
from tests.counting_env import CountingEnv
from tests.test_library_hierarchy import QUICK, _check_same, counting

LEVEL = SacLevel.options(training=QUICK)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_finished_episodes_are_counted_by_hand(mode: AutoresetMode) -> None:
    env = counting(mode, (3, 5))
    stats = Collector(FlatHierarchy(env, LEVEL), env).collect(26)
    steps, begins = 0, [0, 0]
    expected: list[int] = []
    at = [0, 0]
    while steps < 26:  # a twin, one environment at a time
        for i, length in enumerate((3, 5)):
            if begins[i]:
                begins[i] = 0
                continue
            steps, at[i] = steps + 1, at[i] + 1
            if at[i] == length:
                expected.append(length)
                at[i], begins[i] = 0, int(mode is AutoresetMode.NEXT_STEP)
    assert stats.lengths == expected
    assert stats.returns == [sum(range(1, n + 1)) for n in expected]
    assert stats.n_env_steps == steps
    assert np.isnan(stats.success)


def test_a_single_environment_is_collected_and_tested() -> None:
    env = CountingEnv()
    collector = Collector(FlatHierarchy(env, LEVEL), env, CountingEnv(5))
    stats = collector.collect(9, learn=True, test_interval=6, n_test_episodes=2)
    assert stats.lengths == [3, 3, 3]
    assert [(t.n_total_env_steps, t.mean_return) for t in stats.tests] == [(6, 15.0)]


def test_tests_change_nothing_and_collecting_goes_on() -> None:
    def run(test_interval: int | None, parts: list[int]) -> Hierarchy:
        env, test_env = counting(AutoresetMode.NEXT_STEP), counting(AutoresetMode.SAME_STEP)
        h = FlatHierarchy(env, LEVEL, seed=0)
        collector = Collector(h, env, test_env)
        for part in parts:
            collector.collect(part, learn=True, test_interval=test_interval)
        return h

    plain, tested, parted = run(None, [24]), run(4, [24]), run(None, [12, 12])
    _check_same(plain.state_dict(), tested.state_dict())
    _check_same(plain.state_dict(), parted.state_dict())


def test_callbacks_see_steps_episodes_and_tests_and_stop(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Seen(Callback):
        def on_step(self, collector: Collector, step: dict[str, Any]) -> None:
            seen.append("step")

        def on_episode(self, collector: Collector, returns: Any, lengths: Any) -> None:
            seen.append(list(lengths))

    env = counting(AutoresetMode.SAME_STEP)
    h = FlatHierarchy(env, LEVEL)
    keeps = KeepBest(tmp_path / "best")
    stops = StopAt(6.0, "mean_return")
    collector = Collector(
        h, env, counting(AutoresetMode.NEXT_STEP), callbacks=[Seen(), keeps, stops]
    )
    stats = collector.collect(100, test_interval=6)
    assert seen == ["step", "step", "step", [3, 3]]
    assert stats.n_env_steps == 6
    assert keeps.best == 6.0
    assert Hierarchy.load(tmp_path / "best", env=env).n_total_env_steps == 6
    with pytest.raises(ValueError, match="test_env is None"):
        Collector(h, env).collect(1, test_interval=1)
    with pytest.raises(ValueError, match="figure is"):
        StopAt(1.0, "luck")


CONF = """
import alf, torch
from alf_layered import HierarchyAgent, SacLevel
from alf_layered.environments import gymnasium_loader
from tests.counting_env import CountingEnv
from tests.test_library_hierarchy import QUICK
alf.config("create_environment", env_name=CountingEnv, env_load_fn=gymnasium_loader.load,
           num_parallel_environments=4)
alf.config("gymnasium_loader.load", info_keys=())
alf.config("HierarchyAgent", levels=[SacLevel.options(training=QUICK)])
def seeded(**arguments):
    torch.manual_seed(7)
    made = HierarchyAgent(**arguments)
    torch.manual_seed(8)
    return made

alf.config("TrainerConfig", algorithm_ctor=seeded, unroll_length=1, num_iterations=30,
    mini_batch_length=2, whole_replay_buffer_training=False, clear_replay_buffer=False,
    num_checkpoints=0, summary_interval=1, random_seed=0)
"""


def test_losses_are_those_of_the_trainer(tmp_path: Path) -> None:
    """Same settings, environments and random numbers: TensorBoard shows the same bits."""
    (tmp_path / "conf.py").write_text(CONF, encoding="utf-8")
    root = tmp_path / "run"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "alf.bin.train"),
            *("--conf", str(tmp_path / "conf.py"), "--root_dir", str(root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    env = counting(AutoresetMode.NEXT_STEP, (3,) * 4)
    h = FlatHierarchy(env, LEVEL, seed=7)
    state = h.state_dict()
    state["run"]["random"] = torch.Generator().manual_seed(8).get_state()
    h.load_state_dict(state)
    collector = Collector(h, env, log_dir=tmp_path / "mine", log_interval=1)
    collector.reset()
    while h.state_dict()["run"]["counter"] < 30:
        collector.collect(1, learn=True)
    collector.writer.flush()
    theirs, mine = _losses(root / "train"), _losses(tmp_path / "mine")
    assert len(theirs) > 20
    assert mine == theirs


def _losses(folder: Path) -> dict[tuple[str, int], float]:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {
        (tag, event.step): event.value
        for tag in found.Tags()["scalars"]
        if tag.startswith("level_0") and "loss" in tag
        for event in found.Scalars(tag)
    }
