"""Random numbers and dropout.

Every draw is Philox4x32-10: key = the generator's seed, counter = (its call number, the element's
index), so that a draw depends on no thread count, tile or device. Dropout's backward draws the mask
again instead of keeping it.
"""

from __future__ import annotations

from typing import Any

from handloom import _C, _runtime
from handloom._tape import Function
from handloom.ops._common import TensorLike, dense, sizes_of
from handloom.tensor import FLOATS, Array, DTypeLike, Tensor, as_dtype, wrap

ELEMENT, FEATURE, ALPHA, FEATURE_ALPHA = 0, 1, 2, 3


class Dropout(Function):
    """y = x·mask/(1 − p); kinds: single elements, whole features, or SELU's alpha dropout."""

    __slots__ = ("draw", "kind", "p")
    fresh = True

    def forward(ctx, x: Array, p: float, kind: int) -> Array:
        ctx.p, ctx.kind, ctx.draw = p, kind, _runtime.next_draw()
        seed, call = ctx.draw
        return _C.dropout_forward(dense(x), p, seed, call, kind)

    def backward(ctx, dy: Array) -> Array:
        seed, call = ctx.draw
        return _C.dropout_backward(dense(dy), ctx.p, seed, call, ctx.kind)


def dropout(x: TensorLike, p: float, kind: int, op: str) -> Tensor:
    """Draws and applies a mask of `kind`; p = 0 gives x itself.

    Raises:
        ValueError: p is outside [0, 1].
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{op}: p is {p}, expected 0 to 1")
    if p == 0.0:
        return x if isinstance(x, Tensor) else wrap(x)
    out: Tensor = Dropout().run1(x, float(p), kind)
    return out


def _float_name(dtype: DTypeLike, op: str) -> str:
    found = FLOATS[0] if dtype is None else as_dtype(dtype, op)
    if found not in FLOATS:
        raise TypeError(f"{op}: dtype {found}, expected float32 or float64")
    return str(found)


def uniform_array(
    shape: tuple[int, ...], dtype: DTypeLike, low: float = 0.0, high: float = 1.0
) -> Array:
    """Uniform numbers in [low, high) as an array."""
    seed, call = _runtime.next_draw()
    return _C.random_uniform(shape, _float_name(dtype, "uniform"), seed, call, low, high)


def normal_array(
    shape: tuple[int, ...], dtype: DTypeLike, mean: float = 0.0, std: float = 1.0
) -> Array:
    """Normal numbers as an array."""
    seed, call = _runtime.next_draw()
    return _C.random_normal(shape, _float_name(dtype, "normal"), seed, call, mean, std)


def rand(*shape: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1), float32 unless dtype says otherwise."""
    return wrap(uniform_array(sizes_of(shape), dtype)).requires_grad_(requires_grad)


def randn(*shape: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Standard normal, float32 unless dtype says otherwise."""
    return wrap(normal_array(sizes_of(shape), dtype)).requires_grad_(requires_grad)


def randint(low: int, high: int | None = None, size: Any = ()) -> Tensor:
    """int64 in low … high − 1; with one bound in 0 … low − 1.

    Raises:
        ValueError: The range is empty.
    """
    if high is None:
        low, high = 0, low
    if high <= low:
        raise ValueError(f"randint: the range {low} … {high - 1} is empty")
    seed, call = _runtime.next_draw()
    return wrap(_C.random_integers(sizes_of((size,)), seed, call, low, high))


def randperm(n: int) -> Tensor:
    """A random order of 0 … n − 1, int64."""
    if n < 0:
        raise ValueError(f"randperm: n is {n}, expected at least 0")
    seed, call = _runtime.next_draw()
    return wrap(_C.random_permutation(int(n), seed, call))


def bernoulli_array(shape: tuple[int, ...], dtype: DTypeLike, p: float) -> Array:
    """1 with probability p, else 0, as an array."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"bernoulli: p is {p}, expected 0 to 1")
    seed, call = _runtime.next_draw()
    return _C.random_bernoulli(shape, _float_name(dtype, "bernoulli"), seed, call, p)
