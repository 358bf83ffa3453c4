"""Modules of ALF that the engine lacks; the cases that need them wait."""

MODULES = (
    "alf.algorithms.decoding_algorithm",
    "alf.algorithms.merlin_algorithm",
    "alf.algorithms.monet_algorithm",
    "alf.algorithms.vae",
    "alf.algorithms.vq_vae",
)
