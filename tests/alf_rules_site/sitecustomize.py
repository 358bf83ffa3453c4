"""Run by every Python process that has this folder in PYTHONPATH: ALF's rules for all of them."""

import importlib.util
import pathlib

_SPEC = importlib.util.spec_from_file_location(
    "alf_rules", pathlib.Path(__file__).parents[1] / "alf_rules.py"
)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
_MODULE.narrow()
