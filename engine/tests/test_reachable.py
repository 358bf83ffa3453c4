"""Conditions that can never come true are errors before the training starts."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_rl import CountingEnv, TinyOffPolicy, make_config

from alf.optimizers import SGD


def made(**settings: Any) -> TinyOffPolicy:
    return TinyOffPolicy(env=CountingEnv(), config=make_config(**settings), optimizer=SGD(lr=0.1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"initial_collect_steps": 1000, "replay_buffer_length": 100},
            "initial_collect_steps=1000, but .* never holds more than 200 records",
        ),
        (
            {"mini_batch_length": 6, "replay_buffer_length": 5},
            "mini_batch_length=6 .*does not fit into a replay buffer of 5",
        ),
        (
            {"mini_batch_size": 128, "replay_buffer_length": 16},
            "mini_batch_size=128, but .* never has more than 30 different",
        ),
        (
            {
                "whole_replay_buffer_training": True,
                "clear_replay_buffer": True,
                "mini_batch_length": None,
                "initial_collect_steps": 50,
            },
            "initial_collect_steps=50, but .* never holds more than 4 records",
        ),
    ],
)
def test_what_no_run_reaches_is_an_error(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        made(**settings)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"initial_collect_steps": 100, "num_iterations": 5},
            "no update is made in this run: TrainerConfig.initial_collect_steps=100",
        ),
        (
            {"initial_collect_steps": 100, "num_iterations": 0, "num_env_steps": 20},
            "no update is made in this run",
        ),
        (
            {"initial_collect_steps": 140, "mini_batch_size": 150, "replay_buffer_length": 100},
            "the first batches of TrainerConfig.mini_batch_size=150 are drawn from 140 records",
        ),
        ({"num_iterations": 5, "ddp_paras_check_interval": 7}, "ddp_paras_check_interval=7 never"),
        (
            {"num_iterations": 5, "summary_interval": 9, "summarize_first_interval": False},
            "summary_interval=9 never comes",
        ),
    ],
)
def test_what_this_run_does_not_reach_is_said(
    settings: dict[str, Any], words: str, caplog: Any
) -> None:
    made(**settings)
    assert any(words in record.getMessage() for record in caplog.records)


def test_what_a_run_reaches_is_not_talked_about(caplog: Any) -> None:
    made(initial_collect_steps=200, replay_buffer_length=100, mini_batch_size=198)
    assert not caplog.records
