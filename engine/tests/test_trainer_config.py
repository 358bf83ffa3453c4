"""TrainerConfig: which settings are accepted, and how others are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import alf
from alf.algorithms.config import TrainerConfig
from alf.utils.schedulers import LinearScheduler, update_progress


def test_defaults_train_from_the_whole_buffer() -> None:
    config = TrainerConfig(root_dir="/nowhere")
    assert config.whole_replay_buffer_training
    assert config.clear_replay_buffer
    assert (config.num_iterations, config.unroll_length, config.summary_interval) == (1000, 8, 50)
    assert config.data_transformer is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unroll_length", 0),
        ("num_updates_per_train_iter", 0),
        ("mini_batch_size", 0),
        ("replay_buffer_length", -1),
        ("unroll_queue_size", 0),
        ("unroll_step_interval", -0.1),
        ("unroll_parameter_update_period", 0),
        ("ddp_paras_check_interval", -1),
        ("offline_buffer_length", 0),
        ("rl_train_every_update_steps", 0),
        ("epsilon_greedy", 1.5),
        ("ml_type", "magic"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}.*{value!r}"):
        TrainerConfig(root_dir="/nowhere", **{name: value})


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        (
            {"whole_replay_buffer_training": False, "clear_replay_buffer": False},
            ("whole_replay_buffer_training=False", "mini_batch_length is None"),
        ),
        ({"priority_replay": True}, ("whole_replay_buffer_training=True", "priority_replay=True")),
        ({"num_iterations": 0, "num_env_steps": 0}, ("num_iterations=0", "num_env_steps=0")),
        ({"async_unroll": True, "unroll_length": 0}, ("unroll_length=0", "max_unroll_length=0")),
        (
            {"async_unroll": True, "unroll_with_grad": True},
            ("async_unroll=True", "unroll_with_grad=True"),
        ),
        ({"offline_buffer_dir": "/data"}, ("whole_replay_buffer_training", "offline_buffer_dir")),
        ({"eval_uncertainty": True}, ("eval_uncertainty=True", "ml_type='sl'")),
    ],
)
def test_a_contradiction_names_both_settings(
    settings: dict[str, Any], both: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="TrainerConfig") as error:
        TrainerConfig(root_dir="/nowhere", **settings)
    assert all(part in str(error.value) for part in both)


def test_alpha_and_beta_may_be_numbers_or_schedulers() -> None:
    schedule = LinearScheduler("percent", [(0, 0.0), (1, 1.0)])
    config = TrainerConfig(root_dir="/nowhere", priority_replay_beta=schedule)
    update_progress("percent", 0.25)
    try:
        assert config.priority_replay_alpha() == 0.7
        assert config.priority_replay_beta() == 0.25
    finally:
        update_progress("percent", 0.0)


def test_settings_of_offline_training_alone_are_pointed_out(caplog: Any) -> None:
    TrainerConfig(root_dir="/nowhere", rl_train_after_update_steps=5)
    assert "rl_train_after_update_steps=5 has no effect without offline_buffer_dir" in caplog.text


def test_a_copy_has_its_own_settings() -> None:
    config = TrainerConfig(root_dir="/nowhere")
    own = copy.copy(config)
    own.mini_batch_size = 7
    assert config.mini_batch_size is None


def test_settings_come_from_alf_config() -> None:
    alf.reset_configs()
    try:
        alf.config("TrainerConfig", num_env_steps=123, unroll_length=0.5)
        config = TrainerConfig(root_dir="/nowhere")
        assert (config.num_env_steps, config.unroll_length) == (123, 0.5)
    finally:
        alf.reset_configs()
