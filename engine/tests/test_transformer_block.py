"""The transformer block: masks, positions, and its equality with torch's attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alf.layers import TransformerBlock


@pytest.mark.parametrize("kind", ["none", "abs", "rel"])
def test_masked_slots_change_nothing(kind: str) -> None:
    block = TransformerBlock(8, 2, 4, positional_encoding=kind)
    memory, query = torch.randn(3, 4, 8), torch.randn(3, 8)
    mask = torch.tensor([[False, False, True, False]]).expand(3, -1)
    before = block(memory, query, mask)
    assert before.shape == (3, 8)
    memory[:, 2] = 100.0
    torch.testing.assert_close(block(memory, query, mask), before)
    assert not torch.allclose(block(memory, query), before)


def test_a_mask_for_each_query_makes_a_causal_transformer() -> None:
    block = TransformerBlock(8, 2, 5)
    x = torch.randn(1, 5, 8, requires_grad=True)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1).unsqueeze(0)
    y = block(x, mask=causal)
    for n in range(5):
        (grad,) = torch.autograd.grad(y[0, n].sum(), x, retain_graph=True)
        assert grad[0].abs().sum(1).gt(0).tolist() == [m <= n for m in range(5)]


def test_a_query_that_may_see_nothing_has_finite_gradients() -> None:
    block = TransformerBlock(4, 1, 2)
    memory, query = torch.randn(1, 2, 4, requires_grad=True), torch.randn(1, 4)
    y = block(memory, query, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(y, block(torch.zeros(1, 2, 4), query, torch.ones(1, 2)))
    y.sum().backward()
    assert memory.grad is not None
    assert memory.grad.eq(0).all()


def test_without_positions_it_is_scaled_dot_product_attention() -> None:
    block = TransformerBlock(6, 2, 4, positional_encoding="none")
    x = torch.randn(3, 4, 6)
    normed = F.layer_norm(x, (6,))
    q, k, v = (
        layer(normed).unflatten(-1, (2, 3)).transpose(1, 2)
        for layer in (block._query, block._key, block._value)
    )
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    middle = x + block._merge(attended)
    expected = middle + block._mlp(F.layer_norm(middle, (6,)))
    torch.testing.assert_close(block(x), expected)


def test_permuting_slots_matters_only_with_positions() -> None:
    memory, query = torch.randn(2, 4, 8), torch.randn(2, 1, 8)
    order = [2, 0, 3, 1]
    for kind, is_same in [("none", True), ("abs", False), ("rel", False)]:
        block = TransformerBlock(8, 2, 4, positional_encoding=kind)
        same = torch.allclose(block(memory, query), block(memory[:, order], query), atol=1e-6)
        assert same == is_same


def test_relative_positions_move_with_the_query() -> None:
    block = TransformerBlock(8, 2, 6, positional_encoding="rel", add_positional_encoding=False)
    places = block._places(6, 6)
    assert places is not None
    for n in range(1, 6):
        torch.testing.assert_close(places[n, 1:], places[n - 1, :-1])
    torch.testing.assert_close(block._places(1, 6), places[:1])  # queries are at the first slots
    torch.testing.assert_close(block._places(2, 4), places[:2, :4])


def test_contradictory_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="positional_encoding must be"):
        TransformerBlock(4, 2, 3, positional_encoding="sin")
    with pytest.raises(ValueError, match=r"up to 3 slots, .* got 4 slots, 4 queries"):
        TransformerBlock(4, 2, 3)(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="got 2 slots, 3 queries"):
        TransformerBlock(4, 2, 3)(torch.zeros(1, 2, 4), torch.zeros(1, 3, 4))


@pytest.mark.parametrize("kind", ["none", "abs", "rel"])
def test_a_shorter_memory_is_a_longer_one_with_masked_slots(kind: str) -> None:
    block = TransformerBlock(64, 3, 5, positional_encoding=kind)  # 3 heads do not divide 64
    assert block._d_k == 21
    x = torch.randn(2, 3, 64)
    longer = torch.cat([x, torch.randn(2, 2, 64)], dim=1)
    masked = torch.tensor([[False, False, False, True, True]]).expand(2, -1)
    torch.testing.assert_close(block(x), block(longer, x, masked))


def test_sizes_of_heads_and_hidden_layer_are_free() -> None:
    block = TransformerBlock(5, 2, 3, d_k=4, d_v=3, d_ff=7, dropout=0.5)
    x = torch.randn(2, 3, 5)
    block.eval()
    first = block(x)
    torch.testing.assert_close(block(x), first)
    block.reset_parameters()
    assert not torch.allclose(block(x), first)
