"""Summaries of what training handles: losses, gradients, parameters, actions, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributions as td

import alf.nest.nest as nest
from alf.config_util import configurable
from alf.data_structures import LossInfo
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils

DEFAULT_BUCKET_COUNT = 30

# seconds and number of uses per (scope, tag) since the tag was last written
_elapsed: dict[tuple[str, str], tuple[float, int]] = {}


class record_time:
    """Context which records the mean number of seconds one use takes, over a summary interval.

    Uses in different summary scopes are counted apart.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag

    def __enter__(self) -> record_time:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        if not summary.is_summary_enabled():
            return
        key = (summary.scope_name(), self._tag)
        seconds, count = _elapsed.get(key, (0.0, 0))
        seconds, count = seconds + time.perf_counter() - self._start, count + 1
        if summary.should_record_summaries():
            _elapsed.pop(key, None)
            summary.scalar(self._tag, seconds / count)
        else:
            _elapsed[key] = (seconds, count)


def _recorded(function: Callable[..., None]) -> Callable[..., None]:
    """The body runs only where summaries are recorded, and without gradients."""

    def wrapped(*args: Any, **kwargs: Any) -> None:
        if summary.should_record_summaries():
            with torch.no_grad():
                function(*args, **kwargs)

    wrapped.__name__ = function.__name__
    wrapped.__qualname__ = function.__qualname__
    wrapped.__doc__ = function.__doc__
    wrapped.__wrapped__ = function  # type: ignore[attr-defined]
    return wrapped


# ---------------------------------------------------------------------------------------------
# Means and histograms


@_recorded
def histogram_discrete(
    name: str, data: torch.Tensor, bucket_min: int, bucket_max: int, step: int | None = None
) -> None:
    """Histogram with one bucket for each integer from `bucket_min` to `bucket_max`."""
    bins = np.arange(int(bucket_min), int(bucket_max) + 2) - 0.5
    summary.histogram(name, data, step=step, bins=bins)


@_recorded
def histogram_continuous(
    name: str,
    data: torch.Tensor,
    bucket_min: float | None = None,
    bucket_max: float | None = None,
    bucket_count: int = 30,
    step: int | None = None,
) -> None:
    """Histogram with equal buckets between the bounds; the end ones take what lies outside."""
    data = data.to(torch.float64)
    if data.numel() == 0:
        return
    low = data.min() if bucket_min is None else torch.as_tensor(bucket_min).to(data)
    high = data.max() if bucket_max is None else torch.as_tensor(bucket_max).to(data)
    bins = np.linspace(float(low), max(float(high), float(low) + 1e-6), bucket_count + 1)
    summary.histogram(name, data.clamp(low, high), step=step, bins=bins)


@_recorded
def add_mean_summary(name: str, value: torch.Tensor) -> None:
    """The mean as `<name>`; nothing when there are no elements."""
    if value.numel():
        summary.scalar(name, value.to(torch.float32).mean())


@_recorded
def add_mean_hist_summary(name: str, value: torch.Tensor) -> None:
    """`<name>/value` as histogram and `<name>/mean`; nothing when there are no elements."""
    if value.numel():
        summary.histogram(name + "/value", value)
        summary.scalar(name + "/mean", value.to(torch.float32).mean())


@_recorded
def safe_mean_summary(name: str, value: torch.Tensor, mask: torch.Tensor | None = None) -> None:
    """`add_mean_summary` of the entries where `mask` is true."""
    add_mean_summary(name, value if mask is None else value[mask])


@_recorded
def safe_mean_hist_summary(
    name: str, value: torch.Tensor, mask: torch.Tensor | None = None
) -> None:
    """`add_mean_hist_summary` of the entries where `mask` is true."""
    add_mean_hist_summary(name, value if mask is None else value[mask])


@_recorded
def add_nested_summaries(prefix: str, data: Any) -> None:
    """One scalar `<prefix>/<path>` for each leaf of a nest of one-element tensors."""
    for path, leaf in _named_leaves(prefix, data):
        summary.scalar(path, leaf)


@_recorded
def summarize_nest(prefix: str, nest: Any) -> None:
    """Mean and histogram of each leaf of a nest of tensors."""
    for path, leaf in _named_leaves(prefix, nest):
        if isinstance(leaf, torch.Tensor):
            add_mean_hist_summary(path, leaf)


