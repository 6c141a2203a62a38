"""Transformers as whole models: encoder only, decoder only, both, and for pictures.

Tokens are integers (N, T), features (N, T, E).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn, ops
from ..nn.transformer import Activation
from ..ops._common import array_of
from ..tensor import Array, Tensor
from .blocks import Block, Cache, CrossBlock, Tokens


class CausalLM(nn.Module):
    """Decoder only: what comes next? Radford et al., GPT-2 (2019): norms in front, tied output.

    Args:
        vocabulary: Number of tokens V.
        d_model: Features E.
        heads: Of the attention.
        layers: Blocks.
        max_length: Positions that "learned" and "sine" know.
        hidden: Features inside a block, 4·d_model if None.
        dropout: Of embeddings, weights and blocks.
        positions: "learned", "sine", "rotary" or "alibi".
        activation: Inside the blocks.
    """

    def __init__(
        self,
        vocabulary: int,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 4,
        max_length: int = 1024,
        hidden: int | None = None,
        dropout: float = 0.0,
        positions: str = "learned",
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.tokens = Tokens(vocabulary, d_model, max_length, positions, dropout)
        self.layers = nn.ModuleList(
            Block(d_model, heads, hidden or 4 * d_model, dropout, activation, causal=True,
                  positions=positions)
            for _ in range(layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(d_model)

    def forward(self, tokens: Any, state: list[Cache] | None = None) -> Tensor:
        """tokens (N, T), with a state only those that are new → logits (N, T, V)."""
        x = self.tokens(tokens, state[0].length if state else 0)
        for i, layer in enumerate(self.layers):
            x = layer(x, None, state[i] if state else None)
        return self.tokens.table.attend(self.norm(x))

    def start(self) -> list[Cache]:
        """Returns the state that `step` begins with."""
        return [Cache() for _ in self.layers]

    def step(self, tokens: Array, state: list[Cache]) -> tuple[Array, list[Cache]]:
        """New tokens (N, T) → logits (N, V) of what follows the last of them, and the state."""
        return self.forward(tokens, state).numpy()[:, -1], state

    def select(self, state: list[Cache], rows: Array) -> list[Cache]:
        """Returns the state of these rows of the batch."""
        return [cache.select(rows) for cache in state]


class Encoder(nn.Module):
    """Encoder only, as BERT: Devlin et al. (2019). Norms behind the sums unless norm_first.

    Args:
        vocabulary, d_model, heads, layers, max_length, hidden, dropout, activation: As `CausalLM`.
        types: Kinds of segments, each with a learned vector; 0 for none.
        eps: Of the norms.
        norm_first: Norms in front of the blocks; then there is one at the end, too.
    """

    def __init__(
        self,
        vocabulary: int,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 4,
        max_length: int = 512,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: Activation = "gelu",
        types: int = 0,
        eps: float = 1e-12,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.tokens = Tokens(vocabulary, d_model, max_length, "learned", dropout)
        self.types = nn.Embedding(types, d_model) if types else None
        self.layers = nn.ModuleList(
            Block(d_model, heads, hidden or 4 * d_model, dropout, activation, eps=eps,
                  norm_first=norm_first)
            for _ in range(layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(d_model, eps)
        self.norm_first = norm_first

    def forward(self, tokens: Any, lengths: Any = None, types: Any = None) -> Tensor:
        """tokens (N, T), how many count, their types (N, T) or None for 0 → (N, T, d_model)."""
        x = self.tokens(tokens)
        if self.types is not None:
            x = x + (self.types.weight[0] if types is None else self.types(types))
        if not self.norm_first:
            x = self.norm(x)
        for layer in self.layers:
            x = layer(x, lengths)
        return self.norm(x) if self.norm_first else x  # type: ignore[no-any-return]


def mean_pool(x: Tensor, lengths: Any) -> Tensor:
    """x (N, T, E) → (N, E): the mean of each row's first `lengths` vectors."""
    counts = array_of(lengths)[:, None]
    weights = (np.arange(x.shape[1]) < counts) / np.maximum(counts, 1)
    return (x * Tensor(weights.astype(x.dtype)[..., None])).sum(1)


