"""Kernels on tokens, which are numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from .._device_array import beside

Array = npt.NDArray[Any]


def edit_distance(
    a: Array, b: Array, a_lengths: Array | None = None, b_lengths: Array | None = None
) -> Array:
    """The fewest tokens to insert, delete or replace that make each row of b of the same row of a.

    The distance of Levenshtein, 64 rows of its table in a word: Myers, "A fast bit-vector algorithm
    for approximate string matching based on dynamic programming" (1999), with the blocks of Hyyrö
    (2003).

    Args:
        a: Tokens ``(N, S)``, int64 or int32.
        b: Tokens ``(N, T)``, likewise.
        a_lengths: ``(N,)``, how many tokens of a row count, 0 to S; all if left out.
        b_lengths: ``(N,)``, 0 to T.

    Returns:
        ``(N,)``, int64.

    Raises:
        TypeError: Another dtype.
        ValueError: Shapes that do not fit, a length out of range.
    """
    if a_lengths is None:
        a_lengths = _whole(a)
    if b_lengths is None:
        b_lengths = _whole(b)
    return _C.edit_distance(a, b, a_lengths, b_lengths)


def _whole(rows: Array) -> Array:
    shape = np.shape(rows)
    return beside(np.full(shape[:1] or (0,), shape[1] if len(shape) == 2 else 0, np.int64), rows)
