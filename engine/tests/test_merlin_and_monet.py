"""MERLIN learns with its memory; MONet gives each part of an image a slot."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

import alf
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.decoding_algorithm import DecodingAlgorithm
from alf.algorithms.merlin_algorithm import (
    MerlinAlgorithm,
    ResnetDecodingNetwork,
    ResnetEncodingNetwork,
)
from alf.algorithms.monet_algorithm import MoNetAlgorithm, MoNetUNet
from alf.environments.suite_unittest import ActionType
from alf.networks import EncodingNetwork, SpatialBroadcastDecodingNetwork
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec


def _merlin(observation_spec: TensorSpec, **arguments: Any) -> MerlinAlgorithm:
    decoder = EncodingNetwork(
        TensorSpec((6,)),
        fc_layer_params=(16,),
        last_layer_size=observation_spec.numel,
        last_activation=alf.math.identity,
    )
    return MerlinAlgorithm(
        observation_spec=observation_spec,
        encoders=EncodingNetwork(observation_spec, fc_layer_params=(16,)),
        decoders=DecodingAlgorithm(decoder, loss_weight=20.0),
        latent_dim=6,
        lstm_size=(16,),
        memory_size=8,
        rl_loss=ActorCriticLoss(gamma=0.9),
        optimizer=Adam(lr=1e-2),
        **arguments,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_merlin_learns_the_bandit(seed: int) -> None:
    """Every action at random is paid 0.5."""
    torch.manual_seed(seed)
    merlin = small.make(_merlin, small.bandit(ActionType.Discrete), small.whole())
    for _ in range(80):
        merlin.train_iter()
    assert small.mean_reward(merlin, ActionType.Discrete) > 0.85


def test_merlin_reads_what_it_wrote() -> None:
    torch.manual_seed(0)
    merlin = small.make(_merlin, small.bandit(ActionType.Discrete, 4), small.whole())
    step = small.bandit(ActionType.Discrete, 4).reset()
    state = merlin.get_initial_rollout_state(4)
    first = merlin.rollout_step(step, state)
    second = merlin.rollout_step(step, first.state)
    slots, _ = second.state.mbp_state.memory
    latent = first.state.mbp_state.latent_vector.detach()
    distance = (slots.detach() - latent.unsqueeze(1)).abs().sum(-1).min(1).values
    assert torch.equal(distance, torch.zeros(4))


def test_a_row_of_merlin_knows_nothing_of_the_others() -> None:
    torch.manual_seed(0)
    merlin = small.make(_merlin, small.bandit(ActionType.Discrete, 4), small.whole())
    step = small.bandit(ActionType.Discrete, 4).reset()
    outputs = []
    for shift in (0.0, 3.0):
        observation = step.observation.clone()
        observation[0] += shift
        torch.manual_seed(1)
        state = merlin.get_initial_rollout_state(4)
        for _ in range(3):
            done = merlin.rollout_step(step._replace(observation=observation), state)
            state = done.state
        outputs.append(done.state.mbp_state.latent_vector.detach())
    assert not torch.equal(outputs[0][0], outputs[1][0])
    torch.testing.assert_close(outputs[0][1:], outputs[1][1:])


def test_images_of_merlin_keep_their_size() -> None:
    spec = TensorSpec((3, 16, 24))
    encoder = ResnetEncodingNetwork(spec, output_size=5)
    decoder = ResnetDecodingNetwork(encoder.output_spec, spec)
    image = decoder(encoder(torch.rand(2, *spec.shape))[0])[0]
    assert image.shape == (2, *spec.shape)
    assert (image > 0).all()
    assert (image < 1).all()
    with pytest.raises(ValueError, match="multiples of 8"):
        ResnetDecodingNetwork(encoder.output_spec, TensorSpec((3, 12, 16)))


def _monet(**options: Any) -> MoNetAlgorithm:
    return MoNetAlgorithm(
        n_slots=2,
        slot_size=4,
        input_tensor_spec=TensorSpec((3, 8, 8)),
        attention_unet_cls=partial(MoNetUNet, filters=(8, 8), nonskip_fc_layers=(16,)),
        encoder_cls=partial(
            EncodingNetwork, conv_layer_params=((8, 3, 2), (8, 3, 2)), fc_layer_params=(16,)
        ),
        decoder_cls=partial(
            SpatialBroadcastDecodingNetwork, conv_layer_params=((16, 3, 1), (4, 1, 1))
        ),
        **options,
    )


def _halves(n: int) -> torch.Tensor:
    """Images of two colors, left and right."""
    left, right = torch.rand(2, n, 3, 1, 1)
    return torch.cat([left.expand(-1, -1, 8, 4), right.expand(-1, -1, 8, 4)], dim=-1)


@pytest.mark.parametrize("recurrent", [True, False])
def test_masks_of_monet_sum_to_one(recurrent: bool) -> None:
    torch.manual_seed(0)
    info = _monet(recurrent_attention=recurrent, beta=0.5).train_step(_halves(3)).info
    torch.testing.assert_close(info.mask.sum(1), torch.ones(3, 8, 8))
    assert (info.kld > 0).all()
    assert (info.mask_rec_loss > 0).all()
    assert (info.rec_loss > 0).all()


def test_a_perfect_reconstruction_costs_monet_nothing() -> None:
    monet = _monet()
    images = _halves(3).unsqueeze(1).expand(-1, 2, -1, -1, -1)
    log_mask = torch.randn(3, 2, 8, 8).log_softmax(1)
    torch.testing.assert_close(monet._image_loss(images, images, log_mask), torch.zeros(3))


def test_masks_of_monet_go_to_the_slot_that_explains_a_pixel() -> None:
    monet = _monet()
    left, right = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    rec = torch.stack([left, right], dim=1)
    image = torch.cat([left[..., :4], right[..., 4:]], dim=-1)
    images = image.unsqueeze(1).expand(-1, 2, -1, -1, -1)
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(100):
        loss = monet._image_loss(images, rec, logits.log_softmax(1)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mask = logits.softmax(1)
    assert (mask[:, 0, :, :4] > 0.95).all()
    assert (mask[:, 1, :, 4:] > 0.95).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MoNetUNet(TensorSpec((3, 6, 6)), (4, 4, 4), (8,), 2), "halves"),
        (lambda: MoNetUNet(TensorSpec((3, 8, 8)), (4, 4), (), 2), "nonskip_fc_layers"),
    ],
)
def test_a_unet_that_does_not_fit_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
