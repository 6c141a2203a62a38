"""Weights that were packed before the product that uses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]


class PackedWeight:
    """What :func:`handloom.kernels.pack` returns: opaque, but for its shape and dtype.

    It holds a copy of the weights, for the shapes at which packing does not pay, and the panels
    that the register tile of the present instruction set reads; on a GPU there are none.
    """

    __slots__ = ("_panels", "_w", "groups")

    def __init__(self, w: Array, groups: int) -> None:
        self._panels: Array | None = _C.pack_panels(w, groups)
        self._w = w.copy()
        self.groups = groups

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weights."""
        return self._w.shape

    @property
    def ndim(self) -> int:
        """Of the weights."""
        return self._w.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the weights."""
        return self._w.dtype

    def __repr__(self) -> str:
        groups = f", groups={self.groups}" if self.groups != 1 else ""
        return f"PackedWeight({self.shape}, {self.dtype}{groups})"


def unpacked(w: Any) -> tuple[Any, Array | None]:
    """``(w, panels)``, where panels is None for plain arrays."""
    if type(w) is PackedWeight:
        return w._w, w._panels
    return w, None
