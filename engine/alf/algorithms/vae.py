"""Variational auto-encoders: the encoder and its KL divergence; decoding is up to the user."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, namedtuple
from alf.layers import FC
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.math_ops import identity
from alf.utils.schedulers import ConstantScheduler, as_scheduler

__all__ = ["DiscreteVAE", "VAEInfo", "VAEOutput", "VariationalAutoEncoder"]

VAEInfo = namedtuple("VAEInfo", ["kld", "z_std", "loss", "beta_loss", "beta"], default_value=())
"""KL divergence [B], deviation of the posterior [B, Z], loss [B] (``beta * kld``, and
``beta_loss`` if beta is learned), loss [B] of beta, beta [B]."""

VAEOutput = namedtuple("VAEOutput", ["z", "z_mode", "z_std"], default_value=())
"""A sample of the posterior that carries gradients, its mode, its deviation; each [B, Z]."""


@configurable
class VariationalAutoEncoder(Algorithm):
    """Encodes into a diagonal normal distribution (Kingma and Welling, arXiv:1312.6114).

    ``log p(x) >= E_q log p(x|z) - KL(q(z|x) || p(z))``: ``train_step()`` returns a sample ``z`` and
    the KL divergence; add a loss of decoding ``z``. With a prior network, ``p`` depends on a prior
    input, and the encoder gives the posterior relative to it.
    """

    def __init__(
        self,
        z_dim: int,
        input_tensor_spec: Any = None,
        preprocess_network: Network | None = None,
        z_prior_network: Network | None = None,
        beta: float = 1.0,
        target_kld_per_dim: float | None = None,
        beta_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        name: str = "VariationalAutoEncoder",
    ) -> None:
        """Build the encoder.

        Args:
            z_dim: Z, size of the latent vector.
            input_tensor_spec: nest of specs of the input; needed without ``preprocess_network``.
            preprocess_network: encodes the input, or with a prior network (prior input, input,
                output of the prior network); None is an MLP of two layers of ``2 * z_dim``.
            z_prior_network: from the prior input to mean and log variance [B, 2 * Z] of the prior;
                None is the standard normal distribution.
            beta: weight of the KL divergence, its initial value where it is learned.
            target_kld_per_dim: beta is learned such that the divergence becomes ``z_dim`` times it.
            beta_optimizer: trains beta; must be without parameters.

        Raises:
            ValueError: neither input_tensor_spec nor preprocess_network is given, the prior's
                output has the wrong size, or beta is 0 and has to be learned.
        """
        if preprocess_network is None and input_tensor_spec is None:
            raise ValueError(f"{name} needs input_tensor_spec or preprocess_network, got neither.")
        if target_kld_per_dim is not None and beta <= 0:
            raise ValueError(f"{name} learns beta from a positive initial value, got {beta}.")
        if z_prior_network is not None:
            _check_size(name, "z_prior_network", z_prior_network.output_spec, 2 * z_dim)
            input_tensor_spec = (
                z_prior_network.input_tensor_spec,
                input_tensor_spec,
                z_prior_network.output_spec,
            )
        if preprocess_network is None:
            preprocess_network = EncodingNetwork(
                input_tensor_spec,
                preprocessing_combiner=NestConcat(),
                fc_layer_params=(2 * z_dim, 2 * z_dim),
                activation=torch.tanh,
                name=f"{name}.preprocess",
            )
        (beta_optimizer,) = own_optimizers(beta_optimizer)
        super().__init__(checkpoint=checkpoint, name=name)
        self._preprocess_network: Any = preprocess_network
        self._z_prior_network: Any = z_prior_network
        self._make_heads(preprocess_network.output_spec, z_dim)
        log_beta = torch.tensor(math.log(beta) if beta > 0 else -math.inf)
        self._log_beta = nn.Parameter(log_beta, requires_grad=target_kld_per_dim is not None)
        self._target_kld = None if target_kld_per_dim is None else target_kld_per_dim * z_dim
        if beta_optimizer is not None:
            self.add_optimizer(beta_optimizer, [self._log_beta])

    def _make_heads(self, encoding_spec: TensorSpec, z_dim: int) -> None:
        size = encoding_spec.numel
        self._z_mean: nn.Module = FC(size, z_dim)
        self._z_log_var: nn.Module = FC(size, z_dim)

    def train_step(self, inputs: Any, state: Any = ()) -> AlgStep:
        """Sample the posterior.

        Args:
            inputs: nest of [B, ...]; with a prior network a pair of its input and that.

        Returns:
            ``VAEOutput`` as output, ``VAEInfo`` as info; the state is empty.
        """
        encoding, prior = self._encode(inputs)
        output, kld = self._posterior(encoding, prior)
        beta = self._log_beta.detach().exp()
        info = VAEInfo(kld=kld, z_std=output.z_std, loss=beta * kld)
        if self._target_kld is not None:
            # Its gradient raises beta where the divergence is above the target.
            beta_loss = self._log_beta * (self._target_kld - kld).detach()
            info = info._replace(
                loss=info.loss + beta_loss, beta_loss=beta_loss, beta=beta.expand(kld.shape)
            )
        return AlgStep(output=output, state=state, info=info)

    def _encode(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """The encoding, and the output of the prior network if there is one."""
        if self._z_prior_network is None:
            return self._preprocess_network(inputs)[0], None
        prior_input, x = inputs
        prior, _ = self._z_prior_network(prior_input)
        return self._preprocess_network((prior_input, x, prior))[0], prior

    def _posterior(self, encoding: Tensor, prior: Tensor | None) -> tuple[VAEOutput, Tensor]:
        """The output and the KL divergence [B]."""
        mean, log_var = self._z_mean(encoding), self._z_log_var(encoding)
        square = mean.square()
        if prior is not None:
            # Mean and log variance are differences to those of the prior.
            prior_mean, prior_log_var = prior.chunk(2, dim=-1)
            square = square * (-prior_log_var).exp()
        kld = 0.5 * (square + log_var.exp() - 1 - log_var).sum(-1)
        if prior is not None:
            mean, log_var = mean + prior_mean, log_var + prior_log_var
        std = (0.5 * log_var).exp()
        z = mean + std * torch.randn_like(mean)
        return VAEOutput(z=z, z_mode=mean, z_std=std), kld


@configurable
class DiscreteVAE(VariationalAutoEncoder):
    """Encodes into L categorical variables of K values each, one-hot.

    A sample passes its gradient straight through to the probabilities (Bengio et al.,
    arXiv:1308.3432), or to those of Gumbel-softmax (Jang et al., arXiv:1611.01144).
    """

    def __init__(
        self,
        z_spec: BoundedTensorSpec,
        input_tensor_spec: Any = None,
        z_network_cls: Callable[..., Network] = EncodingNetwork,
        prior_input_tensor_spec: Any = None,
        prior_z_network_cls: Callable[..., Network] | None = None,
        mode: Literal["st", "st-gumbel"] = "st",
        gumbel_temp_scheduler: Callable[[], float] | float = ConstantScheduler(1.0),
        beta: float = 1.0,
        target_kld_per_categorical: float | None = None,
        beta_optimizer: torch.optim.Optimizer | None = None,
        name: str = "DiscreteVAE",
    ) -> None:
        """Build the encoder.

        Args:
            z_spec: discrete, of shape [L], from 0 to K - 1 in each place.
            input_tensor_spec: nest of specs of the input.
            z_network_cls: called with ``input_tensor_spec``, ``last_layer_size=L * K`` and
                ``last_activation``; its output are logits. With a prior its input is (prior input,
                input, logits of the prior).
            prior_input_tensor_spec: nest of specs of the prior input.
            prior_z_network_cls: called in the same way; its output are the logits of the prior, to
                which those of ``z_network_cls`` are added. None is the uniform prior.
            mode: which gradient goes through a sample.
            gumbel_temp_scheduler: temperature of "st-gumbel".
            beta: as for ``VariationalAutoEncoder``.
            target_kld_per_categorical: beta is learned such that the divergence becomes L times it.
            beta_optimizer: as for ``VariationalAutoEncoder``.

        Raises:
            ValueError: z_spec is no such vector, or a network has the wrong output size.
        """
        size, choices = _categoricals(name, z_spec)
        options = {"last_layer_size": size * choices, "last_activation": identity}
        prior_network = None
        spec = input_tensor_spec
        if prior_z_network_cls is not None:
            prior_network = prior_z_network_cls(
                input_tensor_spec=prior_input_tensor_spec, **options
            )
            _check_size(name, "prior_z_network_cls", prior_network.output_spec, size * choices)
            spec = (prior_input_tensor_spec, input_tensor_spec, prior_network.output_spec)
        network = z_network_cls(input_tensor_spec=spec, **options)
        _check_size(name, "z_network_cls", network.output_spec, size * choices)
        self._z_shape = (size, choices)
        super().__init__(
            z_dim=size,
            preprocess_network=network,
            beta=beta,
            target_kld_per_dim=target_kld_per_categorical,
            beta_optimizer=beta_optimizer,
            name=name,
        )
        self._z_prior_network = prior_network
        self._mode = mode
        self._gumbel_temperature = as_scheduler(gumbel_temp_scheduler)

    def _make_heads(self, encoding_spec: TensorSpec, z_dim: int) -> None:
        """The network's output are the logits."""

    @property
    def output_spec(self) -> BoundedTensorSpec:
        """Spec of a sample, one-hot vectors [L, K]."""
        return BoundedTensorSpec(self._z_shape, minimum=0.0, maximum=1.0)

    def _posterior(self, encoding: Tensor, prior: Tensor | None) -> tuple[VAEOutput, Tensor]:
        logits = encoding if prior is None else encoding + prior
        logits = logits.unflatten(-1, self._z_shape)
        log_prob = logits.log_softmax(-1)
        if prior is None:
            prior_log_prob: Any = -math.log(self._z_shape[1])
        else:
            prior_log_prob = prior.unflatten(-1, self._z_shape).log_softmax(-1)
        prob = log_prob.exp()
        kld = (prob * (log_prob - prior_log_prob)).sum((-2, -1))
        mode = _one_hot(logits.argmax(-1), prob)
        return VAEOutput(z=self._sample(logits, prob), z_mode=mode), kld

    def _sample(self, logits: Tensor, prob: Tensor) -> Tensor:
        if self._mode == "st-gumbel":
            return F.gumbel_softmax(logits, tau=self._gumbel_temperature(), hard=True)
        index = torch.multinomial(prob.detach().flatten(0, -2), 1, replacement=True)
        # In this order the value is exactly one-hot.
        return _one_hot(index.reshape(prob.shape[:-1]), prob) + (prob - prob.detach())


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    return F.one_hot(index, like.shape[-1]).to(like.dtype)


def _categoricals(name: str, spec: Any) -> tuple[int, int]:
    """Number of variables and of values of each."""
    text = f"{name} takes a z_spec of rank 1 with integers from 0 to one maximum, got {spec}."
    if not isinstance(spec, BoundedTensorSpec) or not spec.is_discrete or spec.ndim != 1:
        raise ValueError(text)
    minimum, maximum = spec.minimum.reshape(-1), spec.maximum.reshape(-1)
    if (minimum != 0).any() or (maximum != maximum[0]).any():
        raise ValueError(text)
    return spec.shape[0], int(maximum[0]) + 1


def _check_size(name: str, network: str, spec: TensorSpec, size: int) -> None:
    if tuple(spec.shape) != (size,):
        raise ValueError(f"{name}: {network} gives {tuple(spec.shape)}; allowed: ({size},)")
