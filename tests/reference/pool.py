"""Pooling, one window at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op


class Places(NamedTuple):
    """What one output sees along one axis: the inputs, and how many an average counts."""

    inside: list[int]
    padded: int


def pairs(padding: Any, size: Any, kernel: Any, stride: Any, dilation: Any) -> list[Any]:
    """(before, after) for each axis."""
    reach = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if padding == "full":
        return [(r, r) for r in reach]
    if padding == "causal":
        return [(r, 0) for r in reach]
    if padding == "same":
        total = [max((-(-n // s) - 1) * s + r + 1 - n, 0) for n, s, r in zip(size, stride, reach)]
        return [(t // 2, (t + 1) // 2) for t in total]
    if padding == "valid":
        padding = 0
    each = (padding,) * len(size) if isinstance(padding, int) else padding
    return [p if isinstance(p, tuple) else (p, p) for p in each]


def per_axis(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def sliding(
    size: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> list[list[Places]]:
    """For each axis, the windows of an ordinary pool."""
    n = len(size)
    kernel, dilation = per_axis(kernel_size, n), per_axis(dilation, n)
    stride = kernel if stride is None else per_axis(stride, n)
    axes = []
    around = pairs(padding, size, kernel, stride, dilation)
    for m, k, s, d, (before, after) in zip(size, kernel, stride, dilation, around):
        places = []
        start = -before
        while True:
            taps = [start + j * d for j in range(k)]
            sticks_out = taps[-1] >= m + after
            if sticks_out and not (ceil_mode and taps[-1] - s < m + after - 1 and start < m):
                break
            places.append(Places([t for t in taps if 0 <= t < m], sum(t < m + after for t in taps)))
            start += s
        axes.append(places)
    return axes


def shared_out(size: tuple[int, ...], output_size: Any) -> list[list[Places]]:
    """For each axis, the windows of an adaptive pool."""
    axes = []
    for m, n in zip(size, per_axis(output_size, len(size))):
        ends = [(o * m // n, -(-(o + 1) * m // n)) for o in range(n)]
        axes.append([Places(list(range(a, b)), b - a) for a, b in ends])
    return axes


def windows(x: Any, options: dict[str, Any]) -> Any:
    """``(axes, volume)``: the windows along each axis, and how many taps a whole one has."""
    size = x.shape[1:-1]
    if "output_size" in options:
        return shared_out(size, options["output_size"]), 0
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    axes = sliding(size, **{k: v for k, v in options.items() if k in names})
    return axes, int(np.prod(per_axis(options["kernel_size"], len(size))))


def each(axes: list[list[Places]]) -> Iterator[tuple[tuple[int, ...], tuple[Places, ...]]]:
    """Every output's place with its windows along the axes."""
    for at in product(*(range(len(a)) for a in axes)):
        yield at, tuple(a[i] for a, i in zip(axes, at))


def view(x: Any, seen: tuple[Places, ...]) -> Any:
    """(N, taps, C): what one window sees."""
    part = x[np.ix_(range(x.shape[0]), *(p.inside for p in seen), range(x.shape[-1]))]
    return part.reshape(x.shape[0], math.prod(part.shape[1:-1]), x.shape[-1])


def winners(part: Any, largest: bool) -> Any:
    """PyTorch's choice: the last NaN, else the first of the largest."""
    nan = np.isnan(part)
    best = np.argmax(np.where(nan, -np.inf, part if largest else -part), 1)
    last = part.shape[1] - 1 - np.argmax(nan[:, ::-1], 1)
    return np.where(nan.any(1), last, best)


