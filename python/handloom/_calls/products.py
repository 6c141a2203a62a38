"""What `kernels` and `ops` share about matrix products: their gradients."""

from __future__ import annotations

from .. import _C
from .._arrays import Array


def matmul_gradients(
    dy: Array, a: Array, b: Array, want_a: bool, want_b: bool
) -> tuple[Array | None, Array | None]:
    """Returns da = dy @ bᵀ and db = aᵀ @ dy, summed over the batch axes that were broadcast."""
    # A vector is a matrix with one row (left) or one column (right).
    if a.ndim == 1:
        dy = dy[..., None, :] if b.ndim > 1 else dy[None]
    if b.ndim == 1:
        dy = dy[..., None]
    a2 = a[None, :] if a.ndim == 1 else a
    b2 = b[:, None] if b.ndim == 1 else b
    da = db = None
    if want_a:
        da = _summed(_C.matmul(dy, b2.swapaxes(-1, -2)), a2.shape).reshape(a.shape)
    if want_b:
        db = _summed(_C.matmul(a2.swapaxes(-1, -2), dy), b2.shape).reshape(b.shape)
    return da, db


def _summed(x: Array, shape: tuple[int, ...]) -> Array:
    return x if x.shape == shape else _C.sum_to(x, shape)
