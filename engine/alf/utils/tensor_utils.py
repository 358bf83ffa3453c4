"""Tensors: padding, batch squashing, norms and clipping, cumulative sums from the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from alf.nest import nest

# One kernel for many tensors; torch exports them under private names only.
_foreach_norm: Any = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]
_foreach_mul: Any = torch._foreach_mul  # pyright: ignore[reportPrivateImportUsage]
_foreach_mul_: Any = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]


class BatchSquash:
    """Merges several batch dimensions into one, and restores them.

    Args:
        batch_dims: how many leading dimensions to merge.
    """

    def __init__(self, batch_dims: int) -> None:
        if batch_dims < 1:
            raise ValueError(f"batch_dims is {batch_dims}; it must be positive")
        self._batch_dims = batch_dims
        self._shape: torch.Size | None = None

    def flatten(self, tensor: torch.Tensor) -> torch.Tensor:
        """[b1, .., bn, ...] to [b1 * .. * bn, ...]; remembers the batch shape."""
        if self._batch_dims == 1:
            return tensor
        self._shape = tensor.shape[: self._batch_dims]
        return tensor.reshape(-1, *tensor.shape[self._batch_dims :])

    def unflatten(self, tensor: torch.Tensor) -> torch.Tensor:
        """[b1 * .. * bn, ...] to [b1, .., bn, ...] of the last ``flatten``."""
        if self._batch_dims == 1:
            return tensor
        if self._shape is None:
            raise ValueError("unflatten() was called before flatten()")
        return tensor.reshape(*self._shape, *tensor.shape[1:])


def to_tensor(data: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """``data`` as a tensor on the default device."""
    return torch.as_tensor(data, dtype=dtype, device=torch.empty(()).device)


def tensor_extend(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Appends one slice: ``x`` [n, ...], ``y`` [...], result [n + 1, ...]."""
    return torch.cat((x, y.unsqueeze(0)))