def extreme(x: Any, largest: bool, options: dict[str, Any], dy: Any = None) -> Any:
    """(y, indices), or dx where dy is given."""
    axes, _ = windows(x, options)
    shape = (x.shape[0], *(len(a) for a in axes), x.shape[-1])
    y = np.full(shape, -np.inf if largest else np.inf, x.dtype)
    indices = np.full(shape, -1)
    flat = np.arange(int(np.prod(x.shape[1:-1]))).reshape(1, *x.shape[1:-1], 1)
    dx = np.zeros((x.shape[0], flat.size, x.shape[-1]), x.dtype)
    n, c = np.ogrid[: x.shape[0], : x.shape[-1]]
    for at, seen in each(axes):
        part = view(x, seen)
        if part.shape[1] == 0 or part.size == 0:
            continue
        won = winners(part, largest)
        here = (slice(None), *at)
        y[here] = np.take_along_axis(part, won[:, None], 1)[:, 0]
        indices[here] = view(flat, seen)[0, :, 0][won]
        if dy is not None:
            np.add.at(dx, (n, indices[here], c), dy[here])
    return dx.reshape(x.shape) if dy is not None else (y, indices)


def divisor(seen: tuple[Places, ...], options: dict[str, Any]) -> int:
    override = options.get("divisor_override")
    if override is not None:
        return int(override)
    count_pad = options.get("count_include_pad", True)
    return int(np.prod([p.padded if count_pad else len(p.inside) for p in seen]))


def avg(x: Any, **options: Any) -> Any:
    axes, _ = windows(x, options)
    y = np.zeros((x.shape[0], *(len(a) for a in axes), x.shape[-1]), x.dtype)
    for at, seen in each(axes):
        m = divisor(seen, options)
        y[(slice(None), *at)] = view(x, seen).sum(1) / x.dtype.type(m) if m else 0
    return y


def avg_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    dx = np.zeros_like(inputs[0])
    axes, _ = windows(dx, options)
    for at, seen in each(axes):
        if not all(p.inside for p in seen):
            continue
        where = np.ix_(range(len(dx)), *(p.inside for p in seen), range(dx.shape[-1]))
        share = dy[(slice(None), *at)] / dx.dtype.type(divisor(seen, options))
        dx[where] += share.reshape(len(dx), *(1,) * len(at), dx.shape[-1])
    return (dx,)


def lp(x: Any, norm_type: float, **options: Any) -> Any:
    axes, volume = windows(x, options)
    y = np.zeros((x.shape[0], *(len(a) for a in axes), x.shape[-1]), x.dtype)
    for at, seen in each(axes):
        scale = x.dtype.type(volume / np.prod([p.padded for p in seen]))
        total = (view(x, seen) ** x.dtype.type(norm_type)).sum(1) * scale
        y[(slice(None), *at)] = total ** x.dtype.type(1 / norm_type)
    return y


def lp_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    (x,) = inputs
    y, p = lp(x, **options), options["norm_type"]
    axes, volume = windows(x, options)
    sums = np.zeros_like(x)
    with np.errstate(all="ignore"):
        g = np.where(y == 0, 0, dy * y ** (1 - p)).astype(x.dtype)
    for at, seen in each(axes):
        if not all(q.inside for q in seen):
            continue
        scale = x.dtype.type(volume / np.prod([q.padded for q in seen]))
        where = np.ix_(range(len(x)), *(q.inside for q in seen), range(x.shape[-1]))
        sums[where] += (g[(slice(None), *at)] * scale).reshape(len(x), *(1,) * len(at), x.shape[-1])
    return ((sums * x ** (p - 1)).astype(x.dtype),)


def unpool(x: Any, indices: Any, **options: Any) -> Any:
    size = options["output_size"]
    y = np.zeros((x.shape[0], int(np.prod(size)), x.shape[-1]), x.dtype)
    flat = (x.shape[0], -1, x.shape[-1])
    np.put_along_axis(y, indices.reshape(flat), x.reshape(flat), 1)
    return y.reshape(x.shape[0], *size, x.shape[-1])


def unpool_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    (shape,) = case.shapes
    places = int(np.prod(dict(case.options)["output_size"]))
    order = rng.random((shape[0], places, shape[-1])).argsort(1)
    return rng.standard_normal(shape), order[:, : int(np.prod(shape[1:-1]))].reshape(shape)


