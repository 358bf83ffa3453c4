"""Multi-dimensional Q learning gives ALF's figures where both act by the same policy.

ALF's network acts by a copy of its parameters, which the cases of the conformance suite leave as it
began: it chooses every bin with the same probability until the first ``sync_net()``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from conformance import run

from alf.algorithms.config import TrainerConfig
from alf.algorithms.mdq_algorithm import MdqAlgorithm
from alf.networks.critic_networks import CriticNetwork
from alf.networks.mdq_critic_networks import MdqCriticNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.action_quantizer import ActionQuantizer

SUITE = run.HERE / "algorithms"
GOLDEN = json.loads((SUITE / "golden.json").read_text())
CASES = [name for name, why in run.listed("wanted_algorithms").items() if "test_mdq.py" in why]
OBSERVATION, ACTION = TensorSpec((3,)), BoundedTensorSpec((2,), minimum=-2.0, maximum=4.0)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The suite's, while networks act as ALF's."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SUITE))
    import cases_rl  # type: ignore
    import harness  # type: ignore

    get_action: Any = MdqCriticNetwork.get_action
    copies: dict[int, Any] = {}

    def act(net: MdqCriticNetwork, *arguments: Any, **options: Any) -> Any:
        if id(net) not in copies:
            acting: Any = net.copy()
            copies[id(net)] = acting
            torch.nn.init.zeros_(acting._post._last.weight)
            torch.nn.init.zeros_(acting._post._last.bias)
        return get_action(copies[id(net)], *arguments, **options)

    def sync(net: MdqCriticNetwork) -> None:
        copies[id(net)].load_state_dict(net.state_dict())

    monkeypatch.setattr(MdqCriticNetwork, "get_action", act)
    monkeypatch.setattr(MdqCriticNetwork, "sync_net", sync)
    assert cases_rl
    yield harness
    for name in set(sys.modules) - before:
        if str(SUITE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_there_are_cases() -> None:
    assert len(CASES) == 23


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_equal_with_the_policy_that_alf_has_there(harness: Any, name: str) -> None:
    here = harness.run_case(harness.CASES[name])
    verdict = run.comparison.judge(GOLDEN[name], here, run.SUITES["algorithms"])
    assert (verdict.kind, verdict.detail) == ("equal", "")


def _mdq(bins: int = 5, **options: Any) -> MdqAlgorithm:
    network = MdqCriticNetwork(
        (OBSERVATION, ACTION), action_qt=ActionQuantizer(ACTION, action_bins=bins)
    )
    config = TrainerConfig(root_dir="unused")
    return MdqAlgorithm(OBSERVATION, ACTION, network, config=config, **options)


def test_the_default_entropy_is_that_of_the_bins() -> None:
    """A density with entropy -1 in each dimension, 6 wide: H = -1 - log(6 / bins)."""
    expected = -2 * (1 + torch.log(torch.tensor(6 / 5))).item()
    assert _mdq(bins=5)._target_entropy == pytest.approx(expected)


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="scalar reward only"):
        _mdq(reward_spec=TensorSpec((2,)))
    critic: Any = CriticNetwork((OBSERVATION, ACTION))
    make = partial(MdqAlgorithm, OBSERVATION, ACTION, config=TrainerConfig(root_dir="unused"))
    with pytest.raises((TypeError, ValueError), match="MdqCriticNetwork"):
        make(critic)
