"""Softmax attention, with the matrix of weights that the kernel never makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case, Shape
from harness import Arrays, Op, beside, host

NOTHING = np.float32(-1e30)  # stands for the -inf of an empty sum, of which NumPy warns


def seen(n: int, tq: int, tk: int, causal: Any, window: Any, lengths: Any, starts: Any) -> Any:
    """(n, tq, tk): which keys each query sees."""
    left, right = (window, window) if isinstance(window, int) else window or (None, None)
    shift = np.full(n, tk - tq if causal is True else 0)
    if starts is not None:
        shift = np.asarray(starts)
    away = np.arange(tk) - (np.arange(tq)[:, None] + shift[:, None, None])
    see = np.ones((n, tq, tk), bool)
    if left is not None:
        see &= away >= -left
    if causal:
        right = 0
    if right is not None:
        see &= away <= right
    if lengths is not None:
        see &= np.arange(tk) < np.asarray(lengths)[:, None, None]
    return see


def distance(n: int, tq: int, tk: int, causal: Any, starts: Any) -> Any:
    shift = np.full(n, tk - tq if causal is True else 0) if starts is None else np.asarray(starts)
    return np.abs(np.arange(tk) - (np.arange(tq)[:, None] + shift[:, None, None]))


def attention(
    q: Any,
    k: Any,
    v: Any,
    bias: Any = None,
    *,
    mask: Any = None,
    causal: Any = False,
    window: Any = None,
    lengths: Any = None,
    starts: Any = None,
    slopes: Any = None,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    call: int = 0,
    size: bool = False,
) -> Any:
    """y, lse and the weights; with ``size`` the sums of the absolute values of what they sum."""
    (n, tq, h, d), tk, group = q.shape, k.shape[1], q.shape[2] // max(k.shape[2], 1)
    k, v = np.repeat(k, group, axis=2), np.repeat(v, group, axis=2)
    factor = q.dtype.type((1 / np.sqrt(d) if d else 1.0) if scale is None else scale)
    s = np.einsum("nihd,njhd->nhij", q, k) * factor
    terms = np.einsum("nihd,njhd->nhij", np.abs(q), np.abs(k)) * abs(factor)
    if bias is not None:
        s = s + bias
        terms = terms + np.where(np.isfinite(bias), np.abs(bias), 0)
    if slopes is not None:
        slopes = slopes.reshape(-1, h)[:, :, None, None]
        away = slopes * distance(n, tq, tk, causal, starts)[:, None].astype(q.dtype)
        s, terms = s - away, terms + np.abs(away)
    see = seen(n, tq, tk, causal, window, lengths, starts)[:, None]
    if mask is not None:
        see = see & mask
    s = np.where(see, s, q.dtype.type(-np.inf))
    most = np.max(s, axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isfinite(most), most, 0)).astype(q.dtype)
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    if lengths is not None:  # padding is not read, whatever it holds
        hidden = np.arange(tk) >= np.asarray(lengths)[:, None]
        v = np.where(hidden[:, :, None, None], 0, v)
    w = p
    if dropout:
        w = p * kernels.dropout(np.ones(p.shape, p.dtype), dropout, seed=seed, call=call)
    safe = np.where(total == 0, 1, total)
    lse = np.where(total == 0, -np.inf, np.log(safe) + most)[..., 0].astype(q.dtype)
    if size:
        # A score's rounding errors are relative to its terms, and so are their effects on p; the
        # weights come out of exp(s - lse), so lse's own is theirs too.
        terms = 1 + terms
        finite = np.where(np.isfinite(lse), np.abs(lse), 0)
        return (
            np.einsum("nhij,njhd->nihd", w * terms, np.abs(v)),
            np.sum(p * terms, axis=-1) + finite,
            w * (terms + finite[..., None]),
        )
    return np.einsum("nhij,njhd->nihd", w, v), lse, w


def resolved(q: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Options as they stand in a case to those that the functions take."""
    rng = np.random.default_rng(5)
    options = dict(options)
    options.pop("packed", None)
    if "mask" in options:
        options["mask"] = rng.random(options["mask"]) < 0.7
    for name in ("lengths", "starts"):
        if name in options:
            options[name] = np.array(options[name])
    if "slopes" in options:
        options["slopes"] = (rng.random(options["slopes"]) * 0.3).astype(q.dtype)
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    return {**options, **{name: beside(q, value) for name, value in arrays.items()}}


