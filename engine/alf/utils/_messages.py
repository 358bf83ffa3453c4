"""Messages to the log: always, once, and the results of metrics."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Iterable
from typing import Any

import torch
from absl import logging

from alf.nest import nest


def log_metrics(metrics: Iterable[Any], prefix: str = "") -> None:
    """Log the results of metrics, one line each."""
    lines = [f"{metric.name} = {_as_numbers(metric.result())}" for metric in metrics]
    logging.info("%s \n\t\t %s", prefix, "\n\t\t ".join(lines))


def _as_numbers(result: Any) -> Any:
    return nest.map_structure(lambda x: x.item() if isinstance(x, torch.Tensor) else x, result)


def info(msg: str, *args: Any) -> None:
    """Log a message."""
    logging.info(msg, *args)


@functools.cache
def _once(level: int, text: str) -> None:
    logging.log(level, "%s", text)


def info_once(msg: str, *args: Any) -> None:
    """Log a message, the same text only once."""
    _once(logging.INFO, msg % args if args else msg)


def warning(msg: str, *args: Any) -> None:
    """Log a warning."""
    logging.warning(msg, *args)


def warning_once(msg: str, *args: Any) -> None:
    """Log a warning, the same text only once."""
    _once(logging.WARNING, msg % args if args else msg)


def call_stack() -> list[str]:
    """The calls that lead here, outermost first, without this function."""
    return traceback.format_stack()[:-1]
