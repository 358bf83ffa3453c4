"""Normalisation: over batches with statistics for each time step, and with given weights."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "ParamLayerNorm",
    "ParamLayerNorm1d",
    "ParamLayerNorm2d",
    "prepare_rnn_batch_norm",
    "set_batch_norm_current_step",
    "set_batch_norm_max_steps",
]


class _NormBase(nn.Module):
    """Batch normalisation with statistics of their own for each step of a recurrent network.

    Activations of the first steps after a zero state are distributed differently from later ones
    (Cooijmans et al., arXiv:1603.09025, section 3). Without :func:`set_batch_norm_max_steps` there
    is one set of statistics, and this is the batch normalisation of torch.

    Args:
        num_features: number of channels.
        eps: added to the variance.
        momentum: share of the new batch in the running statistics.
        affine: learn a gain; else it stays 1.
        fixed_weight_norm: rescale the gain so that the root of its mean square stays 1.
        use_bias: learn a bias; else it stays 0.
        track_running_stats: keep running statistics for evaluation mode.
    """

    _ndims: tuple[int, ...] = ()
    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        fixed_weight_norm: bool = False,
        use_bias: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self._num_features, self._eps, self._momentum = num_features, eps, momentum
        self._fixed_weight_norm = fixed_weight_norm
        self._track = track_running_stats
        self._current_step: int | Tensor = 0
        self.weight = nn.Parameter(torch.ones(num_features), requires_grad=affine)
        self.bias = nn.Parameter(torch.zeros(num_features), requires_grad=use_bias)
        self.set_max_steps(1)

    def set_max_steps(self, max_steps: int) -> None:
        """Keep statistics of ``max_steps`` steps, starting anew; later steps use the last ones."""
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self._max_steps = max_steps
        shape = (max_steps, self._num_features)
        self.register_buffer("running_mean", torch.zeros(shape) if self._track else None)
        self.register_buffer("running_var", torch.ones(shape) if self._track else None)

    def set_current_step(self, current_step: int | Tensor) -> None:
        """Say of which step the next input is.

        Args:
            current_step: a number, or one for each row [B] (int64).
        """
        if isinstance(current_step, Tensor):
            self._current_step = current_step.clamp(0, self._max_steps - 1)
        else:
            self._current_step = min(current_step, self._max_steps - 1)

    def reset_parameters(self) -> None:
        """Gain 1, bias 0, statistics of standard normal inputs."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C] or [B, C, ...]."""
        if input.ndim not in self._ndims or input.shape[1] != self._num_features:
            raise ValueError(
                f"{type(self).__name__}({self._num_features}) takes tensors of rank {self._ndims} "
                f"with channels as their second axis, got {list(input.shape)}"
            )
        weight = self._gain()
        if isinstance(self._current_step, Tensor):
            return self._normalize_rows(input, self._current_step, weight)
        mean, var = self.running_mean, self.running_var
        if mean is not None and var is not None:
            mean, var = mean[self._current_step], var[self._current_step]
        use_batch = self.training or mean is None
        return F.batch_norm(
            input, mean, var, weight, self.bias, use_batch, self._momentum, self._eps
        )

    def _gain(self) -> Tensor:
        if not self._fixed_weight_norm:
            return self.weight
        return self.weight * torch.rsqrt(self.weight.square().mean() + 1e-12)

    def _normalize_rows(self, x: Tensor, steps: Tensor, weight: Tensor) -> Tensor:
        """Normalise each row by the statistics of its own step."""
        flat = x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)
        if self.training or self.running_mean is None:
            mean, var = self._step_statistics(flat, steps)
        else:
            assert self.running_var is not None
            mean, var = self.running_mean, self.running_var
        y = (flat - mean[steps].unsqueeze(2)) * torch.rsqrt(var[steps].unsqueeze(2) + self._eps)
        return (y * weight[:, None] + self.bias[:, None]).reshape(x.shape)

    def _step_statistics(self, x: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [max_steps, C] over the rows of each step, entered in the running."""
        is_step = F.one_hot(steps, self._max_steps).to(x.dtype)
        count = is_step.sum(0).unsqueeze(1) * x.shape[2]
        mean = is_step.T @ x.sum(2) / count.clamp_min(1)
        var = is_step.T @ (x - mean[steps].unsqueeze(2)).square().sum(2) / count.clamp_min(1)
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                share = self._momentum * (count > 0)
                unbiased = var * count / (count - 1).clamp_min(1)
                self.running_mean += share * (mean - self.running_mean)
                self.running_var += share * (unbiased - self.running_var)
        return mean, var

    def extra_repr(self) -> str:
        return f"{self._num_features}, max_steps={self._max_steps}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(prefix + "running_mean")
        if saved is not None and saved.shape[0] != self._max_steps:
            self.set_max_steps(saved.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args)


@configurable
class BatchNorm1d(_NormBase):
    """Batch normalisation of [B, C] or [B, C, L], with statistics for each recurrent step."""

    _ndims = (2, 3)


@configurable
class BatchNorm2d(_NormBase):
    """Batch normalisation of [B, C, H, W], with statistics for each recurrent step."""

    _ndims = (4,)


def _norms_of(module: nn.Module) -> list[_NormBase]:
    return [part for part in module.modules() if isinstance(part, _NormBase)]


def prepare_rnn_batch_norm(module: nn.Module) -> bool:
    """Whether ``module``, part of a recurrent network, has batch normalisation that knows steps.

    If so, :func:`set_batch_norm_max_steps` and, before each step,
    :func:`set_batch_norm_current_step` are to be called; they are methods of ``module`` from then
    on.

    Raises:
        ValueError: if it has batch normalisation of torch, which would mix all steps.
    """
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"a recurrent network needs alf.norm_layers.BatchNorm1d or BatchNorm2d (bn_ctor=), "
                f"not torch's {type(part).__name__}"
            )
    if not _norms_of(module):
        return False
    for function in (set_batch_norm_max_steps, set_batch_norm_current_step):
        # A partial function goes with its module into copies and pickles; a bound method does not.
        setattr(module, function.__name__, functools.partial(function, module))
    return True


def set_batch_norm_max_steps(module: nn.Module, max_steps: int) -> None:
    """Give all batch normalisations of ``module`` statistics of ``max_steps`` steps."""
    for norm in _norms_of(module):
        norm.set_max_steps(max_steps)


def set_batch_norm_current_step(module: nn.Module, current_step: int | Tensor) -> None:
    """Tell all batch normalisations of ``module`` the step, or the step of each row [B]."""
    for norm in _norms_of(module):
        norm.set_current_step(current_step)


class ParamLayerNorm(nn.Module):
    """Layer normalisation of n groups whose gain and bias are given from outside.

    Args:
        n_groups: number of groups.
        output_channels: channels of one group.
        eps: added to the variance.
    """

    _ndim = 2

    def __init__(self, n_groups: int, output_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self._n_groups, self._output_channels, self._eps = n_groups, output_channels, eps
        self.set_parameters(torch.empty(n_groups, self.param_length), reinitialize=True)

    @property
    def output_channels(self) -> int:
        return self._output_channels

    @property
    def weight(self) -> Tensor:
        """Gains [n_groups, output_channels]."""
        return self._weight

    @property
    def bias(self) -> Tensor:
        """Biases [n_groups, output_channels]."""
        return self._bias

    @property
    def weight_length(self) -> int:
        """Number of gains in one group."""
        return self._output_channels

    @property
    def bias_length(self) -> int:
        """Number of biases in one group."""
        return self._output_channels

    @property
    def param_length(self) -> int:
        """Length of ``theta`` of one group: gains, then biases."""
        return self.weight_length + self.bias_length

    def set_parameters(self, theta: Tensor, reinitialize: bool = False) -> None:
        """Use ``theta`` [n_groups, param_length] from now on; gradients flow into it.

        Args:
            theta: one vector [param_length] is one group. Another number of groups than before is
                taken over.
            reinitialize: first fill ``theta`` in place with gains 1 and biases 0.
        """
        given, theta = theta, theta.unsqueeze(0) if theta.ndim == 1 else theta
        if theta.ndim != 2 or theta.shape[1] != self.param_length:
            raise ValueError(
                f"theta must have shape [n, {self.param_length}], got {list(given.shape)}"
            )
        if reinitialize:
            with torch.no_grad():
                theta[:, : self.weight_length] = 1
                theta[:, self.weight_length :] = 0
        self._n_groups = theta.shape[0]
        self._weight, self._bias = theta.split([self.weight_length, self.bias_length], dim=1)

    def forward(self, inputs: Tensor, keep_group_dim: bool = True) -> Tensor:
        """Normalise each group of each row over all but the batch.

        Args:
            inputs: [B, n, C, ...] or [B, n * C, ...]; with n = 1 also [B, C, ...].
            keep_group_dim: return [B, n, C, ...] if n > 1 or the input has that axis; else
                [B, n * C, ...].
        """
        n, channels = self._n_groups, self._output_channels
        has_groups = inputs.ndim == self._ndim + 1
        x = inputs.flatten(1, 2) if has_groups else inputs
        if x.ndim != self._ndim or x.shape[1] != n * channels:
            raise ValueError(
                f"{type(self).__name__} has {n} groups of {channels} channels, got an input of "
                f"shape {list(inputs.shape)}"
            )
        y = F.group_norm(x, n, self._weight.flatten(), self._bias.flatten(), self._eps)
        if keep_group_dim and (has_groups or n > 1):
            y = y.unflatten(1, (n, channels))
        return y


@configurable
class ParamLayerNorm1d(ParamLayerNorm):
    """Layer normalisation of vectors [B, n, C] with given gains and biases."""


@configurable
class ParamLayerNorm2d(ParamLayerNorm):
    """Layer normalisation of images [B, n, C, H, W] with given gains and biases."""

    _ndim = 4
