"""Buffers that are not saved, because the settings determine them."""

from __future__ import annotations

from torch import Tensor, nn


def register_constant(module: nn.Module, name: str, value: Tensor | None) -> None:
    """Registers a buffer that moves with the module and is left out of its state dict."""
    module.register_buffer(name, value)
    # ALF's own `register_buffer` takes no `persistent`.
    module._non_persistent_buffers_set.add(name)
