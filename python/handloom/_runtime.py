"""Threads and instruction sets."""

from __future__ import annotations

from types import TracebackType

from . import _C


def available_isas() -> list[str]:
    """Instruction sets that this processor and build can run, best first."""
    return _C.available_isas()


def set_num_threads(n: int) -> None:
    """Set how many threads a kernel may use."""
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}, expected at least 1")
    _C.set_num_threads(n)


def get_num_threads() -> int:
    """Return how many threads a kernel may use."""
    return _C.num_threads()


class use_isa:
    """Run kernels on instruction set ``name``, from now on or for a ``with`` block."""

    def __init__(self, name: str) -> None:
        self._before = _C.isa()
        if not _C.use_isa(name):
            names = ", ".join(_C.available_isas())
            raise ValueError(f"use_isa: {name!r} is not available here; choose from {names}")

    def __enter__(self) -> use_isa:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _C.use_isa(self._before)