def _named_leaves(prefix: str, data: Any) -> Iterable[tuple[str, Any]]:
    """(`<prefix>/<path>`, leaf) of each leaf but None; paths are such as "a.0.b"."""
    named: list[tuple[str, Any]] = []
    nest.py_map_structure_with_path(lambda path, leaf: named.append((path, leaf)), data)
    for path, leaf in named:
        if leaf is not None:
            yield "/".join(part for part in (prefix, path) if part), leaf


# ---------------------------------------------------------------------------------------------
# Parameters and losses


@configurable
@_recorded
def summarize_variables(
    name_and_params: Iterable[tuple[str, torch.Tensor]], with_histogram: bool = True
) -> None:
    """Norm (and histogram) of every parameter."""
    for name, param in name_and_params:
        if with_histogram:
            summary.histogram(f"summarize_vars/{name}_value", param)
        summary.scalar(f"summarize_vars/{name}_value_norm", param.norm())


@configurable
@_recorded
def summarize_gradients(
    name_and_params: Iterable[tuple[str, torch.Tensor]], with_histogram: bool = True
) -> None:
    """Norm (and histogram) of the gradient of every parameter which has one."""
    for name, param in name_and_params:
        if param.grad is None:
            continue
        if with_histogram:
            summary.histogram(f"summarize_grads/{name}_gradient", param.grad)
        summary.scalar(f"summarize_grads/{name}_gradient_norm", param.grad.norm())


@_recorded
def summarize_loss(loss_info: LossInfo) -> None:
    """The mean loss as `loss`, each entry of `extra` as `loss/<path>`, the noise scale of `gns`."""
    if isinstance(loss_info.gns, torch.Tensor):
        summary.scalar("gradient_noise_scale", loss_info.gns)
    loss = loss_info.loss
    if isinstance(loss, torch.Tensor):
        summary.scalar("loss", loss.float().mean())
    if isinstance(loss_info.scalar_loss, torch.Tensor):
        summary.scalar("scalar_loss", loss_info.scalar_loss.float().mean())
    for path, leaf in _named_leaves("loss", loss_info.extra):
        summary.scalar(path, leaf.float().mean() if isinstance(leaf, torch.Tensor) else leaf)


@_recorded
def summarize_per_category_loss(
    loss_info: LossInfo, summarize_count: bool = False, label_names: Sequence[str] | None = None
) -> None:
    """Mean loss (and number of entries) for each label that occurs in `batch_label`.

    `batch_label` has the shape of the loss, or its leading axes. Without it nothing is written.
    """
    labels = loss_info.batch_label
    if not isinstance(labels, torch.Tensor) or not isinstance(loss_info.loss, torch.Tensor):
        return
    losses = [("loss", loss_info.loss), *_named_leaves("loss", loss_info.extra)]
    for label in torch.unique(labels).tolist():
        mask = labels == label
        name = str(label) if label_names is None else label_names[int(label)]
        for path, loss in losses:
            if isinstance(loss, torch.Tensor) and loss.shape[: mask.ndim] == mask.shape:
                summary.scalar(f"{path}/loss_for_category_{name}", loss[mask].float().mean())
        if summarize_count:
            summary.scalar(f"loss/sample_count_for_category_{name}", mask.sum())


# ---------------------------------------------------------------------------------------------
# Actions and distributions


@_recorded
def summarize_action(actions: Any, action_specs: Any, name: str = "action") -> None:
    """Histogram of each action (of each of its components where they are few) and its mean.

    Options are `<name>/<path>`, numbers `<name>/<path>/<component>/value` and `.../mean`.
    """
    named = _named_leaves(name, actions)
    for (path, action), spec in zip(named, nest.flatten(action_specs), strict=True):
        if spec.is_discrete:
            _summarize_discrete(path, action, spec)
            continue
        action = action.reshape(-1, spec.numel)
        for k in range(min(spec.numel, DEFAULT_BUCKET_COUNT)):
            column = action[:, k]
            histogram_continuous(
                f"{path}/{k}/value", column, *_component_bounds(spec, k), DEFAULT_BUCKET_COUNT
            )
            summary.scalar(f"{path}/{k}/mean", column.float().mean())


def _summarize_discrete(name: str, action: torch.Tensor, spec: Any) -> None:
    if spec.is_bounded():
        histogram_discrete(name, action, int(np.min(spec.minimum)), int(np.max(spec.maximum)))
    else:
        summary.histogram(name, action)


