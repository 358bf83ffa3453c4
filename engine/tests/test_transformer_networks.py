"""Transformer networks over the parts of an observation and over time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks import EmbeddingPreprocessor
from alf.networks.transformer_networks import SocialAttentionNetwork, TransformerNetwork
from alf.tensor_specs import TensorSpec

SPEC = {"image": TensorSpec((8, 2, 2)), "words": TensorSpec((3, 8)), "self": TensorSpec((8,))}


def _inputs(batch: int = 4) -> dict[str, torch.Tensor]:
    return {key: torch.randn(batch, *spec.shape) for key, spec in SPEC.items()}


def test_all_parts_become_one_sequence() -> None:
    net = TransformerNetwork(SPEC, 2, 2, core_size=2)
    assert net.state_spec == ()
    y, state = net(_inputs())
    assert y.shape == (4, 2 * 8)
    assert state == ()
    whole = TransformerNetwork(SPEC, 1, 2, core_size=2, return_core_only=False)
    assert whole.output_spec == TensorSpec((2 + 4 + 3 + 1, 8))
    y.sum().backward()
    assert net._core_embedding is not None
    assert net._core_embedding.grad is not None


@pytest.mark.parametrize("centralized", [False, True])
def test_the_core_remembers_as_many_steps_as_its_memory_has(centralized: bool) -> None:
    net = TransformerNetwork(
        TensorSpec((8,)),
        1,
        2,
        memory_size=3,
        num_memory_layers=1,
        centralized_memory=centralized,
    )
    steps = torch.randn(6, 1, 8)

    def last_output(first: torch.Tensor) -> torch.Tensor:
        state = nest.map_structure(lambda spec: spec.zeros((1,)), net.state_spec)
        for i, x in enumerate(steps):
            y, state = net(first if i == 2 else x, state)
        return y

    torch.testing.assert_close(last_output(steps[2]), last_output(steps[2]))
    changed = last_output(-steps[2])
    is_same = torch.allclose(last_output(steps[2]), changed)
    assert not is_same  # three steps ago
    steps = torch.cat([steps, torch.randn(1, 1, 8)])
    torch.testing.assert_close(last_output(steps[2]), last_output(-steps[2]))


def test_each_layer_may_have_a_memory_of_its_own() -> None:
    shared = TransformerNetwork(TensorSpec((4,)), 0, 1, memory_size=2, num_memory_layers=3)
    own = TransformerNetwork(
        TensorSpec((4,)), 0, 1, memory_size=2, num_memory_layers=3, centralized_memory=False
    )
    assert len(shared.state_spec) == 1
    assert len(own.state_spec) == 3
    state = nest.map_structure(lambda spec: spec.zeros((5,)), own.state_spec)
    y, new_state = own(torch.randn(5, 4), state)
    assert y.shape == (5, 4)
    nest.assert_same_structure(new_state, state)
    with pytest.raises(ValueError, match="both be 0 or both be positive"):
        TransformerNetwork(TensorSpec((4,)), 0, 1, memory_size=2)


def test_preprocessors_make_vectors_of_one_size() -> None:
    spec = {"a": TensorSpec((5,)), "b": TensorSpec((8,))}
    preprocessors = {"a": EmbeddingPreprocessor(spec["a"], 8), "b": None}
    net = TransformerNetwork(spec, 1, 2, input_preprocessors=preprocessors)
    assert net({"a": torch.randn(3, 5), "b": torch.randn(3, 8)})[0].shape == (3, 8)
    with pytest.raises(ValueError, match="vectors of one size"):
        TransformerNetwork(spec, 1, 2)


def test_the_ego_sees_others_in_any_order() -> None:
    net = SocialAttentionNetwork(
        TensorSpec((5, 3)), num_of_heads=2, last_layer_size=4, last_activation=torch.tanh
    )
    x = torch.randn(2, 5, 3)
    y, _ = net(x)
    assert y.shape == (2, 4)
    torch.testing.assert_close(net(x[:, [0, 3, 1, 4, 2]])[0], y)
    assert not torch.allclose(net(x[:, [1, 0, 2, 3, 4]])[0], y)


def test_entities_may_be_combined_of_several_inputs() -> None:
    spec = [TensorSpec((1, 3)), TensorSpec((4, 3))]
    net = SocialAttentionNetwork(
        spec, preprocessing_combiner=NestConcat(dim=-2), fc_layer_params=(6,)
    )
    assert net([torch.randn(2, 1, 3), torch.randn(2, 4, 3)])[0].shape == (2, 6)
    assert isinstance(net, nn.Module)
    with pytest.raises(ValueError, match="do not divide"):
        SocialAttentionNetwork(TensorSpec((5, 3)), fc_layer_params=(6,), num_of_heads=4)
    with pytest.raises(ValueError, match="takes entities"):
        SocialAttentionNetwork(TensorSpec((5,)))


def test_the_memory_counts_vectors_and_only_first_blocks_have_positions() -> None:
    net = TransformerNetwork(
        TensorSpec((4, 8)), 2, 2, core_size=2, memory_size=6, num_memory_layers=2
    )
    assert nest.flatten(net.state_spec)[0] == TensorSpec((6, 8))
    kinds = [block._kind for block in (*net._prememory_layers, *net._memory_layers)]
    assert kinds == ["abs", "none", "abs", "none"]
    state = nest.map_structure(lambda spec: spec.zeros((1,)), net.state_spec)
    for count in (2, 4, 6, 6):
        _, state = net(torch.randn(1, 4, 8), state)
        assert state[0][1].tolist() == [count]
