"""The operators of tensors: + − · / and their kin, comparisons, where; and which dtypes may meet.

Two float types do not mix: TypeError with the conversion to write. Integers and booleans that meet
a float type become that type; Python numbers take the tensor's type. Integer arithmetic among
themselves (counters, labels, indices) has no gradient and is left to NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import _C
from handloom._device_array import ARRAYS, beside, by_numpy
from handloom._tape import Function
from handloom.ops._common import Scalar, TensorLike, array_of, is_float
from handloom.ops.elementwise import Unary
from handloom.tensor import FLOATS, Array, Tensor, wrap

Operand = Any  # Tensor, ndarray or a number

_OP = _C.binary_ops
_ADD, _SUB, _MUL, _DIV, _POW = (_OP[n] for n in ("add", "sub", "mul", "div", "pow"))
_NEG, _ABS = _C.unary_ops["neg"], _C.unary_ops["abs"]
_POW_SCALAR = _C.unary_ops["pow_scalar"]
_NAMES = {code: name for name, code in _OP.items()}
_F32, _F64 = FLOATS
_binary = _C.binary_forward


class Add(Function):
    """y = a + b; da = db = dy, summed over what was broadcast. b may be a number."""

    __slots__ = ("a_shape", "b_shape")

    def forward(ctx, a: Array, b: Array | float) -> Array:
        if ctx.need:
            ctx.a_shape = a.shape
            ctx.b_shape = b.shape if isinstance(b, ARRAYS) else ()
        return _binary(_ADD, a, b, None)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        return (
            _to_shape(dy, ctx.a_shape) if ctx.need & 1 else None,
            _to_shape(dy, ctx.b_shape) if ctx.need & 2 else None,
        )


class Sub(Function):
    """y = a − b. Either may be a number."""

    __slots__ = ("a_shape", "b_shape")

    def forward(ctx, a: Array | float, b: Array | float) -> Array:
        if ctx.need:
            ctx.a_shape = a.shape if isinstance(a, ARRAYS) else ()
            ctx.b_shape = b.shape if isinstance(b, ARRAYS) else ()
        return _binary(_SUB, a, b, None)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        da = _to_shape(dy, ctx.a_shape) if ctx.need & 1 else None
        if not ctx.need & 2:
            return da, None
        return da, _C.unary_forward(_NEG, _to_shape(dy, ctx.b_shape), 0.0, 0.0, None)


class Scale(Function):
    """y = a·s or a/s for a number s, which is the same for the gradient: nothing is saved."""

    __slots__ = ("op", "s")
    fresh = True

    def forward(ctx, a: Array, s: float, op: int) -> Array:
        ctx.s, ctx.op = s, op
        return _binary(op, a, s, None)

    def backward(ctx, dy: Array) -> Array:
        return _binary(ctx.op, dy, ctx.s, None)


class Binary(Function):
    """y = a·b, a/b, a**b, max(a, b), min(a, b), PReLU; ties of max and min share the gradient."""

    __slots__ = ("op",)
    fresh = True

    @property
    def name(self) -> str:
        return _NAMES[self.op]

    def forward(ctx, a: Array | float, b: Array | float, op: int) -> Array:
        ctx.op = op
        if isinstance(a, float):
            a = beside(np.asarray(a, b.dtype), b)  # type: ignore[union-attr]  # it is an array
        elif isinstance(b, float):
            b = beside(np.asarray(b, a.dtype), a)
        y: Array = _binary(op, a, b, None)
        if ctx.need:
            ctx.saved = (a, b, y) if op == _POW else (a, b)
        return y

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.saved[:2]
        y = ctx.saved[2] if ctx.op == _POW else None
        return _C.binary_backward(ctx.op, dy, a, b, y, ctx.need)


class Where(Function):
    """y = a where mask, else b."""

    __slots__ = ("a_shape", "b_shape")
    fresh = True

    def forward(ctx, a: Array, b: Array, mask: Array) -> Array:
        ctx.a_shape, ctx.b_shape, ctx.saved = a.shape, b.shape, (mask,)
        return _C.where(mask, a, b)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        da, db = _C.where_backward(dy, ctx.saved[0], ctx.a_shape, ctx.b_shape)
        return da if ctx.need & 1 else None, db if ctx.need & 2 else None


def _to_shape(dy: Array, shape: tuple[int, ...]) -> Array:
    return dy if dy.shape == shape else _C.sum_to(dy, shape)


def _same_float(a: Array, b: Array) -> bool:
    """The usual case; False decides nothing."""
    dtype = a.dtype
    return dtype is b.dtype and (dtype is _F32 or dtype is _F64)


def _meet(a: Operand, b: Operand, op: str) -> tuple[Any, Any, bool]:
    """Applies the dtype rules. Returns the operands, and whether they are floats."""
    ta = isinstance(a, (Tensor, *ARRAYS))
    tb = isinstance(b, (Tensor, *ARRAYS))
    if ta and tb:
        da, db = a.dtype, b.dtype
        if da is _F32 and db is _F32:
            return a, b, True
        fa, fb = da in FLOATS, db in FLOATS
        if fa and fb:
            if da == db:
                return a, b, True
            raise TypeError(
                f"{op}: the operands are {da} and {db}; convert one of them, for example "
                f"b.astype({str(da)!r})"
            )
        if fa:
            return a, _to_float(b, da, op), True
        if fb:
            return _to_float(a, db, op), b, True
        _require_number(a, op)
        _require_number(b, op)
        return a, b, False
    if ta:
        a, b, floating = _meet_number(a, b, op)
        return a, b, floating
    if tb:
        b, a, floating = _meet_number(b, a, op)
        return a, b, floating
    raise TypeError(
        f"{op}: got {type(a).__name__} and {type(b).__name__}, expected a tensor or an array"
    )


def _meet_number(a: TensorLike, s: Operand, op: str) -> tuple[TensorLike, Any, bool]:
    if not isinstance(s, (int, float, np.generic)) or isinstance(s, np.complexfloating):
        raise TypeError(
            f"{op}: an operand is a {type(s).__name__}, expected a tensor, an array or a number"
        )
    if a.dtype in FLOATS:
        return a, float(s), True
    _require_number(a, op)
    if isinstance(s, (float, np.floating)):
        return _to_float(a, _F32, op), float(s), True
    return a, (bool(s) if isinstance(s, (bool, np.bool_)) else int(s)), False


def _require_number(a: TensorLike, op: str) -> None:
    if a.dtype.kind not in "biu":
        raise TypeError(
            f"{op}: an operand has dtype {a.dtype}, expected float32, float64, integers or bool"
        )


def _to_float(a: TensorLike, dtype: np.dtype[Any], op: str) -> TensorLike:
    _require_number(a, op)
    return wrap(array_of(a).astype(dtype))


def _integers(function: Any, a: Operand, b: Operand) -> Tensor:
    a, b = (v._array if isinstance(v, Tensor) else v for v in (a, b))
    return wrap(by_numpy(function, a, b))


def add(a: Operand, b: Operand) -> Tensor:
    """a + b, broadcast."""
    if isinstance(a, Tensor) and isinstance(b, Tensor) and _same_float(a._array, b._array):
        out: Tensor = Add().run((a, b))
        return out
    a, b, floating = _meet(a, b, "add")
    if not floating:
        return _integers(np.add, a, b)
    out = Add().run((b, a)) if isinstance(a, float) else Add().run((a, b))
    return out


def sub(a: Operand, b: Operand) -> Tensor:
    """a − b, broadcast."""
    a, b, floating = _meet(a, b, "sub")
    if not floating:
        return _integers(np.subtract, a, b)
    out: Tensor = Sub().run((a, b))
    return out


def mul(a: Operand, b: Operand) -> Tensor:
    """a·b by element, broadcast."""
    out: Tensor
    if isinstance(a, Tensor) and isinstance(b, Tensor) and _same_float(a._array, b._array):
        out = Binary().run((a, b), _MUL)
        return out
    a, b, floating = _meet(a, b, "mul")
    if not floating:
        return _integers(np.multiply, a, b)
    if isinstance(b, float):
        out = Scale().run1(a, b, _MUL)
    elif isinstance(a, float):
        out = Scale().run1(b, a, _MUL)
    else:
        out = Binary().run((a, b), _MUL)
    return out


def div(a: Operand, b: Operand) -> Tensor:
    """a/b by element, broadcast; integers divide to float32."""
    a, b, floating = _meet(a, b, "div")
    if not floating:
        a, b = (wrap(array_of(v).astype(_F32)) if hasattr(v, "dtype") else float(v) for v in (a, b))
    out: Tensor = Scale().run1(a, b, _DIV) if isinstance(b, float) else Binary().run((a, b), _DIV)
    return out


def pow(a: Operand, b: Operand) -> Tensor:
    """a to the power b by element, broadcast."""
    a, b, floating = _meet(a, b, "pow")
    if not floating:
        return _integers(np.power, a, b)
    out: Tensor
    if isinstance(b, float):
        out = Unary().run1(a, _POW_SCALAR, b, 0.0)
    else:
        out = Binary().run((a, b), _POW)
    return out


def maximum(a: Operand, b: Operand) -> Tensor:
    """The larger by element, broadcast; NaN wins; ties share the gradient."""
    a, b, floating = _meet(a, b, "maximum")
    if not floating:
        return _integers(np.maximum, a, b)
    out: Tensor = Binary().run((a, b), _OP["maximum"])
    return out


def minimum(a: Operand, b: Operand) -> Tensor:
    """The smaller by element, broadcast; NaN wins; ties share the gradient."""
    a, b, floating = _meet(a, b, "minimum")
    if not floating:
        return _integers(np.minimum, a, b)
    out: Tensor = Binary().run((a, b), _OP["minimum"])
    return out


def prelu(input: TensorLike, weight: TensorLike) -> Tensor:
    """x for x > 0, weight·x below; weight has one element or one for each feature (He, 2015)."""
    out: Tensor = Binary().run((input, weight), _OP["prelu"])
    return out


def neg(x: TensorLike) -> Tensor:
    """−x."""
    if not is_float(array_of(x)):
        return wrap(by_numpy(np.negative, array_of(x)))
    out: Tensor = Unary().run1(x, _NEG, 0.0, 0.0)
    return out


def abs(x: TensorLike) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    if not is_float(array_of(x)):
        return wrap(by_numpy(np.absolute, array_of(x)))
    out: Tensor = Unary().run1(x, _ABS, 0.0, 0.0)
    return out


def floor_divide(a: Operand, b: Operand) -> Tensor:
    """⌊a/b⌋ by element. It has no gradient."""
    a, b, floating = _meet(a, b, "floor_divide")
    if not floating:
        return _integers(np.floor_divide, a, b)
    a, b = (v.detach() if isinstance(v, Tensor) else v for v in (a, b))
    out: Tensor = Binary().run((a, b), _OP["floor_divide"])
    return out


def remainder(a: Operand, b: Operand) -> Tensor:
    """a − ⌊a/b⌋·b by element, Python's %: exact, with the sign of b."""
    a, b, floating = _meet(a, b, "remainder")
    if not floating:
        return _integers(np.remainder, a, b)
    out: Tensor = Binary().run((a, b), _OP["remainder"])
    return out


