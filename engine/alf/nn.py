"""``alf.nn``: another name for the shelf of networks."""

from alf.networks import *  # noqa: F403
