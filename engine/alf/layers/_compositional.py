"""Fully connected layers composed of others: weighted sums of layers, fixed bases."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._dense import Activation, Initializer, init_bias, init_kernel
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


@configurable
class CompositionalFC(nn.Module):
    """n linear layers whose outputs are summed with weights from the input.

    The input is a pair (x [B, input_size], w [B, n]), the result
    ``activation(sum_i w_i (W_i x + b_i))`` [B, output_size]. Without w, that is with x alone or
    (x, None), all weights are 1.

    Args:
        input_size: size of the input.
        output_size: size of the output.
        n: number of layers.
        activation: applied last; may work in place.
        output_comp_weight: return the pair of output and w, as the next layer needs it.
        use_bias: each layer has a bias.
        use_bn: batch normalisation before the activation.
        use_ln: layer normalisation before the activation.
        kernel_initializer: fills the weight of each layer; None for variance scaling.
        kernel_init_gain: gain of that default.
        bias_init_value: initial bias.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        n: int,
        activation: Activation = identity,
        output_comp_weight: bool = True,
        use_bias: bool = True,
        use_bn: bool = False,
        use_ln: bool = False,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
    ) -> None:
        super().__init__()
        self._n, self._activation = n, activation
        self._output_comp_weight = output_comp_weight
        self._kernel_initializer, self._kernel_init_gain = kernel_initializer, kernel_init_gain
        self._bias_init_value = bias_init_value
        self._weight = nn.Parameter(torch.empty(n, output_size, input_size))
        self._bias = nn.Parameter(torch.empty(n, output_size)) if use_bias else None
        self._ln = nn.LayerNorm(output_size) if use_ln else None
        self._bn = nn.BatchNorm1d(output_size) if use_bn else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew, for each layer on its own."""
        for weight in self._weight.data:
            init_kernel(weight, self._kernel_initializer, self._kernel_init_gain, self._activation)
        init_bias(self._bias, self._weight.shape[2], self._bias_init_value)
        norms: tuple[Any, ...] = (self._ln, self._bn)
        for norm in norms:
            if norm is not None:
                norm.reset_parameters()

    def forward(self, inputs: Any) -> Any:
        x, w = inputs if isinstance(inputs, tuple) else (inputs, None)
        if w is None:
            y = nn.functional.linear(
                x, self._weight.sum(0), None if self._bias is None else self._bias.sum(0)
            )
        elif w.shape != (x.shape[0], self._n):
            raise ValueError(f"weights must be [B, {self._n}], got {list(w.shape)}")
        else:
            y = torch.einsum("bi,noi->bno", x, self._weight)
            if self._bias is not None:
                y = y + self._bias
            y = torch.einsum("bn,bno->bo", w, y)
        if self._ln is not None:
            y = self._ln(y)
        if self._bn is not None:
            y = self._bn(y)
        y = self._activation(y)
        return (y, w) if self._output_comp_weight else y

    @property
    def weight(self) -> nn.Parameter:
        """Weights [n, output_size, input_size]."""
        return self._weight

    @property
    def bias(self) -> nn.Parameter | None:
        """Biases [n, output_size]."""
        return self._bias


@configurable
class FixedDecodingLayer(nn.Module):
    """Input coefficients times fixed basis functions at ``output_size`` points in [-1, 1].

    Args:
        input_size: number of basis functions.
        output_size: number of points.
        basis_type: "rbf" (Gaussian bumps with centres in [-1, 1], as many as points), "poly" (x^n),
            "cheb" (Chebyshev polynomials) or "haar" (orthonormal Haar wavelets; as many as points,
            a power of two).
        sigma: width of the bumps.
        tau: the n-th polynomial has weight tau^n, a wavelet of level k tau^(k + 1), the constant 1,
            so that coefficients of higher frequencies matter less.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        basis_type: str = "rbf",
        sigma: float = 1.0,
        tau: float = 0.5,
    ) -> None:
        super().__init__()
        bases = {"rbf": _bumps, "poly": _powers, "cheb": _chebyshev, "haar": _haar}
        if basis_type not in bases:
            raise ValueError(f"basis_type must be one of {sorted(bases)}, got {basis_type!r}")
        if not (input_size > 0 and output_size > 0):
            raise ValueError(f"sizes must be positive, got {input_size} and {output_size}")
        if basis_type in ("rbf", "haar") and input_size != output_size:
            raise ValueError(
                f"the {basis_type} basis has as many functions as points, "
                f"got {input_size} and {output_size}"
            )
        if basis_type == "haar" and input_size & (input_size - 1):
            raise ValueError(f"the haar basis needs a power of two as its size, got {input_size}")
        basis = bases[basis_type](torch.linspace(-1, 1, output_size), input_size, sigma, tau)
        self._basis = nn.Parameter(basis, requires_grad=False)

    def reset_parameters(self) -> None:
        """The basis is fixed."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, input_size] to [B, output_size]."""
        return inputs @ self._basis.T

    @property
    def weight(self) -> Tensor:
        """The basis [output_size, input_size]."""
        return self._basis


def _bumps(x: Tensor, n: int, sigma: float, tau: float) -> Tensor:
    del tau
    centres = torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1)
    return torch.exp(-((x[:, None] - centres) ** 2) / (2 * sigma**2))


def _powers(x: Tensor, n: int, sigma: float, tau: float) -> Tensor:
    del sigma
    return (tau * x[:, None]) ** torch.arange(n)


def _chebyshev(x: Tensor, n: int, sigma: float, tau: float) -> Tensor:
    del sigma
    order = torch.arange(n)
    return torch.cos(order * torch.arccos(x.clamp(-1, 1))[:, None]) * tau**order


def _haar(x: Tensor, n: int, sigma: float, tau: float) -> Tensor:
    """A constant, then for each level k = 0, 1, ... its 2^k wavelets, from left to right."""
    del x, sigma
    point = torch.arange(n)
    columns = [torch.ones(n)]
    for i in range(1, n):
        level = i.bit_length() - 1
        width = n >> level  # number of points of a wavelet: +1 on its left half, -1 on the right
        place = point - (i - (1 << level)) * width
        sign = (place >= 0).float() - 2 * (place >= width // 2) + (place >= width)
        columns.append(sign * (tau ** (level + 1) * 2 ** (level / 2)))
    return torch.stack(columns, dim=1) / math.sqrt(n)
