"""`alf.test.TestCase`: assertions for tensors, and a fresh start for each test."""

# ruff: noqa: PT009  (what is tested is unittest's)

from __future__ import annotations

import pytest
import torch

import alf
import alf.test


@alf.configurable("alf_test_case.thing")
def thing(size: int = 3) -> int:
    return size


class Case(alf.test.TestCase):
    def runTest(self) -> None:
        pass


def test_each_test_begins_anew() -> None:
    alf.config("alf_test_case.thing", size=5)
    alf.summary.set_global_counter(7)
    case = Case()
    case.setUp()
    first = torch.rand(3)
    assert thing() == 3
    assert int(alf.summary.get_global_counter()) == 0
    case.setUp()
    assert torch.equal(torch.rand(3), first)


def test_assertions_hold_for_tensors_and_arrays() -> None:
    case = Case()
    case.assertEqual(torch.ones(2), torch.ones(2))
    case.assertEqual([1], [1])
    case.assertArrayClose([1.0, 2.0], [1.0, 2.0 + 1e-8])
    case.assertArrayNotClose([1.0], [1.1])
    for check, x, y in (
        (case.assertEqual, torch.ones(2), torch.zeros(2)),
        (case.assertArrayClose, [1.0], [1.1]),
        (case.assertArrayNotClose, [1.0], [1.0]),
    ):
        with pytest.raises(AssertionError):
            check(x, y)
