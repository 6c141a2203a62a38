"""Operations that treat every element alike, with their derivatives.

Arrays are float32 or float64, of any strides (zero and negative included); where there are two
they have the same dtype, and a Python or NumPy number takes the dtype of the array beside it.
Shapes broadcast as in NumPy. ``out`` takes the result if given: an array of its shape and dtype
that shares no memory with an operand, unless it is exactly that operand; otherwise results are
new C-ordered arrays. The largest errors in units of the last place stand in
``csrc/cpu/simd/math.h``.

Gradients are PyTorch's where mathematics leaves a choice. ``<op>_backward(dy, x, *, y=None)``
returns ``dx = dy · f'(x)``; where f' follows from ``y = f(x)`` alone, y saves computing it again,
and x may then be None. ``<op>_backward(dy, a, b, *, need=("a", "b"))`` returns ``(da, db)``, each
summed to its operand's shape, None where it is not in ``need`` or the operand is a number.

Every function raises TypeError for what is no float32 or float64 array and for two different
dtypes, and ValueError for shapes that do not broadcast and a misshapen, read-only or overlapping
``out``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from ._options import need_mask

Array = npt.NDArray[Any]
Operand = Array | float
Pair = tuple[Array | None, Array | None]

_ABS = _C.unary_ops["abs"]
_CEIL = _C.unary_ops["ceil"]
_COS = _C.unary_ops["cos"]
_ERF = _C.unary_ops["erf"]
_EXP = _C.unary_ops["exp"]
_EXPM1 = _C.unary_ops["expm1"]
_FLOOR = _C.unary_ops["floor"]
_LOG = _C.unary_ops["log"]
_LOG1P = _C.unary_ops["log1p"]
_NEG = _C.unary_ops["neg"]
_RECIPROCAL = _C.unary_ops["reciprocal"]
_RSQRT = _C.unary_ops["rsqrt"]
_SIGN = _C.unary_ops["sign"]
_SIN = _C.unary_ops["sin"]
_SQRT = _C.unary_ops["sqrt"]
_SQUARE = _C.unary_ops["square"]
_ADD = _C.binary_ops["add"]
_DIV = _C.binary_ops["div"]
_FLOOR_DIVIDE = _C.binary_ops["floor_divide"]
_REMAINDER = _C.binary_ops["remainder"]
_MAXIMUM = _C.binary_ops["maximum"]
_MINIMUM = _C.binary_ops["minimum"]
_MUL = _C.binary_ops["mul"]
_SUB = _C.binary_ops["sub"]
_POW = _C.binary_ops["pow"]
_CLIP = _C.unary_ops["clip"]
_EQ = _C.compare_ops["eq"]
_GE = _C.compare_ops["ge"]
_GT = _C.compare_ops["gt"]
_LE = _C.compare_ops["le"]
_LT = _C.compare_ops["lt"]
_NE = _C.compare_ops["ne"]


def abs(x: Array, *, out: Array | None = None) -> Array:
    """Absolute value ``|x|``; keeps the bits of what is below the sign. Gradient 0 at 0."""
    return _C.unary_forward(_ABS, x, 0.0, 0.0, out)


def abs_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`abs`, dy · sign x."""
    return _C.unary_backward(_ABS, dy, x, y)


def ceil(x: Array, *, out: Array | None = None) -> Array:
    """Least whole number not below x. Gradient 0."""
    return _C.unary_forward(_CEIL, x, 0.0, 0.0, out)


def ceil_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`ceil`, 0."""
    return _C.unary_backward(_CEIL, dy, x, y)


def cos(x: Array, *, out: Array | None = None) -> Array:
    """Cosine of x in radians."""
    return _C.unary_forward(_COS, x, 0.0, 0.0, out)


def cos_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`cos`, -dy · sin x."""
    return _C.unary_backward(_COS, dy, x, y)


def erf(x: Array, *, out: Array | None = None) -> Array:
    """Error function ``2/√π ∫₀ˣ exp(-t²) dt``."""
    return _C.unary_forward(_ERF, x, 0.0, 0.0, out)


def erf_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`erf`, dy · 2/√π exp(-x²)."""
    return _C.unary_backward(_ERF, dy, x, y)


def exp(x: Array, *, out: Array | None = None) -> Array:
    """Exponential ``eˣ``."""
    return _C.unary_forward(_EXP, x, 0.0, 0.0, out)


def exp_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`exp`, dy · y."""
    return _C.unary_backward(_EXP, dy, x, y)


def expm1(x: Array, *, out: Array | None = None) -> Array:
    """``eˣ - 1`` without cancellation near 0."""
    return _C.unary_forward(_EXPM1, x, 0.0, 0.0, out)


