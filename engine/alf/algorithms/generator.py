"""Generators: networks that turn noise into samples of a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.mi_estimator import MIEstimator
from alf.algorithms.particle_vi_algorithm import loss_of
from alf.algorithms.particles import kernels
from alf.algorithms.particles.functional_gradient import FullRank, InverseJacobian
from alf.algorithms.particles.inverse_mvp import InverseMVPAlgorithm
from alf.algorithms.particles.stein_critic import CriticAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, namedtuple
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.networks.relu_mlp import ReluMLP
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils._periodic import TargetUpdater
from alf.utils.averager import ScalarAdaptiveAverager
from alf.utils.math_ops import identity

__all__ = [
    "AlgStep",
    "CriticAlgorithm",
    "Generator",
    "GeneratorLossInfo",
    "InverseMVPAlgorithm",
    "LossInfo",
]

# Of GFSF: without it two outputs at one place make the kernel matrix singular.
_RIDGE = 1e-5

GeneratorLossInfo = namedtuple("GeneratorLossInfo", ["generator", "mi_estimator", "inverse_mvp"])
GeneratorLossInfo.__doc__ = """The parts of a generator's loss.

Fields:
    generator: what the loss function gave.
    mi_estimator: [B], the loss of the mutual information.
    inverse_mvp: [], the loss of the network that inverts Jacobians.