def positive(case: Case, rng: np.random.Generator) -> Arrays:
    return (rng.random(case.shapes[0]) + 0.1,)


def _without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in names}


def _extreme_op(name: str) -> Op:
    largest = "max" in name

    def reference(x: Any, **options: Any) -> Any:
        y, indices = extreme(x, largest, options)
        return (y, indices) if options.get("return_indices") else y

    def backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        options = _without(options, "return_indices")
        return (getattr(kernels, name + "_backward")(dy, *inputs, **options),)

    return Op(
        getattr(kernels, name),
        reference,
        backward=backward,
        reference_backward=lambda dy, inputs, options: (
            extreme(inputs[0], largest, _without(options, "return_indices"), dy),
        ),
    )


def _avg_op(name: str) -> Op:
    function = getattr(kernels, name + "_backward")
    return Op(
        getattr(kernels, name),
        avg,
        backward=lambda dy, inputs, y, options: (function(dy, *inputs, **options),),
        reference_backward=avg_backward,
    )


def _lp_op(name: str) -> Op:
    function = getattr(kernels, name + "_backward")
    return Op(
        getattr(kernels, name),
        lp,
        inputs=positive,
        backward=lambda dy, inputs, y, options: (function(dy, *inputs, **options),),
        reference_backward=lp_backward,
    )


def _global_op(kind: str) -> Op:
    name = f"global_{kind}_pool"
    function = getattr(kernels, name + "_backward")
    whole = {"output_size": 1}

    def flat(y: Any) -> Any:
        return y.reshape(y.shape[0], y.shape[-1])

    def reference(x: Any) -> Any:
        return flat(avg(x, **whole) if kind == "avg" else extreme(x, kind == "max", whole)[0])

    return Op(
        getattr(kernels, name),
        reference,
        backward=lambda dy, inputs, y, options: (function(dy, *inputs),),
    )


def _unpool_op(name: str) -> Op:
    function = getattr(kernels, name + "_backward")
    return Op(
        lambda x, indices, output_size: getattr(kernels, name)(
            x, indices, 2, output_size=output_size
        ),
        unpool,
        inputs=unpool_inputs,
        backward=lambda dy, inputs, y, options: (function(dy, inputs[1]),),
    )


OPS = {
    **{
        f"{kind}_pool{d}d": make(f"{kind}_pool{d}d")
        for kind, make in (
            ("max", _extreme_op), ("min", _extreme_op), ("avg", _avg_op), ("lp", _lp_op),
            ("adaptive_max", _extreme_op), ("adaptive_min", _extreme_op), ("adaptive_avg", _avg_op),
        )
        for d in (1, 2, 3)
    },
    **{f"global_{kind}_pool": _global_op(kind) for kind in ("max", "min", "avg")},
    **{f"max_unpool{d}d": _unpool_op(f"max_unpool{d}d") for d in (1, 2, 3)},
}  # fmt: skip


def _case(name: str, shape: tuple[int, ...], **options: Any) -> Case:
    return Case("pool", name, name, (shape,), options=tuple(options.items()))


