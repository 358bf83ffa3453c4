"""VAE, VQ-VAE and decoding find answers that are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import alf
from alf.algorithms.decoding_algorithm import DecodingAlgorithm
from alf.algorithms.vae import DiscreteVAE, VariationalAutoEncoder
from alf.algorithms.vq_vae import Vqvae
from alf.networks import EncodingNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def _linear(spec: TensorSpec, size: int) -> EncodingNetwork:
    return EncodingNetwork(spec, last_layer_size=size, last_activation=alf.math.identity)


def test_the_elbo_of_a_linear_gaussian_reaches_its_evidence() -> None:
    # z ~ N(0, 1), x = z + 0.5 e: x ~ N(0, 1.25). The posterior N(0.8 x, 0.2) is in the family.
    torch.manual_seed(0)
    spec = TensorSpec((1,))
    vae = VariationalAutoEncoder(1, preprocess_network=_linear(spec, 1))
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.03)
    x = 1.25**0.5 * torch.randn(512, 1)
    evidence = torch.distributions.Normal(0, 1.25**0.5).log_prob(x).mean()

    def elbo() -> torch.Tensor:
        step = vae.train_step(x)
        log_p = torch.distributions.Normal(step.output.z, 0.5).log_prob(x).sum(-1)
        return (log_p - step.info.loss).mean()

    first = float(elbo().detach())
    for _ in range(200):
        optimizer.zero_grad()
        (-elbo()).backward()
        optimizer.step()
    with torch.no_grad():
        last = torch.stack([elbo() for _ in range(50)]).mean()
        z_std = vae.train_step(x).output.z_std
    assert first < evidence - 0.3
    assert abs(last - evidence) < 0.02
    assert abs(z_std.mean() - 0.2**0.5) < 0.05


def test_a_learned_beta_brings_the_divergence_to_its_target() -> None:
    torch.manual_seed(0)
    vae = VariationalAutoEncoder(
        2, input_tensor_spec=TensorSpec((2,)), target_kld_per_dim=0.5, beta=0.1
    )
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.02)
    x = torch.randn(256, 2)
    for _ in range(600):
        step = vae.train_step(x)
        loss = step.info.loss + 2 * (step.output.z - 2 * x).square().sum(-1)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    assert abs(vae.train_step(x).info.kld.mean() - 1.0) < 0.15


@pytest.mark.parametrize("mode", ["st", "st-gumbel"])
def test_a_discrete_vae_tells_four_clusters_apart(mode: Any) -> None:
    torch.manual_seed(1)
    spec = BoundedTensorSpec((2,), torch.int64, minimum=0, maximum=1)
    vae = DiscreteVAE(spec, input_tensor_spec=TensorSpec((2,)), mode=mode, beta=0.01)
    decoder = _linear(TensorSpec((4,)), 2)
    parameters = [*vae.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.03)
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    x = corners.repeat(32, 1) + 0.1 * torch.randn(128, 2)
    for _ in range(200):
        step = vae.train_step(x)
        error = (decoder(step.output.z.flatten(1))[0] - x).square().sum(-1)
        optimizer.zero_grad()
        (error + step.info.loss).mean().backward()
        optimizer.step()
    codes = vae.train_step(x).output.z_mode[:4]
    assert ((codes == 0) | (codes == 1)).all()
    assert len({tuple(code.flatten().tolist()) for code in codes}) == 4
    assert error.mean() < 0.2  # 2 by chance


def test_a_sample_of_a_discrete_vae_is_one_hot() -> None:
    torch.manual_seed(0)
    spec = BoundedTensorSpec((3,), torch.int64, minimum=0, maximum=4)
    vae = DiscreteVAE(spec, input_tensor_spec=TensorSpec((2,)))
    z = vae.train_step(torch.randn(7, 2)).output.z
    assert z.shape == (7, *vae.output_spec.shape)
    assert torch.equal(z.sum(-1), torch.ones(7, 3))
    assert torch.equal(z.max(-1).values, torch.ones(7, 3))


def test_the_code_book_finds_the_clusters() -> None:
    torch.manual_seed(0)
    spec = TensorSpec((2,))
    vq = Vqvae(
        spec,
        num_embeddings=8,
        embedding_dim=2,
        encoder_ctor=lambda s: _linear(s, 2),
        decoder_ctor=lambda s: _linear(s, 2),
        optimizer=alf.optimizers.Adam(lr=0.02),
    )
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    x = corners.repeat(32, 1) + 0.05 * torch.randn(128, 2)
    for _ in range(400):
        vq.update_with_gradient(vq.train_step(x).info._replace(extra=()))
    step = vq.predict_step(x)
    codes = {tuple(row) for row in step.info.detach().mul(1e3).round().tolist()}
    assert len(codes) >= 4
    assert (step.output - x).square().mean() < 0.02  # 1 by chance


def test_a_decoder_learns_its_target() -> None:
    torch.manual_seed(0)
    decoder = DecodingAlgorithm(_linear(TensorSpec((3,)), 2), loss_weight=0.5)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.1)
    x, matrix = torch.randn(64, 3), torch.randn(3, 2)
    for _ in range(200):
        loss = decoder.train_step((x, x @ matrix)).info.loss
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    assert loss.shape == (64,)
    assert loss.mean() < 1e-3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: VariationalAutoEncoder(2), "input_tensor_spec"),
        (
            lambda: VariationalAutoEncoder(2, TensorSpec((3,)), beta=0.0, target_kld_per_dim=1.0),
            "positive",
        ),
        (
            lambda: VariationalAutoEncoder(
                2, TensorSpec((3,)), z_prior_network=_linear(TensorSpec((3,)), 3)
            ),
            r"\(4,\)",
        ),
        (
            lambda: DiscreteVAE(
                BoundedTensorSpec((2,), torch.int64, minimum=1, maximum=2), TensorSpec((3,))
            ),
            "from 0",
        ),
        (lambda: Vqvae(TensorSpec((3,)), 4, 2, lambda s: _linear(s, 3)), r"allowed: \(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
