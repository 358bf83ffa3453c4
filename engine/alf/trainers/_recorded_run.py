"""Running with summaries, and the configuration as summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from alf.config_util import get_inoperative_configs, get_operative_configs
from alf.summary import summary_ops as summary
from alf.utils._paths import abs_path


def run_under_record_context(
    func: Callable[[], Any],
    summary_dir: str,
    summary_interval: int,
    flush_secs: int,
    summarize_first_interval: bool = True,
    summary_max_queue: int = 10,
) -> None:
    """Call `func` with summaries written to `summary_dir` every `summary_interval` steps.

    Args:
        summary_interval: 0: none are written.
        summarize_first_interval: write every step of the first interval.
    """

    def is_due() -> bool:
        step = summary.get_global_counter()
        if summary_interval == 0:
            return False
        return (summarize_first_interval and step < summary_interval) or (
            step % summary_interval == 0
        )

    writer = summary.create_summary_writer(
        abs_path(summary_dir), flush_secs=flush_secs, max_queue=summary_max_queue
    )
    try:
        with summary.push_summary_writer(writer), summary.record_if(is_due):
            func()
    finally:
        writer.close()


def summarize_config() -> None:
    """Write the used and the unused configuration values as texts."""

    def table(configs: Iterable[tuple[str, Any]]) -> str:
        return "\n".join(f"    {name} = {value!r}" for name, value in configs)

    with summary.record_if(lambda: True):
        summary.text("config/operative_config", table(get_operative_configs()))
        summary.text("config/inoperative_config", table(get_inoperative_configs()))
