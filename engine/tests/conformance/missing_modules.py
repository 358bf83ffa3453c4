"""Modules of ALF that the engine lacks; the cases that need them wait."""

MODULES: tuple[str, ...] = ()
