"""One recurrent layer in one direction: what the card makes of it, and what float64 does.

Without pytest, since bench/gpu_check.py asks the same of a card.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

import handloom as hl
from handloom import kernels
from reference import rnn as oracle
from tensor_cores import UNIT

PRECISIONS = [None, "tfloat32", "bfloat16", "float16"]
CELLS = {"tanh": "rnn", "relu": "rnn", "lstm": "lstm", "gru": "gru"}


class Layer:
    """One layer in one direction with its arrays."""

    def __init__(self, cell: str, n: int, t: int, i: int, h: int, seed: int = 0, **options: Any):
        self.kind, self.options = CELLS[cell], options
        if self.kind == "rnn":
            options["nonlinearity"] = cell
        rng = np.random.default_rng([seed, n, t, i, h])
        rows = oracle.GATES[self.kind] * h
        states = [rng.standard_normal((n, h)) for _ in range(2 if cell == "lstm" else 1)]
        weights = [rng.uniform(-1, 1, shape) * (i + h) ** -0.5 for shape in ((rows, i), (rows, h))]
        biases = [rng.uniform(-1, 1, rows) for _ in range(2)]
        arrays = [rng.standard_normal((n, t, i)), *states, *weights, *biases]
        self.arrays = [a.astype(np.float32) for a in arrays]
        self.dy = rng.standard_normal((n, t, h)).astype(np.float32)
        self.ends = [rng.standard_normal((n, h)).astype(np.float32) for _ in states]

    def card(self, dtype: str | None, before_backward: Callable[[], None] | None = None) -> Any:
        """(y, final states, gradients), on the card."""
        on = hl.cuda.array
        options = dict(self.options)
        if options.get("lengths") is not None:
            options["lengths"] = on(np.asarray(options["lengths"]))
        with hl.autocast(dtype) if dtype else nullcontext():
            arrays = [None if a is None else on(a) for a in self.arrays]
            *made, saved = getattr(kernels, self.kind)(*arrays, **options, return_saved=True)
            if before_backward:
                before_backward()
            backward = getattr(kernels, f"{self.kind}_backward")
            made += backward(on(self.dy), *map(on, self.ends), saved)
        return [a.numpy() for a in made]

    def exact(self) -> Any:
        """The same in float64: a gradient of the last state is one of y's, as far as it goes."""
        wide = [None if a is None else a.astype(np.float64) for a in self.arrays]
        made = list(oracle.recurrent(self.kind, *wide, **self.options))
        # The oracle has no gradients of final states: finite differences proved ours in float64.
        *_, saved = getattr(kernels, self.kind)(
            *wide,
            **{k: np.asarray(v) if k == "lengths" else v for k, v in self.options.items()},
            return_saved=True,
        )
        backward = getattr(kernels, f"{self.kind}_backward")
        wide_ends = [a.astype(np.float64) for a in self.ends]
        return [*made, *backward(self.dy.astype(np.float64), *wide_ends, saved)]


def assert_close(found: Any, exact: Any, dtype: str | None) -> None:
    unit = UNIT[dtype] if dtype else 2.0**-20
    for k, (a, b) in enumerate(zip(found, exact, strict=True)):
        size = np.abs(b).max(initial=1.0)
        assert a.shape == b.shape
        assert a.dtype == np.float32
        assert np.abs(a - b).max(initial=0.0) <= 4 * unit * size, k


def integers(n: int, t: int, h: int, seed: int) -> Layer:
    """A network with ReLU whose numbers are all small integers: w_hh moves and negates units."""
    layer = Layer("relu", n, t, 2, h)
    rng = np.random.default_rng(seed)
    w = np.zeros((h, h), np.float32)
    w[np.arange(h), rng.permutation(h)] = rng.choice([-1.0, 1.0, 1.0], h)
    small = [rng.integers(-2, 3, a.shape).astype(np.float32) for a in layer.arrays]
    layer.arrays = [*small[:-3], w, *small[-2:]]
    layer.dy = rng.integers(-2, 3, layer.dy.shape).astype(np.float32)
    layer.ends = [rng.integers(-2, 3, a.shape).astype(np.float32) for a in layer.ends]
    return layer


def check_all(shapes: list[tuple[int, int, int]]) -> None:
    """Every cell in every precision, for sequences, steps, hidden units."""
    for n, t, h in shapes:
        for dtype in PRECISIONS:
            layer = integers(n, t, h, seed=n)
            for a, b in zip(layer.card(dtype), layer.exact(), strict=True):
                np.testing.assert_array_equal(a, b)
            for cell in ("tanh", "lstm", "gru"):
                lengths = np.random.default_rng(t).integers(0, t + 1, n)
                for options in ({}, {"lengths": lengths, "reverse": True}):
                    layer = Layer(cell, n, t, 5, h, **options)
                    assert_close(layer.card(dtype), layer.exact(), dtype)
