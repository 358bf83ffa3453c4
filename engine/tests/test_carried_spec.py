"""States that training carries along: specs like others, which link no training steps."""

from __future__ import annotations

import copy
import pickle

import pytest

from alf.algorithms.training.carried_spec import CarriedSpec, carried, links_steps
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

ACTION = BoundedTensorSpec((2,), minimum=[-1.0, -2.0], maximum=1.0)


@pytest.mark.parametrize(
    "copied", [lambda x: x, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_only_carried_states_link_no_steps(copied):
    noise = copied(carried({"a": ACTION, "b": ACTION}))
    assert not links_steps(noise)
    assert not links_steps(())
    assert links_steps((noise, TensorSpec((3,))))
    assert links_steps(ACTION)


def test_a_carried_spec_equals_the_one_it_was_made_of():
    spec = carried(ACTION)
    assert isinstance(spec, CarriedSpec)
    assert spec == ACTION
    assert ACTION == spec  # noqa: SIM300 (each side may be asked)
    assert hash(spec) == hash(ACTION)
    assert spec != BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    assert spec != TensorSpec((2,))
    assert spec.zeros((3,)).shape == (3, 2)
    assert spec.minimum.tolist() == [-1.0, -2.0]
