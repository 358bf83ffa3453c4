"""Settings of all tests, the engine's and the plugin's."""

import os

import pytest
from hypothesis import settings

# A shared machine pauses now and then, so no example has a deadline.
settings.register_profile("alf", deadline=None)
settings.load_profile("alf")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--alf-rules",
        action="store_true",
        help="narrow the engine to what ALF itself allows (for the plugin's tests)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--alf-rules"):
        from tests import alf_rules  # imports the engine, which other test runs need not do yet

        alf_rules.narrow()
        os.environ.update(alf_rules.environment())
