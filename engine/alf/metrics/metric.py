"""What every metric is: an object fed with time steps, which has a result and can summarize it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from alf.data_structures import TimeStep
from alf.summary import summary_ops as summary


class StepMetric(nn.Module):
    """Base of the metrics. What must survive a restart is a buffer.

    Metrics look at numbers, so they live on the CPU: the time steps they get should be there.
    """

    _name_in_tags = True

    def __init__(self, name: str, dtype: torch.dtype, prefix: str = "Metrics") -> None:
        """
        Args:
            name: last part of the summary tag.
            dtype: of the result.
            prefix: first part of the summary tag.
        """
        super().__init__()
        self.name = name
        self._dtype = dtype
        self._prefix = prefix

    def call(self, time_step: TimeStep) -> TimeStep:
        """Take in one batched time step."""
        raise NotImplementedError(f"{type(self).__name__}.call()")

    def forward(self, time_step: TimeStep) -> TimeStep:
        """The same as `call()`."""
        return self.call(time_step)

    def reset(self) -> None:
        """Forget everything."""
        raise NotImplementedError(f"{type(self).__name__}.reset()")

    def result(self) -> Any:
        """The value of the metric: a nest of 0-dim tensors."""
        raise NotImplementedError(f"{type(self).__name__}.result()")

    def std(self) -> Any:
        """The standard deviation of what was averaged, structured like `result()`; 0 for counts."""
        return torch.zeros((), device="cpu")

    def has_result(self) -> bool:
        """Whether `result()` is more than its value before the first data."""
        return True

    def gen_summaries(
        self,
        train_step: int | None = None,
        step_metrics: Sequence[StepMetric] = (),
        other_steps: Mapping[str, int] = {},
    ) -> None:
        """Write the result as `<prefix>/<name>` and against other measures of progress.

        Of a nest of results each one is written, as `<prefix>/<name>.<path>`.

        Args:
            train_step: the step of `<prefix>/<name>`; the global counter if None.
            step_metrics: for each, `<prefix>_vs_<its name>/<name>` is written at its result.
            other_steps: for each, `<prefix>_vs_<key>/<name>` is written at its value.
        """
        if not (summary.should_record_summaries() and self.has_result()):
            return
        steps = {m.name: int(m.result()) for m in step_metrics if m is not self}
        steps.update(other_steps)
        name = self.name if self._name_in_tags else ""
        for path, value in _named_results(name, self.result()):
            summary.scalar(f"{self._prefix}/{path}", value, step=train_step)
            for step_name, step in steps.items():
                summary.scalar(f"{self._prefix}_vs_{step_name}/{path}", value, step=step)


def _named_results(path: str, result: Any) -> Iterable[tuple[str, torch.Tensor]]:
    if isinstance(result, torch.Tensor):
        yield path, result
        return
    if isinstance(result, Mapping):
        items: Iterable[tuple[Any, Any]] = result.items()
    elif hasattr(result, "_fields"):
        items = zip(result._fields, result, strict=True)
    else:
        items = enumerate(result)
    for key, value in items:
        yield from _named_results(f"{path}.{key}" if path else str(key), value)
