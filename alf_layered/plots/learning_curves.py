"""Learning curves of several runs, as a picture: what was reached after how many steps.

    python -m alf_layered.plots.learning_curves --out curve.png --threshold 0.9 \\
        "hierarchy=runs/hierarchy_*" "flat SAC=runs/sac_0,runs/sac_1"

Each run is a root directory of ALF's; runs with the same label are seeds of one thing. Needs
tensorboard and matplotlib (`pip install alf-layered[plots]`).
"""

from __future__ import annotations

import argparse
import difflib
import glob
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

DEFAULT_TAG = "Metrics_vs_EnvironmentSteps/AverageReturn"
SPREADS = ("minmax", "sd")
# Evaluation first: it is of the policy as it would be used, without exploration.
_FOLDERS = ("eval", "train", ".")


class Curve(NamedTuple):
    """Numbers over steps; steps increase."""

    steps: np.ndarray
    """[N] int64"""
    values: np.ndarray
    """[N] float64"""


class Band(NamedTuple):
    """Several seeds over the steps that all of them reached."""

    steps: np.ndarray
    """[N]"""
    mean: np.ndarray
    """[N]"""
    low: np.ndarray
    """[N]"""
    high: np.ndarray
    """[N]"""


def read_curve(root: Path | str, tag: str = DEFAULT_TAG) -> Curve:
    """What a run wrote under `tag`, from `<root>/eval` or else `<root>/train` or `<root>` itself.

    Where a step was written more than once, as after a restart, the last time counts. Entries of
    `env_info` are found under both names: `<metrics>/success` (ALF's) and, of older runs,
    `<metrics>/AverageEnvInfo/success`.

    Raises:
        FileNotFoundError: if there is no such directory, or no tensorboard file in it.
        ValueError: if no file has the tag; the text names the nearest ones.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no run directory {root}")
    available: set[str] = set()
    found = False
    for folder in (root / name for name in _FOLDERS):
        if any(folder.glob("events.out.tfevents.*")):
            found = True
            curve, tags = _read_folder(folder, tag)
            if curve is not None:
                return curve
            available.update(tags)
    if not found:
        raise FileNotFoundError(
            f"no tensorboard file (events.out.tfevents.*) in {root}/eval, {root}/train or {root}"
        )
    nearest = difflib.get_close_matches(tag, sorted(available), n=5, cutoff=0.3)
    raise ValueError(
        f"{root} has no tag {tag!r}; "
        f"{'near it are ' + ', '.join(nearest) if nearest else 'nothing is near it'} "
        f"(of {len(available)} tags)"
    )


def combine(curves: Sequence[Curve], spread: str = "minmax") -> Band:
    """Mean and spread of seeds, over the steps from the latest first to the earliest last one.

    Curves are interpolated linearly at the steps of all of them.

    Args:
        curves: one per seed.
        spread: `minmax`, or `sd`: one standard deviation (of the population) each way.

    Raises:
        ValueError: for another spread, no curve, or curves that have no steps in common.
    """
    if spread not in SPREADS:
        raise ValueError(f"spread is one of {', '.join(SPREADS)}, got {spread!r}")
    if not curves or any(len(curve.steps) == 0 for curve in curves):
        raise ValueError("there is nothing to combine: no curve, or an empty one")
    first = max(curve.steps[0] for curve in curves)
    last = min(curve.steps[-1] for curve in curves)
    if first > last:
        ranges = ", ".join(f"{curve.steps[0]} to {curve.steps[-1]}" for curve in curves)
        raise ValueError(f"the seeds have no steps in common; theirs are {ranges}")
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    values = np.stack([np.interp(steps, curve.steps, curve.values) for curve in curves])
    mean = values.mean(axis=0)
    if spread == "sd":
        deviation = values.std(axis=0)
        return Band(steps, mean, mean - deviation, mean + deviation)
    return Band(steps, mean, values.min(axis=0), values.max(axis=0))


def draw_learning_curves(
    groups: Mapping[str, Sequence[Path | str]],
    tag: str = DEFAULT_TAG,
    out: Path | str = "learning_curves.png",
    *,
    spread: str = "minmax",
    threshold: float | None = None,
    title: str | None = None,
    x_label: str = "environment steps",
    y_label: str | None = None,
) -> Path:
    """Draws a line and a band per group of runs into the file `out`; returns its path.

    Args:
        groups: label -> root directories, one per seed.
        tag: see `read_curve`.
        out: a PNG file (or what else matplotlib knows by its suffix); its folder is made.
        spread: see `combine`.
        threshold: where to draw a horizontal line, such as a success rate to be reached.
        title: above the picture.
        x_label: below the horizontal axis.
        y_label: beside the vertical axis; None is the last part of `tag`.

    Raises:
        ValueError: if there is no group, or for what `read_curve` and `combine` refuse.
        FileNotFoundError: see `read_curve`.
    """
    if not groups or not all(groups.values()):
        raise ValueError(f"each group needs a run, got {dict(groups)}")
    bands = {
        label: combine([read_curve(root, tag) for root in roots], spread)
        for label, roots in groups.items()
    }
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(7.0, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, band in bands.items():
        count = len(groups[label])
        (line,) = axes.plot(
            band.steps, band.mean, label=f"{label} ({count} seed{'s' if count > 1 else ''})"
        )
        axes.fill_between(band.steps, band.low, band.high, color=line.get_color(), alpha=0.2, lw=0)
    if threshold is not None:
        axes.axhline(threshold, color="0.4", linestyle="--", lw=1, label=f"{threshold:g}")
    axes.set_xlabel(x_label)
    axes.set_ylabel(tag.rsplit("/", 1)[-1] if y_label is None else y_label)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    if title:
        axes.set_title(title)
    axes.legend(loc="best", title="mean, " + ("min to max" if spread == "minmax" else "± sd"))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    return out


def parse_group(text: str) -> tuple[str, list[Path]]:
    """`label=dir1,dir2` as a label and its directories; `*` and `?` in them are filled in.

    Raises:
        ValueError: if there is no label or no directory, or one that a pattern does not find.
    """
    label, separator, rest = text.partition("=")
    patterns = [pattern for pattern in rest.split(",") if pattern]
    if not separator or not label or not patterns:
        raise ValueError(f"a group is label=dir1,dir2,..., got {text!r}")
    roots: list[Path] = []
    for pattern in patterns:
        matches = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        if not matches:
            raise ValueError(f"no directory matches {pattern!r} of the group {label!r}")
        roots += [Path(match) for match in matches]
    return label, roots


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's text. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m alf_layered.plots.learning_curves",
        description="Draws mean and spread over seeds of a tensorboard tag against steps.",
    )
    parser.add_argument("groups", nargs="+", metavar="label=dir1,dir2", help="runs of one label")
    parser.add_argument("--tag", default=DEFAULT_TAG, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    parser.add_argument("--spread", choices=SPREADS, default="minmax")
    parser.add_argument("--threshold", type=float, help="draw a line at this height")
    parser.add_argument("--title")
    parser.add_argument("--x-label", default="environment steps")
    parser.add_argument("--y-label", help="default: the last part of the tag")
    options = parser.parse_args(arguments)
    try:
        groups: dict[str, list[Path]] = {}
        for text in options.groups:
            label, roots = parse_group(text)
            groups.setdefault(label, []).extend(roots)
        written = draw_learning_curves(
            groups,
            options.tag,
            options.out,
            spread=options.spread,
            threshold=options.threshold,
            title=options.title,
            x_label=options.x_label,
            y_label=options.y_label,
        )
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(written)
    return 0


def _read_folder(folder: Path, tag: str) -> tuple[Curve | None, list[str]]:
    """The curve in a folder's files, None if they have not the tag, and the tags they have."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # 0 keeps all: by default only a random sample of 10,000 numbers would be read.
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    present = [spelling for spelling in _spellings(tag) if spelling in tags]
    if not present:
        return None, tags
    last = {event.step: event.value for name in present for event in accumulator.Scalars(name)}
    steps = np.array(sorted(last), dtype=np.int64)
    return Curve(steps, np.array([last[step] for step in steps], dtype=np.float64)), tags


_OLD_ENTRY = "AverageEnvInfo/"


def _spellings(tag: str) -> list[str]:
    """All names of a curve: older runs wrote entries of `env_info` one folder deeper."""
    folder, _, name = tag.rpartition("/")
    if tag.startswith("Metrics") and not folder.endswith(_OLD_ENTRY[:-1]):
        return [f"{folder}/{_OLD_ENTRY}{name}", tag]
    if f"/{_OLD_ENTRY}" in tag:
        return [tag, tag.replace(_OLD_ENTRY, "", 1)]
    return [tag]


if __name__ == "__main__":
    sys.exit(main())
