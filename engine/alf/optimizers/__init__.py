"""Optimizers that are made without parameters and filled later."""

from alf.optimizers.optimizers import SGD, Adam, AdamTF, AdamW, NeroPlus, wrap_optimizer

__all__ = ["SGD", "Adam", "AdamTF", "AdamW", "NeroPlus", "wrap_optimizer"]
