"""Softmax and the gated linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op


def softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    d = x - np.max(x, axis=axis, keepdims=True)
    return d - np.log(np.sum(np.exp(d), axis=axis, keepdims=True))


def log_softmax_size(x: Any, axis: int = -1) -> Any:
    """The two terms of each element."""
    d = x - np.max(x, axis=axis, keepdims=True)
    return np.abs(d) + np.log(np.sum(np.exp(d), axis=axis, keepdims=True))


def glu(x: Any, axis: int = -1) -> Any:
    a, b = np.split(x, 2, axis=axis)
    return a / (1 + np.exp(-b))


def softmax_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return (kernels.softmax_backward(dy, y, **options),)


def log_softmax_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return (kernels.log_softmax_backward(dy, y, **options),)


def glu_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    return (kernels.glu_backward(dy, inputs[0], **options),)


OPS = {
    "softmax": Op(kernels.softmax, softmax, magnitude=softmax, backward=softmax_backward),
    "log_softmax": Op(
        kernels.log_softmax, log_softmax, magnitude=log_softmax_size, backward=log_softmax_backward
    ),
    "glu": Op(
        kernels.glu,
        glu,
        magnitude=lambda x, axis=-1: np.abs(glu(x, axis)),
        backward=glu_backward,
    ),
}

_SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    *(((3, n), -1) for n in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130)),
    ((5,), 0),
    ((4, 5000), 1),
    ((2, 70000), -1),  # past the length where exp runs twice
    ((5, 1), 0),
    ((7, 3), 0),
    ((40, 33), 0),
    ((70, 300), 0),
    ((3, 4, 5), 1),
    ((2, 40, 17), 1),
    ((0, 4), 1),
    ((4, 0), 0),
)


def _case(name: str, shape: tuple[int, ...], axis: int) -> Case:
    return Case("softmax", name, name, (shape,), options=(("axis", axis),))


CASES = (
    *(_case(name, *at) for name in ("softmax", "log_softmax") for at in _SHAPES),
    *(
        _case("glu", shape, axis)
        for shape, axis in (
            ((2,), 0),
            ((3, 34), -1),
            ((6, 5), 0),
            ((2, 4, 7), 1),
            ((20, 4000), 1),
            ((0, 4), 1),
            ((2, 0), 1),
        )
    ),
)
