"""Pictures of what an algorithm thinks, shown beside the environment while it plays.

Each function gives an :class:`Image` while rendering is enabled, else None. ``predict_step`` puts
it in its info. Data may have a batch axis of size 1 in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from alf.summary._action_plots import render_action, render_action_distribution
from alf.summary._image import Image
from alf.summary._plots import (
    enable_rendering,
    is_rendering_enabled,
    render_3d_curve,
    render_bar,
    render_contour,
    render_curve,
    render_heatmap,
    render_text,
)

__all__ = [
    "Image",
    "enable_rendering",
    "is_rendering_enabled",
    "render_3d_curve",
    "render_action",
    "render_action_distribution",
    "render_bar",
    "render_contour",
    "render_curve",
    "render_heatmap",
    "render_heatmap_fast",
    "render_text",
]


def render_heatmap_fast(
    imgs: Any, min_value: float, max_value: float, pixel_size: int = 10, bar_size: int = 20
) -> np.ndarray:
    """Matrices as colours without any plotting, for many pictures.

    Args:
        imgs: [B, H, W] or [H, W].
        min_value: the value that is blue.
        max_value: the value that is red.
        pixel_size: width and height of one element in the picture.
        bar_size: width of a colour bar at the right; 0 for none.

    Returns:
        uint8 [B, H * pixel_size, W * pixel_size + bar_size, 3], or without B.
    """
    if not min_value < max_value:
        raise ValueError(f"min_value must be below max_value, got {min_value} and {max_value}")
    array = imgs.detach().cpu().numpy() if isinstance(imgs, torch.Tensor) else np.asarray(imgs)
    is_single = array.ndim == 2
    array = array[None] if is_single else array
    large = array.repeat(pixel_size, axis=1).repeat(pixel_size, axis=2)
    levels = np.linspace(max_value, min_value, large.shape[1])[None, :, None]
    bar = np.broadcast_to(levels, (len(large), large.shape[1], bar_size))
    share = (np.concatenate([large, bar], axis=2) - min_value) / (max_value - min_value)
    colours = _blue_to_red(share.clip(0, 1))
    return colours[0] if is_single else colours


def _blue_to_red(share: np.ndarray) -> np.ndarray:
    """Colours from blue (0) over green (0.5) to red (1), uint8 with a last axis of 3."""
    red, blue = (2 * share - 1).clip(0, 1), (1 - 2 * share).clip(0, 1)
    rgb = np.stack([red, 1 - red - blue, blue], axis=-1)
    return (255 * rgb).round().astype(np.uint8)
