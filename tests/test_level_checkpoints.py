"""A level begins with what a level of its name has learned, not with another one's."""

from __future__ import annotations

import pytest

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.hierarchy.level import Level


def _level(name: str, checkpoint: str) -> Level:
    return Level(
        TensorSpec((2,)),
        BoundedTensorSpec((2,), minimum=-1, maximum=1),
        name=name,
        checkpoint=checkpoint,
    )


@pytest.mark.parametrize("prefix", ["alg.level_0_subgoals", "level_0_subgoals"])
def test_another_levels_parameters_are_refused_in_one_line(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"reach: .*is of the level 'subgoals'") as caught:
        _level("reach", f"{prefix}@run/train/algorithm/ckpt-1")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["alg.level_3_reach", "alg", "", "alg.policy"])
def test_its_own_name_at_another_place_is_looked_for(prefix: str) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint file"):
        _level("reach", f"{prefix}@nowhere/ckpt-1")
