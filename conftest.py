"""Settings of all tests, the engine's and the plugin's."""

import logging
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from absl import logging as absl_logging
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


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test draws the same numbers, whichever ones ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (what draws from it is tested)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is() -> Iterator[None]:
    """A program that a test runs in this process sets up logging for itself alone."""
    logger, root = logging.getLogger("absl"), logging.getLogger()
    disabled = logging.root.manager.disable  # the conformance suites disable all of it
    before = absl_logging.get_verbosity(), logger.propagate, list(logger.handlers), root.level
    yield
    absl_logging.set_verbosity(before[0])
    logger.propagate, logger.handlers[:] = before[1], before[2]
    root.setLevel(before[3])
    logging.disable(disabled)
