"""Settings of every test."""

from hypothesis import settings

# Time limits on single examples fail on a busy machine and say nothing about the library.
settings.register_profile("handloom", deadline=None)
settings.load_profile("handloom")
