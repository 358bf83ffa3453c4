"""The repulsion of a generator's outputs from the noise that they come from (GPVI).

Ratzlaff, Bai, Fuxin and Xu, Generative Particle Variational Inference via Estimation of Functional
Gradients, ICML 2021. With outputs ``f(z)`` and a kernel on noise, the gradient of the kernel by the
output is ``J(z)^-T dk/dz``, J being the Jacobian of f. So f must have as many inputs as outputs:
shorter noise is extended, ``f(z) = net(z[:K]) + lambda z``.

Letters: M rows z' over which is averaged, N rows that move, D outputs, K inputs of the net.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.particles.inverse_mvp import InverseMVPAlgorithm
from alf.data_structures import LossInfo
from alf.networks.network import Network
from alf.networks.relu_mlp import ReluMLP


def jacobian(net: Network, z: Tensor) -> Tensor:
    """The Jacobian `[M, D, K]` of a network at z `[M, K]`, without a graph."""
    z = z.detach()
    if isinstance(net, ReluMLP):
        jac = net.compute_jac(z).detach()
        return jac.expand(len(z), *jac.shape[-2:])  # that of one layer is the same for all rows

    def of_row(row: Tensor) -> Tensor:
        return net(row.unsqueeze(0))[0].squeeze(0)

    return torch.func.vmap(torch.func.jacrev(of_row))(z).detach()


class FullRank(nn.Module):
    """The part of a generator that makes its Jacobian square.

    Args:
        noise_dim: K.
        output_dim: D.
        init_lambda: lambda at first; above 0.
        trainable: lambda is a parameter.
    """

    def __init__(
        self, noise_dim: int, output_dim: int, init_lambda: float, trainable: bool
    ) -> None:
        super().__init__()
        self.extends = noise_dim < output_dim
        self.noise_dim = noise_dim
        self.input_dim = output_dim if self.extends else noise_dim
        log_lambda = torch.tensor(math.log(init_lambda))
        # Its logarithm, so that it stays above 0, where the Jacobian would be singular.
        if trainable and self.extends:
            self.log_lambda = nn.Parameter(log_lambda)
        else:
            self.register_buffer("log_lambda", log_lambda)

    @property
    def factor(self) -> Tensor:
        """Lambda `[]`."""
        return self.log_lambda.exp()

    def forward(self, net: Network, z: Tensor) -> Tensor:
        """Outputs `[N, D]` of noise `[N, input_dim]`."""
        output, _ = net(z[:, : self.noise_dim])
        return output + self.factor * z if self.extends else output


class InverseJacobian(nn.Module):
    """Solves ``J^T y = v``, directly or by a network that learns to.

    Args:
        full_rank: what the generator adds.
        block: of an extended Jacobian solve only the block of the net's K inputs. The others are
            ``v / lambda``.
        solver: the network; None: solve directly.
        num_iters: gradient steps of the network at each call.
    """

    def __init__(
        self,
        full_rank: FullRank,
        block: bool,
        solver: InverseMVPAlgorithm | None,
        num_iters: int,
    ) -> None:
        super().__init__()
        self._full_rank = (full_rank,)  # its owner registers it
        self._block = block and full_rank.extends
        self.solver = solver
        self._num_iters = num_iters

    def __call__(self, net: Network, z: Tensor, vec: Tensor) -> tuple[Tensor, Any]:
        """y `[M, N, D]`, and the loss `[]` of the network, () without one.

        Args:
            net: the generator's.
            z: `[M, input_dim]`.
            vec: v, `[M, N, D]`.
        """
        (full_rank,) = self._full_rank
        noise_dim, factor = full_rank.noise_dim, full_rank.factor.detach()
        matrix = jacobian(net, z[:, :noise_dim])  # [M, D, K]
        if not self._block:
            if full_rank.extends:
                matrix = nn.functional.pad(matrix, (0, vec.shape[-1] - noise_dim))
                matrix = matrix + factor * torch.eye(vec.shape[-1], device=vec.device)
            return self._solve(matrix, z, vec, vec)
        # [A + lambda, 0; C, lambda]^T y = v has two rows: for the last D - K inputs y = v / lambda.
        upper, lower = matrix[:, :noise_dim], matrix[:, noise_dim:]
        last = vec[..., noise_dim:] / factor
        target = vec[..., :noise_dim] - last @ lower
        upper = upper + factor * torch.eye(noise_dim, device=vec.device)
        first, loss = self._solve(upper, z, vec, target)
        return torch.cat([first, last], dim=-1), loss

    def _solve(self, matrix: Tensor, z: Tensor, vec: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        """y with ``matrix^T y = target``; the network gets z and ``vec``."""
        if self.solver is None:
            return torch.linalg.solve(matrix.mT, target.mT).mT, ()
        loss: Any = ()
        for _ in range(self._num_iters):
            y = self.solver.predict_step((z, vec)).output[0].reshape(target.shape)
            loss = (y @ matrix - target).square().mean()
            self.solver.update_with_gradient(LossInfo(loss=loss))
        with torch.no_grad():
            y = self.solver.predict_step((z, vec)).output[0].reshape(target.shape)
        return y, loss.detach()
