"""Kernels on tokens, in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op


def inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Rows of tokens, the second an edited first, and how many of each count."""
    (n, s), (_, t) = case.shapes
    tokens = dict(case.options).get("tokens", 5)
    a = rng.integers(0, tokens, (n, s))
    b = rng.integers(0, tokens, (n, t))
    shared = min(s, t)
    kept = rng.random((n, shared)) < 0.7
    b[:, :shared][kept] = a[:, :shared][kept]
    lengths = (rng.integers(size // 2, size + 1, n) for size in (s, t))
    return (a, np.roll(b, 1, 1), *lengths)


def distance(a: Any, b: Any) -> int:
    """Wagner and Fischer (1974), "The string-to-string correction problem"."""
    before = list(range(len(b) + 1))
    for i, token in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (token != other)))
        before = row
    return before[-1]


def edit_distance(a: Any, b: Any, m: Any, n: Any, tokens: int = 5) -> Any:
    del tokens
    pairs = zip(a, b, m, n, strict=True)
    return np.array([distance(x[:i], y[:j]) for x, y, i, j in pairs], np.int64)


def forward(a: Any, b: Any, m: Any, n: Any, tokens: int = 5) -> Any:
    del tokens
    return kernels.edit_distance(a, b, m, n)


OPS = {"edit_distance": Op(forward, edit_distance, inputs=inputs)}

CASES = tuple(
    Case("text", "edit_distance", "edit_distance", ((n, s), (n, t)), options=(("tokens", tokens),))
    for n, s, t in ((1, 1, 1), (3, 7, 5), (2, 63, 64), (2, 65, 129), (40, 10, 12), (0, 3, 3))
    for tokens in (2, 5, 1000)
)
