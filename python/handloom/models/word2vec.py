"""Words as vectors, learnt from their neighbours.

Mikolov et al., "Distributed representations of words and phrases and their compositionality",
2013.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..nn import functional as F
from ..tensor import Array, Tensor


class SkipGram(nn.Module):
    """Scores how well a word goes with each of some others: which are its neighbours?

    Args:
        vocabulary: Words V.
        features: E.

    Attributes:
        words: Vectors of the words (V, E): what one keeps.
        contexts: Vectors of the words as neighbours (V, E), which start at 0.
    """

    def __init__(self, vocabulary: int, features: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, features)
        self.contexts = nn.Embedding(vocabulary, features)
        nn.init.uniform_(self.words.weight, -0.5 / features, 0.5 / features)
        nn.init.zeros_(self.contexts.weight)

    def forward(self, inputs: Any, candidates: Any) -> Tensor:
        """inputs (N,), candidates (N, K) → scores (N, K)."""
        return self._scores(self.words(inputs), candidates)

    def _scores(self, x: Tensor, candidates: Any) -> Tensor:
        return (self.contexts(candidates) * x.unsqueeze(1)).sum(-1)


class CBOW(SkipGram):
    """Scores how well words go with the mean of their neighbours; the other way round."""

    def forward(self, inputs: Any, candidates: Any) -> Tensor:
        """inputs (N, C), the neighbours; candidates (N, K) → scores (N, K)."""
        return self._scores(self.words(inputs).mean(1), candidates)


def negative_sampling_loss(scores: Any) -> Tensor:
    """−log σ(s₀) − Σ log σ(−sₖ), the mean of the rows: s₀ of the true word, the others drawn."""
    right = np.zeros(scores.shape, scores.dtype)
    right[:, 0] = 1
    loss: Tensor = F.binary_cross_entropy_with_logits(scores, Tensor(right), reduction="sum")
    return loss / scores.shape[0]


def noise(counts: Array, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Draws words with probabilities as their counts^¾: the paper's noise."""
    p = np.asarray(counts, np.float64) ** 0.75
    edges = np.cumsum(p / p.sum())
    drawn: Array = np.searchsorted(edges, random.random(shape), side="right")
    return np.minimum(drawn, len(p) - 1)


def windows(tokens: Array, size: int) -> tuple[Array, Array]:
    """All words that have `size` neighbours on both sides: (N,), and the neighbours (N, 2·size)."""
    if size < 1:
        raise ValueError(f"windows: size is {size}, expected at least 1")
    rows = np.lib.stride_tricks.sliding_window_view(np.asarray(tokens), 2 * size + 1)
    return rows[:, size], np.delete(rows, size, axis=1)
