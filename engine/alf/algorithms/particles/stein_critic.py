"""A critic that learns the direction in which particles should move (arXiv:1810.03545)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo
from alf.layers import reset_parameters
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.networks.relu_mlp import ReluMLP
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.algorithms.generator"  # under which these names are configured


@configurable
class CriticAlgorithm(Algorithm):
    """A network f from particles to directions.

    With `train_on_particles()` it approaches, up to a factor, the direction of steepest descent of
    the KL divergence among functions of bounded L2 norm (Hu et al., arXiv:1810.03545, section 3).
    A piecewise linear f does so only for a while: gradients do not see how its kinks, where all of
    its curvature is, change the Jacobian. For long training on fixed targets set
    ``CriticAlgorithm.activation`` to a smooth function.

    Args:
        input_tensor_spec: spec of a particle, of rank 1.
        output_dim: size of the output; None: that of a particle.
        hidden_layers: sizes of the hidden layers.
        activation: of the hidden layers; ``ReluMLP`` has its own.
        net: from inputs to outputs, instead of one made by these arguments.
        use_relu_mlp: make a ``ReluMLP``, whose Jacobian's diagonal is known in closed form.
        use_bn: batch normalization in all layers; not for ``ReluMLP``.
        optimizer: must be without parameters; the algorithm uses its own copy. None is Adam with a
            learning rate of 1e-3.
        name: used in summary tags and messages.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        output_dim: int | None = None,
        hidden_layers: Sequence[int] = (3, 3),
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        net: Network | None = None,
        use_relu_mlp: bool = False,
        use_bn: bool = True,
        optimizer: torch.optim.Optimizer | None = None,
        name: str = "CriticAlgorithm",
    ) -> None:
        (optimizer,) = own_optimizers(Adam(lr=1e-3) if optimizer is None else optimizer)
        super().__init__(train_state_spec=(), optimizer=optimizer, name=name)
        output_dim = input_tensor_spec.shape[0] if output_dim is None else output_dim
        if net is None and use_relu_mlp:
            net = ReluMLP(input_tensor_spec, output_dim, tuple(hidden_layers), f"{name}.net")
        elif net is None:
            net = EncodingNetwork(
                input_tensor_spec,
                fc_layer_params=tuple(hidden_layers),
                activation=activation,
                use_fc_bn=use_bn,
                last_layer_size=output_dim,
                last_activation=identity,
                last_use_fc_bn=use_bn,
                name=f"{name}.net",
            )
        self._net: Network = net
        self._knows_diagonal = isinstance(net, ReluMLP)

    def reset_net_parameters(self) -> None:
        """Draw the network's initial parameters anew."""
        reset_parameters(self._net)

    def predict_step(
        self, inputs: Tensor, state: Any = None, requires_jac_diag: bool = False
    ) -> AlgStep:
        """The output `[B, output_dim]`, or a pair of it and the Jacobian's diagonal `[B, D]`.

        Raises:
            ValueError: the diagonal is asked for of a net that is not a ``ReluMLP``.
        """
        if not requires_jac_diag:
            return AlgStep(output=self._net(inputs)[0], state=(), info=())
        if not self._knows_diagonal:
            raise ValueError(
                f"{self.name}.predict_step(requires_jac_diag=True) needs use_relu_mlp=True; the "
                f"net is a {type(self._net).__name__}"
            )
        output: Any = self._net(inputs, requires_jac_diag=True)[0]
        return AlgStep(output=output, state=(), info=())

    def train_on_particles(
        self, particles: Tensor, loss_grad: Tensor, weight: float, l2_weight: float
    ) -> None:
        """One gradient step on ``mean(f . g - weight * trace(df/dx)) + l2_weight * mean(|f|^2)``.

        Args:
            particles: `[N, D]`.
            loss_grad: g, `[N, D]`, gradient of the particles' loss.
            weight: of the repulsion.
            l2_weight: of the norm of f.
        """
        particles, loss_grad = particles.detach(), loss_grad.detach()
        direction, trace = self._with_trace(particles)
        stein = (direction * loss_grad).sum(-1) - weight * trace
        loss = stein.mean() + l2_weight * direction.square().sum(-1).mean()
        self.update_with_gradient(LossInfo(loss=loss))

    def _with_trace(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f `[N, D]`, and the trace of its Jacobian `[N]`."""
        if self._knows_diagonal:
            output, diagonal = self.predict_step(x, requires_jac_diag=True).output
            return output, diagonal.sum(-1)
        # Hutchinson's estimator: the mean of e^T J e over normal e is the trace.
        x = x.requires_grad_()
        output = self.predict_step(x).output
        noise = torch.randn_like(output)
        (product,) = torch.autograd.grad(output, x, noise, create_graph=True)
        return output, (product * noise).sum(-1)
