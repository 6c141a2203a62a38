"""Reductions over any axes, running sums, sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case, tail_sizes
from harness import Arrays, Op


def inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """An array stored as ``layout`` says: "c", "t" axes turned round, "s" every second, backward,
    "b" repeated."""
    (shape,) = case.shapes
    layout = dict(case.options).get("layout", "c")
    if layout == "t":
        return (rng.standard_normal(shape[::-1]).T,)
    if layout == "s":
        return (rng.standard_normal((*shape[:-1], 2 * shape[-1]))[..., ::-2],)
    if layout == "b":  # the first row, again and again
        return (np.broadcast_to(rng.standard_normal((1, *shape[1:])), shape),)
    return (rng.standard_normal(shape),)


def distinct(case: Case, rng: np.random.Generator) -> Arrays:
    """Numbers so far apart that a small step leaves their order alone."""
    (shape,) = case.shapes
    size = int(np.prod(shape))
    x = 10 * rng.permutation(size).reshape(shape) / max(size, 1) - 5
    return (np.asfortranarray(x) if dict(case.options).get("layout") == "t" else x,)


def run(name: str) -> Any:
    function = getattr(kernels, name)

    def forward(x: Any, layout: str = "c", **options: Any) -> Any:
        return function(x, **options)

    return forward


def backward(name: str, needs_y: bool = False) -> Any:
    function = getattr(kernels, f"{name}_backward")

    def gradient(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        kept = {key: v for key, v in options.items() if key not in ("keepdims", "layout")}
        return (function(dy, inputs[0], *((y,) if needs_y else ()), **kept),)

    return gradient


def plain(function: Any) -> Any:
    def reference(x: Any, layout: str = "c", axis: Any = None, **options: Any) -> Any:
        return function(x, axis=axis, **options)

    return reference


def norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2.0) -> Any:
    a = np.abs(x)
    if ord == 2:
        return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))
    if ord == 1:
        return np.sum(a, axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum((x != 0).astype(x.dtype), axis=axis, keepdims=keepdims)
    if np.isfinite(ord):
        return np.sum(a**ord, axis=axis, keepdims=keepdims) ** (1 / ord)
    return (np.max if ord > 0 else np.min)(a, axis=axis, keepdims=keepdims)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    m = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    m = np.where(np.isfinite(m), m, np.zeros_like(m))
    y = np.log(np.sum(np.exp(x - m), axis=axis, keepdims=True)) + m
    return y if keepdims else y.reshape(np.sum(x, axis=axis).shape)


def cumsum(x: Any, axis: int = -1) -> Any:
    return np.cumsum(x, axis=axis, dtype=x.dtype)


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    order = np.argsort(-x if descending else x, axis=axis, kind="stable")
    return np.take_along_axis(x, order, axis), order


def topk(x: Any, k: int = 1, axis: int = -1, largest: bool = True) -> Any:
    values, order = sort(x, axis, largest)
    first = [slice(None)] * x.ndim
    first[axis] = slice(k)
    return values[tuple(first)], order[tuple(first)]


def picked_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    axis = options.get("axis", -1)
    return (kernels.sort_backward(dy, y[1], inputs[0].shape[axis], axis=axis),)


def cumsum_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return (kernels.cumsum_backward(dy, axis=options["axis"]),)


def extended(function: Any) -> Any:
    """In long double where the input is float64: NumPy's own sums over the first axis round more
    than a kernel may."""

    def compute(x: Any, **options: Any) -> Any:
        if x.dtype != np.float64:
            return function(x, **options)
        return np.asarray(function(x.astype(np.longdouble), **options)).astype(np.float64)

    return compute


def product_magnitude(x: Any, **options: Any) -> Any:
    """A product of n numbers has n roundings, and they add up like a random walk."""
    y = np.abs(np.prod(x, **options))
    return y * max(1.0, (x.size / max(np.size(y), 1)) ** 0.5 / 4)


def op(name: str, reference: Any, needs_y: bool = False) -> Op:
    return Op(run(name), plain(reference), inputs=inputs, backward=backward(name, needs_y))


OPS = {
    "sum": op("sum", np.sum),
    "mean": op("mean", np.mean),
    "prod": op("prod", extended(np.prod))._replace(magnitude=plain(product_magnitude)),
    "max": op("max", np.max, True),
    "min": op("min", np.min, True),
    "var": op("var", extended(np.var))._replace(magnitude=plain(np.var)),
    "std": op("std", extended(np.std), True)._replace(magnitude=plain(np.std)),
    "norm": op("norm", norm, True),
    "logsumexp": op("logsumexp", logsumexp, True),
    "argmax": Op(run("argmax"), plain(np.argmax), inputs=inputs),
    "argmin": Op(run("argmin"), plain(np.argmin), inputs=inputs),
    "cumsum": op("cumsum", cumsum)._replace(backward=cumsum_backward),
    "sort": Op(run("sort"), plain(sort), inputs=distinct, backward=picked_backward),
    "topk": Op(run("topk"), plain(topk), inputs=distinct, backward=picked_backward),
}


def _case(name: str, shape: tuple[int, ...], **options: Any) -> Case:
    return Case("reduce", name, name, (shape,), options=tuple(sorted(options.items())))


_TAILS = [n for n in tail_sizes(513) if n < 35 or n in (63, 64, 65, 127, 129, 511, 512, 513)]
_EACH = ("sum", "mean", "max", "min", "var", "std", "norm", "logsumexp")
_AXES: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    ((5, 6, 7), {"axis": (0, 2)}),
    ((5, 6, 7), {"axis": 1, "keepdims": True}),
    ((33, 17), {"axis": 0}),
    ((33, 17), {"axis": 1, "layout": "t"}),
    ((33, 18), {"axis": 0, "layout": "s"}),
    ((33, 18), {"axis": (0, 1), "layout": "s"}),
    ((3, 4), {"axis": ()}),
    ((0, 3), {"axis": 1}),
    ((70, 600), {"axis": 0}),  # two strips, three blocks
    ((40, 5000), {"axis": 1}),  # two runs a row
    ((70000,), {}),  # split among threads
    ((9001, 3), {"axis": 0}),  # narrow rows read as wide ones, one left over
    ((300, 500), {"axis": 0}),
    ((2, 300, 5), {"axis": 1}),
    ((300, 2, 40), {"axis": (0, 1), "layout": "t"}),
)

CASES = (
    *(_case("sum", (n,)) for n in _TAILS),
    *(_case("max", (n,)) for n in _TAILS if n < 35),
    *(_case("sum", (3, n), axis=0) for n in _TAILS if n < 35),
    *(_case(name, shape, **options) for name in _EACH for shape, options in _AXES),
    *(_case("var", shape, ddof=1, **options) for shape, options in _AXES[:5]),
    *(_case("norm", (33, 17), axis=0, ord=p) for p in (0.0, 1.0, float("inf"), -float("inf"))),
    *(_case("norm", (5, 700), axis=1, ord=p) for p in (0.0, 1.0, float("inf"), -float("inf"))),
    *(_case("norm", shape, ord=p, **options) for p in (1.5, 3.0) for shape, options in _AXES[:6]),
    *(_case("prod", shape, **options) for shape, options in _AXES[:8]),
    *(_case(name, (6, 5), axis=a) for name in ("sum", "var") for a in (-1, -2)),
    *(_case("sum", (50, 40), axis=a, layout="b") for a in (0, 1)),
    *(_case("sum", shape, axis=0) for shape in ((0, 3), (3, 0), (0,))),
    *(
        _case(name, shape, axis=a, layout=layout)
        for name in ("argmax", "argmin")
        for shape, a in (
            ((7,), 0),
            ((5, 6, 7), None),
            ((5, 6, 7), 1),
            ((33, 17), 0),
            ((33, 700), 1),
            ((700, 34), 0),
            ((70000,), None),
            ((1, 5), 0),
        )
        for layout in ("c", "t", "s")
    ),
    *(
        _case("cumsum", shape, axis=a, layout=layout)
        for shape, a in (((7,), 0), ((5, 33), 1), ((33, 40), 0), ((4, 5, 6), 1), ((3000,), 0))
        for layout in ("c", "t", "s")
    ),
    _case("cumsum", (3, 0), axis=1),
    *(
        _case("sort", shape, axis=a, descending=d)
        for shape, a in (((1,), 0), ((7, 5), 1), ((30, 5), 0), ((3, 700), 1), ((900, 2), 0))
        for d in (False, True)
    ),
    _case("sort", (40, 60), axis=0, layout="t"),
    _case("sort", (0, 3), axis=0),
    *(
        _case("topk", shape, k=k, axis=a, largest=most)
        for shape, k, a in (((9,), 3, 0), ((4, 300), 5, 1), ((300, 4), 7, 0), ((5, 300), 200, 1))
        for most in (True, False)
    ),
    _case("topk", (4, 5), k=0, axis=1),
)
