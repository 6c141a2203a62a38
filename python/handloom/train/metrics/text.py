"""Metrics of text: how surprised a model is, and how far what it says is from what is true."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

Tokens = Sequence[Hashable]  # a string is a sequence of characters


def perplexity(loss: float) -> float:
    """e^loss: a cross-entropy in nats as the number of equally likely choices."""
    return math.exp(loss)


def bits_per_character(loss: float) -> float:
    """A cross-entropy in nats, the mean of characters, in bits."""
    return loss / math.log(2)


def edit_distance(a: Tokens, b: Tokens) -> int:
    """The fewest tokens to insert, delete or replace to make b of a.

    Wagner and Fischer (1974), a row of the table at a time: the insertions along a row,
    min over k ≤ j of (row[k] + j − k), are a running minimum.
    """
    numbers: dict[Hashable, int] = {}
    x, y = (
        np.fromiter((numbers.setdefault(t, len(numbers)) for t in s), np.int64, len(s))
        for s in (a, b)
    )
    places = np.arange(len(y) + 1)
    row = places.copy()
    for i, token in enumerate(x, 1):
        best = np.empty_like(row)
        best[0] = i
        np.minimum(row[1:] + 1, row[:-1] + (y != token), out=best[1:])
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def error_rate(true: Sequence[Tokens], said: Sequence[Tokens]) -> float:
    """Edits per true token, of all texts together.

    Of strings it is the character error rate, of lists of phonemes the phoneme error rate, of lists
    of words the word error rate; it may exceed 1.

    Raises:
        ValueError: Different numbers of texts, or no true token.
    """
    _same("error_rate", true, said)
    tokens = sum(map(len, true))
    if tokens == 0:
        raise ValueError("error_rate: true holds no token")
    return sum(map(edit_distance, true, said)) / tokens


def character_error_rate(true: Sequence[str], said: Sequence[str]) -> float:
    """`error_rate` of characters."""
    return error_rate(true, said)


def word_error_rate(true: Sequence[str], said: Sequence[str]) -> float:
    """`error_rate` of words, which white space separates."""
    return error_rate([t.split() for t in true], [s.split() for s in said])


def bleu(true: Sequence[Tokens], said: Sequence[Tokens], n: int = 4) -> float:
    """How many of the runs of 1 … n tokens that were said are true ones, of all texts together.

    Papineni et al., "BLEU: a method for automatic evaluation of machine translation" (2002), with
    one reference each and without smoothing: the geometric mean of the n shares, and a penalty for
    texts that are too short. From 0 to 1.

    Raises:
        ValueError: Different numbers of texts, or n below 1.
    """
    _same("bleu", true, said)
    if n < 1:
        raise ValueError(f"bleu: n is {n}, expected at least 1")
    logs = 0.0
    for size in range(1, n + 1):
        right = total = 0
        for t, s in zip(true, said):
            runs = _runs(s, size)
            right += (runs & _runs(t, size)).total()
            total += runs.total()
        if right == 0:
            return 0.0
        logs += math.log(right / total)
    length = sum(map(len, said))
    penalty = min(0.0, 1 - sum(map(len, true)) / length)
    return math.exp(penalty + logs / n)


def _runs(tokens: Tokens, size: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))


def _same(op: str, true: Sequence[Tokens], said: Sequence[Tokens]) -> None:
    if len(true) != len(said):
        raise ValueError(f"{op}: true has {len(true)} texts and said {len(said)}")