def _inputs(case: Case, rng: np.random.Generator) -> Arrays:
    q = case.shapes[0]
    if case.option("packed"):
        n, t, h, d = q
        x = rng.standard_normal((n, t, 3, h, d))
        return tuple(x[:, :, i] for i in range(3))
    arrays = [rng.standard_normal(shape) for shape in case.shapes]
    if case.option("hidden"):  # -inf in the bias
        arrays[3][rng.random(arrays[3].shape) < 0.2] = -np.inf
    return tuple(arrays)


def _forward(q: Any, k: Any, v: Any, bias: Any = None, **options: Any) -> Any:
    options.pop("hidden", None)
    options = resolved(q, options)
    y, lse, w = kernels.attention(
        q, k, v, bias=bias, return_saved=True, return_weights=True, **options
    )
    return y, np.maximum(host(lse), NOTHING), w


def _reference(q: Any, k: Any, v: Any, bias: Any = None, **options: Any) -> Any:
    options.pop("hidden", None)
    y, lse, w = attention(q, k, v, bias, **resolved(q, options))
    return y, np.maximum(lse, NOTHING), w


def _size(q: Any, k: Any, v: Any, bias: Any = None, **options: Any) -> Any:
    options.pop("hidden", None)
    return attention(q, k, v, bias, size=True, **resolved(q, options))


def _backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    q, k, v, *bias = inputs
    options = {name: value for name, value in options.items() if name != "hidden"}
    lse = host(y[1])
    grads = kernels.attention_backward(
        dy,
        q,
        k,
        v,
        y[0],
        saved=beside(q, np.where(lse == NOTHING, lse.dtype.type(-np.inf), lse)),
        bias=bias[0] if bias else None,
        **resolved(q, options),
    )
    return grads if bias and np.isfinite(host(bias[0])).all() else grads[:3]


def _op(wrt: tuple[int, ...]) -> Op:
    return Op(_forward, _reference, _inputs, magnitude=_size, backward=_backward, wrt=wrt)


# Where softmax has one key, or a bias adds the same to all of them, gradients are zero but for
# rounding:
# no share of themselves bounds their errors, and tests/test_attention.py looks at them.
OPS = {
    "attention": _op((0, 1, 2)),
    "attention_bias": _op((0, 1, 2, 3)),
    "attention_hidden": _op((0, 1, 2)),
    "attention_flat": Op(_forward, _reference, _inputs, magnitude=_size),
}


def _case(
    n: int, tq: int, tk: int, h: int, d: int, *, kv: int = 0, dv: int = 0, **options: Any
) -> Case:
    shapes: tuple[Shape, ...] = ((n, tq, h, d), (n, tk, kv or h, d), (n, tk, kv or h, dv or d))
    bias = options.pop("bias", None)
    if bias is not None:
        shapes = (*shapes, bias)
    op = "attention" if bias is None else "attention_bias"
    op = options.pop("op", op)
    return Case("attention", op, op, shapes, options=tuple(options.items()))


