"""The programs of docs/guide.md's section "From plain Python" run as they are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.runs import REPOSITORY, run


def test_the_programs_run_as_printed(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "guide.md").read_text(encoding="utf-8")
    section = text.partition("## From plain Python\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    program = "import os\n" + f"os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks)
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    assert "steps held" in done.stdout
    assert "40 0 " in done.stdout
    assert (tmp_path / "run" / "hierarchy.pt").exists()
