"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case, tail_sizes
from harness import Arrays, Op


def matmul_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Operands stored as ``trans`` says: "n" plainly, "t" transposed, "s" strided."""
    result = []
    for shape, letter in zip(case.shapes, dict(case.options)["trans"], strict=True):
        if letter == "t":
            x = rng.standard_normal((*shape[:-2], shape[-1], shape[-2])).swapaxes(-1, -2)
        elif letter == "s":
            x = rng.standard_normal((*shape[:-1], 2 * shape[-1]))[..., ::-2]
        else:
            x = rng.standard_normal(shape)
        result.append(x)
    return tuple(result)


def matmul(a: Any, b: Any, trans: str = "nn") -> Any:
    return kernels.matmul(a, b)


def matmul_reference(a: Any, b: Any, trans: str = "nn") -> Any:
    return a @ b


def matmul_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    a, b = inputs
    return kernels.matmul(dy, b.swapaxes(-1, -2)), kernels.matmul(a.swapaxes(-1, -2), dy)


def linear_reference(x: Any, w: Any, b: Any, activation: str | None = None) -> Any:
    z = x @ w.T + b
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "tanh":
        return np.tanh(z)
    if activation == "silu":
        return z / (1 + np.exp(-z))
    return z


def linear_magnitude(x: Any, w: Any, b: Any, activation: str | None = None) -> Any:
    return np.abs(x) @ np.abs(w).T + np.abs(b)


def linear_backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    x, w, b = inputs
    _, saved = kernels.linear(x, w, b, return_saved=True, **options)
    grads = kernels.linear_backward(dy, x, w, saved=saved, **options)
    for name, grad in zip("xwb", grads, strict=True):
        alone = kernels.linear_backward(dy, x, w, saved=saved, need=(name,), **options)
        assert [g is not None for g in alone] == [n == name for n in "xwb"]
        same = alone["xwb".index(name)]
        np.testing.assert_array_equal(same.tolist(), grad.tolist())  # on any device
    return grads


OPS = {
    "linear": Op(
        kernels.linear,
        linear_reference,
        magnitude=linear_magnitude,
        backward=linear_backward,
        wrt=(0, 1, 2),
    ),
    "matmul": Op(
        matmul,
        matmul_reference,
        inputs=matmul_inputs,
        backward=matmul_backward,
        wrt=(0, 1),
        reference_backward=lambda dy, inputs, options: (
            dy @ inputs[1].swapaxes(-1, -2),
            inputs[0].swapaxes(-1, -2) @ dy,
        ),
    ),
}


def _product(m: int, k: int, n: int, trans: str = "nn", batch: tuple[int, ...] = ()) -> Case:
    shapes = ((*batch, m, k), (*batch, k, n))
    return Case("matmul", f"{m}x{k}x{n} {trans}", "matmul", shapes, options=(("trans", trans),))


_TAILS = [n for n in tail_sizes(65) if n in (1, 2, 3, 7, 8, 13, 15, 16, 17, 31, 33, 64, 65)]


def _linear(batch: tuple[int, ...], i: int, o: int, activation: str | None = None) -> Case:
    shapes = ((*batch, i), (o, i), (o,))
    return Case(
        "linear", f"{batch}x{i}x{o}", "linear", shapes, options=(("activation", activation),)
    )


CASES = (
    *(_linear((m,), i, o) for m, i, o in ((1, 1, 1), (1, 40, 9), (3, 17, 33), (33, 64, 10))),
    *(_linear((20,), 31, 17, activation) for activation in ("relu", "tanh", "silu")),
    *(_linear((70,), 300, 65, activation) for activation in (None, "relu", "silu")),
    _linear((2, 3), 5, 4, "tanh"),
    _linear((), 5, 4),
    _linear((600,), 20, 7, "relu"),
    _linear((0,), 3, 4, "relu"),
    _linear((3,), 0, 4, "relu"),
    _linear((3,), 4, 0),
    *(_product(n, n, n) for n in _TAILS),
    *(_product(m, 31, 17, trans) for m in (1, 3, 5, 15, 33) for trans in ("nt", "tn", "tt", "ss")),
    *(_product(7, 9, n) for n in _TAILS),
    # one for each way through the chooser
    _product(1, 300, 200, "nt"),
    _product(3, 300, 200, "nt"),
    _product(200, 300, 4),
    _product(1, 700, 300),
    _product(12, 700, 300),
    _product(300, 700, 12, "tn"),
    _product(32, 96, 300, "nt"),
    _product(5, 4100, 6),
    _product(150, 600, 130),
    _product(150, 600, 130, "tt"),
    _product(1, 20000, 1, "nt"),
    _product(0, 3, 4),
    _product(3, 0, 4),
    _product(3, 4, 0),
    _product(5, 6, 7, batch=(4,)),
    _product(33, 17, 19, "tn", batch=(2, 3)),
    _product(40, 600, 50, "nt", batch=(3,)),
)
