"""Where numbers lie: other shapes and orders of the same elements, copies, conversion.

Views share the memory (and its version counter) of their argument; the rest are copy kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from handloom import _C
from handloom._tape import Function, View
from handloom.ops._common import TensorLike, array_of, axis_of, dense, shape_of
from handloom.tensor import FLOATS, Array, DTypeLike, Tensor, as_dtype, wrap


class Reshape(View):
    """The same elements in another shape."""

    __slots__ = ("shape",)

    def forward(ctx, x: Array, shape: tuple[int, ...]) -> Array:
        ctx.shape = x.shape
        return x.reshape(shape)

    def backward(ctx, dy: Array) -> Array:
        return dense(dy).reshape(ctx.shape)


class Permute(View):
    """Axes in another order."""

    __slots__ = ("axes",)

    def forward(ctx, x: Array, axes: tuple[int, ...]) -> Array:
        ctx.axes = axes
        y: Array = x.transpose(axes)
        return y

    def backward(ctx, dy: Array) -> Array:
        dx: Array = dy.transpose([ctx.axes.index(i) for i in range(len(ctx.axes))])
        return dx


class Expand(View):
    """Repeated along axes of size 1, without a copy."""

    __slots__ = ("shape",)

    def forward(ctx, x: Array, shape: tuple[int, ...]) -> Array:
        ctx.shape = x.shape
        return np.broadcast_to(x, shape)

    def backward(ctx, dy: Array) -> Array:
        return dy if dy.shape == ctx.shape else _C.sum_to(dy, ctx.shape)


class Flip(View):
    """Back to front along axes."""

    __slots__ = ("axes",)

    def forward(ctx, x: Array, axes: tuple[int, ...]) -> Array:
        ctx.axes = axes
        return np.flip(x, axes) if axes else x[...]  # of one number np.flip makes no array

    def backward(ctx, dy: Array) -> Array:
        return np.flip(dy, ctx.axes) if ctx.axes else dy


class Diagonal(View):
    """The diagonal of two axes, as a new last axis."""

    __slots__ = ("axes", "shape")

    def forward(ctx, x: Array, axis1: int, axis2: int) -> Array:
        ctx.axes, ctx.shape = (axis1, axis2), x.shape
        return np.diagonal(x, 0, axis1, axis2)

    def backward(ctx, dy: Array) -> Array:
        dx = np.zeros_like(dy, shape=ctx.shape, order="C")
        square = np.moveaxis(dx, ctx.axes, (-2, -1))[..., : dy.shape[-1], : dy.shape[-1]]
        # einsum's diagonal is a writeable view, ndarray.diagonal is not.
        _C.assign(np.einsum("...ii->...i", square), dy)
        return dx


class Copy(Function):
    """The same numbers in memory of their own, in C order."""

    __slots__ = ()

    def forward(ctx, x: Array) -> Array:
        return _C.copy(x, None)

    def backward(ctx, dy: Array) -> Array:
        return dy


class Cast(Function):
    """Another float type; the gradient comes back in the old one."""

    __slots__ = ("dtype",)

    def forward(ctx, x: Array, dtype: np.dtype[Any]) -> Array:
        ctx.dtype = x.dtype
        return x.astype(dtype)

    def backward(ctx, dy: Array) -> Array:
        return dy.astype(ctx.dtype)


def contiguous(x: TensorLike) -> Tensor:
    """x itself if it is contiguous, else a copy in C order."""
    if array_of(x).flags.c_contiguous:
        return x if isinstance(x, Tensor) else wrap(x)
    return clone(x)


def clone(x: TensorLike) -> Tensor:
    """A copy in C order; gradients flow through it."""
    out: Tensor = Copy().run1(x)
    return out


def reshape(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape; one size may be −1. A view if x is contiguous.

    Raises:
        ValueError: The sizes do not multiply to the number of elements.
    """
    a = array_of(x)
    shape = tuple(shape)
    if -1 in shape or math.prod(shape) != a.size:
        shape = _whole(a, shape, "reshape")
    out: Tensor = Reshape().run1(x if a.flags.c_contiguous else clone(x), shape)
    return out