# Queries and keys around tiles of 14 and 32, blocks of 112, 128, 256 and 512, heads that share
# keys, few queries, few heads with many keys.
CASES = (
    *(_case(2, t, t, 2, 8) for t in (2, 5, 13, 14, 15, 31, 32, 33, 64, 113, 130)),
    _case(2, 1, 1, 2, 8, op="attention_flat"),
    *(_case(1, 6, 9, 2, d) for d in (1, 3, 4, 7, 15, 16, 17, 31, 33, 64, 80)),
    *(_case(1, 20, 40, 1, 8, dv=dv) for dv in (1, 5, 16, 24, 65)),
    _case(1, 30, 700, 1, 16),
    _case(1, 600, 560, 2, 16),
    _case(2, 40, 520, 9, 8),
    _case(3, 70, 70, 6, 8, kv=2),
    _case(1, 5, 300, 8, 16, kv=1),
    _case(2, 1, 90, 8, 20, kv=2, dv=9),
    *(_case(1, t, 1100, 2, 16) for t in (1, 2, 3, 4, 5)),
    _case(2, 1, 33, 2, 70, dv=70),
    _case(2, 45, 45, 3, 16, packed=True),
    _case(2, 17, 17, 3, 10, packed=True, causal=True),
    _case(1, 20, 20, 2, 8, scale=0.7),
    *(
        _case(2, tq, tk, 2, 8, causal=causal)
        for tq, tk in ((40, 40), (7, 60), (60, 7), (2, 50), (600, 600))
        for causal in (True, "upper_left")
    ),
    *(
        _case(1, tq, tk, 2, 8, causal=causal, window=window)
        for tq, tk in ((50, 50), (30, 90), (300, 640))
        for causal in (False, True)
        for window in (5, (20, 3), (None, 4), (40, None))
    ),
    _case(1, 2, 600, 2, 8, causal=True, window=9),
    _case(1, 1, 600, 2, 8, causal="upper_left", op="attention_flat"),
    _case(1, 300, 640, 2, 8, causal=True, window=0, op="attention_flat"),
    _case(4, 30, 40, 2, 8, lengths=(40, 0, 13, 33)),
    _case(3, 1, 600, 2, 8, lengths=(0, 600, 301)),
    _case(2, 300, 300, 2, 8, lengths=(299, 129), causal=True),
    _case(3, 6, 80, 2, 8, lengths=(80, 6, 40), starts=(74, 0, 34), causal=True, window=20),
    *(
        _case(2, 33, 50, 4, 8, mask=mask)
        for mask in ((2, 4, 33, 50), (2, 1, 1, 50), (33, 50), (1, 4, 33, 1), (1,))
    ),
    _case(2, 3, 280, 2, 8, mask=(3, 280)),
    _case(2, 40, 40, 4, 8, slopes=(4,), causal=True),
    _case(2, 20, 60, 4, 8, slopes=(2, 4)),
    *(
        _case(2, 20, 50, 4, 8, bias=bias)
        for bias in ((2, 4, 20, 50), (4, 20, 50), (2, 1, 1, 50), (20, 50))
    ),
    *(_case(2, 20, 50, 4, 8, bias=b, op="attention_flat") for b in ((1, 4, 20, 1), (1,), ())),
    _case(2, 130, 150, 2, 8, bias=(130, 150), causal=True),
    _case(2, 130, 150, 2, 8, bias=(1, 150), lengths=(140, 20)),
    _case(1, 130, 300, 2, 8, bias=(2, 130, 1), op="attention_flat"),
    _case(2, 20, 30, 2, 8, bias=(2, 2, 20, 30), hidden=True, op="attention_hidden"),
    _case(2, 1, 300, 2, 8, bias=(2, 2, 1, 300), hidden=True, op="attention_hidden"),
    *(_case(2, t, 45, 2, 8, dropout=0.3, seed=3, call=9) for t in (1, 3, 40)),
    _case(1, 130, 600, 2, 8, dropout=0.1, seed=1, causal=True),
    _case(1, 9, 9, 1, 4, dropout=1.0, seed=1),
    _case(2, 20, 30, 2, 8, bias=(20, 30), dropout=0.4, seed=2),
    _case(2, 30, 30, 4, 8, kv=2, bias=(4, 30, 30), mask=(2, 1, 1, 30), causal=True, window=(9, 0)),
    _case(0, 3, 4, 2, 8),
    _case(2, 0, 4, 2, 8),
    _case(2, 3, 0, 2, 8),
    _case(2, 3, 0, 2, 8, bias=(3, 1)),
    _case(2, 3, 4, 0, 8),
)
