"""Settings of every test."""

import sys

import pytest
from hypothesis import settings

import handloom as hl
from handloom import _C

# Time limits on single examples fail on a busy machine and say nothing about the library.
settings.register_profile("handloom", deadline=None)
settings.load_profile("handloom")

# A kernel that writes past the scratch memory of its plan is a SystemError that names it.
_C.guard_scratch(True)


@pytest.fixture
def settings_stay_here():
    """The benchmark's contenders set up the process that they believe to be their own."""
    threads = hl.get_num_threads()
    yield
    hl.set_num_threads(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
