"""Settings of all tests, the engine's and the plugin's."""

from hypothesis import settings

# A shared machine pauses now and then, so no example has a deadline.
settings.register_profile("alf", deadline=None)
settings.load_profile("alf")
