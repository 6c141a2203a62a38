"""Philox4x32-10 and what is made of it, once more in plain NumPy integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(counter: Any, key: tuple[int, int]) -> Any:
    """``(..., 4)`` uint32 words for ``(..., 4)`` counter words (Salmon et al., SC'11)."""
    c = [np.asarray(counter[..., i], np.uint64) for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (p1 >> HALF) ^ c[1] ^ np.uint64(k0),
            p1 & LOW,
            (p0 >> HALF) ^ c[3] ^ np.uint64(k1),
            p0 & LOW,
        ]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack(c, axis=-1).astype(np.uint32)


def words(n: int, seed: int, call: int) -> Any:
    """The first n words of a call."""
    blocks = np.arange((n + 3) // 4, dtype=np.uint64)
    counter = np.empty((len(blocks), 4), np.uint64)
    counter[:, 0], counter[:, 1] = blocks & LOW, blocks >> HALF
    counter[:, 2], counter[:, 3] = call % 2**32, call >> 32
    return philox(counter, (seed % 2**32, seed >> 32)).reshape(-1)[:n]


def draws(n: int, seed: int, call: int) -> Any:
    """The first n 64-bit draws of a call."""
    w = words(2 * n, seed, call).astype(np.uint64)
    return w[::2] | w[1::2] << HALF


def uniform(n: int, dtype: str, seed: int, call: int) -> Any:
    if dtype == "float32":
        return (words(n, seed, call) >> 8).astype(np.float32) * np.float32(2.0**-24)
    return (draws(n, seed, call) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(n: int, dtype: str, seed: int, call: int) -> Any:
    """Box-Muller in extended precision, for an even n."""
    bits = words(n, seed, call) if dtype == "float32" else draws(n, seed, call)
    size = 32 if dtype == "float32" else 64
    radius, angle = bits[::2].astype(object), bits[1::2].astype(object)
    if size == 32:
        u = np.array([np.float32(r >> 1) + np.float32(0.5) for r in radius], np.float32)
        u = u.astype(np.longdouble) / 2**31
    else:
        u = np.array([r >> 11 for r in radius], np.float64) * 2.0**-53 + 2.0**-54
        u = u.astype(np.longdouble)
    r = np.sqrt(-2 * np.log(u))
    quarter = np.array([a >> (size - 2) for a in angle], np.int64)
    place = np.array([a % 2 ** (size - 2) for a in angle], np.longdouble) / 2 ** (size - 2)
    t = (place - np.where(place >= 0.5, 1, 0) if size == 32 else place - 0.5) * (
        np.longdouble(np.pi) / 2
    )
    s, c = np.sin(t), np.cos(t)
    swap, sign = quarter % 2 == 1, np.where(quarter >= 2, -1, 1)
    y = np.empty(n, np.longdouble)
    y[::2] = r * np.where(swap, s, c) * sign
    y[1::2] = r * np.where(swap, c, s) * sign
    return y


def integers(n: int, low: int, high: int, seed: int, call: int) -> Any:
    """Lemire's method with Python integers, redrawing included."""
    span, result = high - low, []
    for i, x in enumerate(int(d) for d in draws(n, seed, call)):
        t = 0
        while (x * span) % 2**64 < (2**64 - span) % span:
            t += 1
            block = i // 2 + (t << 56)
            counter = np.array([[block % 2**32, block >> 32, call % 2**32, call >> 32]], np.uint64)
            four = [int(w) for w in philox(counter, (seed % 2**32, seed >> 32))[0]]
            x = four[2 * (i % 2)] | four[2 * (i % 2) + 1] << 32
        result.append(low + (x * span >> 64))
    return np.array(result, np.int64)


def permutation(n: int, seed: int, call: int) -> Any:
    y = [0] * n
    for i, x in enumerate(int(d) for d in draws(n, seed, call)):
        j = x * (i + 1) >> 64  # redrawing is as likely as n / 2^64
        y[i] = y[j]
        y[j] = i
    return np.array(y, np.int64)


ALPHA = 1.7580993408473766


def dropout(x: Any, p: float, seed: int, call: int, kind: str) -> Any:
    if kind.startswith("feature"):
        n, c = x.shape[0], x.shape[-1]
        w = words(n * c, seed, call).reshape(n, *(1,) * (x.ndim - 2), c)
    else:
        w = words(x.size, seed, call).reshape(x.shape)
    kept = w >= np.rint(p * 2**32)
    if p == 1:
        return np.zeros_like(x)
    if kind in ("element", "feature"):
        return np.where(kept, x * x.dtype.type(1 / (1 - p)), x.dtype.type(0))
    a = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5
    scale, up, down = (x.dtype.type(v) for v in (a, a * ALPHA * p, -a * ALPHA * (1 - p)))
    return np.where(kept, x * scale + up, down)


def dropout_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return (kernels.dropout_backward(dy, **options),)


OPS = {
    "dropout": Op(kernels.dropout, dropout, backward=dropout_backward),
}

_KINDS = ("element", "feature", "alpha", "feature_alpha")


def _case(shape: tuple[int, ...], kind: str, p: float, seed: int = 3, call: int = 1) -> Case:
    options = (("p", p), ("seed", seed), ("call", call), ("kind", kind))
    return Case("random", f"{shape} {kind} {p}", "dropout", (shape,), options=options)


CASES = (
    *(_case((n,), "element", 0.5) for n in (1, 2, 3, 15, 16, 17, 33, 1023, 1025, 70001)),
    *(_case((3, 5, c), kind, 0.3) for c in (1, 3, 8, 17) for kind in _KINDS),
    *(_case((2, 7, 33), kind, p) for kind in _KINDS for p in (0.0, 1.0, 1e-3)),
    *(_case((5, 90, 1000), kind, 0.2, 2**63 + 5, 2**40 + 1) for kind in ("element", "feature")),
    *(_case(shape, kind, 0.5) for shape in ((0, 3), (3, 0)) for kind in _KINDS),
)
