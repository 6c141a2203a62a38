"""Lookup of learned vectors, and of their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import _C
from handloom._device_array import beside, on_host
from handloom._rows import summed, without
from handloom.ops._common import TensorLike, array_of, dense, shape_of
from handloom.ops.indexing import TakeRows
from handloom.tensor import Array, Leaf, Tensor, wrap


class Embedding(TakeRows):
    """y[…] = table[indices[…]]; the padding row gets no gradient."""

    __slots__ = ("padding",)

    padding: int | None

    @property
    def name(self) -> str:
        return "embedding"

    def forward(ctx, table: Array, indices: Array, padding: int | None = None) -> Array:
        ctx.padding = padding
        return super().forward(table, indices)

    def backward(ctx, dy: Array) -> Any:
        dtable = super().backward(dy)
        if ctx.padding is not None:
            _C.fill(dtable[ctx.padding], 0)
        return dtable


class ScaledEmbedding(Embedding):
    """The same, but what comes to a row is divided by how often it was read."""

    __slots__ = ()

    def backward(ctx, dy: Array) -> Any:
        return super().backward(_by_frequency(dense(dy), ctx.indices, ctx.rows))


class SparseEmbedding(Embedding):
    """The same, but the gradient of a leaf has only the rows that were read."""

    __slots__ = ("by_frequency",)
    fresh = False

    by_frequency: bool

    def backward(ctx, dy: Array) -> Any:
        dy = dense(dy)
        if ctx.by_frequency:
            dy = _by_frequency(dy, ctx.indices, ctx.rows)
        assert ctx.inputs is not None
        if ctx.inputs[0].__class__ is not Leaf:
            return super().backward(dy)
        found = summed(ctx.indices, dy, ctx.rows)
        return found if ctx.padding is None else without(found, ctx.padding)


def _by_frequency(dy: Array, indices: Array, rows: int) -> Array:
    known = on_host(indices)
    often = np.bincount(known.reshape(-1), minlength=rows)
    share = (1.0 / often[known]).astype(dy.dtype)[..., None]
    return _C.binary_forward(_C.binary_ops["mul"], dy, beside(share, dy), None)


def embedding(
    input: TensorLike,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: indices (…) → (…, E). Keras: Embedding.

    The gradient adds up what came to equal indices in the order of their positions, so it has the
    same bits on any number of threads.

    Args:
        input: int64 or int32, any shape.
        weight: (V, E), float32 or float64.
        padding_idx: Row without a gradient; −1 is the last.
        max_norm: Rows that are looked up and longer than this are shortened in place first, as
            PyTorch does.
        norm_type: The p of that length.
        scale_grad_by_freq: What comes to a row is divided by how often it was read here.
        sparse: The gradient of a leaf is a `RowGradient`, the rows that were read; what `SGD` and
            `Adagrad` do with it costs as much as there are rows, not as the table has. Where the
            table was computed, or has hooks, the gradient has its whole shape.

    Raises:
        TypeError: Indices that are no integers.
        ValueError: An index outside the table, a padding row outside it, a table without two axes.
    """
    indices, table = array_of(input), array_of(weight)
    shape_of("embedding", indices, "input")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: input has dtype {indices.dtype}, expected integers")
    if table.ndim != 2:
        raise ValueError(f"embedding: weight has shape {table.shape}, expected (V, E)")
    row = None if padding_idx is None else row_of("embedding", padding_idx, len(table))
    if max_norm is not None:
        _shorten(weight, indices, max_norm, norm_type)
    function: Embedding
    if sparse:
        function = SparseEmbedding()
        function.by_frequency = scale_grad_by_freq
    else:
        function = ScaledEmbedding() if scale_grad_by_freq else Embedding()
    out: Tensor = function.run1(weight, indices, row)
    return out


def row_of(op: str, padding_idx: int, rows: int) -> int:
    """padding_idx from 0.

    Raises:
        ValueError: It is outside the table.
    """
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{op}: padding_idx is {padding_idx}, but there are {rows} rows")
    return padding_idx % rows


def _shorten(weight: Tensor, indices: Array, max_norm: float, p: float) -> None:
    """Scales rows that are used, and longer than max_norm, down to it, in place.

    With PyTorch's 1e-7 in the divisor.
    """
    whole = array_of(weight)
    table = on_host(whole)
    used = np.unique(on_host(indices))
    used = used[(used >= 0) & (used < len(table))]  # one that is not there is the lookup's to name
    lengths = np.linalg.norm(table[used], p, axis=1)
    long = lengths > max_norm
    if long.any():
        table[used[long]] *= (max_norm / (lengths[long, None] + 1e-7)).astype(table.dtype)
        if table is not whole:
            _C.assign(whole, beside(table, whole))
        if isinstance(weight, Tensor):
            weight._version[0] += 1


def nearest_neighbours(
    query: TensorLike, table: TensorLike, k: int = 5, exclude: TensorLike | None = None
) -> tuple[Tensor, Tensor]:
    """The rows of a table with the largest cosine of the angle to each query; no gradient.

    Args:
        query: (…, E).
        table: (V, E).
        k: How many, at most V less those that are excluded.
        exclude: Row numbers that do not count, one list for all queries: the words of an analogy.

    Returns:
        Cosines (…, k), falling, and row numbers (…, k), int64; equal ones in order.

    Raises:
        ValueError: Shapes that do not fit, or fewer than k rows.
    """
    q, t = array_of(query), array_of(table)
    for name, value in (("query", q), ("table", t)):
        shape_of("nearest_neighbours", value, name)
    place, q, t = q, on_host(q), on_host(t)
    if not isinstance(k, (int, np.integer)):
        raise TypeError(f"nearest_neighbours: k is {k!r}, expected an integer")
    if t.ndim != 2 or q.ndim == 0 or q.shape[-1] != t.shape[1]:
        raise ValueError(
            f"nearest_neighbours: query {q.shape} does not go with table {t.shape}, expected "
            "(…, E) and (V, E)"
        )
    hidden = np.unique(on_host(array_of(exclude))) if exclude is not None else np.empty(0, np.int64)
    if not 0 < k <= len(t) - len(hidden):
        raise ValueError(f"nearest_neighbours: k is {k}, expected 1 to {len(t) - len(hidden)}")
    cosines = _unit(q) @ _unit(t).T
    cosines[..., hidden] = -np.inf
    order = np.argsort(-cosines, axis=-1, kind="stable")[..., :k]
    found = np.take_along_axis(cosines, order, -1), order.astype(np.int64)
    return wrap(beside(found[0], place)), wrap(beside(found[1], place))


def _unit(x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.maximum(lengths, 1e-8).astype(x.dtype)
