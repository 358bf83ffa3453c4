"""The engine gives what ALF gave in every recorded case, but for the listed ones.

The lists stand in `conformance/`: wanted differences with their reasons, and modules that the
engine lacks. `conformance/README.md` says how to see more.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from conformance import run
from conformance.missing_modules import MODULES

SUITES = tuple(run.SUITES)


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Any]:
    return run.verdicts()


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_every_case_is_equal_or_listed(verdicts: dict[str, Any], suite: str) -> None:
    wanted = run.listed(f"wanted_{suite}")
    found = {
        name: f"{verdict.kind}: {verdict.detail}"
        for name, verdict in verdicts[suite].items()
        if verdict.kind != "equal" and name not in wanted and not run.waits(verdict)
    }
    assert found == {}


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_listed_cases_differ(verdicts: dict[str, Any], suite: str) -> None:
    wanted = run.listed(f"wanted_{suite}")
    assert [n for n in wanted if verdicts[suite][n].kind == "equal"] == [], "take them off the list"
    assert [n for n, reason in wanted.items() if len(reason) < 10] == []


def test_modules_called_missing_are_missing() -> None:
    assert [m for m in MODULES if importlib.util.find_spec(m)] == [], "take them off the list"


@pytest.mark.slow
def test_the_readme_states_the_cases(verdicts: dict[str, Any]) -> None:
    now = run.table(verdicts)
    print(now)
    assert run.stated() == now, "run conformance/run.py --update"


def test_a_difference_is_noticed() -> None:
    def kind(golden: Any, here: Any) -> str:
        return run.comparison.judge(golden, {"value": here}, 1e-6).kind

    assert kind([1.0, {"a": 2}], [1.00005, {"a": 2.0}]) == "equal"
    assert kind([1.0], [1.0003]) == "differs"
    assert kind(0.0, 3e-6) == "differs"
    assert kind([1.0], [1.0, 2.0]) == "differs"
    assert kind({"a": 1}, {}) == "differs"
    assert kind({}, {"a": 1}) == "differs"
    assert kind(True, 1) == "differs"
    assert kind("nan", 1.0) == "differs"
    refusal = {"raises": True, "upstream_type": "AssertionError"}
    assert kind(refusal, {"raises": True, "upstream_type": "ValueError"}) == "equal"
    assert kind(refusal, {"raises": False}) == "differs"
    late = run.comparison.judge(1, {"error": "No module named 'a.b'", "missing": True}, 1e-6)
    assert (late.kind, run.comparison.missing_module(late.detail)) == ("missing", "a.b")