def _component_bounds(spec: TensorSpec, k: int) -> tuple[float | None, float | None]:
    """Bounds of the k-th component where they are of use for a histogram."""
    if not spec.is_bounded():
        return None, None
    low = float(np.broadcast_to(spec.minimum, spec.shape).reshape(-1)[k])
    high = float(np.broadcast_to(spec.maximum, spec.shape).reshape(-1)[k])
    return (None, None) if high - low > 1e6 else (low, high)


@_recorded
def summarize_distribution(name: str, distributions: Any) -> None:
    """Mean and histogram of each component of the parameters of a nest of distributions.

    They are `<name>_<parameter>/<path>/<component>/mean` and `.../value`. A scale counts by its
    logarithm (`log_scale`), a tensor as a `loc`.
    """
    for path, dist in _named_leaves("", distributions):
        batch_dims = len(dist.batch_shape) if isinstance(dist, td.Distribution) else 1
        for param_name, param in _distribution_params(dist):
            prefix = "/".join(part for part in (f"{name}_{param_name}", path) if part)
            rows = param.reshape(param.shape[:batch_dims].numel(), -1)
            for k in range(min(rows.shape[1], DEFAULT_BUCKET_COUNT)):
                add_mean_hist_summary(f"{prefix}/{k}", rows[:, k])


def summarize_distribution_gradient(
    name: str, distribution: Any, batch_dims: int = 1, clone: bool = False
) -> Any:
    """Summarize the norm of the gradients that reach the parameters of a nest of distributions.

    Args:
        clone: return a copy made from cloned parameters, so that only gradients which come through
            the returned distribution are counted.
    """
    if not (torch.is_grad_enabled() and summary.should_record_summaries()):
        return distribution
    params = dist_utils.distributions_to_params(distribution)
    named = list(_named_leaves(name, params))
    hooked = [summarize_tensor_gradients(path, p, batch_dims, clone) for path, p in named]
    if not clone:
        return distribution
    spec = dist_utils.extract_spec(distribution, from_dim=batch_dims)
    return dist_utils.params_to_distributions(nest.pack_sequence_as(params, hooked), spec)


def summarize_tensor_gradients(
    name: str, tensor: Any, batch_dims: int = 1, clone: bool = False
) -> Any:
    """Summarize the norm of the gradient of each tensor of a nest, taken per batch entry.

    Args:
        batch_dims: number of leading axes which are not part of the norm.
        clone: return clones, so that only gradients coming through them are counted.

    Returns:
        `tensor`, or its clones.
    """
    if not (torch.is_grad_enabled() and summary.should_record_summaries()):
        return tensor
    if not isinstance(tensor, torch.Tensor):
        named = list(_named_leaves(name, tensor))
        hooked = [summarize_tensor_gradients(path, x, batch_dims, clone) for path, x in named]
        return nest.pack_sequence_as(tensor, hooked)
    if not tensor.requires_grad:
        return tensor
    if clone:
        tensor = tensor.clone()
    # the hook runs during backward, when the scope is another one
    tag = "/" + summary.scope_name() + name

    def hook(grad: torch.Tensor) -> None:
        rows = grad.detach().reshape(*grad.shape[:batch_dims], -1)
        norms = rows.norm(dim=-1)
        if summary.should_record_summaries() and norms.numel():
            summary.scalar(tag + "/avg_norm", norms.mean())
            summary.scalar(tag + "/max_norm", norms.max())

    tensor.register_hook(hook)
    return tensor


def _distribution_params(dist: Any) -> list[tuple[str, torch.Tensor]]:
    """Named tensors which describe a distribution, found at the bottom of its wrappers."""
    if isinstance(dist, torch.Tensor):
        return [("loc", dist)]
    if isinstance(dist, td.Categorical | td.OneHotCategorical):
        return [("probs", dist.probs)]
    own = [
        (name, getattr(dist, name))
        for name in dist.arg_constraints
        if name in vars(dist) and isinstance(getattr(dist, name), torch.Tensor)
    ]
    base = getattr(dist, "base_dist", None)
    if not own and base is not None:
        return _distribution_params(base)
    return [("log_scale", x.log()) if name == "scale" else (name, x) for name, x in own]
