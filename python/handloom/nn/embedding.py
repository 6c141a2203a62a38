"""The embedding layer, and the ways in which a model learns where a token stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import ops
from handloom._device_array import beside
from handloom.nn import init
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.ops._common import array_of
from handloom.ops.embedding import embedding, row_of
from handloom.tensor import Array, DTypeLike, Tensor, as_dtype


class Embedding(Module):
    """A learned vector for each of so many things: indices (…) → (…, embedding_dim).

    Weights start standard normal (PyTorch's; Keras: uniform in ±0.05), the padding row at 0.

    Args:
        num_embeddings: Rows V of the table.
        embedding_dim: Features E.
        padding_idx: Row that stays as it is: it gets no gradient.
        max_norm: Rows that are looked up are first shortened to this, in place.
        norm_type: The p of that length.
        scale_grad_by_freq: Gradients of a row are divided by how often it was read in the batch.
        sparse: The gradient has only the rows that were read, for `optim.SGD` without momentum and
            `optim.Adagrad`: a step then costs as much as the batch, however many rows V there are.
        dtype: float32 or float64.

    Attributes:
        weight: (V, E).
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        for name, value in (("num_embeddings", num_embeddings), ("embedding_dim", embedding_dim)):
            if not isinstance(value, (int, np.integer)):
                raise TypeError(f"Embedding: {name} is {value!r}, expected an integer")
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(
                f"Embedding: num_embeddings is {num_embeddings} and embedding_dim {embedding_dim}, "
                "expected at least 1"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = (
            None if padding_idx is None else row_of("Embedding", padding_idx, num_embeddings)
        )
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        kind = as_dtype(np.float32 if dtype is None else dtype, "Embedding")
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), kind))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer with a copy of given vectors (V, E); with `freeze` no optimiser trains them."""
        table = array_of(embeddings)
        if table.ndim != 2:
            raise ValueError(f"Embedding: embeddings has shape {table.shape}, expected (V, E)")
        rows, features = table.shape
        layer = cls(
            rows,
            features,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            dtype=table.dtype,
        )
        layer.load_state_dict({"weight": table})
        layer.weight.requires_grad_(not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draws the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            array_of(self.weight)[self.padding_idx] = 0

    def forward(self, x: Any) -> Tensor:
        """Indices (…) → (…, E)."""
        return embedding(
            x,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def attend(self, x: Any) -> Tensor:
        """Scores x (…, E) → (…, V) with the same table: the tied output layer of Press and Wolf,
        "Using the output embedding to improve language models" (2017)."""
        return ops.linear(x, self.weight)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sparse = ", sparse=True" if self.sparse else ""
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{sparse}"


def sine_positions(length: int, features: int, base: float = 10000.0) -> Array:
    """(length, features) float32: sin(p·ω) and cos(p·ω) side by side, ω = base^(−2i/features).

    Vaswani et al., "Attention is all you need" (2017), section 3.5.

    Raises:
        ValueError: An odd number of features.
    """
    angles = _angles(np.arange(length), features, base)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, features).astype("f4")


def _angles(positions: Array, features: int, base: float) -> Array:
    if features % 2:
        raise ValueError(f"positions: features is {features}, expected an even number")
    return positions[..., None] * base ** (-np.arange(0, features, 2) / features)


class SinePositionEncoding(Module):
    """x (N, T, E) + a wave of its own for each feature. Keras Hub's name; see `sine_positions`.

    Args:
        embedding_dim: E, even.
        max_length: Positions that are there.
        base: The longest wave is 2π·base positions.
    """

    def __init__(self, embedding_dim: int, max_length: int = 5000, base: float = 10000.0) -> None:
        super().__init__()
        self.max_length = max_length
        self.table = sine_positions(max_length, embedding_dim, base)

    def forward(self, x: Any, start: int = 0) -> Tensor:
        """x (N, T, E), the first of them at position `start` → the same."""
        end = _end("SinePositionEncoding", x, start, self.max_length)
        out: Tensor = x + Tensor(beside(self.table[start:end].astype(x.dtype), array_of(x)))
        return out


class PositionEmbedding(Module):
    """x (N, T, E) + a learned vector for each position. Keras Hub's name.

    Args:
        max_length: Positions that are there.
        embedding_dim: E.
        dtype: float32 or float64.

    Attributes:
        weight: (max_length, E), from N(0, 0.02²) as in GPT-2.
    """

    def __init__(self, max_length: int, embedding_dim: int, dtype: DTypeLike = None) -> None:
        super().__init__()
        kind = as_dtype(np.float32 if dtype is None else dtype, "PositionEmbedding")
        self.max_length = max_length
        self.weight = Parameter(np.empty((max_length, embedding_dim), kind))
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, x: Any, start: int = 0) -> Tensor:
        """x (N, T, E), the first of them at position `start` → the same."""
        end = _end("PositionEmbedding", x, start, self.max_length)
        out: Tensor = x + self.weight[start:end]
        return out


def _end(op: str, x: Any, start: int, most: int) -> int:
    end = int(start + x.shape[1])
    if start < 0 or end > most:
        raise ValueError(f"{op}: positions {start} to {end - 1}, but max_length is {most}")
    return end


class RotaryEmbedding(Module):
    """Turns queries and keys by an angle that grows with the position, so that their product
    depends on the distance alone.

    Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021); feature i is
    paired with i + D/2, as in GPT-NeoX and LLaMA. Keras Hub's name.

    Args:
        head_dim: D, even.
        base: The longest wave is 2π·base positions.
    """

    def __init__(self, head_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        _angles(np.arange(1), head_dim, base)
        self.head_dim, self.base = head_dim, base

    def forward(self, x: Any, start: int = 0) -> Tensor:
        """x (N, T, heads, D), the first of them at position `start` → the same."""
        if x.ndim != 4 or x.shape[3] != self.head_dim:
            raise ValueError(
                f"RotaryEmbedding: x has shape {tuple(x.shape)}, expected (N, T, heads, "
                f"{self.head_dim})"
            )
        angles = _angles(np.arange(start, start + x.shape[1]), self.head_dim, self.base)
        both = np.concatenate([angles, angles], -1)[:, None]
        half = self.head_dim // 2
        turned = ops.cat([-x[..., half:], x[..., :half]], -1)
        waves = (f(both).astype(x.dtype) for f in (np.cos, np.sin))
        cos, sin = (Tensor(beside(wave, array_of(x))) for wave in waves)
        return x * cos + turned * sin


def alibi_slopes(heads: int) -> Array:
    """(heads,) float32: how much each head's score loses with each step of distance.

    Press, Smith and Lewis, "Train short, test long: attention with linear biases enables input
    length extrapolation" (2022): 2^(−8/heads), and its powers; where heads is no power of two,
    those of the next smaller one, then every second of twice as many. What `kernels.attention`
    takes as `slopes`.
    """
    if heads < 1:
        raise ValueError(f"alibi_slopes: heads is {heads}, expected at least 1")

    def powers(n: int) -> Array:
        return 2.0 ** (-8.0 / n * np.arange(1, n + 1))

    whole = 1 << (heads.bit_length() - 1)
    return np.concatenate([powers(whole), powers(2 * whole)[::2][: heads - whole]]).astype("f4")
