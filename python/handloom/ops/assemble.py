"""Joining, splitting, padding, triangles: whole arrays put together or cut apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from handloom import _C
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, axis_of, dense
from handloom.ops.layout import unsqueeze
from handloom.tensor import Array, Tensor


class Concat(Function):
    """Several arrays one after the other along an axis; the gradient is cut again."""

    __slots__ = ("axis", "cuts")

    def forward(ctx, *args: Any) -> Array:
        *arrays, axis = args
        if ctx.need:
            ctx.axis = axis
            ctx.cuts = np.cumsum([a.shape[axis] for a in arrays[:-1]])
        return _C.concat(arrays, axis)

    def backward(ctx, dy: Array) -> tuple[Array, ...]:
        return tuple(np.split(dy, ctx.cuts, ctx.axis))


class Split(Function):
    """Views of consecutive parts along an axis."""

    __slots__ = ("axis", "shapes")

    def forward(ctx, x: Array, cuts: list[int], axis: int) -> tuple[Array, ...]:
        parts = tuple(np.split(x, cuts, axis))
        ctx.axis, ctx.shapes = axis, [p.shape for p in parts]
        return parts

    def backward(ctx, *dys: Array | None) -> Array:
        like = next(g for g in dys if g is not None)
        parts = [
            np.zeros_like(like, shape=s, order="C") if g is None else g
            for g, s in zip(dys, ctx.shapes)
        ]
        return _C.concat(parts, ctx.axis)


class Pad(Function):
    """Margins around an array; in a mirrored or repeated margin the gradients add up."""

    __slots__ = ("mode", "pairs")
    fresh = True

    def forward(
        ctx, x: Array, pairs: tuple[tuple[int, int], ...], mode: int, value: float
    ) -> Array:
        ctx.pairs, ctx.mode = pairs, mode
        return _C.pad(dense(x), pairs, mode, value)

    def backward(ctx, dy: Array) -> Array:
        return _C.pad_backward(dense(dy), ctx.pairs, ctx.mode)


class Triangle(Function):
    """The lower or upper triangle of the last two axes, 0 elsewhere."""

    __slots__ = ("k", "lower")
    fresh = True

    def forward(ctx, x: Array, k: int, lower: bool) -> Array:
        ctx.k, ctx.lower = k, lower
        x = dense(x)
        return _C.tril(x, k) if lower else _C.triu(x, k)

    def backward(ctx, dy: Array) -> Array:
        dy = dense(dy)
        return _C.tril(dy, ctx.k) if ctx.lower else _C.triu(dy, ctx.k)


def cat(tensors: Sequence[TensorLike], dim: int = 0) -> Tensor:
    """One after the other along dim. NumPy's `concatenate`.

    Raises:
        ValueError: No tensors, or sizes that differ elsewhere than at dim.
    """
    if not len(tensors):
        raise ValueError("cat: expects at least one tensor, got none")
    first = array_of(tensors[0])
    if first.ndim == 0:
        raise ValueError("cat: a tensor without axes cannot be joined, use stack")
    axis = axis_of(dim, first.ndim, "cat")
    out: Tensor = Concat().run(tuple(tensors), axis)
    return out


def stack(tensors: Sequence[TensorLike], dim: int = 0) -> Tensor:
    """Joined along a new axis dim; all of one shape."""
    if not len(tensors):
        raise ValueError("stack: expects at least one tensor, got none")
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise ValueError(f"stack: the shapes differ: {', '.join(map(str, sorted(shapes)))}")
    return cat([unsqueeze(t, dim) for t in tensors], dim)


def split(x: TensorLike, size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts: of `size` each (the last may be smaller), or of these sizes.

    Raises:
        ValueError: A size below 1, or sizes that do not add up to that axis.
    """
    a = array_of(x)
    axis = axis_of(dim, a.ndim, "split")
    if a.ndim == 0:
        raise ValueError("split: a tensor without axes cannot be split")
    whole = a.shape[axis]
    if isinstance(size, (int, np.integer)):
        if size < 1:
            raise ValueError(f"split: size is {size}, expected at least 1")
        cuts = list(range(int(size), whole, int(size)))
    else:
        if sum(size) != whole or any(s < 0 for s in size):
            raise ValueError(f"split: sizes {tuple(size)} do not add up to {whole}")
        cuts = [int(c) for c in np.cumsum(size)[:-1]]
    parts: tuple[Tensor, ...] = Split().run((x,), cuts, axis)
    if isinstance(x, Tensor):
        for part in parts:
            part._version = x._version
    return parts


def chunk(x: TensorLike, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of equal size, the last smaller."""
    if chunks < 1:
        raise ValueError(f"chunk: chunks is {chunks}, expected at least 1")
    a = array_of(x)
    if a.ndim == 0:
        raise ValueError("chunk: a tensor without axes cannot be split")
    whole = a.shape[axis_of(dim, a.ndim, "chunk")]
    if whole == 0:
        return split(x, [0] * chunks, dim)  # as many as asked for, as in PyTorch
    return split(x, -(-whole // chunks), dim)


PAD_MODES = _C.pad_modes


def pad_axes(
    x: TensorLike, pairs: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0
) -> Tensor:
    """Margins of (before, after) for each axis; `mode` as in `F.pad`."""
    if mode not in PAD_MODES:
        raise ValueError(f"pad: mode {mode!r} is unknown, expected one of {', '.join(PAD_MODES)}")
    out: Tensor = Pad().run1(
        x, tuple((int(b), int(e)) for b, e in pairs), PAD_MODES[mode], float(value)
    )
    return out


def tril(x: TensorLike, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes, 0 above `diagonal`."""
    out: Tensor = Triangle().run1(x, int(diagonal), True)
    return out


def triu(x: TensorLike, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two axes, 0 below `diagonal`."""
    out: Tensor = Triangle().run1(x, int(diagonal), False)
    return out
