"""n-step targets against a chain followed by hand, record by record."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alf.data_structures import StepType
from alf_layered.predictors.n_step_targets import n_step_targets

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))


def _slow(reward: list, discount: list, kinds: list, value: list, t: int, n: int) -> float:
    """The target at record t, followed step by step."""
    total, weight, at = 0.0, 1.0, t
    for _ in range(n):
        if at + 1 == len(kinds) or kinds[at] == LAST or kinds[at + 1] == FIRST:
            break
        total += weight * reward[at + 1]
        weight *= discount[at + 1]
        at += 1
    return total + weight * value[at]


kind = st.sampled_from([FIRST, MID, MID, MID, LAST])
number = st.floats(-2, 2, width=32)
record = st.tuples(kind, number, st.sampled_from([0.0, 0.9, 0.81, 0.5]), number)


@given(
    st.integers(2, 9).flatmap(
        lambda t: st.lists(st.lists(record, min_size=t, max_size=t), min_size=1, max_size=4)
    ),
    st.integers(1, 6),
)
def test_targets_equal_brute_force(spans: list, n: int) -> None:
    kinds, reward, discount, value = (
        torch.tensor([[r[i] for r in span] for span in spans]) for i in range(4)
    )
    found = n_step_targets(reward, discount, kinds, value, n)
    for b in range(len(spans)):
        columns = [x[b].tolist() for x in (reward, discount, kinds, value)]
        expected = [_slow(*columns, t, n) for t in range(len(spans[b]) - 1)]
        torch.testing.assert_close(found[b], torch.tensor(expected), atol=1e-4, rtol=1e-4)


def _span(kinds: list[int], discount: list[float]) -> torch.Tensor:
    """Rewards 1, 2, 4, ... and values 100, 200, ..."""
    steps = torch.arange(len(kinds))
    return n_step_targets(
        (2.0**steps / 2)[None],
        torch.tensor([discount]),
        torch.tensor([kinds]),
        (100.0 * (steps + 1))[None],
        n=3,
    )[0]


def test_termination_has_no_value_after_it() -> None:
    target = _span([FIRST, MID, LAST], [1, 0.5, 0.0])
    assert target.tolist() == [1 + 0.5 * 2, 2]


def test_truncation_bootstraps_from_the_true_last_observation() -> None:
    target = _span([FIRST, MID, LAST, FIRST], [1, 0.5, 0.5, 1.0])
    assert target.tolist()[:2] == [1 + 0.5 * (2 + 0.5 * 300), 2 + 0.5 * 300]


def test_an_open_episode_bootstraps_from_the_spans_end() -> None:
    assert _span([MID, MID], [0.5, 0.25]).tolist() == [1 + 0.25 * 200]


def test_a_reset_from_outside_ends_the_chain() -> None:
    target = _span([FIRST, MID, FIRST, MID], [1, 0.5, 1.0, 0.5])
    assert target.tolist() == [1 + 0.5 * 200, 200, 4 + 0.5 * 400]


def test_the_discount_is_that_of_each_decisions_duration() -> None:
    target = _span([FIRST, MID, MID], [1, 0.9**3, 0.9])
    assert target[0].item() == pytest.approx(1 + 0.9**3 * (2 + 0.9 * 300))


def test_a_horizon_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="n_steps is 0"):
        n_step_targets(*[torch.zeros(1, 2)] * 4, n=0)
