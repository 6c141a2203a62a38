"""The GPU: this build has none, and says so."""

from __future__ import annotations


def is_available() -> bool:
    """Whether tensors can live on a GPU."""
    return False


def device_count() -> int:
    """The number of usable GPUs."""
    return 0


def state() -> str:
    """One line for `hl.show_config()`."""
    return "not in this build"
