"""Schedulers by hand, and the context of a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from alf.utils import schedulers
from alf.utils.schedulers import (
    ConstantScheduler,
    CyclicalScheduler,
    ExponentialScheduler,
    LinearScheduler,
    StepScheduler,
    as_scheduler,
    update_progress,
)


@pytest.fixture(autouse=True)
def _restored_progress() -> Iterator[None]:
    before = schedulers.get_all_progresses()
    yield
    schedulers.update_all_progresses(before)


def values_at(scheduler: schedulers.Scheduler, points: list[float]) -> list[float]:
    values = []
    for point in points:
        update_progress("percent", point)
        values.append(scheduler())
    return values


def test_a_step_holds_until_its_end() -> None:
    scheduler = StepScheduler("percent", [(0.5, 3.0), (0.8, 2.0), (1.0, 1.0)])
    assert values_at(scheduler, [0, 0.49, 0.5, 0.8, 1.0]) == [3, 3, 2, 1, 1]
    assert scheduler.final_value() == 1


def test_steps_warm_up_linearly() -> None:
    scheduler = StepScheduler("percent", [(1.0, 4.0)], warm_up_period=0.5, start=0.25)
    assert values_at(scheduler, [0, 0.25, 0.5, 0.75, 1.0]) == [0, 0, 2, 4, 4]


def test_lines_are_interpolated_and_constant_outside() -> None:
    scheduler = LinearScheduler("percent", [(0, 1.0), (0.5, 3.0), (0.75, 2.0)])
    assert values_at(scheduler, [0, 0.125, 0.25, 0.5, 0.625, 0.75, 1]) == [1, 1.5, 2, 3, 2.5, 2, 2]
    assert scheduler.final_value() == 2


def test_exponential_decay() -> None:
    scheduler = ExponentialScheduler("percent", 8.0, 0.5, 0.5)
    assert values_at(scheduler, [0, 0.5, 1.0]) == [8, 4, 2]
    assert scheduler.final_value() == 2
    assert ExponentialScheduler("iterations", 8.0, 0.5, 10).final_value() == 0


def test_cycles_go_back_and_forth() -> None:
    points = [0, 0.125, 0.25, 0.375, 0.5]
    step = CyclicalScheduler("percent", 1.0, 3.0, 0.25)
    assert values_at(step, points) == [1, 1, 3, 3, 1]
    linear = CyclicalScheduler("percent", 1.0, 3.0, 0.25, switch_mode="linear")
    assert values_at(linear, points) == [1, 2, 3, 2, 1]
    with pytest.raises(RuntimeError, match="no final value"):
        linear.final_value()


def test_half_cycles_are_exact() -> None:
    """0.3 / 0.1 is below 3."""
    step = CyclicalScheduler("percent", 0.0, 1.0, 0.1)
    assert values_at(step, [i / 10 for i in range(11)]) == [0, 1] * 5 + [0]
    assert values_at(step, [0.0999, 0.2999, 0.3001]) == [0, 0, 1]


def test_numbers_become_constants_and_schedulers_stay() -> None:
    scheduler = LinearScheduler("percent", [(0, 1.0), (1, 0.0)])
    assert as_scheduler(scheduler) is scheduler
    constant = as_scheduler(0.5)
    assert isinstance(constant, ConstantScheduler)
    assert constant() == constant.final_value() == 0.5


def test_schedulers_can_be_disallowed() -> None:
    scheduler = LinearScheduler("percent", [(0, 1.0), (1, 0.0)])
    with schedulers.disallow_scheduler():
        assert as_scheduler(3)() == 3
        with pytest.raises(ValueError, match="progress is not known"):
            as_scheduler(scheduler)
        with pytest.raises(ValueError, match="progress is not known"):
            scheduler()
    scheduler()


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"'epochs' is unknown; allowed: .*percent"):
        LinearScheduler("epochs", [(0, 1)])
    with pytest.raises(ValueError, match="strictly increasing"):
        LinearScheduler("percent", [(1, 1), (0, 2)])
    for schedule in ([(0.1, 1.0), (0.5, 0.0)], [(0, 1.0)]):
        with pytest.raises(ValueError, match="the first at progress 0"):
            LinearScheduler("percent", schedule)
    with pytest.raises(ValueError, match=r"reach beyond 0\.5"):
        StepScheduler("percent", [(0.5, 2.0), (1.0, 1.0)], warm_up_period=0.5, start=0.1)
    with pytest.raises(ValueError, match="switch_mode"):
        CyclicalScheduler("percent", 1, 2, 1, switch_mode="zigzag")


CONTEXT_PROGRAM = """
from alf.utils.per_process_context import PerProcessContext
context = PerProcessContext()
assert not context.is_distributed and context.ddp_rank == -1 and context.num_processes == 1
context.set_distributed(1, 2)
context.finalize()
assert PerProcessContext() is context and PerProcessContext().ddp_rank == 1
try:
    context.set_distributed(0, 2)
except ValueError as error:
    assert "finalized" in str(error)
else:
    raise SystemExit("changed after finalize()")
"""


def test_the_process_context_is_one_object_and_fixed_once_final() -> None:
    subprocess.run([sys.executable, "-c", CONTEXT_PROGRAM], check=True)
