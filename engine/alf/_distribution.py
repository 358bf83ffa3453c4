"""The check that no other distribution provides the package `alf`."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version

NAME = "alf-engine"
"""The name under which the engine is installed; its import name is `alf`."""


def warn_of_other() -> None:
    """Warns where the distribution `alf` is installed, which overwrites files of this one."""
    try:
        found = version("alf")
    except PackageNotFoundError:
        return
    warnings.warn(
        f"the distribution 'alf' {found} is installed beside '{NAME}'. Both provide the package "
        f"'alf', so files of one may have replaced the other's: 'pip uninstall alf {NAME}', "
        f"then install {NAME} again",
        stacklevel=3,
    )
