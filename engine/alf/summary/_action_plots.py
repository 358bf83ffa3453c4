"""Plots of actions and of their distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch.distributions as td

from alf.nest import nest
from alf.summary._plots import as_array, if_enabled, render_bar, render_curve
from alf.tensor_specs import BoundedTensorSpec


@if_enabled
def render_action(name: str, action: Any, action_spec: Any, **kwargs: Any) -> Any:
    """Bars of each action of a nest.

    Args:
        name: title; a nest adds the numbers of its parts.
        action: nest of [1, D] or, if discrete, [1].
        action_spec: nest of their specs, whose bounds are the limits of the picture.
        kwargs: arguments of :func:`render_bar`.

    Returns:
        A nest of :class:`Image`.
    """

    def draw(part: Any, spec: Any, title: str) -> Any:
        if isinstance(spec, BoundedTensorSpec):
            limits = (float(np.min(spec.minimum)), float(np.max(spec.maximum)))
            kwargs.setdefault("y_range", limits)
        return render_bar(title, part, **kwargs)

    return _each_part(draw, name, action, action_spec)


@if_enabled
def render_action_distribution(
    name: str,
    act_dist: Any,
    action_spec: Any,
    n_samples: int = 500,
    n_bins: int = 20,
    **kwargs: Any,
) -> Any:
    """Probabilities of discrete actions; histograms of samples of each element of others.

    Args:
        name: title; a nest adds the numbers of its parts.
        act_dist: nest of distributions with batch shape [1].
        action_spec: nest of specs of the actions.
        n_samples: number of samples.
        n_bins: number of bins of a histogram, from the lower to the upper bound.
        kwargs: arguments of :func:`render_bar` or :func:`render_curve`.

    Returns:
        A nest of :class:`Image`.
    """

    def draw(dist: Any, spec: Any, title: str) -> Any:
        if isinstance(dist, td.Categorical | td.OneHotCategorical):
            return render_bar(title, dist.probs, **kwargs)
        samples = as_array(dist.sample((n_samples,)).reshape(n_samples, -1), 2)
        lows, highs = samples.min(0), samples.max(0)
        if isinstance(spec, BoundedTensorSpec):
            lows = np.broadcast_to(spec.minimum, spec.shape).reshape(-1)
            highs = np.broadcast_to(spec.maximum, spec.shape).reshape(-1)
        shares = [
            np.histogram(column, bins=n_bins, range=(low, high))[0] / n_samples
            for column, low, high in zip(samples.T, lows, highs, strict=True)
        ]
        limits = (float(np.min(lows)), float(np.max(highs)))
        names = [str(i) for i in range(len(shares))]
        settings = {"x_range": limits, "legends": names, **kwargs}
        return render_curve(title, np.stack(shares), **settings)

    return _each_part(draw, name, act_dist, action_spec)


def _each_part(draw: Callable[[Any, Any, str], Any], name: str, parts: Any, specs: Any) -> Any:
    if not nest.is_nested(specs):
        return draw(parts, specs, name)
    titles = iter(f"{name}/{i}" for i in range(len(nest.flatten(specs))))
    return nest.map_structure(lambda part, spec: draw(part, spec, next(titles)), parts, specs)
