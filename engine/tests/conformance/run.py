"""Runs the conformance suites and shows what differs from ALF.

    python engine/tests/conformance/run.py [parts|algorithms] [PREFIX ...] [--deep | --all]
    python engine/tests/conformance/run.py --update

Prints every case that is not equal (with ``--all`` every case; with ``--deep`` every differing part
of it) and counts by area. ``--update`` writes the table of the engine's README.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
_BEGIN, _END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
# Suites, and the absolute difference of numbers that counts as equal.
SUITES = {"parts": 1e-6, "algorithms": 2e-6}


def _load(name: str) -> ModuleType:
    """A module beside this file, whether or not this folder is importable."""
    spec = importlib.util.spec_from_file_location(f"conformance_{name}", HERE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


comparison = _load("comparison")


def listed(name: str) -> Any:
    """The list or table that the file ``name``.py beside this one holds."""
    return _load(name).CASES


def verdicts(suites: Sequence[str] = tuple(SUITES), prefixes: Sequence[str] = ()) -> dict[str, Any]:
    """Runs suites side by side; returns for each a dict case -> ``comparison.Verdict``."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-W", "ignore", "harness.py"]
        running = {
            s: subprocess.Popen(
                [*command, f"{folder}/{s}.json", *prefixes],
                cwd=HERE / s,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for s in suites
        }
        outputs = {s: process.communicate()[0] for s, process in running.items()}
        for s, process in running.items():
            if process.returncode:
                raise RuntimeError(f"the suite {s} ended with an error:\n{outputs[s]}")
        found = {s: json.loads(Path(folder, f"{s}.json").read_text()) for s in suites}
    return {s: _judged(s, found[s], tuple(prefixes)) for s in suites}


def _judged(suite: str, found: Mapping[str, Any], prefixes: tuple[str, ...]) -> dict[str, Any]:
    golden = json.loads((HERE / suite / "golden.json").read_text())
    return {
        name: comparison.judge(value, found.get(name, {"error": "not run"}), SUITES[suite])
        for name, value in golden.items()
        if not prefixes or name.startswith(prefixes)
    }


def waits(verdict: Any) -> bool:
    """Whether a case needs a module that the engine lacks."""
    absent = _load("missing_modules").MODULES
    return verdict.kind == "missing" and comparison.missing_module(verdict.detail) in absent


def table(found: Mapping[str, Any]) -> str:
    """The README's table of all cases by area."""
    columns = ("equal", "wanted", "other", "waiting")
    rows: dict[str, Counter[str]] = {}
    for suite, cases in found.items():
        wanted = listed(f"wanted_{suite}")
        for name, verdict in cases.items():
            kind = "equal" if verdict.kind == "equal" else "waiting" if waits(verdict) else "other"
            area = f"{suite}: {name.partition('.')[0]}"
            rows.setdefault(area, Counter())["wanted" if name in wanted else kind] += 1
    total: Counter[str] = sum(rows.values(), Counter())
    lines = [
        "| area | cases | equal | wanted differences | differences | their module is missing |",
        "|---|---|---|---|---|---|",
    ]
    for area, count in [*rows.items(), ("all", total)]:
        figures = " | ".join(str(count[c]) for c in columns)
        lines.append(f"| {area} | {sum(count.values())} | {figures} |")
    return "\n".join(lines)


def stated() -> str:
    """The table as the README has it."""
    return README.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0].strip()


def update() -> None:
    """Writes the README's table."""
    found = verdicts()
    before, _, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    README.write_text(f"{before}{_BEGIN}\n{table(found)}\n{_END}{after}", encoding="utf-8")


def main(argv: Sequence[str]) -> None:
    if "--update" in argv:
        update()
        return
    words = [a for a in argv if not a.startswith("--")]
    suites = [words.pop(0)] if words[:1] and words[0] in SUITES else list(SUITES)
    counts: dict[str, Counter[str]] = {}
    for cases in verdicts(suites, words).values():
        for name, verdict in cases.items():
            counts.setdefault(name.partition(".")[0], Counter())[verdict.kind] += 1
            if verdict.kind != "equal" or "--all" in argv:
                print(f"{verdict.kind:8} {name}  {verdict.detail}")
                for part in verdict.parts[1:] if "--deep" in argv else ():
                    print(f"             {part}")
    kinds = ("equal", "differs", "error", "missing")
    print("\n" + f"{'area':16}" + "".join(f"{k:>9}" for k in kinds))
    for area, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{area:16}" + "".join(f"{count[k]:9}" for k in kinds))


if __name__ == "__main__":
    main(sys.argv[1:])
