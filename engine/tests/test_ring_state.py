"""A buffer's state holds what was written, and is loaded into a buffer of another length."""

from __future__ import annotations

import logging
import os

import pytest
import torch

from alf.data_structures import StepType, TimeStep
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import TensorSpec
from alf.utils.checkpoint_utils import Checkpointer

_SPEC = TimeStep(
    step_type=TensorSpec((), dtype=torch.int32),
    reward=TensorSpec(()),
    discount=TensorSpec(()),
    observation=TensorSpec((2,)),
    prev_action=(),
    env_id=TensorSpec((), dtype=torch.int32),
)


def _buffer(max_length: int, num_environments: int = 2, **settings) -> ReplayBuffer:
    settings = {"keep_episodic_info": True, "record_episodic_return": True, **settings}
    return ReplayBuffer(_SPEC, num_environments, max_length, enable_checkpoint=True, **settings)


def _fill(buffer: ReplayBuffer, num_records: int, episode_length: int) -> None:
    """Environment 1 gets two thirds of the records; observations tell environment and number."""
    step_types = [StepType.FIRST, *[StepType.MID] * (episode_length - 2), StepType.LAST]
    for i in range(num_records):
        ids = torch.arange(buffer.num_environments if i % 3 else 1)
        n = len(ids)
        step_type = int(step_types[i % episode_length])
        number = buffer.get_current_position()[ids].float()
        record = TimeStep(
            step_type=torch.full((n,), step_type, dtype=torch.int32),
            reward=number,
            discount=torch.full((n,), float(step_type != StepType.LAST)),
            observation=torch.stack([ids.float(), number], dim=1),
            prev_action=(),
            env_id=ids.to(torch.int32),
        )
        buffer.add_batch(record, ids)


def _contents(buffer: ReplayBuffer, most: int) -> list[dict]:
    """For each environment the newest records and all that is known of their episodes."""
    contents = []
    for env_id in range(buffer.num_environments):
        size, end = int(buffer._current_size[env_id]), int(buffer._current_pos[env_id])
        pos = torch.arange(end - min(size, most), end)
        ids = torch.full_like(pos, env_id)
        records = buffer._read(ids, pos)
        contents.append(
            {
                "observation": records.observation,
                "reward": records.reward,
                "begin": buffer._episodes.begin(ids, pos),
                "end": buffer._episodes.end(ids, pos, torch.full_like(pos, end)),
                "return": buffer._returns.get(ids, buffer.circular(pos)),
            }
        )
    return contents


@pytest.mark.parametrize("episode_length", [2, 3, 7])
@pytest.mark.parametrize("num_records", [0, 1, 4, 8, 9, 20, 45])
@pytest.mark.parametrize("lengths", [(8, 8), (8, 30), (30, 8), (8, 9), (9, 8), (60, 50)])
def test_the_newest_records_come_back_whatever_the_length(lengths, num_records, episode_length):
    saved, loaded = (_buffer(length) for length in lengths)
    _fill(saved, num_records, episode_length)
    state = {k: v.clone() for k, v in saved.state_dict().items()}
    used = max(int(saved._current_pos.max()), 1)
    assert all(v.shape[1] <= used + 1 for k, v in state.items() if v.dim() > 1)
    loaded.load_state_dict(state)
    kept = min(lengths)
    torch.testing.assert_close(_contents(loaded, kept), _contents(saved, kept), rtol=0, atol=0)
    assert loaded.total_size == int(saved._current_size.clamp(max=lengths[1]).sum())
    for buffer in (saved, loaded):  # goes on alike
        _fill(buffer, 2 * kept, episode_length)
    torch.testing.assert_close(_contents(loaded, kept), _contents(saved, kept), rtol=0, atol=0)


def test_states_of_full_size_are_loaded(monkeypatch):
    saved, loaded = _buffer(30), _buffer(30)
    _fill(saved, 12, 3)
    names = ("_save_to_state_dict",)
    with monkeypatch.context() as patch:
        for part in (saved, saved._episodes, saved._returns):
            for name in names:
                patch.setattr(type(part), name, torch.nn.Module._save_to_state_dict)
        state = saved.state_dict()
    assert all(v.shape[1] == 30 for v in state.values() if v.dim() > 1)
    loaded.load_state_dict(state)
    torch.testing.assert_close(_contents(loaded, 30), _contents(saved, 30), rtol=0, atol=0)


class _Agent(torch.nn.Module):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self._replay_buffer = _buffer(*args, **kwargs)


def test_the_file_is_as_large_as_what_is_there(tmp_path):
    agent = _Agent(1_000_000, 1)
    _fill(agent._replay_buffer, 1000, 10)
    Checkpointer(str(tmp_path), algorithm=agent).save(1)
    assert os.path.getsize(tmp_path / "ckpt-1-replay_buffer") < 100_000


@pytest.mark.parametrize(
    ("saved", "here", "settings", "option"),
    [
        ((8, 2), (8, 4), {}, "create_environment.num_parallel_environments"),
        ((8, 4), (8, 2), {}, "create_environment.num_parallel_environments"),
        ((8, 2), (20, 2), {"prioritized_sampling": True}, "TrainerConfig.replay_buffer_length"),
    ],
)
def test_records_that_cannot_fit_are_left_out_in_one_line(
    tmp_path, caplog, saved, here, settings, option
):
    agent, other = _Agent(*saved, **settings), _Agent(*here, **settings)
    _fill(agent._replay_buffer, 20, 5)
    with torch.no_grad():
        agent.weight.fill_(3.0)
    Checkpointer(str(tmp_path), algorithm=agent).save(1)
    with caplog.at_level(logging.WARNING, "absl"):
        assert Checkpointer(str(tmp_path), algorithm=other).load() == 1
    assert other.weight.tolist() == [3.0, 3.0]
    assert other._replay_buffer.total_size == 0
    assert len(caplog.messages) == 1
    assert option in caplog.text
    assert len(caplog.messages[0]) < 200
    _fill(other._replay_buffer, 20, 5)
    fresh = _Agent(*here, **settings)
    _fill(fresh._replay_buffer, 20, 5)
    contents = [_contents(a._replay_buffer, 8) for a in (other, fresh)]
    torch.testing.assert_close(*contents, rtol=0, atol=0)


def test_records_of_another_shape_are_named_in_one_line(tmp_path):
    agent = _Agent(8, 2)
    Checkpointer(str(tmp_path), algorithm=agent).save(1)
    other = _Agent(8, 2)
    spec = _SPEC._replace(observation=TensorSpec((3,)))
    other._replay_buffer = ReplayBuffer(spec, 2, 8, enable_checkpoint=True)
    with pytest.raises(RuntimeError, match="observation") as caught:
        Checkpointer(str(tmp_path), algorithm=other).load()
    assert len(str(caught.value)) < 1500
