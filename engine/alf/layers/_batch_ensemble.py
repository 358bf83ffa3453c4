"""Ensembles whose members share one kernel (BatchEnsemble, Wen et al., arXiv:2002.06715)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._compose import NaiveParallelLayer
from alf.layers._conv import Conv2D, Size
from alf.layers._dense import FC, Activation, Initializer
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


def _member_parameter(ensemble_group: int, *shape: int) -> nn.Parameter:
    """A parameter whose first axis is that of the members, as particle-based optimizers expect."""
    parameter = nn.Parameter(torch.empty(*shape))
    parameter.ensemble_group = ensemble_group  # type: ignore[attr-defined]
    return parameter


def _random_signs_(parameter: nn.Parameter) -> None:
    with torch.no_grad():
        parameter.bernoulli_(0.5).mul_(2).sub_(1)


def _with_members(inputs: Any, ensemble_size: int) -> tuple[Tensor, Tensor]:
    """The input, and the member for each row: given with it, or else drawn at random."""
    if isinstance(inputs, tuple):
        x, ids = inputs
        return x, ids
    return inputs, torch.randint(ensemble_size, inputs.shape[:1], device=inputs.device)


def _of_rows(parameter: Tensor | None, ids: Tensor, ndim: int) -> Any:
    """The members' vectors for rows ``ids`` of an input of rank ``ndim``: [B, 1, ..., size]."""
    if parameter is None:
        return None
    return parameter[ids].reshape(ids.shape[0], *(1,) * (ndim - 2), -1)


class _Members:
    """What a layer of ensemble members has beside its kernel: signs r and s, biases."""

    _r: nn.Parameter
    _s: nn.Parameter
    _ensemble_bias: nn.Parameter | None

    def _make_members(
        self,
        n: int,
        input_size: int,
        output_size: int,
        use_bias: bool,
        bias_init_range: float,
        group: int,
    ) -> None:
        self._ensemble_size, self._bias_init_range = n, bias_init_range
        self._r = _member_parameter(group, n, input_size)
        self._s = _member_parameter(group, n, output_size)
        self._ensemble_bias = _member_parameter(group, n, output_size) if use_bias else None
        self._reset_members()

    def reset_parameters(self) -> None:
        """Draw the kernel, signs of all r and s, and biases anew."""
        super().reset_parameters()  # type: ignore[misc]
        # The constructor of the layer comes here before there are members.
        if hasattr(self, "_ensemble_bias"):
            self._reset_members()

    def _reset_members(self) -> None:
        _random_signs_(self._r)
        _random_signs_(self._s)
        if self._ensemble_bias is not None:
            bound = self._bias_init_range
            nn.init.uniform_(self._ensemble_bias, -bound, bound)

    def make_parallel(self, n: int) -> Any:
        """n ensembles, called one after another."""
        return NaiveParallelLayer(self, n)  # type: ignore[arg-type]


@configurable
class FCBatchEnsemble(_Members, FC):
    """``ensemble_size`` fully connected layers with one kernel W.

    Member i has the kernel ``W * (r_i s_i^T)`` (eq. 1), and a bias of its own. Its input is
    [B, ..., input_size], where each row goes to a random member, or a pair of that and the members'
    numbers [B] (int64).

    Args:
        ensemble_size: number of members.
        output_ensemble_ids: return the pair of output and members, as the next layer needs it.
        bias_init_range: biases are drawn uniformly from -range to range.
        ensemble_group: parameters with the same number are updated together by optimizers with
            ``parvi``.

    The other arguments are those of :class:`FC`.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        ensemble_size: int,
        output_ensemble_ids: bool = True,
        activation: Activation = identity,
        use_bias: bool = True,
        use_bn: bool = False,
        use_ln: bool = False,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_range: float = 0.0,
        ensemble_group: int = 0,
    ) -> None:
        super().__init__(
            input_size,
            output_size,
            activation=activation,
            use_bias=False,
            use_bn=use_bn,
            use_ln=use_ln,
            kernel_initializer=kernel_initializer,
            kernel_init_gain=kernel_init_gain,
        )
        if use_ln and use_bias:
            self._ln = nn.LayerNorm(output_size)
        self._output_ensemble_ids = output_ensemble_ids
        self._make_members(
            ensemble_size, input_size, output_size, use_bias, bias_init_range, ensemble_group
        )

    def forward(self, inputs: Any) -> Any:
        x, ids = _with_members(inputs, self._ensemble_size)
        r, s, bias = (_of_rows(p, ids, x.ndim) for p in (self._r, self._s, self._ensemble_bias))
        y = F.linear(x * r, self._weight) * s
        if bias is not None:
            y = y + bias
        norms: tuple[Callable[[Tensor], Tensor] | None, ...] = (self._ln, self._bn)
        for norm in norms:
            y = y if norm is None else norm(y)
        y = self._activation(y)
        return (y, ids) if self._output_ensemble_ids else y


@configurable
class Conv2DBatchEnsemble(_Members, Conv2D):
    """``ensemble_size`` convolutions with one kernel; see :class:`FCBatchEnsemble`.

    r scales the input's channels, s the output's. The arguments are those of :class:`Conv2D` and
    :class:`FCBatchEnsemble`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        ensemble_size: int,
        output_ensemble_ids: bool = True,
        activation: Activation = torch.relu_,
        strides: Size = 1,
        padding: Size = 0,
        use_bias: bool | None = None,
        use_bn: bool = False,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_range: float = 0.0,
        ensemble_group: int = 0,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            activation=activation,
            strides=strides,
            padding=padding,
            use_bias=False,
            use_bn=use_bn,
            kernel_initializer=kernel_initializer,
            kernel_init_gain=kernel_init_gain,
        )
        self._output_ensemble_ids = output_ensemble_ids
        use_bias = not use_bn if use_bias is None else use_bias
        self._make_members(
            ensemble_size, in_channels, out_channels, use_bias, bias_init_range, ensemble_group
        )

    def forward(self, inputs: Any) -> Any:
        x, ids = _with_members(inputs, self._ensemble_size)
        y = F.conv2d(
            x * self._r[ids][..., None, None], self._weight, None, self._strides, self._padding
        )
        y = y * self._s[ids][..., None, None]
        if self._ensemble_bias is not None:
            y = y + self._ensemble_bias[ids][..., None, None]
        y = self._finish(y)
        return (y, ids) if self._output_ensemble_ids else y