# The same windows for every kind of pool: (shape, options).
_WINDOWS: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    *(((2, 6, 8, c), {"kernel_size": 2}) for c in (1, 3, 7, 15, 16, 17, 33, 64, 70, 131)),
    *(((2, 9, 7, c), {"kernel_size": 3, "stride": 2, "padding": 1}) for c in (1, 5, 16, 40)),
    *(((1, 7, 11, c), {"kernel_size": 3, "stride": 1, "padding": 1}) for c in (1, 3, 16, 20)),
    ((2, 9, 8, 6), {"kernel_size": (3, 2), "stride": (2, 3), "ceil_mode": True}),
    ((2, 9, 8, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((2, 9, 10, 6), {"kernel_size": (2, 3), "dilation": (3, 2), "padding": (1, 2), "stride": 1}),
    ((1, 5, 6, 18), {"kernel_size": 3, "padding": ((2, 0), (1, 2)), "stride": 2}),
    ((1, 5, 6, 4), {"kernel_size": (2, 4), "padding": "same", "stride": (1, 3)}),
    ((1, 5, 4, 4), {"kernel_size": 3, "padding": "full", "stride": 1, "dilation": 2}),
    ((1, 17, 18, 2), {"kernel_size": (16, 17), "stride": 1}),  # taps that need four bytes
    ((0, 5, 5, 3), {"kernel_size": 2}),
    ((2, 5, 5, 0), {"kernel_size": 2}),
    ((3, 14, 5), {"kernel_size": 4, "stride": 3, "ceil_mode": True}),
    ((2, 40, 3), {"kernel_size": 5, "padding": "causal", "stride": 1, "dilation": 2}),
    ((2, 300, 1), {"kernel_size": 150, "stride": 50}),
    ((1, 4, 6, 5, 9), {"kernel_size": 2}),
    ((1, 4, 6, 5, 9), {"kernel_size": (2, 3, 2), "stride": (1, 2, 2), "padding": (1, 1, 0)}),
)
_ADAPTIVE: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((2, 7, 9, 5), (3, 4)),
    ((2, 8, 6, 17), (4, 3)),
    ((2, 3, 4, 6), 7),
    ((1, 20, 30, 3), 1),
    ((3, 11, 4), 5),
    ((1, 5, 4, 6, 3), (2, 4, 3)),
)
_GLOBAL: tuple[tuple[int, ...], ...] = ((2, 7, 5, 33), (3, 9, 4), (1, 40, 30, 130), (2, 3, 4, 5, 6))


def _sliding_cases() -> Iterator[Case]:
    for shape, options in _WINDOWS:
        d = len(shape) - 2
        yield _case(f"max_pool{d}d", shape, **options, return_indices=True)
        yield _case(f"avg_pool{d}d", shape, **options)
        yield _case(f"avg_pool{d}d", shape, **options, count_include_pad=False)
        yield _case(f"lp_pool{d}d", shape, norm_type=2.0, **options)
    for d, shape in ((1, (2, 9, 20)), (2, (2, 9, 8, 5)), (3, (2, 5, 5, 4, 3))):
        yield _case(f"min_pool{d}d", shape, kernel_size=3, stride=2, padding=1, return_indices=True)
        yield _case(f"max_pool{d}d", shape, kernel_size=2)
        yield _case(f"avg_pool{d}d", shape, kernel_size=3, padding=1, divisor_override=5)
        yield _case(f"lp_pool{d}d", shape, norm_type=1.0, kernel_size=2)
        yield _case(f"lp_pool{d}d", shape, norm_type=3.0, kernel_size=2, ceil_mode=True)
        yield _case(f"lp_pool{d}d", shape, norm_type=0.7, kernel_size=3, stride=2, padding=1)


def _other_cases() -> Iterator[Case]:
    for shape, size in _ADAPTIVE:
        d = len(shape) - 2
        yield _case(f"adaptive_avg_pool{d}d", shape, output_size=size)
        yield _case(f"adaptive_max_pool{d}d", shape, output_size=size, return_indices=True)
        yield _case(f"adaptive_min_pool{d}d", shape, output_size=size)
    for kind in ("avg", "max", "min"):
        yield from (_case(f"global_{kind}_pool", shape) for shape in _GLOBAL)
    yield _case("max_unpool1d", (2, 4, 3), output_size=(9,))
    yield _case("max_unpool2d", (3, 2, 3, 70), output_size=(5, 6))
    yield _case("max_unpool2d", (9, 2, 3, 5), output_size=(4, 5))
    yield _case("max_unpool3d", (1, 2, 2, 2, 4), output_size=(4, 5, 4))


CASES = (*_sliding_cases(), *_other_cases())
