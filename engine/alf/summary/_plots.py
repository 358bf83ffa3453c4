"""The switch of rendering, and plots of arrays: curves, bars, matrices, text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from alf.config_util import configurable
from alf.summary._image import Image

PUBLIC_MODULE = "alf.summary.render"  # under which these names are configured

_enabled = False
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
Range = tuple[float, float] | None
Size = tuple[float, float]


def enable_rendering(flag: bool = True) -> None:
    """Turn rendering on or off."""
    global _enabled
    _enabled = flag


def is_rendering_enabled() -> bool:
    """Is rendering on?"""
    return _enabled


def if_enabled(func: Callable[..., Image]) -> Callable[..., Any]:
    """``func`` while rendering is enabled, else a function that returns None at once."""

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Image | None:
        return func(*args, **kwargs) if _enabled else None

    return wrapped


def as_array(data: Any, ndim: int) -> np.ndarray:
    """``data`` as an array of at most ``ndim`` axes, without a batch axis of size 1."""
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    array = np.asarray(data, dtype=np.float64)
    while array.ndim > ndim and array.shape[0] == 1:
        array = array[0]
    if array.ndim > ndim:
        raise ValueError(f"data to be drawn must have at most {ndim} axes, got {array.shape}")
    return array


class _Plot:
    """A figure of one picture."""

    def __init__(self, name: str, figsize: Size, dpi: int, projection: str | None = None) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=figsize, dpi=dpi)
        FigureCanvasAgg(self.figure)
        self.axes: Any = self.figure.add_subplot(111, projection=projection)
        self.axes.set_title(name)
        self._dpi = dpi

    def label(self, **settings: Any) -> None:
        """Set ranges (``xlim``), labels (``xlabel``) and others that are given."""
        self.axes.set(**{key: value for key, value in settings.items() if value is not None})

    def image(self, height: int | None, width: int | None) -> Image:
        image = Image.from_pyplot_fig(self.figure, self._dpi)
        return image if height is None and width is None else image.resize(height, width)


@configurable(whitelist=["dpi", "figsize", "font_size"])
@if_enabled
def render_heatmap(
    name: str,
    data: Any,
    val_label: str = "",
    row_ticks: Sequence[str] | None = None,
    col_ticks: Sequence[str] | None = None,
    row_labels: str | None = None,
    col_labels: str | None = None,
    cbar_kw: Mapping[str, Any] = _NO_OPTIONS,
    annotate_format: str = "%.2f",
    font_size: int = 7,
    img_height: int | None = None,
    img_width: int | None = None,
    dpi: int = 300,
    figsize: Size = (2, 2),
    **kwargs: Any,
) -> Image:
    """A matrix as colours.

    Args:
        name: title.
        data: [H, W].
        val_label: label of the colour bar.
        row_ticks: names of the rows.
        col_ticks: names of the columns.
        row_labels: label of the axis of rows.
        col_labels: label of the axis of columns.
        cbar_kw: arguments of matplotlib's colour bar.
        annotate_format: of the numbers in the cells; empty for none.
        font_size: of those numbers.
        img_height: height of the picture; None for that of the figure.
        img_width: the same for its width.
        dpi: dots per inch.
        figsize: width and height of the figure in inches.
        kwargs: arguments of matplotlib's ``imshow``.
    """
    array = as_array(data, 2)
    plot = _Plot(name, figsize, dpi)
    shown = plot.axes.imshow(np.atleast_2d(array), **kwargs)
    plot.figure.colorbar(shown, ax=plot.axes, **cbar_kw).set_label(val_label)
    _name_ticks(plot.axes, col_ticks, row_ticks)
    plot.label(xlabel=col_labels, ylabel=row_labels)
    if annotate_format:
        for (row, column), value in np.ndenumerate(np.atleast_2d(array)):
            text = annotate_format % value
            plot.axes.text(column, row, text, ha="center", va="center", fontsize=font_size)
    return plot.image(img_height, img_width)


def _name_ticks(axes: Any, x_ticks: Sequence[Any] | None, y_ticks: Sequence[Any] | None) -> None:
    if x_ticks is not None:
        axes.set_xticks(np.arange(len(x_ticks)), labels=[str(tick) for tick in x_ticks])
    if y_ticks is not None:
        axes.set_yticks(np.arange(len(y_ticks)), labels=[str(tick) for tick in y_ticks])


@configurable(whitelist=["dpi", "figsize", "font_size"])
@if_enabled
def render_contour(
    name: str,
    data: Any,
    x_ticks: Sequence[float] | None = None,
    y_ticks: Sequence[float] | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    font_size: int = 7,
    img_height: int | None = None,
    img_width: int | None = None,
    dpi: int = 300,
    figsize: Size = (2, 2),
    flip_y_axis: bool = True,
    **kwargs: Any,
) -> Image:
    """A matrix as lines of equal value.

    Args:
        data: [H, W].
        x_ticks: places [W] of the columns.
        y_ticks: places [H] of the rows.
        font_size: of the numbers at the lines.
        flip_y_axis: the first row is at the top.
        kwargs: arguments of matplotlib's ``contour``.

    The other arguments are those of :func:`render_heatmap`.
    """
    array = as_array(data, 2)
    x = np.arange(array.shape[1]) if x_ticks is None else as_array(x_ticks, 1)
    y = np.arange(array.shape[0]) if y_ticks is None else as_array(y_ticks, 1)
    plot = _Plot(name, figsize, dpi)
    lines = plot.axes.contour(x, y, array, **kwargs)
    plot.axes.clabel(lines, fontsize=font_size)
    plot.label(xlabel=x_label, ylabel=y_label)
    if flip_y_axis:
        plot.axes.invert_yaxis()
    return plot.image(img_height, img_width)


def _draw_lines(
    plot: _Plot,
    data: np.ndarray,
    legends: Sequence[str] | None,
    legend_kwargs: Mapping[str, Any],
    draw: Callable[..., Any],
) -> None:
    """Call ``draw(line, label=)`` for each of ``data``."""
    names = list(legends or [None] * len(data))
    if len(names) != len(data):
        raise ValueError(f"{len(names)} legends were given for {len(data)} curves")
    for line, label in zip(data, names, strict=True):
        draw(line, label=label)
    if legends:
        plot.axes.legend(**legend_kwargs)


@configurable(whitelist=["dpi", "figsize"])
@if_enabled
def render_curve(
    name: str,
    data: Any,
    x_range: Range = None,
    y_range: Range = None,
    x_label: str | None = None,
    y_label: str | None = None,
    legends: Sequence[str] | None = None,
    legend_kwargs: Mapping[str, Any] = _NO_OPTIONS,
    img_height: int | None = None,
    img_width: int | None = None,
    dpi: int = 300,
    figsize: Size = (2, 2),
    **kwargs: Any,
) -> Image:
    """One or several curves.

    Args:
        data: [N] or [curves, N].
        x_range: the curves go from the first to the second.
        y_range: limits of the picture.
        legends: names of the curves.
        legend_kwargs: arguments of matplotlib's ``legend``.
        kwargs: arguments of matplotlib's ``plot``.

    The other arguments are those of :func:`render_heatmap`.
    """
    array = np.atleast_2d(as_array(data, 2))
    x = np.linspace(*(x_range or (0, array.shape[1] - 1)), array.shape[1])
    plot = _Plot(name, figsize, dpi)
    _draw_lines(plot, array, legends, legend_kwargs, functools.partial(plot.axes.plot, x, **kwargs))
    plot.label(xlabel=x_label, ylabel=y_label, ylim=y_range)
    return plot.image(img_height, img_width)


@configurable(whitelist=["dpi", "figsize"])
@if_enabled
def render_3d_curve(
    name: str,
    data: Any,
    x_range: Range = None,
    y_range: Range = None,
    z_range: Range = None,
    x_label: str | None = None,
    y_label: str | None = None,
    z_label: str | None = None,
    legends: Sequence[str] | None = None,
    legend_kwargs: Mapping[str, Any] = _NO_OPTIONS,
    img_height: int | None = None,
    img_width: int | None = None,
    dpi: int = 300,
    figsize: Size = (2, 2),
    **kwargs: Any,
) -> Image:
    """One or several curves in space, [N, 3] or [curves, N, 3]; ranges are limits of the picture.

    The other arguments are those of :func:`render_curve`.
    """
    array = as_array(data, 3)
    array = array[None] if array.ndim == 2 else array
    plot = _Plot(name, figsize, dpi, projection="3d")

    def draw(points: np.ndarray, label: str | None) -> None:
        plot.axes.plot(*points.T, label=label, **kwargs)

    _draw_lines(plot, array, legends, legend_kwargs, draw)
    plot.label(xlabel=x_label, ylabel=y_label, zlabel=z_label)
    plot.label(xlim=x_range, ylim=y_range, zlim=z_range)
    return plot.image(img_height, img_width)


@configurable(whitelist=["dpi", "figsize"])
@if_enabled
def render_bar(
    name: str,
    data: Any,
    width: float = 0.8,
    y_range: Range = None,
    x_ticks: Sequence[str] | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    legends: Sequence[str] | None = None,
    legend_kwargs: Mapping[str, Any] = _NO_OPTIONS,
    annotate_format: str = "%.2f",
    img_height: int | None = None,
    img_width: int | None = None,
    dpi: int = 300,
    figsize: Size = (2, 2),
    **kwargs: Any,
) -> Image:
    """Bars, side by side if there are several groups.

    Args:
        data: [N] or [groups, N].
        width: of all bars at one place.
        x_ticks: names of the N places.
        annotate_format: of the numbers at the bars; empty for none.
        kwargs: arguments of matplotlib's ``bar``.

    The other arguments are those of :func:`render_curve`.
    """
    array = np.atleast_2d(as_array(data, 2))
    plot = _Plot(name, figsize, dpi)
    each = width / len(array)
    starts = iter(np.arange(len(array)) * each - (width - each) / 2)

    def draw(heights: np.ndarray, label: str | None) -> None:
        x = np.arange(len(heights)) + next(starts)
        bars = plot.axes.bar(x, heights, each, label=label, **kwargs)
        if annotate_format:
            plot.axes.bar_label(bars, fmt=annotate_format)

    _draw_lines(plot, array, legends, legend_kwargs, draw)
    _name_ticks(plot.axes, x_ticks, None)
    plot.label(xlabel=x_label, ylabel=y_label, ylim=y_range)
    return plot.image(img_height, img_width)


@configurable(whitelist=["dpi", "font_size"])
@if_enabled
def render_text(
    name: str,
    data: str,
    font_size: int = 10,
    fig_width_per_char: float = 0.1,
    fig_height: float = 0.4,
    img_height: int | None = None,
    img_width: int | None = None,
    dpi: int = 200,
    **kwargs: Any,
) -> Image:
    """A line of text.

    Args:
        name: stands before the text.
        data: the text.
        font_size: of the text.
        fig_width_per_char: width of the figure in inches for each character.
        fig_height: height of the figure in inches.
        kwargs: arguments of matplotlib's ``text``.

    The other arguments are those of :func:`render_heatmap`.
    """
    text = f"{name}: {data}"
    plot = _Plot("", (fig_width_per_char * len(text), fig_height), dpi)
    plot.axes.axis("off")
    plot.axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=font_size, **kwargs)
    return plot.image(img_height, img_width)
