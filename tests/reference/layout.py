"""Copies, padding, reading and adding by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

NUMPY_MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


def permuted(x: Any, order: tuple[int, ...], steps: tuple[int, ...]) -> Any:
    return x.transpose(order)[tuple(slice(None, None, step) for step in steps)]


def pad(x: Any, pairs: Any, mode: str) -> Any:
    if x.size == 0:
        return np.pad(x, pairs)
    return np.pad(x, pairs, NUMPY_MODES[mode])


def pad_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    (x,) = inputs
    number = np.arange(x.size).reshape(x.shape)
    if options["mode"] == "constant":
        source = np.pad(number, options["pairs"], constant_values=-1)
    else:
        source = pad(number, **options)
    dx = np.zeros(x.size, dy.dtype)
    inside = source.reshape(-1) >= 0
    np.add.at(dx, source.reshape(-1)[inside], dy.reshape(-1)[inside])
    return (dx.reshape(x.shape),)


def take_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    table, index = case.shapes
    return rng.standard_normal(table), rng.integers(0, max(table[0], 1), index)


def take_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    table, index = inputs
    dx = np.zeros_like(table)
    np.add.at(dx, index, dy)
    return (dx,)


def gather_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    x, index = case.shapes
    return rng.standard_normal(x), rng.integers(0, x[dict(case.options)["axis"]], index)


def _places(index: Any, axis: int) -> tuple[Any, ...]:
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)


def gather_backward(dy: Any, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    x, index = inputs
    dx = np.zeros_like(x)
    np.add.at(dx, _places(index, options["axis"]), dy)
    return (dx,)


OPS = {
    "copy": Op(
        lambda x, order, steps: kernels.copy(permuted(x, order, steps)),
        lambda x, order, steps: permuted(x, order, steps).copy(),
    ),
    "concat": Op(
        lambda *arrays, axis: kernels.concat(arrays, axis),
        lambda *arrays, axis: np.concatenate(arrays, axis),
    ),
    "pad": Op(
        kernels.pad,
        pad,
        backward=lambda dy, inputs, y, options: (kernels.pad_backward(dy, **options),),
        reference_backward=pad_backward,
    ),
    "take": Op(
        kernels.take,
        lambda x, index, axis=0: np.take(x, index, axis),
        inputs=take_inputs,
        magnitude=lambda x, index, axis=0: np.abs(np.take(x, index, axis)),
        backward=lambda dy, inputs, y, options: (
            kernels.take_backward(dy, inputs[1], len(inputs[0])),
        ),
        reference_backward=take_backward,
    ),
    "gather": Op(
        kernels.gather,
        lambda x, index, axis: x[_places(index, axis)],
        inputs=gather_inputs,
        magnitude=lambda x, index, axis: np.abs(x[_places(index, axis)]),
        backward=lambda dy, inputs, y, options: (
            kernels.gather_backward(dy, inputs[1], inputs[0].shape, **options),
        ),
        reference_backward=gather_backward,
    ),
    "tril": Op(
        kernels.tril,
        np.tril,
        backward=lambda dy, inputs, y, options: (kernels.tril(dy, **options),),
    ),
    "triu": Op(
        kernels.triu,
        np.triu,
        backward=lambda dy, inputs, y, options: (kernels.triu(dy, **options),),
    ),
}


def _case(op: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    return Case("layout", f"{op} {shapes} {options}", op, shapes, options=tuple(options.items()))


def _copy(shape: tuple[int, ...], order: tuple[int, ...], steps: tuple[int, ...]) -> Case:
    return _case("copy", shape, order=order, steps=steps)


_PAIRS_2D = ((1, 2), (3, 1))
_PAIRS_4D = ((0, 0), (1, 2), (2, 1), (0, 0))

CASES = (
    *(_copy((n,), (0,), (step,)) for n in (1, 7, 70001) for step in (1, -1, 2, -3)),
    *(_copy((m, n), (1, 0), (1, 1)) for m in (1, 3, 16, 33, 300) for n in (2, 5, 16, 17, 257)),
    *(
        _copy((33, 70), order, (s, t))
        for order in ((0, 1), (1, 0))
        for s, t in ((-1, 1), (1, -1), (2, -2))
    ),
    *(
        _copy((2, 9, 6, 20), order, (1, 1, 1, 1))
        for order in ((0, 3, 1, 2), (0, 2, 3, 1), (3, 2, 1, 0))
    ),
    _copy((70, 1, 900), (2, 1, 0), (1, 1, 1)),
    _copy((0, 3), (1, 0), (1, 1)),
    _case("concat", (2, 3), (2, 4), (2, 0), axis=1),
    _case("concat", (5, 70, 40), (1, 70, 40), axis=0),
    _case("concat", (30, 100, 3), (30, 100, 17), axis=-1),
    *(_case("pad", (5, 4), pairs=_PAIRS_2D, mode=mode) for mode in NUMPY_MODES),
    *(_case("pad", (2, 3), pairs=((7, 5), (9, 11)), mode=mode) for mode in NUMPY_MODES),
    *(_case("pad", (1, 1), pairs=((2, 1), (0, 3)), mode=mode) for mode in NUMPY_MODES),
    *(_case("pad", (2, 5, 6, 3), pairs=_PAIRS_4D, mode=mode) for mode in NUMPY_MODES),
    *(
        _case("pad", (3, 20, 30, 70), pairs=_PAIRS_4D, mode=mode)
        for mode in ("reflect", "circular")
    ),
    _case("pad", (3, 4), pairs=((0, 0), (0, 0)), mode="reflect"),
    _case("pad", (0, 4), pairs=((2, 1), (0, 1)), mode="constant"),
    _case("pad", (2, 2, 2, 2, 2), pairs=((1, 0), (0, 0), (0, 1), (1, 1), (0, 2)), mode="symmetric"),
    _case("take", (10, 7), (5,)),
    _case("take", (3, 1), (2, 3)),
    _case("take", (4, 33), (1000,)),
    _case("take", (500, 2, 9), (300, 7)),
    _case("take", (2, 5), (0,)),
    _case("take", (20, 0), (3,)),
    _case("gather", (5, 6), (5, 6), axis=0),
    _case("gather", (5, 6), (3, 6), axis=1),
    _case("gather", (5, 6, 7), (4, 9, 7), axis=1),
    _case("gather", (40, 1300), (60, 1300), axis=0),
    _case("gather", (9,), (400,), axis=0),
    _case("gather", (300, 10), (300, 50), axis=1),
    _case("gather", (3, 4), (0, 4), axis=0),
    *(
        _case(op, (m, n), k=k)
        for op in ("tril", "triu")
        for m, n in ((4, 4), (3, 7), (7, 3))
        for k in (-2, 0, 3)
    ),
    *(_case(op, (2, 3, 40, 40), k=-1) for op in ("tril", "triu")),
)
