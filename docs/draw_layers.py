"""Draws the layers of the plugin from its imports into `docs/layers.svg`.

    python docs/draw_layers.py

A box is a folder, or the part of one that is on its floor (`tests/test_import_order.py`); an arrow
leads to what a box imports, unless it gets there by way of another box.
"""

from __future__ import annotations

import sys
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_import_order import apart, floor, import_graph, part  # noqa: E402

Box = tuple[int, str]
"""Floor, from the bottom up, and folder."""

BOX_WIDTH, GAP, FLOOR_GAP, LINE, MARGIN = 250, 30, 46, 14, 20
CHARACTERS = 40


def box_of(module: str) -> Box | None:
    """The box of a module of the plugin; None for the package itself and for what stands apart."""
    name = part(module)
    return None if not name or apart(module) else (floor(module), name.partition(".")[0])


def layers() -> tuple[dict[Box, list[str]], dict[Box, set[Box]]]:
    """(modules of each box, boxes that each box imports directly)."""
    graph = import_graph()
    modules: dict[Box, list[str]] = {}
    arrows: dict[Box, set[Box]] = {}
    for module, imported in sorted(graph.items()):
        box = box_of(module)
        if box is None:
            continue
        modules.setdefault(box, [])
        if module.count(".") > 1:
            modules[box].append(module.rpartition(".")[2])
        below = {box_of(name) for name in imported if name in graph} - {None, box}
        arrows.setdefault(box, set()).update(below)  # type: ignore[arg-type]
    return modules, arrows


def direct(arrows: dict[Box, set[Box]]) -> dict[Box, set[Box]]:
    """The arrows without those that other arrows lead along."""

    def reached(box: Box) -> set[Box]:
        return {below for next_box in arrows[box] for below in {next_box, *reached(next_box)}}

    return {
        box: {b for b in below if not any(b in reached(other) for other in below - {b})}
        for box, below in arrows.items()
    }


def draw() -> str:
    """The picture as SVG."""
    modules, arrows = layers()
    texts = {
        box: textwrap.wrap(", ".join(names), CHARACTERS, break_long_words=False)
        for box, names in modules.items()
    }
    numbers = sorted({number for number, _ in modules}, reverse=True)
    rows = [sorted(box for box in modules if box[0] == number) for number in numbers]
    width = max(len(row) for row in rows) * (BOX_WIDTH + GAP) - GAP + 2 * MARGIN
    parts, place, y = [], {}, MARGIN
    for row in rows:
        height = max(LINE * (len(texts[box]) + 1) + 16 for box in row)
        x = (width - len(row) * (BOX_WIDTH + GAP) + GAP) / 2
        for box in row:
            place[box] = (x, y, height)
            parts.append(_box(box[1], texts[box], x, y, height))
            x += BOX_WIDTH + GAP
        y += height + FLOOR_GAP
    lines = [
        _arrow(place[box], place[other])
        for box, below in sorted(direct(arrows).items())
        for other in sorted(below)
    ]
    height = y - FLOOR_GAP + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            'font-family="sans-serif" font-size="11">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker>'
            "</defs>",
            f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
            *lines,
            *parts,
            "</svg>\n",
        ]
    )


def _box(title: str, lines: list[str], x: float, y: float, height: float) -> str:
    texts = [
        f'<text x="{x + 10:g}" y="{y + 18 + LINE * (i + 1):g}" fill="#444">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{height:g}" rx="6" '
        'fill="#eef3fa" stroke="#456"/>'
        f'<text x="{x + 10:g}" y="{y + 18:g}" font-weight="bold" font-size="13">{escape(title)}'
        f"</text>{''.join(texts)}"
    )


def _arrow(above: tuple[float, float, float], below: tuple[float, float, float]) -> str:
    """From the lower edge of a box to the upper edge of one below, or to its side beside."""
    x, y, height = above
    to_x, to_y, _ = below
    half = BOX_WIDTH / 2
    if y == to_y:  # on one floor
        start, end = (x, x_end) if (x_end := to_x + BOX_WIDTH) < x else (x + BOX_WIDTH, to_x)
        points = f"M{start:g} {y + 14:g} L{end:g} {to_y + 14:g}"
    else:
        bend = (to_y - y - height) / 2
        points = (
            f"M{x + half:g} {y + height:g} C{x + half:g} {y + height + bend:g} "
            f"{to_x + half:g} {to_y - bend:g} {to_x + half:g} {to_y:g}"
        )
    return f'<path d="{points}" fill="none" stroke="#777" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    picture = Path(__file__).with_name("layers.svg")
    picture.write_text(draw(), encoding="utf-8")
    print(picture)