def _whole(a: Array, shape: tuple[int, ...], op: str) -> tuple[int, ...]:
    """Replaces −1 by the size that is left."""
    known = math.prod(s for s in shape if s != -1)
    holes = shape.count(-1)
    negative = any(s < -1 for s in shape)
    if holes == 1 and known and a.size % known == 0:
        shape = tuple([a.size // known if s == -1 else s for s in shape])
    elif holes or known != a.size or negative:
        raise ValueError(f"{op}: shape {a.shape} has {a.size} elements, which do not fill {shape}")
    return shape


def view(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """As `reshape`, but never a copy.

    Raises:
        ValueError: x is not contiguous.
    """
    if not array_of(x).flags.c_contiguous:
        raise ValueError("view: the tensor is not contiguous; use reshape, which copies")
    return reshape(x, shape)


def flatten(x: TensorLike, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Joins the axes from start_dim to end_dim into one."""
    shape = shape_of("flatten", x)
    first, last = (axis_of(dim, len(shape), "flatten") for dim in (start_dim, end_dim))
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    joined = math.prod(shape[first : last + 1])
    return reshape(x, (*shape[:first], joined, *shape[last + 1 :]))


def unflatten(x: TensorLike, dim: int, sizes: Sequence[int]) -> Tensor:
    """Splits one axis into several; the inverse of `flatten`."""
    a = array_of(x)
    axis = axis_of(dim, a.ndim, "unflatten")
    sizes = _whole(np.empty(a.shape[axis], np.bool_), tuple(sizes), "unflatten")
    return reshape(x, (*a.shape[:axis], *sizes, *a.shape[axis + 1 :]))


def permute(x: TensorLike, axes: Sequence[int]) -> Tensor:
    """The axes in another order, a view.

    Raises:
        ValueError: Not every axis is named once.
    """
    n = array_of(x).ndim
    order = tuple(axis_of(a, n, "permute") for a in axes)
    if sorted(order) != list(range(n)):
        raise ValueError(f"permute: axes {tuple(axes)} do not name each of {n} axes once")
    out: Tensor = Permute().run1(x, order)
    return out


def transpose(x: TensorLike, dim0: int, dim1: int) -> Tensor:
    """Swaps two axes, a view."""
    n = array_of(x).ndim
    i, j = axis_of(dim0, n, "transpose"), axis_of(dim1, n, "transpose")
    order = list(range(n))
    if n:
        order[i], order[j] = order[j], order[i]
    out: Tensor = Permute().run1(x, tuple(order))
    return out


def squeeze(x: TensorLike, dim: int | Sequence[int] | None = None) -> Tensor:
    """Drops axes of size 1: all of them, or those named that have it."""
    a = array_of(x)
    if dim is None:
        drop = set(range(a.ndim))
    else:
        dims = (dim,) if isinstance(dim, (int, np.integer)) else dim
        drop = {axis_of(int(d), a.ndim, "squeeze") for d in dims}
    return _view_as(x, tuple(n for i, n in enumerate(a.shape) if n != 1 or i not in drop))


def unsqueeze(x: TensorLike, dim: int) -> Tensor:
    """Adds an axis of size 1 at dim."""
    a = array_of(x)
    axis = axis_of(dim, a.ndim + 1, "unsqueeze")
    return _view_as(x, (*a.shape[:axis], 1, *a.shape[axis:]))


def _view_as(x: TensorLike, shape: tuple[int, ...]) -> Tensor:
    """Only axes of size 1 come or go: a view whatever the strides."""
    out: Tensor = Reshape().run1(x, shape)
    return out


def expand(x: TensorLike, sizes: Sequence[int]) -> Tensor:
    """Repeats axes of size 1 without a copy; −1 keeps a size, new axes come in front.

    Raises:
        ValueError: A size differs and is not 1.
    """
    a = array_of(x)
    lead = len(sizes) - a.ndim
    wanted = tuple(a.shape[i - lead] if s == -1 and i >= lead else s for i, s in enumerate(sizes))
    if lead < 0 or any(n not in (1, w) for n, w in zip(a.shape, wanted[lead:])) or -1 in wanted:
        raise ValueError(f"expand: shape {a.shape} does not expand to {tuple(sizes)}")
    out: Tensor = Expand().run1(x, wanted)
    return out


def repeat(x: TensorLike, times: Sequence[int]) -> Tensor:
    """Tiles x along each axis, as a copy; new axes come in front. NumPy's `tile`."""
    a = array_of(x)
    if len(times) < a.ndim or any(t < 0 for t in times):
        raise ValueError(f"repeat: {tuple(times)} for {a.ndim} axes, expected one count for each")
    sizes = (1,) * (len(times) - a.ndim) + a.shape
    pairs = tuple(v for n in sizes for v in (1, n))
    wide = tuple(v for t, n in zip(times, sizes) for v in (t, n))
    spread = expand(_view_as(x, pairs), wide)
    return reshape(clone(spread), tuple(t * n for t, n in zip(times, sizes)))


def flip(x: TensorLike, dims: int | Sequence[int]) -> Tensor:
    """Back to front along dims, a view."""
    n = array_of(x).ndim
    named = (dims,) if isinstance(dims, (int, np.integer)) else dims
    axes = tuple(axis_of(int(d), n, "flip") for d in named)
    out: Tensor = Flip().run1(x, axes if n else ())
    return out


def diagonal(x: TensorLike, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of two axes, as a new last axis: a view."""
    n = array_of(x).ndim
    i, j = axis_of(dim1, n, "diagonal"), axis_of(dim2, n, "diagonal")
    if i == j:
        raise ValueError(f"diagonal: dim1 and dim2 are both {dim1}")
    out: Tensor = Diagonal().run1(x, i, j)
    return out


def astype(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """Another dtype; x itself if it has it. Gradients flow between float types."""
    wanted = as_dtype(dtype, "astype")
    a = array_of(x)
    if a.dtype == wanted:
        return x if isinstance(x, Tensor) else wrap(x)
    if wanted in FLOATS and a.dtype in FLOATS:
        out: Tensor = Cast().run1(x, wanted)
        return out
    return wrap(a.astype(wanted))
