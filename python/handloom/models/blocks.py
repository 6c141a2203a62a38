"""What Transformers are made of: blocks with a cache, and tokens with their positions.

A block has PyTorch's names for its weights, but reads padding as lengths, knows rotary and ALiBi
positions, and can go on from a cache of keys and values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn, ops
from ..nn.transformer import Activation, TransformerDecoderLayer, TransformerEncoderLayer
from ..ops.attention import attend, attend_packed, options_for
from ..tensor import Array, Tensor

POSITIONS = ("learned", "sine", "rotary", "alibi")


class Cache:
    """Keys and values of one layer's self-attention, and those of an encoder's output.

    Room grows by doubling, so that T steps copy O(T) numbers.

    Attributes:
        length: Positions that are filled.
        memory: Keys and values (N, S, 2, heads, D) of the encoder's output, or None.
    """

    def __init__(self) -> None:
        self.length = 0
        self.memory: Tensor | None = None
        self._filled: Array | None = None

    def append(self, both: Array) -> Array:
        """Adds (N, T, 2, heads, D), and returns all that is there, as a view."""
        end = self.length + both.shape[1]
        room = self._filled
        if room is None or end > room.shape[1]:
            size = max(2 * end, 16)
            wider = np.empty((both.shape[0], size, *both.shape[2:]), both.dtype)
            if room is not None:
                wider[:, : self.length] = room[:, : self.length]
            room = self._filled = wider
        room[:, self.length : end] = both
        self.length = end
        return room[:, :end]

    def select(self, rows: Array) -> Cache:
        """Returns a cache of these rows of the batch, in this order: a beam's survivors."""
        chosen = Cache()
        chosen.length = self.length
        if self._filled is not None:
            chosen._filled = self._filled[rows]
        if self.memory is not None:
            chosen.memory = Tensor(self.memory.numpy()[rows])
        return chosen


class SelfAttention(nn.MultiheadAttention):
    """Self-attention of `MultiheadAttention`'s weights, with lengths, positions and a cache.

    Args:
        d_model, heads, dropout: As `MultiheadAttention`.
        causal: Whether what is later is hidden.
        positions: "rotary" and "alibi" are known here; the other two belong to the embedding.
    """

    def __init__(
        self, d_model: int, heads: int, dropout: float, causal: bool, positions: str
    ) -> None:
        super().__init__(d_model, heads, dropout)
        self.causal = causal
        self.rotary = nn.RotaryEmbedding(self.head_dim) if positions == "rotary" else None
        self.slopes = nn.alibi_slopes(heads) if positions == "alibi" else None

    def forward(  # type: ignore[override]
        self, x: Tensor, lengths: Any = None, cache: Cache | None = None
    ) -> Tensor:
        """x (N, T, E), with a cache only what is new → the same."""
        n, t, e = x.shape
        assert self.in_proj_weight is not None
        projected = ops.linear(x, self.in_proj_weight, self.in_proj_bias)
        packed = projected.reshape(n, t, 3, self.num_heads, self.head_dim)
        slopes = self.slopes
        options = options_for(
            "SelfAttention",
            causal=self.causal,  # the last query is level with the last key, as a cache wants it
            lengths=lengths,
            dropout=self.dropout if self.training else 0.0,
            slopes=None if slopes is None else slopes.astype(x.dtype),
        )
        if self.rotary is None and cache is None:
            y = attend_packed(None, packed, None, options)[0]
        else:
            q, k, v = (packed[:, :, i] for i in range(3))
            if self.rotary is not None:
                start = 0 if cache is None else cache.length
                q, k = self.rotary(q, start), self.rotary(k, start)
            if cache is not None:
                both = cache.append(np.stack([k.numpy(), v.numpy()], 2))
                y = attend(q, both[:, :, 0], both[:, :, 1], None, options)[0]
            else:
                y = attend(q, k, v, None, options)[0]
        return self.out_proj(y.reshape(n, t, e))  # type: ignore[no-any-return]


