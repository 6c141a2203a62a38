"""What tensor cores owe: float64 results on inputs that the type holds exactly, within a bound.

Without pytest, since bench/gpu_check.py asks the same of a card.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import handloom as hl
from handloom import _C, kernels
from reference import attention as oracle
from reference import conv as conv_oracle

DROPPED = {"bfloat16": 16, "tfloat32": 13}  # bits of float32's mantissa
UNIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "tfloat32": 2.0**-11}


def rounded(a: Any, dtype: str) -> Any:
    """float32 with the nearest value that the type can hold; of two, the even one, or in TF32 the
    one farther from zero."""
    a = np.asarray(a, np.float32)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return a.astype(np.float16).astype(np.float32)
    drop = DROPPED[dtype]
    bits = a.view(np.uint32).astype(np.uint64)
    tie = 0 if dtype == "tfloat32" else 1 - (bits >> drop & 1)
    near = ((bits + (1 << drop - 1) - tie) >> drop << drop).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(a), near, a)


LAYERS = ("simt", "mma", "sm90a")


def use_layers(highest: str) -> None:
    """From here on kernels of faster layers than this are left out."""
    rows = _C.gpu.kernels()
    _C.gpu.choose([LAYERS.index(layer) <= LAYERS.index(highest) for _, _, layer, _ in rows])


def has_sm90a() -> bool:
    """Whether the card and the library are such that layer sm90a can run."""
    hopper = tuple(hl.cuda.get_device_properties()["capability"]) == (9, 0)
    return hopper and any(layer == "sm90a" for _, _, layer, _ in _C.gpu.kernels())


def draw(seed: int, dtype: str, *shape: int) -> Any:
    return rounded(np.random.default_rng(seed).standard_normal(shape), dtype)


def inputs(
    dtype: str, n: int, tq: int, tk: int, h: int, hk: int, d: int, dv: int | None = None
) -> list[Any]:
    """dy, q, k, v."""
    dv = d if dv is None else dv
    shapes = [(n, tq, h, dv), (n, tq, h, d), (n, tk, hk, d), (n, tk, hk, dv)]
    return [draw(i, dtype, *shape) for i, shape in enumerate(shapes)]


# ---- attention -----------------------------------------------------------------------------------


def on_card(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: hl.cuda.array(v) if isinstance(v, np.ndarray) else v for name, v in options.items()
    }


def folded(a: Any, like: Any) -> Any:
    """Sums over the query heads of a key head."""
    n, t, h, d = a.shape
    return a.reshape(n, t, like.shape[2], h // like.shape[2], d).sum(3)


def check_attention(dtype: str, arrays: list[Any], **options: Any) -> None:
    dy, q, k, v = arrays
    with hl.autocast(dtype):
        on = [hl.cuda.array(a) for a in arrays]
        given = on_card(options)
        y, saved = kernels.attention(*on[1:], **given, return_saved=True)
        grads = kernels.attention_backward(*on, y, saved=saved, **given)[:3]

    wide = [a.astype(np.float64) for a in arrays]
    plain = {name: a for name, a in options.items() if name != "bias"}
    bias = options.get("bias")
    exact, lse, w = oracle.attention(*wide[1:], bias, **plain)
    unit, tiny = UNIT[dtype], 2e-5
    dy, q, k, v = wide
    group = q.shape[2] // k.shape[2]
    ks, vs = np.repeat(k, group, 2), np.repeat(v, group, 2)
    size = np.einsum("nhij,njhd->nihd", w, np.abs(vs))
    assert_within(y, exact, unit * size + tiny, "y")
    seen = np.isfinite(lse)
    np.testing.assert_array_equal(np.isfinite(saved.numpy()), seen)
    np.testing.assert_allclose(saved.numpy()[seen], lse[seen], rtol=1e-5, atol=1e-5)

    # dS = p (z dP - delta), delta = dy . y with the y above
    undropped = {name: a for name, a in plain.items() if name not in ("dropout", "seed", "call")}
    p = oracle.attention(q, k, v, bias, **undropped)[2]
    dp = np.einsum("nihd,njhd->nhij", dy, vs)
    z = np.divide(w, p, out=np.zeros_like(p), where=p > 0)
    delta = np.einsum("nihd,nihd->nhi", dy, exact)[..., None]
    ds = p * (z * dp - delta)
    error = unit * np.abs(ds) + p * np.einsum("nihd,nihd->nhi", np.abs(dy), unit * size)[..., None]
    scale = options.get("scale") or q.shape[-1] ** -0.5
    dq = scale * np.einsum("nhij,njhd->nihd", ds, ks)
    dk = scale * folded(np.einsum("nhij,nihd->njhd", ds, q), k)
    dv = folded(np.einsum("nhij,nihd->njhd", w, dy), v)
    dq_error = scale * np.einsum("nhij,njhd->nihd", error, np.abs(ks))
    dk_error = scale * folded(np.einsum("nhij,nihd->njhd", error, np.abs(q)), k)
    dv_error = unit * folded(np.einsum("nhij,nihd->njhd", w, np.abs(dy)), v)
    for got, want, bound, name in zip(
        grads, (dq, dk, dv), (dq_error, dk_error, dv_error), ("dq", "dk", "dv")
    ):
        assert_within(got, want, bound + tiny * (1 + np.abs(want)), name)


def assert_within(got: Any, want: Any, bound: Any, name: str) -> None:
    off = np.abs(got.numpy() - want)
    assert off.shape == bound.shape
    worst = np.unravel_index(np.nanargmax(off - bound), off.shape) if off.size else ()
    assert np.all(off <= bound), f"{name}{worst}: off by {off[worst]}, bound {bound[worst]}"


def _attentions() -> None:
    rng = np.random.default_rng(1)
    for dtype in UNIT:
        for d in (20, 64, 96, 128):
            check_attention(dtype, inputs(dtype, 2, 130, 200, 2, 1, d), causal=True)
            check_attention(dtype, inputs(dtype, 1, 257, 129, 2, 2, d), window=(40, 70))
            check_attention(
                dtype,
                inputs(dtype, 2, 70, 90, 2, 1, d),
                mask=rng.random((2, 1, 70, 90)) < 0.5,
                bias=rng.standard_normal((2, 1, 90)).astype(np.float32),
                lengths=np.array([90, 33]),
                dropout=0.2,
                seed=3,
            )


def _recurrent() -> None:
    from recurrent_layers import check_all

    small = "emulat" in hl.cuda.state()
    check_all([(3, 4, 21)] if small else [(1, 9, 33), (16, 40, 200), (33, 21, 515), (70, 5, 768)])


# ---- convolution ---------------------------------------------------------------------------------


def tap_views(x: Any, w: Any, y: Any, groups: int, **how: Any) -> Iterator[tuple[Any, Any, Any]]:
    """What a tap sees of padded x, its w, the channels of y: tap after tap, group after group."""
    n = x.ndim - 2
    stride, dilation = (np.broadcast_to(how.get(k, 1), n) for k in ("stride", "dilation"))
    width, outputs = x.shape[-1] // groups, w.shape[0] // groups
    for tap in itertools.product(*map(range, w.shape[1:-1])):
        at = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, dilation, stride, y.shape[1:-1])
        )
        for g in range(groups):
            o = slice(g * outputs, (g + 1) * outputs)
            yield x[(slice(None), *at, slice(g * width, (g + 1) * width))], w[(o, *tap)], y[..., o]


def conv_gradients(dy: Any, x: Any, w: Any, groups: int = 1, **how: Any) -> tuple[Any, Any]:
    """dx and dw in float64, tap by tap."""
    pads = [
        (p, p) if isinstance(p, int) else p
        for p in conv_oracle._triple(how.get("padding", 0), x.ndim - 2)
    ]
    wide = np.pad(x, [(0, 0), *pads, (0, 0)])
    dx, dw = np.zeros_like(wide), np.zeros_like(w)
    seen = tap_views(wide, w, dy, groups, **how)
    for (pixels, taps, d), (to_x, to_w, _) in zip(seen, tap_views(dx, dw, dy, groups, **how)):
        to_x += d @ taps
        to_w += np.tensordot(d, pixels, (range(x.ndim - 1),) * 2)
    inner = tuple(slice(p, p + size) for (p, _), size in zip(pads, x.shape[1:-1]))
    return dx[(slice(None), *inner)], dw


def check_conv(
    dtype: str,
    x_shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    bias: bool = True,
    what: str = "ydxdw",
    **how: Any,
) -> None:
    """y, dx and dw of a convolution on tensor cores; what is left is the error of float32 sums."""
    n, groups = len(kernel), how.get("groups", 1)
    x, w = draw(1, dtype, *x_shape), draw(2, dtype, outputs, *kernel, x_shape[-1] // groups)
    b = draw(3, dtype, outputs) if bias else None
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, b)]
    size = [None if a is None else np.abs(a) for a in wide]
    exact = conv_oracle.conv(*wide, **how)
    dy = draw(4, dtype, *exact.shape)
    on = hl.cuda.array
    bound = 2.0**-23 * (np.prod(kernel) * x_shape[-1] // groups + 1)
    with hl.autocast(dtype):
        if "y" in what:
            y = getattr(kernels, f"conv{n}d")(on(x), on(w), None if b is None else on(b), **how)
            assert_within(y, exact, bound * conv_oracle.conv(*size, **how) + 1e-30, "y")
        need = tuple(v for v in "xw" if f"d{v}" in what)
        backward = getattr(kernels, f"conv{n}d_backward")
        dx, dw, _ = backward(on(dy), on(x), on(w), need=need, **how)
    exact_grads = conv_gradients(dy.astype(np.float64), wide[0], wide[1], **how)
    grad_sizes = conv_gradients(np.abs(dy).astype(np.float64), size[0], size[1], **how)
    depths = (np.prod(kernel) * outputs // groups, np.prod(dy.shape[:-1]))
    for got, want, total, depth, name in zip(
        (dx, dw), exact_grads, grad_sizes, depths, ("dx", "dw")
    ):
        if got is not None:
            assert_within(got, want, 2.0**-23 * (depth + 1) * total + 1e-30, name)


def _convolutions() -> None:
    for dtype in UNIT:
        check_conv(dtype, (2, 20, 23, 40), 72, (3, 3), padding=1)
        check_conv(dtype, (2, 33, 32, 3), 64, (7, 7), stride=2, padding=3)
        check_conv(dtype, (2, 14, 15, 130), 140, (1, 1), stride=2)
        check_conv(dtype, (1, 17, 18, 48), 96, (3, 4), groups=2, stride=(2, 3), dilation=(3, 2))
        check_conv(dtype, (3, 300, 20), 33, (5,), padding=2)
        check_conv(dtype, (1, 7, 8, 9, 17), 40, (3, 3, 2), padding=1, stride=(1, 2, 2))


# ---- large products ------------------------------------------------------------------------------


def assert_product(c: Any, a: Any, b: Any) -> None:
    """C is A B, summed in float32 in any order."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    bound = a.shape[-1] * 2.0**-23 * (np.abs(a) @ np.abs(b)) + 1e-30
    assert c.dtype == np.float32
    assert np.all(np.abs(c - a @ b) <= bound)


