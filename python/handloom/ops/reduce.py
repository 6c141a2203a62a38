"""Many numbers to one: sums, means, extremes, norms over any axes; running sums; sorting."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from handloom import _C
from handloom._calls import power_norm
from handloom._device_array import beside, by_numpy, on_host
from handloom._tape import Function
from handloom.ops._common import Dim, TensorLike, array_of, axes_of, axis_of, dense, is_float
from handloom.ops.layout import reshape
from handloom.tensor import FLOATS, Array, Tensor, wrap

_OP = _C.reduce_ops
_NAMES = {code: name for name, code in _OP.items()}
_SUM, _MEAN = _OP["sum"], _OP["mean"]


class ValuesIndices(NamedTuple):
    """What `max(dim)`, `sort` and `topk` return."""

    values: Tensor
    indices: Tensor


class Sum(Function):
    """y = Σx, or its mean; dx = dy (divided by the count), repeated along the axes."""

    __slots__ = ("axes", "count", "shape")

    def forward(ctx, x: Array, op: int, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
        y: Array = _C.reduce_forward(op, x, axes, keepdims, 0.0)
        if ctx.need:
            ctx.axes, ctx.shape = axes, x.shape
            ctx.count = x.size / y.size if op == _MEAN and y.size else 1.0
        return y

    def backward(ctx, dy: Array) -> Array:
        if ctx.count != 1.0:
            dy = _C.binary_forward(_C.binary_ops["div"], dy, ctx.count, None)
        return np.broadcast_to(_keep(dy, ctx.shape, ctx.axes), ctx.shape)


class Reduce(Function):
    """max, min (ties share the gradient), var, std, logsumexp, prod."""

    __slots__ = ("axes", "op", "p0")
    fresh = True

    @property
    def name(self) -> str:
        return _NAMES[self.op]

    def forward(
        ctx, x: Array, op: int, axes: tuple[int, ...] | None, keepdims: bool, p0: float
    ) -> Array:
        y: Array = _C.reduce_forward(op, x, axes, keepdims, p0)
        ctx.op, ctx.axes, ctx.p0, ctx.saved = op, axes, p0, (x, y)
        return y

    def backward(ctx, dy: Array) -> Array:
        x, y = ctx.saved
        return _C.reduce_backward(ctx.op, dy, x, y, ctx.axes, ctx.p0)


class Norm(Function):
    """y = (Σ|x|ᵖ)^(1/p)."""

    __slots__ = ("axes", "p")
    fresh = True

    def forward(ctx, x: Array, axes: tuple[int, ...] | None, keepdims: bool, p: float) -> Array:
        y: Array = power_norm.norm(x, axes, keepdims, p)
        ctx.axes, ctx.p, ctx.saved = axes, p, (x, y)
        return y

    def backward(ctx, dy: Array) -> Array:
        x, y = ctx.saved
        return power_norm.norm_backward(dy, x, y, ctx.axes, ctx.p)


class Pick(Function):
    """Values taken along one axis at indices found by a search: max(dim), sort, topk.

    dx gets dy back at the indices; the search itself has no gradient.
    """

    __slots__ = ("axis", "indices", "keepdims", "shape")
    fresh = True

    indices: Array

    def forward(ctx, x: Array, values: Array, indices: Array, axis: int, keepdims: bool) -> Array:
        ctx.indices, ctx.axis, ctx.keepdims, ctx.shape = indices, axis, keepdims, x.shape
        return values if keepdims else values.reshape(x.shape[:axis] + x.shape[axis + 1 :])

    def backward(ctx, dy: Array) -> Array:
        dy = dense(dy).reshape(ctx.indices.shape)
        return _C.scatter_add(dy, ctx.indices, ctx.axis, ctx.shape)


class Cumsum(Function):
    """y[i] = Σ x[0..i] along an axis; dx[i] = Σ dy[i..]."""

    __slots__ = ("axis",)

    def forward(ctx, x: Array, axis: int) -> Array:
        ctx.axis = axis
        return _C.cumsum(x, axis)

    def backward(ctx, dy: Array) -> Array:
        return np.flip(_C.cumsum(np.flip(dy, ctx.axis), ctx.axis), ctx.axis)


def _keep(dy: Array, shape: tuple[int, ...], axes: tuple[int, ...] | None) -> Array:
    """dy with the reduced axes as 1."""
    if axes is None:
        return dy.reshape((1,) * len(shape))
    return dy.reshape([1 if i in axes else n for i, n in enumerate(shape)])


def sum(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Σx over dim (all axes if None); integers and booleans sum to int64."""
    a = array_of(x)
    axes = axes_of(dim, a.ndim, "sum")
    if not is_float(a):
        return wrap(by_numpy(np.sum, a, axis=axes, keepdims=keepdim, dtype=np.int64))
    out: Tensor = Sum().run1(x, _SUM, axes, keepdim)
    return out


