"""``alf.module``: the module class of the engine, which is torch's, unchanged."""

from torch.nn import Module

__all__ = ["Module"]
