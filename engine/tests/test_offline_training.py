"""Training from replay buffers that other runs have left: what is loaded, and when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rl import OBSERVATION_SPEC, CountingEnv, TinyOffPolicy, TinyOnPolicy, make_config

from alf.data_structures import AlgStep, BasicRLInfo, LossInfo, StepType
from alf.optimizers import SGD
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import common
from alf.utils.checkpoint_utils import Checkpointer, enable_checkpoint


@pytest.fixture(autouse=True)
def _counter() -> Iterator[None]:
    summary.reset_global_counter()
    yield
    summary.reset_global_counter()


def leave_buffer(folder: Path, steps: int, length: int = 100, batch_size: int = 2) -> Path:
    """A run of `steps` steps, of which it keeps `length`."""
    config = make_config(replay_buffer_length=length)
    alg = TinyOffPolicy(env=CountingEnv(batch_size), config=config, optimizer=SGD(lr=0.1))
    alg.train_from_replay_buffer = lambda update_global_counter=False: 0
    for _ in range(steps):
        alg.train_iter()
    enable_checkpoint(alg._replay_buffer, True)
    Checkpointer(str(folder), algorithm=alg).save(steps)
    summary.reset_global_counter()
    return folder / f"ckpt-{steps}-replay_buffer"


class Hybrid(TinyOffPolicy):
    """Fits its layer to 3 on own data and to 5 on offline data; writes down what is called."""

    def __init__(self, paths: Any, env: Any = None, **config: Any) -> None:
        settings = {"offline_buffer_dir": paths, "mask_out_loss_for_last_step": False, **config}
        super().__init__(
            env=env or CountingEnv(), config=make_config(**settings), optimizer=SGD(lr=0.5)
        )
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.zero_()
        self.log: list[Any] = []
        self.load_offline_replay_buffer(OBSERVATION_SPEC)

    def train_step(self, inputs: Any, state: Any, rollout_info: Any) -> AlgStep:
        self.log.append(("own", common.exe_mode_name()))
        return AlgStep(info=LossInfo(loss=(self.layer.bias - 3) ** 2 * torch.ones(len(inputs[0]))))

    def train_step_offline(
        self, inputs: Any, state: Any, rollout_info: Any, pre_train: bool = False
    ) -> AlgStep:
        assert isinstance(rollout_info, BasicRLInfo)
        self.log.append(("offline", common.exe_mode_name(), pre_train))
        assert torch.equal(rollout_info.action, rollout_info.action.clamp(-1, 1))
        return AlgStep(info=LossInfo(loss=(self.layer.bias - 5) ** 2 * torch.ones(len(inputs[0]))))

    def after_train_iter(self, root_inputs: Any, rollout_info: Any) -> None:
        self.log.append(("after_train_iter", root_inputs is None, rollout_info is None))


def loaded(*args: Any, **config: Any) -> Any:
    alg = Hybrid(*args, **config)
    return alg._offline_replay_buffer


def test_the_newest_records_are_there_in_order(tmp_path: Path) -> None:
    path = leave_buffer(tmp_path, steps=13, length=7)
    records = loaded(str(path)).gather_all()[0]
    # the environment counts 0 1 2 3 0 1 ...; the ring has kept the last seven of 13 steps
    assert records.observation[..., 1].tolist() == [[2, 3, 0, 1, 2, 3, 0]] * 2
    M, L, F = StepType.MID, StepType.LAST, StepType.FIRST
    # where the run ended an episode ends
    assert records.step_type.tolist() == [[M, L, F, M, M, L, L]] * 2
    short = loaded(str(path), offline_buffer_length=3).gather_all()[0]
    assert short.observation[..., 1].tolist() == [[2, 3, 0]] * 2


def test_a_buffer_that_alf_wrote_is_read(tmp_path: Path) -> None:
    """Its keys are `<path>_replay_buffer.time_step|observation`."""
    path = leave_buffer(tmp_path, steps=13, length=7)
    content = torch.load(path, weights_only=True)
    state = {
        key.replace("._buffer/", ".").replace("/", "|"): value
        for key, value in content["algorithm"].items()
    }
    assert "_replay_buffer.time_step|observation" in state
    theirs = tmp_path / "theirs"
    torch.save({"algorithm": state}, theirs)
    ours, read = (loaded(str(p)).gather_all()[0] for p in (path, theirs))
    assert torch.equal(read.observation, ours.observation)
    assert torch.equal(read.action, ours.action)


def test_buffers_of_several_runs_become_one(tmp_path: Path) -> None:
    first = leave_buffer(tmp_path / "one" / "train" / "algorithm", steps=4)
    leave_buffer(tmp_path / "two", steps=6, batch_size=1)
    leave_buffer(tmp_path / "three", steps=1)  # too short for a sequence
    folders = [str(first), str(tmp_path / "two"), str(tmp_path / "three")]
    buffer = loaded(folders)
    assert buffer._current_size.tolist() == [4, 4, 6]
    experience, info = buffer.get_batch(30, 2)
    assert torch.equal(experience.env_id[:, 0].long(), info.env_ids)
    assert loaded(str(tmp_path / "one")).total_size == 8


def test_offline_data_alone_come_first_without_interaction(tmp_path: Path) -> None:
    path = leave_buffer(tmp_path, steps=6)
    env = CountingEnv()
    alg = Hybrid(str(path), env, rl_train_after_update_steps=3, num_updates_per_train_iter=1)
    before = env.num_steps
    assert alg.train_iter() == 8
    assert alg.train_iter() == 8
    assert env.num_steps == before
    assert alg.log == [("offline", "pretrain", True), ("after_train_iter", True, True)] * 2
    alg.log.clear()
    # two records are fewer than initial_collect_steps=4: interaction, but no own data yet
    assert alg.train_iter() == 8
    assert env.num_steps == before + 1
    assert alg.log[0] == ("offline", "replay", False)
    assert alg.log[1] == ("after_train_iter", False, False)
    alg.log.clear()
    assert alg.train_iter() == 16
    assert alg.log[:2] == [("offline", "replay", False), ("own", "replay")]


def test_an_update_minimises_the_sum_of_both_losses(tmp_path: Path) -> None:
    path = leave_buffer(tmp_path, steps=6)
    alg = Hybrid(str(path), unroll_length=2, num_updates_per_train_iter=1)
    alg.train_iter()
    # d/db [(b - 3)^2 + (b - 5)^2] = -16 at b = 0
    assert alg.layer.bias.tolist() == [8.0]
    alone = Hybrid(str(path), rl_train_after_update_steps=9, num_updates_per_train_iter=1)
    summary.reset_global_counter()
    alone.train_iter()
    assert alone.layer.bias.tolist() == [5.0]


def test_own_data_are_used_at_multiples_of_the_counter(tmp_path: Path) -> None:
    path = leave_buffer(tmp_path, steps=6)
    alg = Hybrid(
        str(path), unroll_length=2, rl_train_every_update_steps=3, num_updates_per_train_iter=1
    )
    assert [alg.train_iter() for _ in range(6)] == [8, 8, 16, 8, 8, 16]


def test_each_update_has_both_kinds_of_data(tmp_path: Path) -> None:
    path = leave_buffer(tmp_path, steps=6)
    alg = Hybrid(str(path), unroll_length=2, num_updates_per_train_iter=3)
    alg.train_iter()
    kinds = [entry[0] for entry in alg.log]
    assert kinds == ["offline", "own"] * 3 + ["after_train_iter"]


def test_offline_data_stay_out_of_checkpoints(tmp_path: Path) -> None:
    alg = Hybrid(str(leave_buffer(tmp_path, steps=6)))
    assert not [key for key in alg.state_dict() if "offline" in key]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no replay buffer of a checkpoint"):
        Hybrid(str(tmp_path / "nowhere"))
    path = leave_buffer(tmp_path, steps=6)
    alg = Hybrid(str(path))
    with pytest.raises(ValueError, match=r"_buffer/time_step/observation is .*float32 \[2\]"):
        alg.load_offline_replay_buffer(TensorSpec((3,)))
    with pytest.raises(ValueError, match="no environment has 9 records"):
        Hybrid(str(path), mini_batch_length=9)
    alg = TinyOnPolicy(env=CountingEnv(), config=make_config(offline_buffer_dir=str(path)))
    with pytest.raises(ValueError, match="does not train from one replay buffer of its own"):
        alg.load_offline_replay_buffer(OBSERVATION_SPEC)
    other = tmp_path / "other-replay_buffer"
    torch.save({"algorithm": {}}, other)
    with pytest.raises(ValueError, match="holds 0 replay buffers"):
        Hybrid(str(other))
