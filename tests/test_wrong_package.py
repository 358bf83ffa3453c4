"""The unrelated package `alf` of the package index is recognised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import REPOSITORY


@pytest.mark.parametrize("layout", ["package", "module", "missing"])
def test_importing_the_plugin_explains_which_alf_it_needs(tmp_path: Path, layout: str) -> None:
    if layout == "package":
        (tmp_path / "alf").mkdir()
        (tmp_path / "alf" / "__init__.py").write_text("class Client: 'an OAuth client'\n")
    elif layout == "module":
        (tmp_path / "alf.py").write_text("class Client: 'an OAuth client'\n")
    code = (
        "import sys\n"
        f"sys.path = [{str(tmp_path)!r}] + [p for p in sys.path if 'engine' not in p]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path.append({str(REPOSITORY)!r})\n"
        "import alf_layered\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: alf_layered needs ALF")
    assert ("is not installed" if layout == "missing" else "is another package") in message
    assert "pip install ./engine" in message