def expm1_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`expm1`, dy · (y + 1)."""
    return _C.unary_backward(_EXPM1, dy, x, y)


def floor(x: Array, *, out: Array | None = None) -> Array:
    """Greatest whole number not above x. Gradient 0."""
    return _C.unary_forward(_FLOOR, x, 0.0, 0.0, out)


def floor_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`floor`, 0."""
    return _C.unary_backward(_FLOOR, dy, x, y)


def log(x: Array, *, out: Array | None = None) -> Array:
    """Natural logarithm; -inf at 0, NaN below."""
    return _C.unary_forward(_LOG, x, 0.0, 0.0, out)


def log_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`log`, dy / x."""
    return _C.unary_backward(_LOG, dy, x, y)


def log1p(x: Array, *, out: Array | None = None) -> Array:
    """``log(1 + x)`` without cancellation near 0."""
    return _C.unary_forward(_LOG1P, x, 0.0, 0.0, out)


def log1p_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`log1p`, dy / (1 + x)."""
    return _C.unary_backward(_LOG1P, dy, x, y)


def neg(x: Array, *, out: Array | None = None) -> Array:
    """``-x``; only the sign bit changes."""
    return _C.unary_forward(_NEG, x, 0.0, 0.0, out)


def neg_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`neg`, -dy."""
    return _C.unary_backward(_NEG, dy, x, y)


def reciprocal(x: Array, *, out: Array | None = None) -> Array:
    """``1 / x``."""
    return _C.unary_forward(_RECIPROCAL, x, 0.0, 0.0, out)


def reciprocal_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`reciprocal`, -dy · y²."""
    return _C.unary_backward(_RECIPROCAL, dy, x, y)


def rsqrt(x: Array, *, out: Array | None = None) -> Array:
    """``1 / sqrt(x)``."""
    return _C.unary_forward(_RSQRT, x, 0.0, 0.0, out)


def rsqrt_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`rsqrt`, -dy · y³ / 2."""
    return _C.unary_backward(_RSQRT, dy, x, y)


def sign(x: Array, *, out: Array | None = None) -> Array:
    """-1, 0 or 1; NaN stays NaN. Gradient 0."""
    return _C.unary_forward(_SIGN, x, 0.0, 0.0, out)


def sign_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`sign`, 0."""
    return _C.unary_backward(_SIGN, dy, x, y)


def sin(x: Array, *, out: Array | None = None) -> Array:
    """Sine of x in radians."""
    return _C.unary_forward(_SIN, x, 0.0, 0.0, out)


def sin_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`sin`, dy · cos x."""
    return _C.unary_backward(_SIN, dy, x, y)


def sqrt(x: Array, *, out: Array | None = None) -> Array:
    """Square root; NaN below 0."""
    return _C.unary_forward(_SQRT, x, 0.0, 0.0, out)


def sqrt_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`sqrt`, dy / 2y."""
    return _C.unary_backward(_SQRT, dy, x, y)


def square(x: Array, *, out: Array | None = None) -> Array:
    """``x²``."""
    return _C.unary_forward(_SQUARE, x, 0.0, 0.0, out)


def square_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`square`, dy · 2x."""
    return _C.unary_backward(_SQUARE, dy, x, y)


def add(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a + b``."""
    return _C.binary_forward(_ADD, a, b, out)


