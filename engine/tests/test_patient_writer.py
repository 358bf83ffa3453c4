"""Summaries that cannot be written leave a gap in the curves and do not end the run."""

from __future__ import annotations

import errno
import logging

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alf.summary import _patient_writer
from alf.summary.summary_ops import create_summary_writer


def test_a_full_disk_leaves_a_gap(tmp_path, monkeypatch, caplog):
    writer = create_summary_writer(str(tmp_path), flush_secs=1)
    writer.add_scalar("a", 1.0, 1)
    writer.flush()

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    inner = writer._get_file_writer()._writer
    monkeypatch.setattr(inner, "add_summary", fail)
    with caplog.at_level(logging.WARNING, "absl"):
        for step in (2, 3):
            writer.add_scalar("a", 1.0, step)
            writer.flush()
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.text
    monkeypatch.setattr(_patient_writer.time, "monotonic", lambda: float("inf"))
    writer.add_scalar("a", 1.0, 4)
    writer.close()
    inner.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    # Both files are of one second here, so TensorBoard's order is that of a counter's digits.
    assert sorted(event.step for event in events.Scalars("a")) == [1, 4]
