"""Grid mazes: where the walls are, where episodes start and where their goals lie.

A layout is a boolean array `[rows, columns]`, true where a wall is. Row 0 is the top one and has
the smallest y. A cell is named (column, row), so that its order is that of a position (x, y); its
centre is (column + 0.5, row + 0.5) times the size of a cell.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Cell = tuple[int, int]
"""(column, row)"""


def layout_from_rows(*rows: str) -> np.ndarray:
    """The layout drawn by one text per row, `1` for a wall and `0` for a free cell."""
    return as_layout([[int(cell) for cell in row] for row in rows])


def as_layout(walls: Any) -> np.ndarray:
    """`walls` as a boolean `[rows, columns]` array; 1 (or true) is a wall, 0 is free.

    Raises:
        ValueError: for anything but a two-dimensional array of 0 and 1 with at least one free cell.
    """
    try:
        array = np.asarray(walls)
    except ValueError as error:
        raise ValueError(f"a maze layout has rows of one length, got {walls!r}") from error
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"a maze layout is a two-dimensional array of 0 (free) and 1 (wall), got {walls!r}"
        )
    layout = array.astype(bool)
    if layout.all():
        raise ValueError(f"a maze layout needs a free cell, got only walls: {walls!r}")
    return layout


def free_cells(layout: np.ndarray) -> list[Cell]:
    """All cells without a wall, row by row."""
    return [(int(column), int(row)) for row, column in np.argwhere(~layout)]


def open_field(columns: int = 10, rows: int = 10) -> np.ndarray:
    """No walls at all; the edge of the world is the only limit."""
    return np.zeros((rows, columns), dtype=bool)


def corridor(columns: int = 20, rows: int = 5) -> np.ndarray:
    """A border around free space."""
    layout = np.ones((rows, columns), dtype=bool)
    layout[1:-1, 1:-1] = False
    return layout


def simple(size: int = 10) -> np.ndarray:
    """A border and, from size 10 on, two crossing walls with one gap each."""
    layout = corridor(size, size)
    if size >= 10:
        gap = size // 2
        layout[size // 3, 2 : size - 2] = True
        layout[size // 3, gap] = False
        layout[2 : size - 2, 2 * size // 3] = True
        layout[gap, 2 * size // 3] = False
    return layout


def medium() -> np.ndarray:
    """Eight by eight cells with short walls, 26 of them free."""
    return layout_from_rows(
        "11111111",
        "10011001",
        "10010001",
        "11000111",
        "10010001",
        "10100101",
        "10001001",
        "11111111",
    )


def u_maze() -> np.ndarray:
    """Two arms joined at their right ends."""
    return layout_from_rows("11111", "10001", "11101", "10001", "11111")


@dataclass(frozen=True)
class MazeTask:
    """A layout with the cells where episodes start and end, and the length of an episode."""

    layout: np.ndarray
    start_cells: Sequence[Cell]
    goal_cells: Sequence[Cell]
    start_jitter: float = 0.0
    max_episode_steps: int = 400


_MEDIUM_CORNERS = ((1, 1), (6, 1), (1, 6), (6, 6))

MAZE_TASKS: dict[str, MazeTask] = {
    "Maze2D-Simple-v0": MazeTask(simple(), start_cells=[(1, 1)], goal_cells=[(8, 8)]),
    "Maze2D-Medium-v0": MazeTask(medium(), start_cells=_MEDIUM_CORNERS, goal_cells=_MEDIUM_CORNERS),
    "Maze2D-Corridor-v0": MazeTask(corridor(), start_cells=[(1, 2)], goal_cells=[(18, 2)]),
    # The shortest way is six cells long: 60 steps of the usual 0.1.
    "Maze2D-UMaze-v0": MazeTask(
        u_maze(),
        start_cells=[(1, 1)],
        goal_cells=[(1, 3)],
        start_jitter=0.1,
        max_episode_steps=200,
    ),
}


def maze_task(name: str) -> MazeTask:
    """The task registered under `name`, such as `Maze2D-UMaze-v0`.

    Raises:
        ValueError: if there is none; the text names the nearest ones.
    """
    if name not in MAZE_TASKS:
        nearest = difflib.get_close_matches(name, MAZE_TASKS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"there is no maze {name!r}; did you mean {nearest!r}? "
            f"There are {', '.join(sorted(MAZE_TASKS))}."
        )
    return MAZE_TASKS[name]
