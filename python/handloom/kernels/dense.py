"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]
Float = np.float32 | np.float64


def matmul(
    a: Array, b: Array, *, out: Array | None = None, alpha: float = 1.0, beta: float = 0.0
) -> Array:
    """Matrix product ``alpha * a @ b + beta * out``.

    Any strides are welcome, so that a transposed view costs no copy. Batch axes broadcast and a
    vector is a row on the left and a column on the right, as in :func:`numpy.matmul`.

    Args:
        a: ``(..., M, K)`` or ``(K,)``, float32 or float64.
        b: ``(..., K, N)`` or ``(K,)``, the same dtype.
        out: Where the result goes, ``(..., M, N)``; read as well where ``beta`` is not 0.
        alpha: Factor of the product.
        beta: Factor of what ``out`` held before.

    Returns:
        ``(..., M, N)``: ``out`` if given, else a new array.

    Raises:
        TypeError: Not arrays, not float32 or float64, or two different dtypes.
        ValueError: Shapes that do not match, or an ``out`` that is read-only, misshapen or
            overlaps an operand.
    """
    return _C.matmul(a, b, out, alpha, beta)
