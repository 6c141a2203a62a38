"""Random orders of rows that a seed fixes for good."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._runtime import next_draw

_OWN_WORD = 0x68616E64


def fresh_seed() -> int:
    """Returns a seed of 63 bits for a caller that gave none.

    It takes one draw of the calling thread's generator, so it follows `hl.manual_seed`; without
    that, the operating system seeded the generator.
    """
    words = np.random.SeedSequence((_OWN_WORD, *next_draw())).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def checked_seed(seed: int | None, op: str) -> int:
    """Returns `seed`, or a fresh one for None; TypeError or ValueError for anything else."""
    if seed is None:
        return fresh_seed()
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{op}: seed expects an integer or None, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"{op}: seed expects a non-negative integer, got {seed}")
    return int(seed)


def permutation(n: int, *key: int) -> NDArray[np.int64]:
    """Returns a uniform random order of `range(n)` that depends only on `n` and `key`.

    Sorts n random words. NumPy keeps the streams of its bit generators for ever but not those of
    `Generator.permutation` (NEP 19), so an order recorded by its seed stays the same under later
    releases. Two equal words, 1 chance in 2^64 a pair, keep their order.
    """
    # Without a word of our own, data drawn from default_rng(seed) come from the very words that
    # are sorted here: an order with the same seed would sort the data.
    words = np.random.PCG64(np.random.SeedSequence((_OWN_WORD, *key))).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)
