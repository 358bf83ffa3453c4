"""Options that ALF documents and this engine does not build: each raises and is in the README."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.optimizers.utils import GradientNoiseScaleEstimator
from alf.tensor_specs import TensorSpec
from alf.utils.data_buffer import RingBuffer

SPEC = TensorSpec(())


def _buffer() -> ReplayBuffer:
    return ReplayBuffer(SPEC, num_environments=1, max_length=2)


def _ring() -> RingBuffer:
    return RingBuffer(SPEC, num_environments=1, max_length=2)


REFUSED: dict[str, Callable[[], Any]] = {
    "RingBuffer(allow_multiprocess=)": lambda: RingBuffer(SPEC, 1, 2, allow_multiprocess=True),
    "ReplayBuffer(allow_multiprocess=)": lambda: ReplayBuffer(SPEC, 1, 2, allow_multiprocess=True),
    "RingBuffer.enqueue(blocking=)": lambda: _ring().enqueue(torch.zeros(1), blocking=True),
    "RingBuffer.dequeue(blocking=)": lambda: _ring().dequeue(blocking=True),
    "ReplayBuffer.add_batch(blocking=)": lambda: _buffer().add_batch(
        torch.zeros(1), torch.tensor([0]), blocking=True
    ),
    "ReplayBuffer.get_disc_0_begin_position()": lambda: _buffer().get_disc_0_begin_position(
        torch.tensor([0]), torch.tensor([0])
    ),
    "GradientNoiseScaleEstimator(mode=)": lambda: GradientNoiseScaleEstimator(mode="other"),
}


@pytest.mark.parametrize("option", REFUSED)
def test_an_option_that_is_not_built_is_refused_by_name(option: str) -> None:
    name = re.findall(r"\w+", option)[-1]
    with pytest.raises(ValueError, match=name):
        REFUSED[option]()


def test_the_readme_lists_exactly_these() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme.split("<!-- refused: begin -->")[1].split("<!-- refused: end -->")[0]
    rows = [line.split("|") for line in table.strip().splitlines()[2:]]
    assert [name for row in rows for name in re.findall(r"`(.*?)`", row[1])] == list(REFUSED)
    assert all(row[3].strip() for row in rows)  # each with what to do instead, or the reason


def test_whatever_the_engine_says_it_does_not_support_is_on_the_list() -> None:
    """Docstrings and errors of what is documented but not built say so in these words."""
    source = Path(alf.__file__).parent
    words = re.compile(r"is supported\.|not supported (by this engine|yet)")
    files = source.rglob("*.py")
    found = {f.relative_to(source).as_posix() for f in files if words.search(f.read_text())}
    assert found == {
        "experience_replayers/_indexed_ring.py",
        "experience_replayers/replay_buffer.py",
        "optimizers/utils.py",
        "utils/data_buffer.py",
    }