_COMPARE = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


def compare(name: str, a: Operand, b: Operand) -> Tensor:
    """A boolean tensor of a `name` b; name is lt, le, gt, ge, eq or ne."""
    a, b, floating = _meet(a, b, name)
    if not floating:
        return _integers(_COMPARE[name], a, b)
    a, b = (v._array if isinstance(v, Tensor) else v for v in (a, b))
    return wrap(_C.compare(_C.compare_ops[name], a, b))


def logical(function: Any, a: Operand, b: Operand, op: str) -> Tensor:
    """&, | and ^ of booleans or integers."""
    a, b, floating = _meet(a, b, op)
    if floating:
        raise TypeError(f"{op}: expects booleans or integers, got {getattr(a, 'dtype', a)}")
    return _integers(function, a, b)


def where(condition: TensorLike, a: Operand, b: Operand) -> Tensor:
    """a where the boolean condition is true, else b; all three broadcast."""
    if isinstance(a, (Tensor, *ARRAYS)) or isinstance(b, (Tensor, *ARRAYS)):
        a, b, floating = _meet(a, b, "where")
    else:
        floating = isinstance(a, float) or isinstance(b, float)
    mask = array_of(condition)
    if mask.dtype != np.bool_:
        raise TypeError(f"where: condition has dtype {mask.dtype}, expected bool")
    if not floating:
        values = (v._array if isinstance(v, Tensor) else v for v in (a, b))
        return wrap(by_numpy(np.where, mask, *values))
    other = a if isinstance(a, (Tensor, *ARRAYS)) else b
    dtype = other.dtype if isinstance(other, (Tensor, *ARRAYS)) else _F32
    a, b = (
        beside(np.asarray(v, dtype), mask) if isinstance(v, (int, float)) else v for v in (a, b)
    )
    out: Tensor = Where().run((a, b, condition))
    return out


def masked_fill(x: TensorLike, mask: TensorLike, value: Scalar) -> Tensor:
    """x with `value` where the boolean mask (broadcast to x) is true."""
    return where(mask, value, x)
