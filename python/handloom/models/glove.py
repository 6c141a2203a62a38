"""Words as vectors, learnt from how often each two stand near each other.

Pennington, Socher and Manning, "GloVe: global vectors for word representation" (2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn, ops
from ..ops._common import array_of, shape_of
from ..tensor import Array, Tensor


class GloVe(nn.Module):
    """Vectors whose products are the logarithms of counts: wᵢ·cⱼ + aᵢ + bⱼ ≈ log Xᵢⱼ.

    The gradients hold the rows of a batch only: train it with `optim.Adagrad`, as the paper does.

    Args:
        vocabulary: Words V.
        features: E.
        most: Counts from here on weigh 1, smaller ones (X / most)^power.
        power: See `most`.

    Attributes:
        words, contexts: Vectors w of the words and c of the words as neighbours (V, E).
        word_biases, context_biases: a and b (V, 1).
    """

    def __init__(
        self, vocabulary: int, features: int, most: float = 100.0, power: float = 0.75
    ) -> None:
        super().__init__()
        if not (most > 0 and power >= 0):
            raise ValueError(
                f"GloVe: most is {most} and power {power}, expected above 0 and at least 0"
            )
        self.most, self.power = most, power
        self.words, self.contexts = (
            nn.Embedding(vocabulary, features, sparse=True) for _ in range(2)
        )
        self.word_biases, self.context_biases = (
            nn.Embedding(vocabulary, 1, sparse=True) for _ in range(2)
        )
        for table in self.parameters():
            nn.init.uniform_(table, -0.5 / features, 0.5 / features)

    def forward(self, words: Any, contexts: Any) -> Tensor:
        """Pairs (N,) and (N,) → what their logarithm is taken for (N,)."""
        product = (self.words(words) * self.contexts(contexts)).sum(-1)
        biases = self.word_biases(words) + self.context_biases(contexts)
        found: Tensor = product + biases.squeeze(-1)
        return found

    def loss(self, said: Any, counts: Any) -> Tensor:
        """Of what `forward` said for pairs with these counts (N,), above 0: the weighted mean of
        the squared errors."""
        x = np.asarray(array_of(counts))
        if x.shape != shape_of("GloVe.loss", said, "said") or not (x > 0).all():
            raise ValueError(
                f"GloVe.loss: counts has shape {x.shape}, expected {tuple(said.shape)}, all above 0"
            )
        weight = np.minimum(x / self.most, 1.0) ** self.power
        error = said - Tensor(np.log(x).astype(said.dtype))
        mean: Tensor = ops.mean(error * error * Tensor(weight.astype(said.dtype)))
        return mean

    def vectors(self) -> Array:
        """w + c (V, E), which the paper keeps."""
        return array_of(self.words.weight) + array_of(self.contexts.weight)


def cooccurrences(tokens: Any, size: int, vocabulary: int) -> tuple[Array, Array, Array]:
    """How often words stand near each other: words i (M,), j (M,), and Xᵢⱼ > 0, float32 (M,).

    Two words that are d apart count 1/d; pairs are in the order of i, then j, and both ways round.

    Args:
        tokens: (T,) integers, 0 to vocabulary.
        size: The largest d.
        vocabulary: Words V.

    Raises:
        TypeError: Tokens that are no integers.
        ValueError: Another rank, a token out of range, or a size below 1.
    """
    x = np.asarray(array_of(tokens))
    if x.dtype.kind not in "iu":
        raise TypeError(f"cooccurrences: tokens has dtype {x.dtype}, expected integers")
    if x.ndim != 1 or size < 1:
        raise ValueError(
            f"cooccurrences: tokens has shape {x.shape} and size is {size}, expected (T,) and at "
            "least 1"
        )
    x = x.astype(np.int64)
    if x.size and not 0 <= x.min() <= x.max() < vocabulary:
        raise ValueError(
            f"cooccurrences: tokens from {x.min()} to {x.max()}, expected 0 to {vocabulary - 1}"
        )
    keys, shares = [], []
    for d in range(1, min(size, len(x) - 1) + 1):
        a, b = x[:-d], x[d:]
        keys += [a * vocabulary + b, b * vocabulary + a]
        shares += [np.full(len(a), 1 / d)] * 2
    if not keys:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.bincount(place.reshape(-1), np.concatenate(shares))
    return pairs // vocabulary, pairs % vocabulary, counts.astype(np.float32)
