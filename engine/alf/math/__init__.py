"""``alf.math``: another name for the functions of ``alf.utils.math_ops``."""

from alf.utils.math_ops import *  # noqa: F403