def add_backward(dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")) -> Pair:
    """Gradients of :func:`add`."""
    return _C.binary_backward(_ADD, dy, a, b, None, need_mask("add_backward", need, ("a", "b")))


def div(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a / b``."""
    return _C.binary_forward(_DIV, a, b, out)


def div_backward(dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")) -> Pair:
    """Gradients of :func:`div`."""
    return _C.binary_backward(_DIV, dy, a, b, None, need_mask("div_backward", need, ("a", "b")))


def floor_divide(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``floor(a / b)`` of the exact quotient, NumPy's ``//``: ``1.0 // 0.1`` is 9."""
    return _C.binary_forward(_FLOOR_DIVIDE, a, b, out)


def floor_divide_backward(
    dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")
) -> Pair:
    """Gradients of :func:`floor_divide`, 0."""
    return _C.binary_backward(
        _FLOOR_DIVIDE, dy, a, b, None, need_mask("floor_divide_backward", need, ("a", "b"))
    )


def remainder(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a - floor(a / b) * b`` without a rounding of the quotient, NumPy's ``%``; b's sign."""
    return _C.binary_forward(_REMAINDER, a, b, out)


def remainder_backward(
    dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")
) -> Pair:
    """Gradients of :func:`remainder`: ``dy`` and ``-dy * floor(a / b)``."""
    return _C.binary_backward(
        _REMAINDER, dy, a, b, None, need_mask("remainder_backward", need, ("a", "b"))
    )


def maximum(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """The larger of a and b; NaN if either is. Equal operands share the gradient in halves."""
    return _C.binary_forward(_MAXIMUM, a, b, out)


def maximum_backward(
    dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")
) -> Pair:
    """Gradients of :func:`maximum`."""
    return _C.binary_backward(
        _MAXIMUM, dy, a, b, None, need_mask("maximum_backward", need, ("a", "b"))
    )


def minimum(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """The smaller of a and b; NaN if either is. Equal operands share the gradient in halves."""
    return _C.binary_forward(_MINIMUM, a, b, out)


def minimum_backward(
    dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")
) -> Pair:
    """Gradients of :func:`minimum`."""
    return _C.binary_backward(
        _MINIMUM, dy, a, b, None, need_mask("minimum_backward", need, ("a", "b"))
    )


def mul(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a * b``."""
    return _C.binary_forward(_MUL, a, b, out)


def mul_backward(dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")) -> Pair:
    """Gradients of :func:`mul`."""
    return _C.binary_backward(_MUL, dy, a, b, None, need_mask("mul_backward", need, ("a", "b")))


def sub(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a - b``."""
    return _C.binary_forward(_SUB, a, b, out)


def sub_backward(dy: Array, a: Operand, b: Operand, *, need: tuple[str, ...] = ("a", "b")) -> Pair:
    """Gradients of :func:`sub`."""
    return _C.binary_backward(_SUB, dy, a, b, None, need_mask("sub_backward", need, ("a", "b")))


def pow(a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a`` to the power ``b``; small whole and half powers as a number cost no logarithm."""
    return _C.binary_forward(_POW, a, b, out)


def pow_backward(
    dy: Array,
    a: Operand,
    b: Operand,
    *,
    y: Array | None = None,
    need: tuple[str, ...] = ("a", "b"),
) -> Pair:
    """Gradients of :func:`pow`: dy · b a^(b-1) and dy · y log a (0 where a = 0 and b ≥ 0)."""
    return _C.binary_backward(_POW, dy, a, b, y, need_mask("pow_backward", need, ("a", "b")))


def clip(
    x: Array, min: float | None = None, max: float | None = None, *, out: Array | None = None
) -> Array:
    """``x`` held between ``min`` and ``max`` (None: no limit). NaN stays NaN."""
    low, high = _limits("clip", min, max)
    return _C.unary_forward(_CLIP, x, low, high, out)


def clip_backward(
    dy: Array,
    x: Array,
    min: float | None = None,
    max: float | None = None,
    *,
    y: Array | None = None,
) -> Array:
    """Gradient of :func:`clip`: dy where min ≤ x ≤ max, else 0."""
    low, high = _limits("clip_backward", min, max)
    return _C.unary_backward(_CLIP, dy, x, y, low, high)


def _limits(op: str, low: float | None, high: float | None) -> tuple[float, float]:
    low = -np.inf if low is None else low
    high = np.inf if high is None else high
    if not low <= high:
        raise ValueError(f"{op}: min = {low} is not at most max = {high}")
    return low, high


def where(mask: Array, a: Operand, b: Operand, *, out: Array | None = None) -> Array:
    """``a`` where the mask is set, ``b`` elsewhere.

    Args:
        mask: bool array.
        a: Array (float32, float64, int32, int64 or bool) or number.
        b: The same dtype or a number; one of them is an array.
        out: Where the result goes; it may be exactly ``a`` or ``b``.
    """
    return _C.where(mask, a, b, out)


def where_backward(
    dy: Array,
    mask: Array,
    a_shape: tuple[int, ...] | None,
    b_shape: tuple[int, ...] | None,
) -> Pair:
    """Gradients of :func:`where`, summed to the operands' shapes; None for a shape of None."""
    return _C.where_backward(dy, mask, a_shape, b_shape)


def eq(a: Operand, b: Operand) -> Array:
    """``a == b`` as a bool array; float, int32, int64 and bool arrays or numbers."""
    return _C.compare(_EQ, a, b)


def ge(a: Operand, b: Operand) -> Array:
    """``a >= b`` as a bool array; float, int32, int64 and bool arrays or numbers."""
    return _C.compare(_GE, a, b)


def gt(a: Operand, b: Operand) -> Array:
    """``a > b`` as a bool array; float, int32, int64 and bool arrays or numbers."""
    return _C.compare(_GT, a, b)


def le(a: Operand, b: Operand) -> Array:
    """``a <= b`` as a bool array; float, int32, int64 and bool arrays or numbers."""
    return _C.compare(_LE, a, b)


def lt(a: Operand, b: Operand) -> Array:
    """``a < b`` as a bool array; float, int32, int64 and bool arrays or numbers."""
    return _C.compare(_LT, a, b)


def ne(a: Operand, b: Operand) -> Array:
    """``a != b`` as a bool array; float, int32, int64 and bool arrays or numbers."""
    return _C.compare(_NE, a, b)
