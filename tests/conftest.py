"""Settings of every test."""

from hypothesis import settings

from handloom import _C

# Time limits on single examples fail on a busy machine and say nothing about the library.
settings.register_profile("handloom", deadline=None)
settings.load_profile("handloom")

# A kernel that writes past the scratch memory of its plan is a SystemError that names it.
_C.guard_scratch(True)
