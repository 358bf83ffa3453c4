"""Writing summaries to TensorBoard: writers, tag scopes, recording conditions, the global counter.

A summary is written when three things hold: summaries are enabled, a writer is active, and the
innermost recording condition (`record_if`) is true. Everything else costs a few comparisons.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alf.utils.schedulers import update_progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_enabled = False
_summarize_output = False
_global_counter = 0
_writers: list[SummaryWriter | None] = [None]
_conditions: list[Callable[[], bool]] = [lambda: True]
_scopes: list[str] = [""]
# (tag, sum, count) of the scalars which are averaged over a summary interval
_averages: dict[str, tuple[Any, int]] = {}


# ---------------------------------------------------------------------------------------------
# Whether and where to record


def enable_summary(flag: bool = True) -> None:
    """Turn all summaries on or off. They are off until the first call."""
    global _enabled
    _enabled = flag


def disable_summary() -> None:
    """Turn all summaries off."""
    enable_summary(False)


def is_summary_enabled() -> bool:
    """Whether summaries are turned on, whatever the writer and the recording condition are."""
    return _enabled


def should_record_summaries() -> bool:
    """Whether a summary made now would be written."""
    return _enabled and _writers[-1] is not None and bool(_conditions[-1]())


def should_summarize_output(flag: bool | None = None) -> bool:
    """Whether networks summarize their outputs; a given `flag` is stored first."""
    global _summarize_output
    if flag is not None:
        _summarize_output = flag
    return _summarize_output


class record_if:
    """Context in which summaries are recorded when `cond()` is true; the innermost one decides."""

    def __init__(self, cond: Callable[[], bool]) -> None:
        self._cond = cond

    def __enter__(self) -> None:
        _conditions.append(self._cond)

    def __exit__(self, *exc: object) -> None:
        _conditions.pop()


class EnsureSummary:
    """Makes sure that code which runs rarely gets its summaries written.

    `tick()` is called once per iteration and remembers that one of them was a recorded one. The
    next time the object is entered as a context, everything inside is recorded.
    """

    def __init__(self) -> None:
        self._due = False
        self._entered: list[bool] = []

    def tick(self) -> None:
        """Note whether the current iteration is one whose summaries are recorded."""
        self._due = self._due or should_record_summaries()

    def __enter__(self) -> None:
        self._entered.append(self._due)
        if self._due:
            _conditions.append(lambda: True)

    def __exit__(self, *exc: object) -> None:
        if self._entered.pop():
            _conditions.pop()
            self._due = False


def create_summary_writer(
    summary_dir: str, flush_secs: int = 10, max_queue: int = 10
) -> SummaryWriter:
    """A TensorBoard writer for the directory `summary_dir`, which is made if it is not there.

    What cannot be written later, as on a full disk, is left out with a warning.
    """
    from alf.summary._patient_writer import PatientSummaryWriter

    return PatientSummaryWriter(log_dir=summary_dir, flush_secs=flush_secs, max_queue=max_queue)


def set_default_writer(writer: SummaryWriter | None) -> None:
    """The writer used where no other has been pushed; None stops recording there."""
    _writers[0] = writer


class push_summary_writer:
    """Context in which summaries go to `writer`."""

    def __init__(self, writer: SummaryWriter | None) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        _writers.append(self._writer)

    def __exit__(self, *exc: object) -> None:
        _writers.pop()


# ---------------------------------------------------------------------------------------------
# Tags


class scope:
    """Context which puts `name/` before the tags made inside; scopes nest.

    A name which starts with '/' is absolute: it does not lie inside the enclosing scope.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """The name given to the constructor."""
        return self._name

    def __enter__(self) -> str:
        full = _absolute(self._name).rstrip("/")
        _scopes.append(full + "/" if full else "")
        return _scopes[-1]

    def __exit__(self, *exc: object) -> None:
        _scopes.pop()


def scope_name() -> str:
    """The tag prefix of the current scope: '' at the top, otherwise ending with '/'."""
    return _scopes[-1]