def mean(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The mean over dim; that of integers and booleans is float32."""
    a = array_of(x)
    if not is_float(a):
        x = a = a.astype(FLOATS[0])
    out: Tensor = Sum().run1(x, _MEAN, axes_of(dim, a.ndim, "mean"), keepdim)
    return out


def _reduce(name: str, x: TensorLike, dim: Dim, keepdim: bool, p0: float = 0.0) -> Tensor:
    axes = axes_of(dim, array_of(x).ndim, name)
    out: Tensor = Reduce().run1(x, _OP[name], axes, keepdim, p0)
    return out


def _integer_reduce(function: Any, a: Array, axes: Any, keepdim: bool) -> Tensor:
    return wrap(by_numpy(function, a, axis=axes, keepdims=keepdim))


def amax(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The largest over dim; ties share the gradient equally."""
    a = array_of(x)
    if not is_float(a):
        return _integer_reduce(np.max, a, axes_of(dim, a.ndim, "max"), keepdim)
    return _reduce("max", x, dim, keepdim)


def amin(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The smallest over dim; ties share the gradient equally."""
    a = array_of(x)
    if not is_float(a):
        return _integer_reduce(np.min, a, axes_of(dim, a.ndim, "min"), keepdim)
    return _reduce("min", x, dim, keepdim)


def _extreme(name: str, x: TensorLike, dim: int, keepdim: bool) -> ValuesIndices:
    a = array_of(x)
    axis = axis_of(dim, a.ndim, name)
    if a.ndim and a.shape[axis] == 0:
        raise ValueError(
            f"{name}: x has shape {a.shape}: no element along axis {axis}, and there is no {name} "
            "of nothing"
        )
    found = argmax(x, axis, True) if name == "max" else argmin(x, axis, True)
    indices = found._array
    if a.ndim == 0:
        return ValuesIndices(amax(x), found)
    if is_float(a):
        values: Tensor = Pick().run1(x, _C.gather(a, indices, axis), indices, axis, keepdim)
    else:
        values = wrap(by_numpy(np.take_along_axis, a, indices, axis=axis))
        values = values if keepdim else wrap(values._array.squeeze(axis))
    return ValuesIndices(values, found if keepdim else wrap(indices.squeeze(axis)))


def max(x: TensorLike, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest element, or with `dim` the largest along it: (values, indices)."""
    return amax(x) if dim is None else _extreme("max", x, dim, keepdim)


def min(x: TensorLike, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest element, or with `dim` the smallest along it: (values, indices)."""
    return amin(x) if dim is None else _extreme("min", x, dim, keepdim)


def _argreduce(name: str, x: TensorLike, dim: int | None, keepdim: bool) -> Tensor:
    a = array_of(x)
    axis = None if dim is None else axis_of(dim, a.ndim, name)
    if a.ndim == 0:
        return wrap(np.zeros_like(a, np.int64))
    if not is_float(a):
        function = np.argmax if name == "argmax" else np.argmin
        return wrap(by_numpy(function, a, axis=axis, keepdims=keepdim).astype(np.int64, copy=False))
    return wrap(_C.argreduce(_C.arg_ops[name], a, axis, keepdim))


def argmax(x: TensorLike, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest element is (int64); the first of equals, the first NaN if there is one."""
    return _argreduce("argmax", x, dim, keepdim)


def argmin(x: TensorLike, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest element is (int64); the first of equals, the first NaN if there is one."""
    return _argreduce("argmin", x, dim, keepdim)


def var(x: TensorLike, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
    """Σ(x − mean)²/(n − correction); PyTorch's default, NumPy's and Keras' is correction=0."""
    return _reduce("var", x, dim, keepdim, float(correction))


def std(x: TensorLike, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
    """The square root of `var`."""
    return _reduce("std", x, dim, keepdim, float(correction))


def norm(x: TensorLike, p: float = 2.0, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The p-norm, (Σ|x|ᵖ)^(1/p): inf is the largest magnitude, 0 how many are not 0.

    Raises:
        ValueError: p is NaN.
    """
    axes = axes_of(dim, array_of(x).ndim, "norm")
    out: Tensor = Norm().run1(x, axes, keepdim, float(p))
    return out


def logsumexp(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """log Σ exp(x), without overflow."""
    return _reduce("logsumexp", x, dim, keepdim)


def prod(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The product over dim."""
    a = array_of(x)
    if not is_float(a):
        axes = axes_of(dim, a.ndim, "prod")
        return wrap(by_numpy(np.prod, a, axis=axes, keepdims=keepdim, dtype=np.int64))
    return _reduce("prod", x, dim, keepdim)


def any(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether any element is true (or not 0)."""
    a = array_of(x)
    return _integer_reduce(np.any, a, axes_of(dim, a.ndim, "any"), keepdim)


def all(x: TensorLike, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are true (or not 0)."""
    a = array_of(x)
    return _integer_reduce(np.all, a, axes_of(dim, a.ndim, "all"), keepdim)


def all_finite(a: Array) -> bool:
    """Whether a float array has neither NaN nor infinity."""
    finite: bool = _C.isfinite_all(a)
    return finite


def cumsum(x: TensorLike, dim: int) -> Tensor:
    """Running sums along dim."""
    a = array_of(x)
    axis = axis_of(dim, a.ndim, "cumsum")
    if a.ndim == 0:
        return reshape(cumsum(reshape(x, (1,)), 0), ())
    if not is_float(a):
        return wrap(by_numpy(np.cumsum, a, axis=axis, dtype=np.int64))
    out: Tensor = Cumsum().run1(x, axis)
    return out


def sort(x: TensorLike, dim: int = -1, descending: bool = False) -> ValuesIndices:
    """Sorted along dim, and where each value was; equal values keep their order, NaN is largest."""
    a = array_of(x)
    axis = axis_of(dim, a.ndim, "sort")
    if a.ndim == 0:
        return _of_one(sort(reshape(x, (1,)), 0, descending))
    if not is_float(a):
        key = on_host(a).astype(np.int64)
        order = np.argsort(-key if descending else key, axis=axis, kind="stable")
        values = np.take_along_axis(on_host(a), order, axis)
        return ValuesIndices(wrap(beside(values, a)), wrap(beside(order, a)))
    values, indices = _C.sort(a, axis, descending)
    return ValuesIndices(Pick().run1(x, values, indices, axis, True), wrap(indices))


def _of_one(found: ValuesIndices) -> ValuesIndices:
    return ValuesIndices(reshape(found.values, ()), reshape(found.indices, ()))


def argsort(x: TensorLike, dim: int = -1, descending: bool = False) -> Tensor:
    """The indices of `sort`."""
    return sort(x.detach() if isinstance(x, Tensor) else x, dim, descending).indices


def topk(x: TensorLike, k: int, dim: int = -1, largest: bool = True) -> ValuesIndices:
    """The k largest (or smallest) along dim in order, and where they were.

    Raises:
        ValueError: k is negative or larger than that axis.
    """
    a = array_of(x)
    axis = axis_of(dim, a.ndim, "topk")
    size = a.shape[axis] if a.ndim else 1
    if not 0 <= k <= size:
        raise ValueError(f"topk: k is {k}, the axis has {size} elements")
    if a.ndim == 0:
        found = topk(reshape(x, (1,)), k, 0, largest)
        return _of_one(found) if k else found
    if not is_float(a):
        best = sort(x, axis, largest)
        first = (slice(None),) * axis + (slice(k),)
        return ValuesIndices(wrap(best.values._array[first]), wrap(best.indices._array[first]))
    values, indices = _C.topk(a, int(k), axis, largest)
    return ValuesIndices(Pick().run1(x, values, indices, axis, True), wrap(indices))
