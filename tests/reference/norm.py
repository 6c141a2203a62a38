"""Normalisation over rows and along the last axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

EPS = 1e-5
_ACT: dict[str | None, Callable[[Any], Any]] = {
    None: lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "leaky_relu": lambda z: np.where(z > 0, z, z.dtype.type(0.01) * z),
}


def _wide(x: Any) -> Any:
    """The type of sums: NumPy adds rows one by one, which float64 itself would show."""
    return np.longdouble if x.dtype == np.float64 else x.dtype


def _normal(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    mean = np.mean(x, axis=axes, keepdims=True, dtype=_wide(x))
    var = np.mean((x - mean) ** 2, axis=axes, keepdims=True)
    return ((x - mean) / np.sqrt(var + x.dtype.type(eps))).astype(x.dtype)


def _scale(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    """Terms of each normalised element: itself and the mean, both over the deviation."""
    deviation = np.sqrt(np.var(x, axis=axes, keepdims=True) + eps)
    return (np.abs(x) + np.mean(np.abs(x), axis=axes, keepdims=True)) / deviation


def _rows(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _inner(x: Any) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


def _per_sample(s: Any, x: Any) -> Any:
    return s.reshape(s.shape[0], *[1] * (x.ndim - 2), s.shape[1])


def batch_norm(x: Any, w: Any, b: Any, activation: str | None = None) -> Any:
    return _ACT[activation](_normal(x, _rows(x), EPS) * w + b)


def batch_norm_size(x: Any, w: Any, b: Any, activation: str | None = None) -> Any:
    return _scale(x, _rows(x), EPS) * np.abs(w) + np.abs(b)


def instance_norm(x: Any, w: Any, b: Any) -> Any:
    return _normal(x, _inner(x), EPS) * w + b


def instance_norm_size(x: Any, w: Any, b: Any) -> Any:
    return _scale(x, _inner(x), EPS) * np.abs(w) + np.abs(b)


def adain(x: Any, scale: Any, shift: Any, activation: str | None = None) -> Any:
    z = _normal(x, _inner(x), EPS) * _per_sample(scale, x) + _per_sample(shift, x)
    return _ACT[activation](z)


def adain_size(x: Any, scale: Any, shift: Any, activation: str | None = None) -> Any:
    s = _scale(x, _inner(x), EPS)
    return s * np.abs(_per_sample(scale, x)) + np.abs(_per_sample(shift, x))


def _grouped(f: Any, x: Any, groups: int) -> Any:
    split = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return f(split, (*range(1, x.ndim - 1), x.ndim), EPS).reshape(x.shape)


def group_norm(x: Any, w: Any, b: Any, groups: int) -> Any:
    return _grouped(_normal, x, groups) * w + b


def group_norm_size(x: Any, w: Any, b: Any, groups: int) -> Any:
    return _grouped(_scale, x, groups) * np.abs(w) + np.abs(b)


def _last(x: Any, w: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - w.ndim, x.ndim))


def layer_norm(x: Any, w: Any, b: Any) -> Any:
    return _normal(x, _last(x, w), EPS) * w + b


def layer_norm_size(x: Any, w: Any, b: Any) -> Any:
    return _scale(x, _last(x, w), EPS) * np.abs(w) + np.abs(b)


def rms_norm(x: Any, w: Any) -> Any:
    square = np.mean(x * x, axis=_last(x, w), keepdims=True, dtype=_wide(x))
    return (x / np.sqrt(square + x.dtype.type(EPS)) * w).astype(x.dtype)


def pixel_norm(x: Any) -> Any:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(1e-8))


def minibatch_stddev(x: Any, group_size: int, num_features: int) -> Any:
    n, c = x.shape[0], x.shape[-1]
    g = min(group_size, n)
    m = n // g
    groups = x.reshape(g, m, -1, num_features, c // num_features)
    deviation = np.sqrt(np.var(groups, axis=0) + x.dtype.type(1e-8))
    mean = np.mean(deviation, axis=(1, 3), dtype=_wide(x)).astype(x.dtype)
    s = np.broadcast_to(mean, (g, m, num_features))
    s = _per_sample(s.reshape(n, num_features), x)
    return np.concatenate([x, np.broadcast_to(s, (*x.shape[:-1], num_features))], axis=-1)


# ---- the public functions ------------------------------------------------------------------------


def _batch(x: Any, w: Any, b: Any, activation: str | None = None) -> Any:
    return kernels.batch_norm(x, w, b, None, None, training=True, activation=activation)[0]


def _batch_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    x, w, b = inputs
    _, mean, rstd = kernels.batch_norm(x, w, b, None, None, training=True)
    return kernels.batch_norm_backward(dy, x, w, mean, rstd, bias=b, **options)


def _with_saved(name: str) -> Callable[..., Arrays]:
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")

    def run(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        options = {"eps": EPS} | options if name == "rms_norm" else options
        _, saved = forward(*inputs, **options, return_saved=True)
        options.pop("eps", None)
        if "activation" in options:
            options = options | {"shift": inputs[2]}
        grads = backward(dy, *inputs[:2], **options, saved=saved)
        return grads if isinstance(grads, tuple) else (grads,)

    return run


def _group(x: Any, w: Any, b: Any, groups: int) -> Any:
    return kernels.group_norm(x, groups, w, b)


def _group_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    x, w, b = inputs
    _, saved = kernels.group_norm(x, options["groups"], w, b, return_saved=True)
    return kernels.group_norm_backward(dy, x, options["groups"], w, saved=saved)


def _minibatch_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return (kernels.minibatch_stddev_backward(dy, inputs[0], **options),)


OPS = {
    "batch_norm": Op(
        _batch, batch_norm, magnitude=batch_norm_size, backward=_batch_backward, wrt=(0, 1, 2)
    ),
    "instance_norm": Op(
        kernels.instance_norm,
        instance_norm,
        magnitude=instance_norm_size,
        backward=_with_saved("instance_norm"),
        wrt=(0, 1, 2),
    ),
    "group_norm": Op(
        _group, group_norm, magnitude=group_norm_size, backward=_group_backward, wrt=(0, 1, 2)
    ),
    "adain": Op(
        kernels.adain, adain, magnitude=adain_size, backward=_with_saved("adain"), wrt=(0, 1, 2)
    ),
    "layer_norm": Op(
        kernels.layer_norm,
        layer_norm,
        magnitude=layer_norm_size,
        backward=_with_saved("layer_norm"),
        wrt=(0, 1, 2),
    ),
    "rms_norm": Op(
        lambda x, w: kernels.rms_norm(x, w, eps=EPS),
        rms_norm,
        magnitude=lambda x, w: np.abs(rms_norm(x, w)),
        backward=_with_saved("rms_norm"),
        wrt=(0, 1),
    ),
    "pixel_norm": Op(
        kernels.pixel_norm,
        pixel_norm,
        magnitude=lambda x: np.abs(pixel_norm(x)),
        backward=_with_saved("pixel_norm"),
    ),
    "minibatch_stddev": Op(
        kernels.minibatch_stddev,
        minibatch_stddev,
        magnitude=lambda x, **o: np.abs(minibatch_stddev(x, **o)),
        backward=_minibatch_backward,
    ),
}


def _case(op: str, shapes: tuple[tuple[int, ...], ...], **options: Any) -> Case:
    return Case("norm", op, op, shapes, options=tuple(options.items()))


def _affine(op: str, x: tuple[int, ...], **options: Any) -> Case:
    w = (x[0], x[-1]) if op == "adain" else x[-1:]
    return _case(op, (x, w, w), **options)


# Rows and channels around the blocks of 8 rows, chunks of 512, strips of 512 channels, and C that
# are folded into wider rows with and without a rest.
_BATCH = (
    *((n, 3) for n in (3, 7, 8, 9, 16, 17, 100, 5000)),
    *((9, c) for c in (1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 511, 513, 1030)),
    (2, 3, 5),
    (4, 6, 6, 12),
    (2, 40, 50, 24),
    (1100, 130),
    (2, 3, 4, 5, 6),
)
_SPATIAL = (
    (1, 4, 1),
    (3, 5, 7),
    (2, 9, 9, 3),
    (3, 20, 30, 33),
    (2, 64, 64, 20),  # two large samples: parallel inside
    (17, 7, 7, 48),  # many: one a thread
    (2, 300, 520),
)
_ROWS = (
    *((5, n) for n in (4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130, 1000)),
    (1, 4),
    (600, 20),
    (40, 4100),
    (3, 4, 6),
    (2, 20000),  # backward by strips of columns
    (2, 70000),  # and forward by pieces
)

CASES = (
    *(_affine("batch_norm", x) for x in (*_BATCH, (3, 0))),
    *(
        _affine("batch_norm", (6, 5, c), activation=a)
        for c in (3, 40, 600)
        for a in ("relu", "silu", "tanh", "leaky_relu")
    ),
    *(
        _affine(op, x)
        for op in ("instance_norm", "adain")
        for x in (*_SPATIAL, (0, 3, 4), (2, 3, 0))
    ),
    _affine("adain", (3, 4, 4, 10), activation="leaky_relu"),
    _affine("adain", (2, 5, 600), activation="tanh"),
    *(
        _affine("group_norm", x, groups=g)
        for x, g in (
            ((3, 8), 2),
            ((2, 5, 6), 3),
            ((2, 5, 6), 1),
            ((2, 5, 6), 6),
            ((3, 9, 9, 32), 8),
            ((2, 64, 64, 24), 4),
            ((17, 5, 5, 40), 5),
            ((2, 7, 640), 2),
            ((0, 4, 4), 2),
        )
    ),
    *(_case("layer_norm", (x, x[-1:], x[-1:])) for x in (*_ROWS, (0, 4))),
    _case("layer_norm", ((6, 5, 4, 3), (5, 4, 3), (5, 4, 3))),
    _case("layer_norm", ((20, 70, 300), (70, 300), (70, 300))),
    *(_case("rms_norm", (x, x[-1:])) for x in (*_ROWS, (0, 4))),
    *(_case("pixel_norm", (x,)) for x in ((3, 4), (2, 5, 5, 3), (4, 4, 4, 16), (50, 513), (0, 3))),
    *(
        _case("minibatch_stddev", (x,), group_size=g, num_features=f)
        for x, g, f in (
            ((4, 3, 3, 5), 4, 1),
            ((8, 4, 4, 6), 4, 2),
            ((6, 2, 17), 3, 1),
            ((2, 5, 5, 8), 4, 4),
            ((12, 33, 33, 16), 4, 1),
            ((3, 7), 1, 1),
        )
    ),
)
