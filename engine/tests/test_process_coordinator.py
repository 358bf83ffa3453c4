"""Processes that stop together, and the error of one of them."""

from __future__ import annotations

import multiprocessing as mp

import process_parts
import pytest

from alf.utils.process_coordinator import Coordinator, Process, ProcessFailedError
from alf.utils.spawned_process_utils import (
    SpawnedProcessContext,
    get_spawned_process_context,
    set_spawned_process_context,
)


def test_a_failing_process_stops_the_others_and_is_raised():
    coordinator = Coordinator()
    numbers = mp.get_context("spawn").Queue()
    counting = Process(coordinator, process_parts.put_numbers, (numbers,), {"start": 5})
    counting.start()
    assert [numbers.get(timeout=60) for _ in range(3)] == [6, 7, 8]
    assert not coordinator.should_stop()
    failing = Process(coordinator, process_parts.fail, (numbers,), {"start": 7})
    failing.start()
    assert coordinator.wait_for_stop(timeout=60)
    with pytest.raises(ProcessFailedError, match=r"cannot start at 7(.|\n)*in fail"):
        coordinator.join()
    assert coordinator.joined
    assert not counting.is_alive()
    assert not failing.is_alive()
    coordinator.clear_stop()
    assert not coordinator.should_stop()


def test_an_exception_in_the_context_asks_to_stop():
    coordinator = Coordinator()
    with coordinator.stop_on_exception():
        raise ValueError("no more")
    assert coordinator.should_stop()
    with pytest.raises(ProcessFailedError, match="no more"):
        coordinator.join()


def test_the_context_of_a_spawned_process_makes_its_environment(monkeypatch):
    assert get_spawned_process_context() is None
    monkeypatch.setattr("alf.utils.spawned_process_utils._context", None)
    context = SpawnedProcessContext(1, -1, 3, lambda env_id: f"environment {env_id}", [])
    set_spawned_process_context(context)
    assert get_spawned_process_context() is context
    assert context.create_env() == "environment 3"
