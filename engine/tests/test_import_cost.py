"""`import alf` loads little beside torch, so that what only reads settings starts at once."""

from __future__ import annotations

import subprocess
import sys

_LIST_NEW_MODULES = """
import sys
import torch, numpy, optree, absl.logging
before = set(sys.modules)
import alf
print(*sorted(set(sys.modules) - before))
"""


def _new_modules() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_NEW_MODULES], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_importing_alf_loads_nothing_heavy_beside_torch() -> None:
    new = _new_modules()
    assert "alf.config_util" in new
    heavy = {"gymnasium", "matplotlib", "mujoco", "PIL", "scipy", "tensorboard", "torch", "gin"}
    assert not heavy & {name.partition(".")[0] for name in new}
    # algorithms, environments, networks and trainers are loaded when they are used
    parts = {name.split(".")[1] for name in new if name.startswith("alf.")}
    assert not parts & {"algorithms", "bin", "environments", "layers", "networks", "trainers"}
    assert len(new) < 60, new