def enter_summary_scope(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a method of an object with a `name` runs in the scope of that name."""

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(self, "name", None)
        if not isinstance(name, str):
            name = self._name
        with scope(name):
            return method(self, *args, **kwargs)

    return wrapped


def _absolute(name: str) -> str:
    return name[1:] if name.startswith("/") else _scopes[-1] + name


# ---------------------------------------------------------------------------------------------
# Recording


def scalar(
    name: str,
    data: Any,
    step: int | None = None,
    walltime: float | None = None,
    *,
    average_over_summary_interval: bool = False,
) -> None:
    """Record one number (a Python or numpy number, or a tensor with one element).

    With `average_over_summary_interval` the values of all calls since the tag was last written are
    averaged, instead of taking only the last one.
    """
    if average_over_summary_interval:
        data = _running_average(_absolute(name), data)
    if should_record_summaries():
        if average_over_summary_interval:
            _averages.pop(_absolute(name), None)
        _writers[-1].add_scalar(_absolute(name), data, _step(step), walltime)


def histogram(
    name: str,
    data: Any,
    step: int | None = None,
    bins: Any = None,
    walltime: float | None = None,
    max_bins: int | None = None,
) -> None:
    """Record the distribution of the elements of `data`; nothing is written when it is empty."""
    if not should_record_summaries():
        return
    values = _to_numpy(data)
    if values.size == 0:
        return
    if values.dtype == np.bool_:
        values = values.astype(np.int32)
    bins = "tensorflow" if bins is None else bins
    _writers[-1].add_histogram(_absolute(name), values, _step(step), bins, walltime, max_bins)


def text(name: str, data: str, step: int | None = None, walltime: float | None = None) -> None:
    """Record a text, which TensorBoard shows as Markdown."""
    if should_record_summaries():
        _writers[-1].add_text(_absolute(name), data, _step(step), walltime)


def images(
    name: str,
    data: Any,
    step: int | None = None,
    dataformat: str = "NCHW",
    walltime: float | None = None,
) -> None:
    """Record images: uint8, or float in [0, 1]; axes as `dataformat` says."""
    if should_record_summaries():
        values = _to_numpy(data)
        _writers[-1].add_images(_absolute(name), values, _step(step), walltime, dataformat)


def video(
    name: str,
    data: Any,
    step: int | None = None,
    fps: int = 4,
    walltime: float | None = None,
) -> None:
    """Record a video as an animated GIF.

    Args:
        data: `[N, T, C, H, W]`, uint8 or float in [0, 1], C is 1 or 3; the N clips are shown side
            by side.
    """
    if not should_record_summaries():
        return
    from tensorboard.compat.proto.summary_pb2 import Summary

    frames = _video_frames(_to_numpy(data))
    image = Summary.Image(
        height=frames[0].height,
        width=frames[0].width,
        colorspace=3,
        encoded_image_string=_encode_gif(frames, fps),
    )
    summary = Summary(value=[Summary.Value(tag=_absolute(name), image=image)])
    _writers[-1]._get_file_writer().add_summary(summary, _step(step), walltime)


def embedding(
    name: str,
    data: Any,
    step: int | None = None,
    class_labels: Sequence[Any] | None = None,
    label_imgs: torch.Tensor | None = None,
) -> None:
    """Record points `[N, D]` for the projector, with labels or small images `[N, C, H, W]`."""
    if should_record_summaries():
        if class_labels is not None:
            class_labels = [x.item() if isinstance(x, torch.Tensor) else x for x in class_labels]
        matrix = torch.as_tensor(_to_numpy(data))
        _writers[-1].add_embedding(matrix, class_labels, label_imgs, _step(step), _absolute(name))


def _step(step: Any) -> int:
    return _global_counter if step is None else int(step)


def _to_numpy(data: Any) -> np.ndarray:
    if isinstance(data, torch.Tensor):
        data = data.detach()
        if data.dtype == torch.bfloat16:
            data = data.float()
        return data.cpu().numpy()
    return np.asarray(data)


def _running_average(tag: str, data: Any) -> Any:
    """Add `data` to what the tag has gathered; return the mean. Tensors stay where they are."""
    if not _enabled or _writers[-1] is None:
        return data
    if isinstance(data, torch.Tensor):
        data = data.detach()
    total, count = _averages.get(tag, (0.0, 0))
    _averages[tag] = (total + data, count + 1)
    return (total + data) / (count + 1)


def _video_frames(clips: np.ndarray) -> list[Any]:
    if clips.ndim != 5 or clips.shape[2] not in (1, 3):
        raise ValueError(
            f"a video is [N, T, C, H, W] with C 1 or 3; got the shape {tuple(clips.shape)}"
        )
    from PIL import Image

    if clips.dtype != np.uint8:
        clips = (clips.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if clips.shape[2] == 1:
        clips = clips.repeat(3, axis=2)
    # [N, T, C, H, W] -> [T, H, N, W, C]: the clips side by side
    frames = clips.transpose(1, 3, 0, 4, 2)
    frames = frames.reshape(*frames.shape[:2], -1, 3)
    return [Image.fromarray(frame) for frame in frames]


def _encode_gif(frames: list[Any], fps: float) -> bytes:
    out = io.BytesIO()
    frames[0].save(
        out,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=max(1, round(1000 / fps)),
        loop=0,
    )
    return out.getvalue()


# ---------------------------------------------------------------------------------------------
# The global counter


def get_global_counter() -> int:
    """The step under which summaries are written by default."""
    return _global_counter


def set_global_counter(counter: int) -> None:
    """Set the counter, and the progress "global_counter" that schedulers may follow."""
    global _global_counter
    _global_counter = int(counter)
    update_progress("global_counter", _global_counter)


def increment_global_counter() -> None:
    """Add one to the counter."""
    set_global_counter(_global_counter + 1)


def reset_global_counter() -> None:
    """Set the counter to zero."""
    set_global_counter(0)
