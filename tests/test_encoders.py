"""Encoders: what is state, what is context."""

from __future__ import annotations

import pytest
import torch

from alf_layered.encoders import EncoderNet, FixedEncoderNet, IdentityEncoder


def test_identity_passes_everything_as_state() -> None:
    obs = torch.randn(3, 2, 5)
    encoder = IdentityEncoder((5,))
    state, context = encoder(obs)
    assert torch.equal(state, obs)
    assert context.shape == (3, 2, 0)
    assert (encoder.latent_state_dim, encoder.context_dim) == (5, 0)
    assert torch.equal(encoder.decode(state, context), obs)


def test_fixed_picks_dimensions_and_puts_them_back() -> None:
    obs = torch.arange(10.0).reshape(2, 5)
    encoder = FixedEncoderNet((5,), latent_state_dims=[3, 0], context_dims=[4])
    state, context = encoder(obs)
    assert state.tolist() == [[3, 0], [8, 5]]
    assert context.tolist() == [[4], [9]]
    assert encoder.decode(state, context).tolist() == [[0, 0, 0, 3, 4], [5, 0, 0, 8, 9]]


def test_fixed_without_context() -> None:
    state, context = FixedEncoderNet((2,), [1])(torch.ones(4, 2))
    assert (state.shape, context.shape) == ((4, 1), (4, 0))


def test_a_dimension_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"context_dims has \[7\]"):
        FixedEncoderNet((5,), [0], [7])


def test_only_vectors_are_encoded() -> None:
    with pytest.raises(ValueError, match="takes vectors"):
        IdentityEncoder((3, 3))


def _spans(values: list[list[float]], noise: float = 0.0) -> torch.Tensor:
    """One span; dimension 0 moves, dimension 1 takes the given values."""
    torch.manual_seed(0)
    spans = torch.tensor(values, dtype=torch.float32)
    moving = torch.randn_like(spans)
    return torch.stack([moving, spans + noise * torch.randn_like(spans)], dim=-1)


def test_a_learned_state_is_never_empty() -> None:
    state, context = EncoderNet((2,), 3, 1)(torch.ones(4, 2))
    assert state.abs().sum() > 0
    assert context.abs().sum() == 0


def test_what_changes_between_episodes_alone_is_context() -> None:
    encoder = EncoderNet((2,), 2, 1)
    encoder.observe(_spans([[5, 5, 5, 9, 9, 9]]), torch.tensor([[True, True, False, True, True]]))
    assert encoder.mask.tolist() == [True, False]
    one, other = torch.tensor([[1.0, 5.0]]), torch.tensor([[1.0, 9.0]])
    assert torch.equal(encoder(one)[0], encoder(other)[0])
    assert not torch.equal(encoder(one)[1], encoder(other)[1])


def test_a_dimension_that_stops_changing_becomes_context_again() -> None:
    encoder = EncoderNet((2,), 2, 1, bn_momentum=0.5)
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    encoder.observe(_spans([[1, 2, 3, 4]]), everywhere)
    assert encoder.mask.tolist() == [True, True]
    for _ in range(20):
        encoder.observe(_spans([[1, 1, 1, 1]]), everywhere)
    assert encoder.mask.tolist() == [True, False]


def test_observation_noise_below_the_tolerance_is_no_change() -> None:
    spans = _spans([[5, 5, 5], [9, 9, 9]], noise=1e-3)
    encoder = EncoderNet((2,), 2, 1, tolerance=0.05)
    encoder.observe(spans, torch.ones(2, 2, dtype=torch.bool))
    assert encoder.mask.tolist() == [True, False]


def test_a_batch_without_transitions_changes_no_mask() -> None:
    encoder = EncoderNet((2,), 2, 1)
    encoder.observe(_spans([[5, 5]]), torch.zeros(1, 1, dtype=torch.bool))
    assert encoder.mask.tolist() == [True, True]
    assert int(encoder.batches) == 0


def test_a_frozen_encoder_keeps_mask_and_moments() -> None:
    encoder = EncoderNet((2,), 2, 1, standardize=True, freeze_after=1)
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    encoder.observe(_spans([[1, 2, 3, 4]]), everywhere)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder.observe(_spans([[7, 7, 7, 7]]), everywhere)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_standardised_inputs_do_not_depend_on_the_scale() -> None:
    torch.manual_seed(1)
    obs = torch.randn(8, 4, 2)
    states = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(2)
        encoder = EncoderNet((2,), 2, 1, standardize=True)
        encoder.observe(scale * obs, torch.ones(8, 3, dtype=torch.bool))
        states.append(encoder(scale * obs)[0])
    torch.testing.assert_close(*states, atol=1e-3, rtol=1e-3)