"""


@configurable
class Generator(Algorithm):
    """A network whose outputs sample ``exp(-loss)``, up to a constant factor.

    Outputs are ``net(noise)``, or ``net([noise, inputs])``. Training minimizes
    ``E[loss(outputs)] - entropy_regularization * H(outputs)``, H being the entropy. With a weight
    of 0 that is descent of the loss; with others the outputs of a batch are particles whose
    directions (see `ParVIAlgorithm`) the net learns to go (Feng et al., arXiv:1707.06626).

    Args:
        output_dim: D, size of the outputs.
        noise_dim: K, size of the noise, which is standard normal.
        input_tensor_spec: nest of specs of the inputs; None: there are none.
        hidden_layers: hidden layers of the net.
        net: from noise `[B, K]`, or a pair of it and inputs, to outputs `[B, D]`; None: it is made.
        net_moving_average_rate: if given, `predict_step()` uses a moving average of the net, which
            moves so far towards it with each update.
        entropy_regularization: weight of the entropy.
        mi_weight: if given, weight of the mutual information between ``[noise, inputs]`` and
            ``[outputs, inputs]``, which is maximized (Hjelm et al., arXiv:1808.06670).
        mi_estimator_cls: of that information.
        par_vi: where the directions come from:

            - "svgd": each output is compared with one new sample of the same inputs. The others do
              not allow inputs.
            - "svgd2": one half of the batch is compared with the other.
            - "svgd3": the batch is compared with another batch.
            - "gfsf": a batch is compared with itself, see `ParVIAlgorithm`.
            - "minmax": a critic learns the direction, see `CriticAlgorithm`.

            None: only with a weight of 0.
        use_kernel_averager: the kernel's width is a running average.
        functional_gradient: compare noise instead of outputs (GPVI, Ratzlaff et al., ICML 2021);
            needs "svgd3" and ``noise_dim <= output_dim``. Shorter noise is extended to D numbers,
            and ``lambda * noise`` is added to the outputs.
        init_lambda: lambda.
        lambda_trainable: lambda is trained.
        block_inverse_mvp: with shorter noise, solve only for the first K rows of the Jacobian.
        direct_jac_inverse: invert Jacobians directly instead of by a network.
        inverse_mvp_solve_iters: gradient steps of that network in each ``train_step()``.
        inverse_mvp_hidden_size: see `InverseMVPAlgorithm`.
        inverse_mvp_hidden_layers: see `InverseMVPAlgorithm`.
        critic_input_dim: size of what the critic gets; None: D.
        critic_hidden_layers: hidden layers of the critic.
        critic_l2_weight: weight of the critic's squared norm.
        critic_iter_num: gradient steps of the critic in each ``train_step()``.
        critic_relu_mlp: the critic is a ``ReluMLP``.
        critic_use_bn: batch normalization in the critic.
        minmax_resample: each step of the critic has new samples.
        critic_optimizer: trains the critic; None is Adam with a learning rate of 1e-3.
        inverse_mvp_optimizer: trains the network that inverts Jacobians; None is Adam with 1e-4
            and a weight decay of 1e-5.
        optimizer: trains the net.
        lambda_optimizer: trains lambda; None is Adam with 1e-3. All optimizers must be without
            parameters; the algorithm uses its own copies.
        name: used in summary tags and messages.

    Raises:
        ValueError: settings contradict each other.
    """

    def __init__(
        self,
        output_dim: int,
        noise_dim: int = 32,
        input_tensor_spec: Any = None,
        hidden_layers: Sequence[int] = (256,),
        net: Network | None = None,
        net_moving_average_rate: float | None = None,
        entropy_regularization: float = 0.0,
        mi_weight: float | None = None,
        mi_estimator_cls: Callable[..., Any] = MIEstimator,
        par_vi: Literal["svgd", "svgd2", "svgd3", "gfsf", "minmax"] | None = None,
        use_kernel_averager: bool = False,
        functional_gradient: bool = False,
        init_lambda: float = 1.0,
        lambda_trainable: bool = False,
        block_inverse_mvp: bool = False,
        direct_jac_inverse: bool = False,
        inverse_mvp_solve_iters: int = 1,
        inverse_mvp_hidden_size: int = 100,
        inverse_mvp_hidden_layers: int = 1,
        critic_input_dim: int | None = None,
        critic_hidden_layers: Sequence[int] = (100, 100),
        critic_l2_weight: float = 10.0,
        critic_iter_num: int = 2,
        critic_relu_mlp: bool = False,
        critic_use_bn: bool = True,
        minmax_resample: bool = True,
        critic_optimizer: torch.optim.Optimizer | None = None,
        inverse_mvp_optimizer: torch.optim.Optimizer | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        lambda_optimizer: torch.optim.Optimizer | None = None,
        name: str = "Generator",
    ) -> None:
        optimizer, lambda_optimizer = own_optimizers(optimizer, lambda_optimizer)
        super().__init__(train_state_spec=(), optimizer=optimizer, name=name)
        if entropy_regularization != 0 and par_vi is None:
            raise ValueError(
                f"{name}: entropy_regularization={entropy_regularization} needs par_vi, it is None"
            )
        if functional_gradient:
            _check_functional_gradient(name, par_vi, noise_dim, output_dim, input_tensor_spec)
        self._entropy_regularization = entropy_regularization
        self._par_vi = par_vi
        self._noise_dim = noise_dim
        noise_spec = TensorSpec((noise_dim,))
        net_spec = noise_spec if input_tensor_spec is None else [noise_spec, input_tensor_spec]
        if net is None and functional_gradient:
            net = ReluMLP(noise_spec, output_dim, tuple(hidden_layers), f"{name}.net")
        elif net is None:
            net = EncodingNetwork(
                net_spec,
                preprocessing_combiner=None if input_tensor_spec is None else NestConcat(),
                fc_layer_params=tuple(hidden_layers),
                last_layer_size=output_dim,
                last_activation=identity,
                name=f"{name}.net",
            )
        self._net: Network = net
        self._predict_net: Network | None = None
        if net_moving_average_rate is not None:
            self._predict_net = net.copy(name=f"{name}.predict_net")
            self._update_predict_net = TargetUpdater(
                net, self._predict_net, tau=net_moving_average_rate
            )
        self._mi_estimator = None
        if mi_weight is not None:
            output_spec = TensorSpec((output_dim,))
            self._mi_estimator = mi_estimator_cls(
                net_spec,
                output_spec if input_tensor_spec is None else [output_spec, input_tensor_spec],
                sampler="shift",
            )
            self._mi_weight = mi_weight
        self._width_averager = ScalarAdaptiveAverager() if use_kernel_averager else None
        self._full_rank: FullRank | None = None
        if functional_gradient:
            self._full_rank = FullRank(noise_dim, output_dim, init_lambda, lambda_trainable)
            if lambda_trainable and self._full_rank.extends:
                self.add_optimizer(lambda_optimizer or Adam(lr=1e-3), [self._full_rank])
            solver = None
            if not direct_jac_inverse:
                solver = InverseMVPAlgorithm(
                    noise_dim,
                    noise_dim if block_inverse_mvp else output_dim,
                    hidden_size=inverse_mvp_hidden_size,
                    num_hidden_layers=inverse_mvp_hidden_layers,
                    optimizer=inverse_mvp_optimizer or Adam(lr=1e-4, weight_decay=1e-5),
                    name=f"{name}.inverse_mvp",
                )
            self._inverse_jacobian = InverseJacobian(
                self._full_rank, block_inverse_mvp, solver, inverse_mvp_solve_iters
            )
        elif par_vi == "minmax":
            self._critic = CriticAlgorithm(
                TensorSpec((output_dim if critic_input_dim is None else critic_input_dim,)),
                hidden_layers=critic_hidden_layers,
                use_relu_mlp=critic_relu_mlp,
                use_bn=critic_use_bn,
                optimizer=critic_optimizer,
                name=f"{name}.critic",
            )
            self._critic_l2_weight = critic_l2_weight
            self._critic_iter_num = critic_iter_num
            self._minmax_resample = minmax_resample

    def _trainable_attributes_to_ignore(self) -> list[str]:
        # The average follows; the others are trained inside of train_step().
        return ["_predict_net", "_critic", "_inverse_jacobian"]

    @property
    def noise_dim(self) -> int:
        """Size of the noise that the net gets."""
        return self._noise_dim

    def get_lambda(self, training: bool = False) -> Tensor | None:
        """The factor `[]` of the noise in the outputs, None without ``functional_gradient``.

        Args:
            training: gradients flow into it.
        """
        if self._full_rank is None:
            return None
        factor = self._full_rank.factor
        return factor if training else factor.detach()

    def predict_step(
        self,
        inputs: Any = None,
        noise: Tensor | None = None,
        batch_size: int | None = None,
        training: bool = False,
        state: Any = None,
    ) -> AlgStep:
        """Outputs `[B, D]`.

        Args:
            inputs: nest of `[B, ...]`, if there is an ``input_tensor_spec``.
            noise: `[B, K]`, or `[B, D]` with ``functional_gradient``; None: drawn.
            batch_size: B, where neither inputs nor noise tell.
            training: use the net itself and not its moving average.
            state: not used.
        """
        return AlgStep(output=self._sample(inputs, noise, batch_size, training)[0], state=())

    def _sample(
        self, inputs: Any, noise: Tensor | None, batch_size: int | None, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Outputs `[B, D]` and their noise."""
        if noise is None:
            if inputs is not None:
                batch_size = nest.flatten(inputs)[0].shape[0]
            if batch_size is None:
                raise ValueError(f"{self.name} needs inputs, noise or batch_size; all are None")
            noise = torch.randn(batch_size, self._noise_dim)
            if self._full_rank is not None and self._full_rank.extends:
                more = torch.randn(batch_size, self._full_rank.input_dim - self._noise_dim)
                noise = torch.cat([noise, more], dim=1)
        net = self._net if training or self._predict_net is None else self._predict_net
        if self._full_rank is not None:
            return self._full_rank(net, noise), noise
        return net(noise if inputs is None else [noise, inputs])[0], noise

    def train_step(
        self,
        inputs: Any,
        loss_func: Callable[[Any], Any],
        batch_size: int | None = None,
        transform_func: Callable[[Any], tuple[Tensor, Tensor, Any]] | None = None,
        entropy_regularization: float | None = None,
        state: Any = None,
    ) -> AlgStep:
        """The loss `[B]` (`[B / 2]` for "svgd2") whose gradient trains the net.

        Args:
            inputs: nest of `[B, ...]`; None: there are none.
            loss_func: called with the outputs `[B, D]`, with a pair of them and the inputs if there
                are, or with what ``transform_func`` gives. It returns the loss `[B]`, or its sum
                `[]`, or a tuple with such a field ``loss``.
            batch_size: B, where there are no inputs.
            transform_func: called with outputs, or a pair of outputs and extra samples. It returns
                transformed outputs `[B, O]`, extra outputs `[B, E]` and the extra samples. Losses
                are those of the transformed outputs, and kernels compare both. Only for "svgd2",
                "svgd3" and "gfsf".
            entropy_regularization: as in the constructor, which is the default.
            state: not used.

        Returns:
            the outputs, with ``functional_gradient`` a pair of them and their noise; as info a
            `LossInfo` with the loss and, as extra, a `GeneratorLossInfo`.

        Raises:
            ValueError: the method does not allow inputs, or ``transform_func``.
        """
        weight = self._entropy_regularization
        if entropy_regularization is not None:
            weight = entropy_regularization
        outputs, noise = self._sample(inputs, None, batch_size, training=True)
        inverse_loss: Any = ()
        if self._par_vi is None or weight == 0:
            loss, result = self._likelihood(inputs, outputs, loss_func, transform_func)
        elif self._par_vi == "svgd":
            loss, result = self._svgd(inputs, outputs, loss_func, weight)
        elif inputs is not None:
            raise ValueError(
                f'{self.name}: par_vi="{self._par_vi}" allows no inputs; only "svgd" does'
            )
        elif self._full_rank is not None:
            loss, result, inverse_loss = self._gpvi(outputs, noise, loss_func, weight)
        elif self._par_vi == "minmax":
            loss, result = self._minmax(outputs, loss_func, weight)
        else:
            loss, result = self._particles(outputs, loss_func, transform_func, weight)
        mi_loss: Any = ()
        if self._mi_estimator is not None:
            pair = (noise, outputs)
            if inputs is not None:
                pair = ([noise, inputs], [outputs, inputs])
            mi_loss = self._mi_estimator.train_step(pair).info.loss
            loss = loss + self._mi_weight * mi_loss
        extra = GeneratorLossInfo(generator=result, mi_estimator=mi_loss, inverse_mvp=inverse_loss)
        output = outputs if self._full_rank is None else (outputs, noise)
        return AlgStep(output=output, state=(), info=LossInfo(loss=loss, extra=extra))

    # ---- Ways to get the loss, each with what the loss function gave --------------------------

    def _likelihood(
        self, inputs: Any, outputs: Tensor, loss_func: Any, transform_func: Any
    ) -> tuple[Tensor, Any]:
        if transform_func is not None:
            outputs = transform_func(outputs)[0]
        result, grad = _with_grad(loss_func, outputs, inputs)
        return kernels.propagated(grad, outputs), result

    def _svgd(
        self, inputs: Any, outputs: Tensor, loss_func: Any, weight: float
    ) -> tuple[Tensor, Any]:
        with torch.no_grad():
            others, _ = self._sample(inputs, None, len(outputs), training=True)
        result, grad = _with_grad(loss_func, others, inputs)
        square = (others - outputs.detach()).square().sum(-1)
        kernel = kernels.paired_rbf(others, outputs.detach(), self._width(square))
        direction = kernel.value.unsqueeze(-1) * grad - weight * kernel.grad
        return kernels.propagated(direction, outputs), result

    def _particles(
        self, outputs: Tensor, loss_func: Any, transform_func: Any, weight: float
    ) -> tuple[Tensor, Any]:
        """SVGD with other particles, and GFSF."""
        is_gfsf = self._par_vi == "gfsf"
        moved, others = outputs, outputs
        if self._par_vi == "svgd2":
            moved, others = outputs.tensor_split(2)
        elif not is_gfsf:
            with torch.no_grad():
                others, _ = self._sample(None, None, len(outputs), training=True)
        moved_seen = moved
        if transform_func is not None:
            moved, moved_extra, samples = transform_func(moved)
            moved_seen = torch.cat([moved, moved_extra], dim=-1)
        others_seen = moved_seen if is_gfsf else others
        if is_gfsf:
            others = moved
        elif transform_func is not None:
            with torch.no_grad():
                others, others_extra, _ = transform_func((others, samples))
            others_seen = torch.cat([others, others_extra], dim=-1)
        result, grad = _with_grad(loss_func, others, None)
        x, y = moved_seen.detach(), others_seen.detach()
        width = self._width(kernels.squares(y, x), 1 if is_gfsf else 2)
        kernel = kernels.rbf(y, x, width)
        if is_gfsf:
            repulsion = kernels.gfsf_direction(kernel, weight, _RIDGE)
        else:
            grad, repulsion = kernels.svgd_direction(kernel, grad, weight)
        loss = kernels.propagated(grad, moved) - kernels.propagated(repulsion, moved_seen)
        return loss, result

    def _minmax(self, outputs: Tensor, loss_func: Any, weight: float) -> tuple[Tensor, Any]:
        result, grad = _with_grad(loss_func, outputs, None)
        particles = outputs.detach()
        for _ in range(self._critic_iter_num):
            if self._minmax_resample:
                with torch.no_grad():
                    particles, _ = self._sample(None, None, len(outputs), training=True)
                _, grad = _with_grad(loss_func, particles, None)
            self._critic.train_on_particles(particles, grad, weight, self._critic_l2_weight)
        return kernels.propagated(-self._critic.predict_step(outputs).output, outputs), result

    def _gpvi(
        self, outputs: Tensor, noise: Tensor, loss_func: Any, weight: float
    ) -> tuple[Tensor, Any, Any]:
        """SVGD with a kernel on noise; also the loss of the inverse Jacobian's network."""
        with torch.no_grad():
            others, other_noise = self._sample(None, None, len(outputs), training=True)
        result, grad = _with_grad(loss_func, others, None)
        width = self._width(kernels.squares(other_noise, noise.detach()), 2)
        kernel = kernels.rbf(other_noise, noise, width)
        by_output, inverse_loss = self._inverse_jacobian(self._net, other_noise, kernel.grad)
        kernel = kernel._replace(grad=by_output)
        attraction, repulsion = kernels.svgd_direction(kernel, grad, weight)
        return kernels.propagated(attraction - repulsion, outputs), result, inverse_loss

    def _width(self, square: Tensor, divisor: float = 1) -> Tensor:
        """The kernel's width `[]` from squared distances `[..., N]`: median / (divisor log N)."""
        log_count = math.log(square.shape[-1])
        # One output has no distances to others; any width will do.
        width = square.median() / (divisor * log_count if log_count > 0 else 1)
        return width if self._width_averager is None else self._width_averager.average(width)

    def after_update(self, training_info: Any) -> None:
        """Let the moving average of the net follow it."""
        if self._predict_net is not None:
            self._update_predict_net()


def _with_grad(loss_func: Any, outputs: Tensor, inputs: Any) -> tuple[Any, Tensor]:
    """What the loss function gives, and the gradient `[B, D]` of its loss by the outputs."""
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        result = loss_func(leaf if inputs is None else [leaf, inputs])
        (grad,) = torch.autograd.grad(loss_of(result).sum(), leaf)
    return nest.map_structure(torch.Tensor.detach, result), grad


def _check_functional_gradient(
    name: str, par_vi: str | None, noise_dim: int, output_dim: int, input_tensor_spec: Any
) -> None:
    if par_vi != "svgd3":
        raise ValueError(f'{name}: functional_gradient=True needs par_vi="svgd3", got {par_vi!r}')
    if noise_dim > output_dim:
        raise ValueError(
            f"{name}: functional_gradient=True needs noise_dim <= output_dim, got {noise_dim} and "
            f"{output_dim}"
        )
    if input_tensor_spec is not None:
        raise ValueError(f"{name}: functional_gradient=True allows no inputs (input_tensor_spec)")