class CrossAttention(nn.MultiheadAttention):
    """Attention to an encoder's output whose keys and values are computed once."""

    def project(self, memory: Any) -> Tensor:
        """memory (N, S, E) → keys and values (N, S, 2, heads, D)."""
        w, b = self.in_proj_weight, self.in_proj_bias
        assert w is not None
        assert b is not None
        x = ops.linear(memory, w[self.embed_dim :], b[self.embed_dim :])
        return x.reshape(*x.shape[:2], 2, self.num_heads, self.head_dim)

    def forward(  # type: ignore[override]
        self, x: Tensor, memory: Tensor, lengths: Any = None
    ) -> Tensor:
        """x (N, T, E), memory as `project` makes it → (N, T, E)."""
        w, b, e = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        assert w is not None
        assert b is not None
        q = ops.linear(x, w[:e], b[:e]).reshape(*x.shape[:2], self.num_heads, self.head_dim)
        dropout = self.dropout if self.training else 0.0
        options = options_for("CrossAttention", lengths=lengths, dropout=dropout)
        y = attend_packed(q, memory, None, options)[0]
        return self.out_proj(y.reshape(*x.shape))  # type: ignore[no-any-return]


class Block(TransformerEncoderLayer):
    """An encoder's block, or a decoder's without an encoder."""

    self_attn: SelfAttention

    def __init__(
        self,
        d_model: int,
        heads: int,
        hidden: int,
        dropout: float,
        activation: Activation,
        *,
        eps: float = 1e-5,
        norm_first: bool = True,
        causal: bool = False,
        positions: str = "learned",
    ) -> None:
        super().__init__(d_model, heads, hidden, dropout, activation, eps, norm_first=norm_first)
        self.self_attn = SelfAttention(d_model, heads, dropout, causal, positions)

    def forward(  # type: ignore[override]
        self, x: Tensor, lengths: Any = None, cache: Cache | None = None
    ) -> Tensor:
        """x (N, T, E) → the same."""

        def look(x: Tensor) -> Tensor:
            return self.self_attn(x, lengths, cache)

        x = self._residual(x, self.norm1, self.dropout1, look)
        return self._residual(x, self.norm2, self.dropout2, self._feed_forward)


class CrossBlock(TransformerDecoderLayer):
    """A decoder's block, which also looks at an encoder's output."""

    self_attn: SelfAttention
    multihead_attn: CrossAttention

    def __init__(
        self, d_model: int, heads: int, hidden: int, dropout: float, activation: Activation
    ) -> None:
        super().__init__(d_model, heads, hidden, dropout, activation, norm_first=True)
        self.self_attn = SelfAttention(d_model, heads, dropout, True, "learned")
        self.multihead_attn = CrossAttention(d_model, heads, dropout)

    def forward(  # type: ignore[override]
        self, x: Tensor, memory: Any, lengths: Any = None, cache: Cache | None = None
    ) -> Tensor:
        """x (N, T, E), memory (N, S, E) with its lengths → (N, T, E)."""
        cross = self.multihead_attn
        seen = None if cache is None else cache.memory
        if seen is None:
            seen = cross.project(memory)
        if cache is not None:
            cache.memory = seen

        def back(x: Tensor) -> Tensor:
            return self.self_attn(x, None, cache)

        def across(x: Tensor) -> Tensor:
            return cross(x, seen, lengths)

        x = self._residual(x, self.norm1, self.dropout1, back)
        x = self._residual(x, self.norm2, self.dropout2, across)
        return self._residual(x, self.norm3, self.dropout3, self._feed_forward)


class Tokens(nn.Module):
    """Tokens (N, T) and where they stand → (N, T, E); and back to scores with the same table."""

    def __init__(
        self, vocabulary: int, d_model: int, max_length: int, positions: str, dropout: float
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            known = ", ".join(map(repr, POSITIONS))
            raise ValueError(f"Tokens: positions is {positions!r}, expected one of {known}")
        self.table = nn.Embedding(vocabulary, d_model)
        # The table also makes the scores: they start small with GPT-2's deviation.
        nn.init.normal_(self.table.weight, 0.0, 0.02)
        self.positions: nn.Module | None = None
        if positions == "learned":
            self.positions = nn.PositionEmbedding(max_length, d_model)
        elif positions == "sine":
            self.positions = nn.SinePositionEncoding(d_model, max_length)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Any, start: int = 0) -> Tensor:
        """tokens (N, T), the first at position `start` → (N, T, E)."""
        x: Tensor = self.table(tokens)
        if self.positions is not None:
            x = self.positions(x, start)
        out: Tensor = self.dropout(x)
        return out
