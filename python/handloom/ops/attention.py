"""Softmax attention on tensors."""

from __future__ import annotations

from handloom import _C, _runtime
from handloom._calls.attention import Causal, Options, Window, causal_code, reach
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense
from handloom.tensor import Array, Tensor, wrap

Grads = tuple[Array | None, ...]


class Attention(Function):
    """y = softmax(scale·q kᵀ + bias) v for each head; backward forms the weights anew."""

    __slots__ = ("lse", "options")
    fresh = True

    lse: Array
    options: Options

    @property
    def name(self) -> str:
        return "scaled_dot_product_attention"

    def forward(ctx, q: Array, k: Array, v: Array, bias: Array | None, options: Options) -> Array:
        q, k, v = heads_dense(q), heads_dense(k), heads_dense(v)
        ctx.options = options = options._replace(bias=bias)
        y, lse = _C.attention_forward(ctx.name, q, k, v, options)
        ctx.lse = lse
        if ctx.need:
            ctx.saved = (q, k, v, y, lse) if bias is None else (q, k, v, y, lse, bias)
        return y

    def backward(ctx, dy: Array) -> Grads:
        q, k, v, y, lse, *_ = ctx.saved
        return _C.attention_backward(
            ctx.name, dense(dy), q, k, v, y, lse, ctx.options, ctx.need, None, None, None
        )


class PackedAttention(Function):
    """Attention inside one projection x (N, T, 3, heads, D): queries, keys, values side by side.

    Where q is given, x (N, S, 2, heads, D) holds keys and values. Nothing is copied either way.
    """

    __slots__ = ("lse", "options")
    fresh = True

    lse: Array
    options: Options

    @property
    def name(self) -> str:
        return "scaled_dot_product_attention"

    def forward(ctx, q: Array | None, x: Array, bias: Array | None, options: Options) -> Array:
        x = dense(x)
        ctx.options = options = options._replace(bias=bias)
        first = 0 if q is None else -1
        query = x[:, :, 0] if q is None else heads_dense(q)
        key, value = x[:, :, first + 1], x[:, :, first + 2]
        y, lse = _C.attention_forward(ctx.name, query, key, value, options)
        ctx.lse = lse
        if ctx.need:
            ctx.saved = (q, x, y, lse, bias)
        return y

    def backward(ctx, dy: Array) -> Grads:
        q, x, y, lse, _ = ctx.saved
        # Bits of the arguments (q, x, bias) to those of (q, k, v, bias).
        wanted = ctx.need & 1 | (6 | (q is None) if ctx.need & 2 else 0) | (ctx.need & 4) << 1
        return _C.attention_packed_backward(ctx.name, dense(dy), q, x, y, lse, ctx.options, wanted)


def heads_dense(a: Array) -> Array:
    """a itself if the numbers of each head lie side by side, else a contiguous copy."""
    try:
        side_by_side = a.ndim == 0 or a.shape[-1] <= 1 or a.strides[-1] == a.itemsize
    except AttributeError:
        return a  # no array: the kernel says so
    return a if side_by_side else _C.copy(a, None)


def attend(
    q: TensorLike,
    k: TensorLike,
    v: TensorLike,
    bias: TensorLike | None,
    options: Options,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention and, if wanted, its weights, through which no gradient flows."""
    node = Attention()
    y: Tensor = node.run((q, k, v, bias), options)
    if not need_weights:
        return y, None
    arrays = heads_dense(array_of(q)), heads_dense(array_of(k))
    return y, wrap(_C.attention_weights(node.name, *arrays, node.lse, node.options))


def attend_packed(
    q: TensorLike | None,
    x: TensorLike,
    bias: TensorLike | None,
    options: Options,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`attend` inside a projection x: (N, T, 3, heads, D), or (N, S, 2, heads, D) with q given."""
    node = PackedAttention()
    y: Tensor = node.run((q, x, bias), options)
    if not need_weights:
        return y, None
    a = array_of(x)
    arrays = (a[:, :, 0], a[:, :, 1]) if q is None else (heads_dense(array_of(q)), a[:, :, 0])
    return y, wrap(_C.attention_weights(node.name, *arrays, node.lse, node.options))


def options_for(
    op: str,
    *,
    causal: Causal = False,
    window: Window = None,
    dropout: float = 0.0,
    scale: float | None = None,
    mask: TensorLike | None = None,
    lengths: TensorLike | None = None,
    starts: TensorLike | None = None,
    slopes: TensorLike | None = None,
) -> Options:
    """The options of one call; with dropout it takes a draw of the thread's generator."""
    left, right = reach(op, window)
    seed, call = _runtime.next_draw() if dropout else (0, 0)

    def array(x: TensorLike | None) -> Array | None:
        return None if x is None else array_of(x)

    return Options(
        array(mask), None, array(lengths), array(starts), array(slopes), scale,
        causal_code(op, causal), left, right, dropout, seed, call,
    )  # fmt: skip


def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    window: Window = None,
) -> Tensor:
    """softmax(scale·q kᵀ + mask) v for each head; see `kernels.attention`, which has more options.

    Args:
        query: (N, T, heads, D); PyTorch has (N, heads, T, D).
        key: (N, S, heads, D).
        value: (N, S, heads, Dv).
        attn_mask: Broadcast to (N, heads, T, S): bool, True takes part; or float, added to the
            scores, with a gradient of its own.
        dropout_p: Probability that a weight is dropped.
        is_causal: Hides later keys; the first query is level with the first key.
        scale: 1/√D if None.
        enable_gqa: key and value may have fewer heads, a number that divides query's.
        window: How far a query sees, as in `kernels.attention`.

    Raises:
        ValueError: Shapes that do not fit.
    """
    op = "scaled_dot_product_attention"
    heads = [array_of(x).shape[2:3] for x in (query, key)]
    if heads[0] != heads[1] and not enable_gqa:
        raise ValueError(
            f"{op}: query has shape {array_of(query).shape} and key {array_of(key).shape}, "
            "expected the same number of heads; enable_gqa=True shares keys between heads"
        )
    mask = bias = None
    if attn_mask is not None:
        if array_of(attn_mask).dtype.kind == "b":
            mask = attn_mask
        else:
            bias = attn_mask
    options = options_for(
        op,
        causal="upper_left" if is_causal else False,
        window=window,
        dropout=dropout_p,
        scale=scale,
        mask=mask,
    )
    return attend(query, key, value, bias, options)[0]