def bits(a: Any, kind: str) -> Any:
    """The uint16 that stand for values which the type holds."""
    if kind == "f16":
        return a.astype(np.float16).view(np.uint16)
    return (a.view(np.uint32) >> 16).astype(np.uint16)


def _products() -> None:
    on = hl.cuda.array
    for dtype, kind in (("bfloat16", "bf16"), ("float16", "f16")):
        for m, n, k in ((1, 1, 8), (300, 520, 328), (64, 4000, 72), (4000, 2000, 1000)):
            a, b = draw(1, dtype, m, k), draw(2, dtype, n, k)
            c = _C.gpu.gemm16(kind, on(bits(a, kind)), on(bits(b, kind)), wide=True)
            assert_product(c.numpy(), a, b.T)
        m, n, k = 2050, 2047, 1101
        x, w, dy = draw(1, dtype, m, k), draw(2, dtype, n, k), draw(3, dtype, m, n)
        with hl.autocast(dtype):
            y, flat = kernels.linear(on(x), on(w)), kernels.matmul(on(x), np.swapaxes(on(w), 0, 1))
            dx, dw, _ = kernels.linear_backward(on(dy), on(x), on(w))
        assert_product(y.numpy(), x, w.T)
        assert_product(flat.numpy(), x, w.T)
        assert_product(dx.numpy(), dy, w)
        assert_product(dw.numpy(), dy.T.copy(), x)


def _large_attentions() -> None:
    for dtype in ("bfloat16", "float16"):
        for d in (40, 64, 96, 128):
            check_attention(dtype, inputs(dtype, 2, 130, 200, 2, 1, d), causal=True)
            check_attention(dtype, inputs(dtype, 1, 257, 129, 2, 2, d), window=(40, 70))
            check_attention(dtype, inputs(dtype, 1, 700, 900, 2, 1, d))


# what a check covers: the kernels, of one layer, and the calls
CHECKS: dict[str, tuple[str, tuple[str, ...], Callable[[], None]]] = {
    "attention": ("mma", ("attention_forward", "attention_backward"), _attentions),
    "recurrent": ("mma", ("rnn_forward", "rnn_backward"), _recurrent),
    "conv": (
        "mma",
        ("conv_forward", "conv_backward_data", "conv_backward_weight"),
        _convolutions,
    ),
    "attention_sm90a": ("sm90a", ("attention_forward",), _large_attentions),
    "products_sm90a": (
        "sm90a",
        ("gemm16", "matmul", "linear_forward", "linear_backward"),
        _products,
    ),
}
