"""The machine itself as a contender: how much arithmetic and bandwidth is there right now?

Its rates are the roofline. They are measured again in every round beside the others, because a
shared machine's limits move while one watches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..cases import Case
from ..inputs import Inputs
from . import Prepared, Unsupported

KINDS = ("copy", "read", "write")


class Machine:
    """Measures the fused-multiply-add peak and the memory bandwidth with handloom's threads."""

    def __init__(self, threads: int) -> None:
        try:
            core = importlib.import_module("handloom._C")
        except ImportError as error:
            raise Unsupported(f"no measured peak: {error}") from None
        if not hasattr(core, "bench_peak"):
            raise Unsupported("no measured peak: this build has no bench_peak")
        self._core: Any = core
        library: Any = importlib.import_module("handloom")
        library.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        return {}

    def settings(self) -> dict[str, str]:
        return {}

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        raise Unsupported("the machine is measured, not asked to compute")

    def meter(self, kind: str, dtype: str, nbytes: int, seconds: float) -> Callable[[], float]:
        """Return a measurement: FLOP/s for ``"peak"``, else bytes/s moved by a plain loop."""
        if kind == "peak":
            return lambda: float(self._core.bench_peak(dtype, seconds))
        if kind in KINDS:
            return lambda: float(self._core.bench_bandwidth(kind, nbytes, seconds))
        raise ValueError(f"meter: kind expects 'peak' or one of {', '.join(KINDS)}, got {kind!r}")
