"""100 malformed configurations each end with an error that says whose value is wrong and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.torture import malformed


@pytest.mark.parametrize(
    "case", malformed.CASES, ids=lambda case: case.text.replace("\n", " ")[:70]
)
def test_a_malformed_configuration_ends_with_an_error_that_says_why(
    tmp_path: Path, case: malformed.Malformed
) -> None:
    message = malformed.message_of(case, tmp_path)
    assert malformed.faults_of(case, message) == [], message


def test_there_are_100_and_each_is_another() -> None:
    assert len(malformed.CASES) == len({(c.kind, c.text) for c in malformed.CASES}) == 100


def test_what_is_right_says_nothing(tmp_path: Path) -> None:
    right = malformed.Malformed(malformed.KINDS[0], "", ())
    assert malformed.message_of(right, tmp_path) == ""


def test_a_message_that_says_too_little_or_too_much_is_a_fault() -> None:
    case = malformed.Malformed(malformed.KINDS[0], "", ("allowed",))
    assert malformed.faults_of(case, "") == ["does not say 'allowed'"]
    assert malformed.faults_of(case, "allowed\n" * 25) == ["has 25 lines"]
    assert malformed.faults_of(case, "allowed " * 100) == ["has a line of 800 characters"]


def test_the_table_counts_them(tmp_path: Path) -> None:
    rows = malformed.rows(tmp_path, short=True)
    assert sum(row.injected for row in rows) == 100
    assert [row.noticed for row in rows] == [row.injected for row in rows]
    assert [(row.lost, row.notes) for row in rows] == [(0, "")] * 3
