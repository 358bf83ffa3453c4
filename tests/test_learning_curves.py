"""Learning curves: what is read, what is averaged, and the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from alf_layered.plots.learning_curves import (
    DEFAULT_TAG,
    Curve,
    combine,
    draw_learning_curves,
    main,
    parse_group,
    read_curve,
)


def write_run(folder: Path, points, tag=DEFAULT_TAG):
    writer = EventFileWriter(str(folder))
    for time, (step, value) in enumerate(points):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=1e9 + time, step=step, summary=summary))
    writer.close()


def test_evaluation_is_read_before_training(tmp_path):
    write_run(tmp_path / "train", [(1, -1.0), (2, -2.0)])
    write_run(tmp_path / "train", [(1, 5.0)], tag="Metrics/AverageReturn")
    assert read_curve(tmp_path).values.tolist() == [-1.0, -2.0]
    write_run(tmp_path / "eval", [(10, 1.0), (20, 2.0)])
    curve = read_curve(tmp_path)
    assert curve.steps.tolist() == [10, 20]
    assert curve.values.tolist() == [1.0, 2.0]
    # Training alone has this one.
    assert read_curve(tmp_path, "Metrics/AverageReturn").values.tolist() == [5.0]


OLD_SUCCESS = "Metrics_vs_EnvironmentSteps/AverageEnvInfo/success"
SUCCESS = "Metrics_vs_EnvironmentSteps/success"


@pytest.mark.parametrize("asked", [OLD_SUCCESS, SUCCESS])
@pytest.mark.parametrize("written", [[OLD_SUCCESS], [SUCCESS], [OLD_SUCCESS, SUCCESS]])
def test_success_is_read_under_its_old_and_new_name(tmp_path, asked, written):
    for i, tag in enumerate(written):
        write_run(tmp_path / "eval", [(10 * i + 1, 0.5), (10 * i + 2, 1.0)], tag=tag)
    curve = read_curve(tmp_path, asked)
    assert curve.steps.tolist() == [10 * i + k for i in range(len(written)) for k in (1, 2)]
    assert curve.values.tolist() == [0.5, 1.0] * len(written)


def test_every_number_is_read_and_a_step_written_again_counts_once(tmp_path):
    points = [(step, float(step)) for step in range(12000)] + [(11000, -1.0), (11001, -2.0)]
    write_run(tmp_path, points)
    curve = read_curve(tmp_path)
    assert (np.diff(curve.steps) > 0).all()
    assert curve.values[:11000].tolist() == list(range(11000))
    assert curve.values[curve.steps == 11000].tolist() == [-1.0]
    assert curve.values[curve.steps == 11001].tolist() == [-2.0]


def test_seeds_are_averaged_over_the_steps_they_share():
    seeds = [
        Curve(np.array([0, 10, 20]), np.array([0.0, 1.0, 2.0])),
        Curve(np.array([5, 15]), np.array([3.5, 0.5])),
    ]
    band = combine(seeds)
    assert band.steps.tolist() == [5, 10, 15]
    # The first seed is 0.5, 1, 1.5 there, the second one 3.5, 2, 0.5.
    assert band.mean.tolist() == [2.0, 1.5, 1.0]
    assert band.low.tolist() == [0.5, 1.0, 0.5]
    assert band.high.tolist() == [3.5, 2.0, 1.5]
    band = combine(seeds, "sd")
    assert (band.high - band.mean).tolist() == [1.5, 0.5, 0.5]
    assert (band.mean - band.low).tolist() == [1.5, 0.5, 0.5]


def test_one_seed_has_no_spread():
    band = combine([Curve(np.array([3]), np.array([7.0]))])
    assert [field.tolist() for field in band] == [[3], [7.0], [7.0], [7.0]]


def test_what_cannot_be_combined_is_refused():
    early, late = (Curve(np.array([a, a + 1]), np.zeros(2)) for a in (0, 5))
    with pytest.raises(ValueError, match="no steps in common; theirs are 0 to 1, 5 to 6"):
        combine([early, late])
    with pytest.raises(ValueError, match="nothing to combine"):
        combine([])
    with pytest.raises(ValueError, match="one of minmax, sd, got 'iqr'"):
        combine([early], "iqr")
    with pytest.raises(ValueError, match="each group needs a run"):
        draw_learning_curves({"a": []})


def test_a_missing_run_file_or_tag_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run directory .*nowhere"):
        read_curve(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no tensorboard file"):
        read_curve(tmp_path)
    write_run(tmp_path / "eval", [(1, 1.0)])
    with pytest.raises(ValueError, match=f"no tag .*AverageReturns'; near it are {DEFAULT_TAG}"):
        read_curve(tmp_path, "Metrics_vs_EnvironmentSteps/AverageReturns")


def test_groups_are_labels_with_directories_or_patterns(tmp_path):
    for name in ("run_1", "run_0", "other"):
        (tmp_path / name).mkdir()
    label, roots = parse_group(f"flat SAC={tmp_path}/run_*,{tmp_path}/other")
    assert label == "flat SAC"
    assert [root.name for root in roots] == ["run_0", "run_1", "other"]
    for wrong in ("runs", "=runs", "label=", f"label={tmp_path}/none_*"):
        with pytest.raises(ValueError, match="label"):
            parse_group(wrong)


def test_the_picture_has_lines_bands_and_threshold(tmp_path):
    from PIL import Image

    for seed in range(2):
        write_run(tmp_path / f"a_{seed}" / "eval", [(s, s / 100 + seed / 9) for s in range(100)])
    write_run(tmp_path / "b" / "eval", [(s, 0.5) for s in range(0, 100, 9)])
    groups = {"a": [tmp_path / "a_0", tmp_path / "a_1"], "b": [tmp_path / "b"]}
    plain = draw_learning_curves(groups, out=tmp_path / "new" / "plain.png")
    lined = draw_learning_curves(
        groups, out=tmp_path / "lined.png", threshold=0.9, title="Maze", y_label="success rate"
    )
    images = [np.asarray(Image.open(path).convert("RGB")) for path in (plain, lined)]
    assert images[0].shape == images[1].shape == (630, 1050, 3)
    assert (images[0] != images[1]).any()
    # The two lines' colours, matplotlib's first and second.
    for colour in ((31, 119, 180), (255, 127, 14)):
        assert (images[0] == colour).all(axis=-1).sum() > 100


def test_the_command_line_writes_a_picture_or_says_in_one_line_what_is_wrong(tmp_path, capsys):
    write_run(tmp_path / "run" / "train", [(0, 0.0), (9, 1.0)])
    out = tmp_path / "curve.png"
    assert main(["--out", str(out), "--threshold", "0.9", f"mine={tmp_path}/run"]) == 0
    assert out.stat().st_size > 1000
    assert main(["--out", str(out), f"mine={tmp_path}/runs"]) == 1
    error = capsys.readouterr().err
    assert f"no run directory {tmp_path}/runs" in error
    assert error.count("\n") == 1


def test_importing_it_loads_neither_matplotlib_nor_tensorboard():
    code = (
        "import sys, alf_layered.plots.learning_curves;"
        "print([m for m in ('matplotlib', 'tensorboard') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
