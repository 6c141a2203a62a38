"""`detect_anomaly`: who made the NaN, and who wrote behind the tape's back."""

from __future__ import annotations

import sys
import weakref
import zlib
from threading import get_ident
from typing import Any

import numpy as np

from handloom._device_array import ARRAYS
from handloom._rows import RowGradient
from handloom._tape import Function, watchers
from handloom.ops.reduce import all_finite
from handloom.tensor import FLOATS


class detect_anomaly:
    """Within the block, what this thread records and walks is watched; slow, for debugging.

    A result or a gradient with a NaN raises RuntimeError, and so does backward where an array that
    it saved has other bytes than when it was saved: a write through `.numpy()`, which the version
    counters do not see. The texts name the operation and the line that called it.
    """

    def __init__(self) -> None:
        self._before: list[Any] = []
        self._seen: weakref.WeakKeyDictionary[Function, tuple[str, list[int]]] = (
            weakref.WeakKeyDictionary()
        )

    def __enter__(self) -> detect_anomaly:
        ident = get_ident()
        self._before.append(watchers.get(ident))
        watchers[ident] = self
        return self

    def __exit__(self, *error: object) -> None:
        before = self._before.pop()
        if before is None:
            del watchers[get_ident()]
        else:
            watchers[get_ident()] = before

    def recorded(self, node: Function, y: Any) -> None:
        """The tape has a new node, with this result."""
        line = _caller()
        self._seen[node] = (line, [_checksum(s) for s in node.saved])
        for array in y if isinstance(y, tuple) else (y,):
            if _has_nan(array):
                raise RuntimeError(f"detect_anomaly: {node.name} at {line} gave a NaN")

    def before(self, node: Function) -> None:
        """The tape is about to run a node's backward."""
        line, sums = self._seen.get(node, ("an unwatched line", []))
        for s, checksum in zip(node.saved, sums):
            if _checksum(s) != checksum:
                raise RuntimeError(
                    f"detect_anomaly: {node.name} at {line}: an array of shape {s.shape} that it "
                    "saved was written to, past the version counter"
                )

    def walked(self, node: Function, grads: tuple[Any, ...]) -> None:
        """A node's backward returned these gradients."""
        line, _ = self._seen.get(node, ("an unwatched line", []))
        for i, g in enumerate(grads):
            if g is not None and _has_nan(g):
                raise RuntimeError(
                    f"detect_anomaly: the backward of {node.name} at {line} gave a NaN for "
                    f"argument {i}"
                )


def _caller() -> str:
    """The innermost line outside the package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("handloom"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _checksum(saved: Any) -> int:
    if not isinstance(saved, ARRAYS):
        return 0
    return zlib.crc32(np.ascontiguousarray(saved).view(np.uint8).data) if saved.size else 0


def _has_nan(a: Any) -> bool:
    if isinstance(a, RowGradient):
        a = a._array
    return a.dtype in FLOATS and not all_finite(a) and bool(np.isnan(a).any())
