"""Compare two runs: `python -m alf.bin.compare --root_dir=<run> --root_dir=<run> --output=<html>`.

Each run plays with the same seeds; the page, one file, shows numbers and videos side by side.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

from absl import app, flags

from alf.bin import _program
from alf.utils._child_process import command_environment

_STYLE = (
    "body{font-family:sans-serif;margin:2em}td,th{padding:.3em 1em;text-align:right}"
    "tr:nth-child(even){background:#f4f4f4}video{display:block;max-width:24em}"
)


class Played(NamedTuple):
    """What a run has done with one seed.

    Attributes:
        checkpoint: number of the checkpoint.
        returns: of each episode.
        lengths: of each episode, in steps.
        video: the content of an mp4 file; empty for none.
    """

    checkpoint: int
    returns: list[float]
    lengths: list[int]
    video: bytes = b""


def define_flags() -> None:
    """Flags of this program."""
    flags.DEFINE_multi_string("root_dir", None, "Directory of a run; given twice.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds that both runs play with.")
    flags.DEFINE_integer("num_episodes", 1, "Episodes for each seed.", lower_bound=1)
    flags.DEFINE_string("output", "compare.html", "The page to write.")
    flags.DEFINE_bool("video", True, "Record the episodes.")


def compare() -> int:
    """Do what the flags say and return the exit status."""
    values = flags.FLAGS
    if len(values.root_dir or ()) != 2:
        raise ValueError(f"--root_dir has to be given twice; got {values.root_dir}")
    if not values.seeds or not all(seed.strip().isdigit() for seed in values.seeds):
        raise ValueError(f"--seeds={values.seeds}; allowed: numbers with commas between")
    seeds = [int(seed) for seed in values.seeds]
    runs = []
    for root_dir in values.root_dir:
        played = [_play(root_dir, seed) for seed in seeds]
        print(f"{root_dir}: {_described(_means(played))}", flush=True)
        runs.append(played)
    output = pathlib.Path(values.output).expanduser().resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(values.root_dir, seeds, runs), encoding="utf-8")
    print(f"written: {output}")
    return 0


def _play(root_dir: str, seed: int) -> Played:
    """Let `alf.bin.play` play the run with a seed."""
    with tempfile.TemporaryDirectory() as directory:
        result = pathlib.Path(directory, "result.json")
        video = pathlib.Path(directory, "video.mp4")
        command = [sys.executable, "-m", "alf.bin.play", "--root_dir", root_dir, "--norender"]
        command += ["--random_seed", str(seed), "--result_file", str(result)]
        command += ["--num_episodes", str(flags.FLAGS.num_episodes)]
        if flags.FLAGS.video:
            command += ["--record_file", str(video), "--last_step_repeats", "10"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=command_environment(),
        )
        if done.returncode:
            hint = "; --novideo compares the numbers only" if flags.FLAGS.video else ""
            raise ValueError(f"playing {root_dir} has failed: {done.stderr.strip()}{hint}")
        content = json.loads(result.read_text())
        return Played(
            content["checkpoint"],
            [_scalar(episode["episode_return"]) for episode in content["episodes"]],
            [episode["length"] for episode in content["episodes"]],
            video.read_bytes() if video.is_file() else b"",
        )


def _scalar(episode_return: float | list[float]) -> float:
    """A reward of several dimensions counts as their sum."""
    return sum(episode_return) if isinstance(episode_return, list) else episode_return


def page(root_dirs: list[str], seeds: list[int], runs: list[list[Played]]) -> str:
    """The html page.

    Args:
        root_dirs: of the two runs.
        seeds: the seeds, S of them.
        runs: for each run what it has done with each seed, `[2][S]`.
    """
    names = [html.escape(os.path.normpath(root_dir)) for root_dir in root_dirs]
    first, second = (_means(played) for played in runs)
    difference = [b - a for a, b in zip(first, second, strict=True)]
    heads = [
        f"{name}, checkpoint {played[0].checkpoint}"
        for name, played in zip(names, runs, strict=True)
    ]
    returns = [(names[0], first), (names[1], second), ("second minus first", difference)]
    rows = [
        _row("th", ["seed", *heads]),
        *(
            _row("td", [str(seed), *(_cell(played[i]) for played in runs)])
            for i, seed in enumerate(seeds)
        ),
    ]
    summary = [
        _row("th", ["mean return over the seeds", "&plusmn; standard error"]),
        *(
            _row("td", [f"{name}: {statistics.fmean(x):.2f}", f"{_standard_error(x):.2f}"])
            for name, x in returns
        ),
    ]
    title = f"{names[0]} and {names[1]}"
    return (
        f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<table>{''.join(summary)}</table><table>{''.join(rows)}</table></body></html>\n"
    )


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _cell(played: Played) -> str:
    text = ", ".join(
        f"{r:.2f} in {n} steps" for r, n in zip(played.returns, played.lengths, strict=True)
    )
    if not played.video:
        return text
    data = base64.b64encode(played.video).decode("ascii")
    return f"{text}<video controls muted src='data:video/mp4;base64,{data}'></video>"


def _means(played: list[Played]) -> list[float]:
    """Mean return for each seed."""
    return [statistics.fmean(p.returns) for p in played]


def _standard_error(values: list[float]) -> float:
    """NaN for a single value."""
    if len(values) < 2:
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))


def _described(values: list[float]) -> str:
    return f"return {statistics.fmean(values):.2f} +- {_standard_error(values):.2f}"


def main() -> None:
    """Entry point."""
    define_flags()
    app.run(lambda _: sys.exit(_program.run(compare)))


if __name__ == "__main__":
    main()
