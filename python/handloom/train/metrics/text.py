"""Metrics of text: how surprised a model is, and how far what it says is from what is true."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from ... import kernels
from ..._arrays import Array

Tokens = Sequence[Hashable]  # a string is a sequence of characters


def perplexity(loss: float) -> float:
    """e^loss: a cross-entropy in nats as the number of equally likely choices."""
    return math.exp(_number("perplexity", loss))


def bits_per_character(loss: float) -> float:
    """A cross-entropy in nats, the mean of characters, in bits."""
    return _number("bits_per_character", loss) / math.log(2)


def edit_distance(a: Tokens, b: Tokens) -> int:
    """The fewest tokens to insert, delete or replace to make b of a: `kernels.edit_distance`."""
    _same("edit_distance", [a], [b])
    return int(_distances([a], [b])[0])


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
    return float(_distances(true, said).sum()) / tokens


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


def _distances(true: Sequence[Tokens], said: Sequence[Tokens]) -> Array:
    numbers: dict[Hashable, int] = {}
    rows, lengths = [], []
    for texts in (true, said):
        sizes = np.array([len(text) for text in texts], np.int64)
        padded = np.zeros((len(texts), sizes.max(initial=0)), np.int64)
        padded[np.arange(padded.shape[1]) < sizes[:, None]] = [
            numbers.setdefault(token, len(numbers)) for text in texts for token in text
        ]
        rows.append(padded)
        lengths.append(sizes)
    return kernels.edit_distance(*rows, *lengths)


def _runs(tokens: Tokens, size: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))


def _number(op: str, loss: float) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: loss is {loss!r}, expected a number") from None


def _same(op: str, true: Sequence[Tokens], said: Sequence[Tokens]) -> None:
    """Raises unless both are sequences, equally long, of sequences of what can be a key."""
    for name, texts in (("true", true), ("said", said)):
        if not hasattr(texts, "__len__"):
            raise TypeError(f"{op}: {name} is a {type(texts).__name__}, expected texts")
        for i, text in enumerate(texts):
            if not hasattr(text, "__len__"):
                raise TypeError(f"{op}: {name}[{i}] is a {type(text).__name__}, expected tokens")
            odd = next((token for token in text if isinstance(token, (list, dict, set))), None)
            if odd is not None:
                raise TypeError(f"{op}: {name}[{i}] holds a {type(odd).__name__}, expected tokens")
    if len(true) != len(said):
        raise ValueError(f"{op}: true has {len(true)} texts and said {len(said)}")
