"""Generators match a known distribution; hypernetworks a known posterior."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ensemble_data import between_blobs, blobs, line, loader, posterior_of_line
from torch import Tensor

from alf.algorithms.generator import CriticAlgorithm, Generator, InverseMVPAlgorithm
from alf.algorithms.hypernetwork_algorithm import HyperNetwork
from alf.algorithms.particles.functional_gradient import FullRank, InverseJacobian, jacobian
from alf.data_structures import LossInfo
from alf.networks import EncodingNetwork, ReluMLP
from alf.optimizers import SGD, Adam
from alf.tensor_specs import TensorSpec

MEAN = torch.tensor([1.0, -2.0])
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]])
GPVI: dict[str, Any] = {"par_vi": "svgd3", "functional_gradient": True}


def nll(x: Tensor) -> Tensor:
    """Minus the log density `[B]` of the normal distribution, up to a constant."""
    d = x - MEAN
    return 0.5 * (d @ COVARIANCE.inverse() * d).sum(-1)


def made(**settings: Any) -> Generator:
    """A generator that is linear, so that it can match a normal distribution exactly."""
    settings = {"noise_dim": 2, "hidden_layers": (), "entropy_regularization": 1.0, **settings}
    return Generator(2, optimizer=Adam(lr=0.02), **settings)


def trained(generator: Generator, steps: int = 400, batch_size: int = 64) -> Generator:
    for _ in range(steps):
        info = generator.train_step(None, nll, batch_size=batch_size).info
        generator.update_with_gradient(info._replace(extra=()))
        generator.after_update(info)
    return generator


METHODS: dict[str, dict[str, Any]] = {
    "svgd": {"par_vi": "svgd"},
    "svgd2": {"par_vi": "svgd2"},
    "svgd3": {"par_vi": "svgd3"},
    "svgd3, average width": {"par_vi": "svgd3", "use_kernel_averager": True},
    "gfsf": {"par_vi": "gfsf"},
    "gpvi": {**GPVI, "direct_jac_inverse": True},
    "gpvi, shorter noise": {
        **GPVI,
        "direct_jac_inverse": True,
        "noise_dim": 1,
        "init_lambda": 0.5,
        "lambda_trainable": True,
        "block_inverse_mvp": True,
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_a_generator_has_the_mean_and_covariance_of_the_target(method: str) -> None:
    torch.manual_seed(0)
    settings = METHODS[method]
    if settings.get("lambda_trainable"):
        settings = {**settings, "lambda_optimizer": Adam(lr=0.02)}
    generator = trained(made(**settings))
    with torch.no_grad():
        x = generator.predict_step(batch_size=4000).output
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.15, rtol=0)
    torch.testing.assert_close(torch.cov(x.T), COVARIANCE, atol=0.22, rtol=0)


def test_a_generator_inverts_jacobians_by_a_network() -> None:
    torch.manual_seed(0)
    generator = trained(
        made(**GPVI, inverse_mvp_hidden_size=32, inverse_mvp_optimizer=Adam(lr=1e-2)),
        steps=250,
        batch_size=32,
    )
    with torch.no_grad():
        x = generator.predict_step(batch_size=4000).output
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.25, rtol=0)
    torch.testing.assert_close(torch.cov(x.T), COVARIANCE, atol=0.35, rtol=0)


@pytest.mark.parametrize("settings", [{"par_vi": None}, {"par_vi": "svgd3"}, {"par_vi": "gfsf"}])
def test_without_entropy_all_outputs_are_the_mode(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    generator = trained(made(entropy_regularization=0.0, **settings))
    with torch.no_grad():
        x = generator.predict_step(batch_size=500).output
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.05, rtol=0)
    assert x.std(0).max() < 0.05


def test_outputs_follow_their_inputs() -> None:
    """The target is a normal distribution around the input, with a deviation of 0.5."""
    torch.manual_seed(0)
    generator = Generator(
        1,
        noise_dim=1,
        input_tensor_spec=TensorSpec((1,)),
        hidden_layers=(),
        par_vi="svgd",
        entropy_regularization=1.0,
        optimizer=Adam(lr=0.01),
    )
    for _ in range(500):
        inputs = 2 * torch.rand(512, 1) - 1
        info = generator.train_step(
            inputs, lambda pair: 2 * (pair[0] - pair[1]).square().sum(-1)
        ).info
        generator.update_with_gradient(info._replace(extra=()))
    for value in (-1.0, 1.0):
        with torch.no_grad():
            x = generator.predict_step(torch.full((4000, 1), value)).output
        assert x.mean().item() == pytest.approx(value, abs=0.15)
        assert x.std().item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("net", ["relu", "encoding"])
def test_the_jacobian_is_that_of_autograd(net: str) -> None:
    torch.manual_seed(0)
    spec = TensorSpec((2,))
    network: Any = (
        ReluMLP(spec, 3, (5,))
        if net == "relu"
        else EncodingNetwork(
            spec, fc_layer_params=(5,), last_layer_size=3, last_activation=torch.tanh
        )
    )
    z = torch.randn(4, 2)
    found = jacobian(network, z)
    for row, jac in zip(z, found, strict=True):
        expected = torch.autograd.functional.jacobian(
            lambda r: network(r.unsqueeze(0))[0].squeeze(0), row
        )
        torch.testing.assert_close(jac, expected)


def test_the_block_form_solves_the_whole_jacobian() -> None:
    torch.manual_seed(0)
    full_rank = FullRank(noise_dim=2, output_dim=5, init_lambda=0.7, trainable=False)
    net = ReluMLP(TensorSpec((2,)), 5, (6,))
    z, vec = torch.randn(3, 5), torch.randn(3, 4, 5)
    whole, block = (InverseJacobian(full_rank, b, None, 1)(net, z, vec)[0] for b in (False, True))
    torch.testing.assert_close(whole, block)
    # J^T y = v, J being the Jacobian of all of the generator
    for row, y, v in zip(z, whole, vec, strict=True):
        jac: Any = torch.autograd.functional.jacobian(
            lambda r: full_rank(net, r.unsqueeze(0)).squeeze(0), row
        )
        torch.testing.assert_close(y @ jac, v)


def test_the_network_learns_to_invert_a_matrix() -> None:
    torch.manual_seed(0)
    matrix = torch.tensor([[1.0, 0.5], [-0.3, 0.8]])
    solver = InverseMVPAlgorithm(2, 2, hidden_size=32, optimizer=Adam(lr=1e-2))
    for _ in range(300):
        z, vec = torch.randn(64, 2), torch.randn(64, 2)
        loss = (solver.predict_step((z, vec)).output[0] @ matrix - vec).square().mean()
        solver.update_with_gradient(LossInfo(loss=loss))
    vec = torch.randn(200, 2)
    found = solver.predict_step((torch.randn(200, 2), vec)).output[0].detach()
    assert (found - vec @ matrix.inverse()).square().mean() < 0.05 * vec.square().mean()


def test_the_critic_learns_the_direction_between_two_normals() -> None:
    """From particles of N(0, 1/4) to N(0, 1): (d log p - d log q) / (2 l2) = 3 x / (2 l2)."""
    torch.manual_seed(0)
    critic = CriticAlgorithm(
        TensorSpec((1,)),
        hidden_layers=(32,),
        activation=torch.tanh,
        use_bn=False,
        optimizer=Adam(lr=1e-2),
    )
    for _ in range(300):
        x = 0.5 * torch.randn(1024, 1)
        critic.train_on_particles(x, x.clone(), weight=1.0, l2_weight=1.0)
    x = torch.linspace(-0.6, 0.6, 9).unsqueeze(1)
    found = critic.predict_step(x).output.detach()
    torch.testing.assert_close(found, 1.5 * x, atol=0.2, rtol=0)


@pytest.mark.parametrize("settings", [{"use_relu_mlp": True}, {"use_bn": False}])
def test_the_trace_is_that_of_the_jacobian(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    critic = CriticAlgorithm(TensorSpec((3,)), hidden_layers=(8,), **settings)
    row = torch.randn(1, 3)
    jac: Any = torch.autograd.functional.jacobian(lambda x: critic.predict_step(x).output[0], row)
    traces = critic._with_trace(row.repeat(20000, 1))[1]  # each with noise of its own
    assert traces.mean().item() == pytest.approx(jac[:, 0].trace().item(), abs=0.05)


def test_a_critic_resets_its_network() -> None:
    critic = CriticAlgorithm(TensorSpec((2,)), use_bn=False)
    before = [p.detach().clone() for p in critic.parameters() if p.ndim == 2]
    critic.reset_net_parameters()
    after = [p for p in critic.parameters() if p.ndim == 2]
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


def test_a_diagonal_needs_a_relu_mlp() -> None:
    with pytest.raises(ValueError, match="use_relu_mlp"):
        CriticAlgorithm(TensorSpec((2,))).predict_step(torch.zeros(3, 2), requires_jac_diag=True)


def test_information_about_the_noise_keeps_outputs_apart() -> None:
    torch.manual_seed(0)
    spreads = []
    for weight in (None, 1.0):
        generator = trained(made(entropy_regularization=0.0, mi_weight=weight), steps=200)
        with torch.no_grad():
            spreads.append(generator.predict_step(batch_size=500).output.std(0).max().item())
    assert spreads[0] < 0.15
    assert spreads[1] > 0.4


def test_predictions_are_those_of_the_moving_average() -> None:
    generator = made(par_vi="svgd3", net_moving_average_rate=0.1)
    noise = torch.randn(5, 2)
    start = generator.predict_step(noise=noise).output.detach()
    trained(generator, steps=1)
    trained_net = generator.predict_step(noise=noise, training=True).output.detach()
    torch.testing.assert_close(
        generator.predict_step(noise=noise).output.detach(), 0.9 * start + 0.1 * trained_net
    )


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "par_vi": {"par_vi": None},
    "svgd3": {"par_vi": "gfsf", "functional_gradient": True},
    "noise_dim": {**GPVI, "noise_dim": 3},
    "init_lambda": {**GPVI, "noise_dim": 1, "init_lambda": 0.0},
}


@pytest.mark.parametrize("named", CONTRADICTIONS)
def test_contradictions_are_refused(named: str) -> None:
    with pytest.raises(ValueError, match=named):
        made(**CONTRADICTIONS[named])


def test_a_batch_without_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        made(par_vi="svgd3").predict_step()


# ---- Hypernetworks ----------------------------------------------------------------------------


def of_line(**settings: Any) -> HyperNetwork:
    """Networks that are lines, made by a linear generator."""
    return HyperNetwork(
        input_tensor_spec=TensorSpec((1,)),
        output_dim=1,
        noise_dim=2,
        hidden_layers=(),
        num_particles=64,
        loss_type="regression",
        optimizer=Adam(lr=0.02),
        **settings,
    )


@pytest.mark.parametrize("par_vi", ["svgd", "svgd2", "gfsf"])
def test_a_hypernetwork_samples_the_posterior_of_a_linear_regression(par_vi: Any) -> None:
    torch.manual_seed(0)
    x, y = line()
    mean, covariance = posterior_of_line(x, y)
    algorithm = of_line(par_vi=par_vi)
    algorithm.set_data_loader(loader(x, y), entropy_regularization=1.0)
    for _ in range(300):
        assert algorithm.train_iter() == 1
    with torch.no_grad():
        weights = algorithm.sample_parameters(num_particles=4000)
    torch.testing.assert_close(weights.mean(0), mean, atol=0.1, rtol=0)
    torch.testing.assert_close(weights.var(0), covariance.diagonal(), atol=0, rtol=0.4)


def test_without_a_weight_it_is_the_share_of_a_batch() -> None:
    algorithm = of_line(entropy_regularization=None)
    with pytest.raises(ValueError, match="entropy_regularization"):
        algorithm.train_step(line())
    algorithm.set_data_loader(loader(*line(20), batch_size=5))
    assert algorithm._entropy_regularization == 0.25


@pytest.mark.parametrize("settings", [{}, {"function_vi": True, "function_bs": 30}])
def test_sampled_networks_classify_and_are_unsure_of_outliers(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    train_data, test_data, outliers = blobs(), blobs(), between_blobs()
    algorithm = HyperNetwork(
        data_creator=lambda: (loader(*train_data, batch_size=30), loader(*test_data)),
        data_creator_outlier=lambda: (None, loader(*outliers)),
        fc_layer_params=(8,),
        activation=torch.tanh,
        noise_dim=8,
        hidden_layers=(32,),
        num_particles=8,
        optimizer=Adam(lr=0.01),
        **settings,
    )
    for _ in range(60):
        assert algorithm.train_iter() == 3
    assert algorithm.evaluate(num_particles=20).accuracy > 0.95
    by_entropy, _ = algorithm.eval_uncertainty(num_particles=20)
    assert by_entropy > 0.9


def test_functions_exclude_what_they_cannot_be_used_with() -> None:
    for settings in ({"par_vi": "minmax"}, {"functional_gradient": True}):
        with pytest.raises(ValueError, match="function_vi=True needs par_vi"):
            of_line(function_vi=True, function_bs=4, **settings)
    with pytest.raises(ValueError, match="exclude each other"):
        of_line(functional_gradient=True, generator_use_fc_bn=True)


def test_batch_normalization_in_the_generator() -> None:
    algorithm = HyperNetwork(
        input_tensor_spec=TensorSpec((2,)),
        output_dim=3,
        hidden_layers=(4,),
        generator_use_fc_bn=True,
        num_particles=6,
        optimizer=SGD(lr=0.1),
    )
    info = algorithm.train_step((torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1]))).info
    algorithm.update_with_gradient(info)
    assert algorithm.sample_parameters().shape == (6, 9)
