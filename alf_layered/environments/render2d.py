"""Pictures of a maze: walls, goal, agent, and what a planner thinks, as arrays of pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alf_layered.environments.maze2d import AGENT_RADIUS

Colour = tuple[int, ...] | str

_FREE = (245, 245, 245)
_WALL = (64, 64, 64)
_GOAL = (60, 170, 80)
_AGENT = (210, 50, 45)
_SUBGOAL = (40, 100, 200)
_PLAN_OPACITY = 150
# Drawn larger and then averaged, because Pillow's lines and discs have jagged edges.
_OVERSAMPLING = 2
_START_TOLERANCE = 0.01


class MazePicture:
    """Draws one maze; holds the plans and subgoals to be drawn with it."""

    def __init__(self, layout: np.ndarray, *, cell_size: float, pixel_size: int = 640) -> None:
        """
        Args:
            layout: see `maze_layouts`.
            cell_size: side of a cell.
            pixel_size: longer side of a picture. With 640, pictures of all named mazes have sides
                that are multiples of 16, which video encoders like.
        """
        if pixel_size < 1:
            raise ValueError(f"pixel_size must be at least 1, got {pixel_size}")
        self._layout = layout
        rows, columns = layout.shape
        pixels_per_cell = pixel_size / max(rows, columns)
        self._width = max(1, round(columns * pixels_per_cell))
        self._height = max(1, round(rows * pixels_per_cell))
        self._scale = _OVERSAMPLING * pixels_per_cell / cell_size
        self._cell_size = cell_size
        self._background: Any = None
        self._plans: list[tuple[np.ndarray, Colour]] = []
        self._subgoals: list[tuple[float, float]] = []

    def set_plans(self, plans: Sequence[Mapping[str, Any]], *, agent: np.ndarray) -> bool:
        """Keeps plans to be drawn until `clear`, if all of them start where the agent is.

        Args:
            plans: each with `trajectory`, positions `[T, 2]`, and optionally `color`, an RGB tuple
                or a name or `#rrggbb`.
            agent: `[2]`, its position.

        Returns:
            Whether they were kept. If one starts more than 0.01 away from the agent, none is, and
            the former ones go as well.

        Raises:
            ValueError: for a trajectory that has not the shape `[T, 2]`.
        """
        kept = [(_trajectory(plan["trajectory"]), plan.get("color", _SUBGOAL)) for plan in plans]
        fits = all(math.dist(points[0], agent) <= _START_TOLERANCE for points, _ in kept)
        self._plans = kept if fits else []
        return fits

    def set_subgoals(self, positions: Any) -> None:
        """Keeps positions `[N, 2]` to be marked until `clear`."""
        points = np.asarray(positions, dtype=np.float64).reshape(-1, 2)
        self._subgoals = [(float(x), float(y)) for x, y in points]

    def clear(self) -> None:
        """Forgets plans and subgoals; called where an episode begins."""
        self._plans = []
        self._subgoals = []

    def draw(self, agent: np.ndarray, goal: np.ndarray, *, goal_radius: float) -> np.ndarray:
        """The picture, `[height, width, 3]` uint8; y points down, as in the layout."""
        from PIL import Image, ImageDraw

        if self._background is None:
            self._background = self._draw_walls()
        image = self._background.copy()
        pen = ImageDraw.Draw(image)
        self._disc(pen, goal, goal_radius, fill=_GOAL)
        if self._plans:
            overlay = Image.new("RGBA", image.size, (0, 0, 0, 0))
            for points, colour in self._plans:
                self._draw_plan(ImageDraw.Draw(overlay), points, colour)
            image.paste(overlay, (0, 0), overlay)
            pen = ImageDraw.Draw(image)
        for subgoal in self._subgoals:
            self._disc(
                pen,
                subgoal,
                AGENT_RADIUS,
                outline=_SUBGOAL,
                width=max(1, round(0.05 * self._scale)),
            )
        self._disc(pen, agent, AGENT_RADIUS, fill=_AGENT)
        small = image.resize((self._width, self._height), Image.Resampling.BOX)
        return np.array(small, dtype=np.uint8)

    def _draw_walls(self) -> Any:
        from PIL import Image, ImageDraw

        size = (self._width * _OVERSAMPLING, self._height * _OVERSAMPLING)
        image = Image.new("RGB", size, _FREE)
        pen = ImageDraw.Draw(image)
        for row, column in np.argwhere(self._layout):
            left, top = (int(i) * self._cell_size * self._scale for i in (column, row))
            side = self._cell_size * self._scale
            pen.rectangle(
                (round(left), round(top), round(left + side) - 1, round(top + side) - 1), fill=_WALL
            )
        return image

    def _draw_plan(self, pen: Any, points: np.ndarray, colour: Colour) -> None:
        from PIL import ImageColor

        rgb = ImageColor.getrgb(colour) if isinstance(colour, str) else tuple(colour)
        fill = (*rgb[:3], _PLAN_OPACITY)
        width = max(1, round(0.06 * self._scale))
        line = [(float(x), float(y)) for x, y in points * self._scale]
        if len(line) < 2:
            return
        pen.line(line, fill=fill, width=width, joint="curve")
        head = _arrow_head(line, length=3.0 * width)
        if head:
            pen.polygon(head, fill=fill)

    def _disc(self, pen: Any, centre: Any, radius: float, **style: Any) -> None:
        x, y = (float(c) * self._scale for c in centre)
        r = radius * self._scale
        pen.ellipse((x - r, y - r, x + r, y + r), **style)


def _trajectory(points: Any) -> np.ndarray:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ValueError(f"a plan's trajectory has the shape [T, 2], T >= 1, got {array.shape}")
    return array


def _arrow_head(
    line: list[tuple[float, float]], *, length: float
) -> list[tuple[float, float]] | None:
    """The triangle at the line's end, along its last piece that has a length."""
    tip = line[-1]
    tail = next((point for point in reversed(line) if math.dist(point, tip) > 1e-6), None)
    if tail is None:
        return None
    distance = math.dist(tail, tip)
    dx, dy = (tip[0] - tail[0]) / distance, (tip[1] - tail[1]) / distance
    half = 0.5 * length
    base = (tip[0] - dx * length, tip[1] - dy * length)
    return [
        tip,
        (base[0] - dy * half, base[1] + dx * half),
        (base[0] + dy * half, base[1] - dx * half),
    ]
