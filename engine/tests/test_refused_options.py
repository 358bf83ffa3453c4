"""Options that ALF documents and this engine does not build: each raises and is in the README."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from absl import flags

from alf.bin import play
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import TensorSpec

SPEC = TensorSpec(())


def _buffer() -> ReplayBuffer:
    return ReplayBuffer(SPEC, num_environments=1, max_length=2)


def _play_selectively() -> None:
    values = flags.FlagValues()
    flags.DEFINE_bool("selective_mode", True, "", flag_values=values)
    values.mark_as_parsed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "FLAGS", values)
        play._check_flags()


REFUSED: dict[str, Callable[[], Any]] = {
    "ReplayBuffer(allow_multiprocess=)": lambda: ReplayBuffer(SPEC, 1, 2, allow_multiprocess=True),
    "ReplayBuffer.add_batch(blocking=)": lambda: _buffer().add_batch(
        torch.zeros(1), torch.tensor([0]), blocking=True
    ),
    "ReplayBuffer.get_disc_0_begin_position()": lambda: _buffer().get_disc_0_begin_position(
        torch.tensor([0]), torch.tensor([0])
    ),
    "alf.bin.play --selective_mode": _play_selectively,
}


@pytest.mark.parametrize("option", REFUSED)
def test_an_option_that_is_not_built_is_refused_by_name(option: str) -> None:
    name = re.findall(r"\w+", option)[-1]
    with pytest.raises(ValueError, match=name):
        REFUSED[option]()


def test_the_readme_lists_exactly_these() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme.split("<!-- refused: begin -->")[1].split("<!-- refused: end -->")[0]
    assert re.findall(r"^\| `(.*?)`", table, flags=re.MULTILINE) == list(REFUSED)