def tensor_extend_zero(x: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """Appends a slice of zeros along ``dim``."""
    later_dims = x.ndim - 1 - range(x.ndim)[dim]
    return F.pad(x, (0, 0) * later_dims + (0, 1))


def tensor_extend_new_dim(x: torch.Tensor, dim: int, n: int) -> torch.Tensor:
    """Repeats ``x`` ``n`` times along a new dimension ``dim``, without copying."""
    x = x.unsqueeze(dim)
    sizes = [-1] * x.ndim
    sizes[dim] = n
    return x.expand(*sizes)


def tensor_prepend(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Puts one slice in front: ``x`` [n, ...], ``y`` [...], result [n + 1, ...]."""
    return torch.cat((y.unsqueeze(0), x))


def tensor_prepend_zero(x: torch.Tensor) -> torch.Tensor:
    """Puts a slice of zeros in front of the first dimension."""
    return torch.cat((x.new_zeros(1, *x.shape[1:]), x))


def explained_variance(
    ypred: torch.Tensor,
    y: torch.Tensor,
    valid_mask: torch.Tensor | None = None,
    dim: int | None = None,
) -> torch.Tensor:
    """``1 - Var[y - ypred] / Var[y]``: 1 is perfect, 0 no better than a constant.

    Args:
        ypred: prediction.
        y: target, of the same shape.
        valid_mask: only elements where it is true count; broadcasts to ``y``.
        dim: reduce over this dimension only; default: over all.

    Returns:
        0 where ``y`` does not vary, as there is nothing to explain.
    """
    mask = torch.ones_like(y) if valid_mask is None else valid_mask.to(y.dtype).expand_as(y)
    dims = tuple(range(y.ndim)) if dim is None else dim

    def variance(x: torch.Tensor) -> torch.Tensor:
        count = mask.sum(dims, keepdim=True).clamp_min(1)
        mean = (x * mask).sum(dims, keepdim=True) / count
        return ((x - mean).square() * mask).sum(dims) / count.reshape(mask.sum(dims).shape)

    total = variance(y)
    explained = 1 - variance(y - ypred) / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, explained, torch.zeros_like(total))


def global_norm(tensors: Any) -> torch.Tensor:
    """The Euclidean norm of all elements of a nest of tensors."""
    leaves = nest.flatten(tensors)
    if not leaves:
        raise ValueError("the nest has no tensor")
    return torch.linalg.vector_norm(torch.stack(_foreach_norm(leaves)))


def clip_by_global_norm(
    tensors: Any, clip_norm: Any, use_norm: torch.Tensor | None = None, in_place: bool = False
) -> tuple[Any, torch.Tensor]:
    """Scales a nest of tensors down together so that their global norm is at most ``clip_norm``.

    Args:
        tensors: nest.
        clip_norm: positive number or scalar tensor.
        use_norm: the global norm, if it is known.
        in_place: write the result into ``tensors``.

    Returns:
        The clipped nest, and the norm before clipping.
    """
    norm = global_norm(tensors) if use_norm is None else use_norm
    # A norm of 0 gives a ratio of inf, clamped to 1.
    scale = (clip_norm / norm).clamp(max=1.0)
    leaves = nest.flatten(tensors)
    if in_place:
        _foreach_mul_(leaves, scale)
        return tensors, norm
    return nest.pack_sequence_as(tensors, _foreach_mul(leaves, scale)), norm


def clip_by_norms(tensors: Any, clip_norm: Any, in_place: bool = False) -> Any:
    """Scales each tensor of a nest down so that its own norm is at most ``clip_norm``."""
    leaves = nest.flatten(tensors)
    scales = [(clip_norm / norm).clamp(max=1.0) for norm in _foreach_norm(leaves)]
    if in_place:
        _foreach_mul_(leaves, scales)
        return tensors
    return nest.pack_sequence_as(tensors, _foreach_mul(leaves, scales))


def cov(data: torch.Tensor, rowvar: bool = False) -> torch.Tensor:
    """Unbiased covariance matrix [D, D] of ``data``.

    Args:
        data: [N, D], N observations of D variables, or [B, N, D] for a batch of matrices.
        rowvar: each row is a variable instead: [D, N].
    """
    if data.ndim < 2:
        raise ValueError(f"data has shape {tuple(data.shape)}; it needs at least two dimensions")
    rows = data if rowvar else data.transpose(-1, -2)
    centred = rows - rows.mean(dim=-1, keepdim=True)
    return centred @ centred.transpose(-1, -2) / (rows.shape[-1] - 1)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.scale = scale
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad_output * ctx.scale, None


def scale_gradient(tensor: torch.Tensor, scale: float, clone_input: bool = True) -> torch.Tensor:
    """``tensor`` itself, whose gradient is multiplied by ``scale`` on its way back.

    Args:
        tensor: any shape.
        scale: factor.
        clone_input: leave the gradient of ``tensor`` elsewhere alone; otherwise all gradients
            that reach ``tensor`` are scaled, through a hook on it.
    """
    if clone_input:
        return _ScaleGradient.apply(tensor, scale)
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: gradient * scale)
    return tensor


def reverse_cumsum(x: torch.Tensor, dim: int) -> torch.Tensor:
    """The sum of each element and all after it along ``dim``."""
    return x.flip(dim).cumsum(dim).flip(dim)


def reverse_cumprod(x: torch.Tensor, dim: int) -> torch.Tensor:
    """The product of each element and all after it along ``dim``."""
    return x.flip(dim).cumprod(dim).flip(dim)


def append_coordinate(im: torch.Tensor) -> torch.Tensor:
    """Adds two channels to images [B, C, H, W]: row and column, each in equal steps from -1."""
    batch, _, height, width = im.shape
    y, x = (
        torch.arange(n, dtype=im.dtype, device=im.device) * (2 / n) - 1 for n in (height, width)
    )
    y = y.unsqueeze(-1).expand(batch, 1, height, width)
    x = x.expand(batch, 1, height, width)
    return torch.cat((im, y, x), dim=1)


def spatial_broadcast(z: torch.Tensor, im_shape: Sequence[int]) -> torch.Tensor:
    """Vectors [B, D] at every pixel: [B, D, H, W], a view.

    Watters et al. 2019, arXiv:1901.07017, add the coordinates, see :func:`append_coordinate`.

    Args:
        z: [B, D].
        im_shape: (..., H, W).
    """
    height, width = im_shape[-2:]
    return z[..., None, None].expand(*z.shape, height, width)