class MaskedLM(nn.Module):
    """An `Encoder` that says what was hidden: one layer, and the tied table with a bias.

    Args:
        encoder: Whose tokens are to be told.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        table = encoder.tokens.table
        self.encoder = encoder
        self.transform = nn.Linear(table.embedding_dim, table.embedding_dim, activation="gelu")
        self.norm = nn.LayerNorm(table.embedding_dim)
        self.bias = nn.Parameter(np.zeros(table.num_embeddings, np.float32))

    def forward(self, tokens: Any, lengths: Any = None) -> Tensor:
        """tokens (N, T) → logits (N, T, V)."""
        x = self.norm(self.transform(self.encoder(tokens, lengths)))
        return self.encoder.tokens.table.attend(x) + self.bias


class TransformerSeq2Seq(nn.Module):
    """Encoder and decoder, Vaswani et al. (2017), with norms in front of the blocks.

    Args:
        source, target: Sizes of the two vocabularies.
        d_model, heads, layers, max_length, hidden, dropout, activation: As `CausalLM`; the layers
            are those of each half.
    """

    def __init__(
        self,
        source: int,
        target: int,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 2,
        max_length: int = 256,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        hidden = hidden or 4 * d_model
        self.encoder = Encoder(
            source, d_model, heads, layers, max_length, hidden, dropout, activation, eps=1e-5,
            norm_first=True,
        )  # fmt: skip
        self.tokens = Tokens(target, d_model, max_length, "learned", dropout)
        self.layers = nn.ModuleList(
            CrossBlock(d_model, heads, hidden, dropout, activation) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, source: Any, lengths: Any, target: Any) -> Tensor:
        """source (N, S) with lengths, target (N, T) that begins with <bos> → logits (N, T, V)."""
        return self._decode(target, self.encoder(source, lengths), lengths, None)

    def _decode(self, target: Any, memory: Any, lengths: Any, caches: list[Cache] | None) -> Tensor:
        x = self.tokens(target, caches[0].length if caches else 0)
        for i, layer in enumerate(self.layers):
            x = layer(x, memory, lengths, caches[i] if caches else None)
        return self.tokens.table.attend(self.norm(x))

    def start(self, source: Any, lengths: Any) -> Any:
        """Reads the source, and returns the state that `step` begins with."""
        return self.encoder(source, lengths), array_of(lengths), [Cache() for _ in self.layers]

    def step(self, tokens: Array, state: Any) -> tuple[Array, Any]:
        """New tokens (N, T) → logits (N, V) of what follows the last of them, and the state."""
        return self._decode(tokens, *state).numpy()[:, -1], state

    def select(self, state: Any, rows: Array) -> Any:
        """Returns the state of these rows of the batch."""
        memory, lengths, caches = state
        return Tensor(memory.numpy()[rows]), lengths[rows], [c.select(rows) for c in caches]


class VisionTransformer(nn.Module):
    """Patches as words: Dosovitskiy et al., "An image is worth 16x16 words" (2021).

    Args:
        size: Height and width of the images.
        patch: Height and width of a patch; divides size.
        channels: Of the images.
        num_classes: Of the output.
        d_model, heads, layers, hidden, dropout: As `CausalLM`.
    """

    def __init__(
        self,
        size: int,
        patch: int,
        channels: int = 3,
        num_classes: int = 10,
        d_model: int = 64,
        heads: int = 4,
        layers: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if patch < 1 or size % patch:
            raise ValueError(
                f"VisionTransformer: patch is {patch}, expected a number that divides {size}"
            )
        self.patches = nn.Conv2d(channels, d_model, patch, stride=patch)
        self.first = nn.Parameter(np.zeros((1, 1, d_model), np.float32))
        self.positions = nn.PositionEmbedding((size // patch) ** 2 + 1, d_model)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            Block(d_model, heads, hidden or 4 * d_model, dropout, "gelu") for _ in range(layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, num_classes)

    def forward(self, x: Any) -> Tensor:
        """x (N, H, W, C) → logits (N, classes)."""
        y = self.patches(x)
        n, e = y.shape[0], y.shape[3]
        y = ops.cat([self.first.expand(n, 1, e), y.reshape(n, -1, e)], 1)
        y = self.dropout(self.positions(y))
        for layer in self.layers:
            y = layer(y)
        return self.head(self.norm(y[:, 0]))  # type: ignore[no-any-return]
