"""Multi-head attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import ops
from handloom._device_array import beside, on_host
from handloom.nn import init
from handloom.nn.linear import Linear
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.ops._common import array_of
from handloom.ops.attention import attend, attend_packed, options_for
from handloom.ops.dense import linear
from handloom.tensor import Array, DTypeLike, Tensor, as_dtype

Masks = tuple[Array | None, Any]  # bool, True takes part; what is added to the scores


class MultiheadAttention(Module):
    """Projects queries, keys and values, lets each head attend, and projects what they found.

    Vaswani et al. (2017). PyTorch's layer with `batch_first=True`; Keras: MultiHeadAttention.

    Args:
        embed_dim: Features of the queries and of the result, E.
        num_heads: They share the features out: embed_dim/num_heads for each.
        dropout: Probability that a weight is dropped in training.
        bias: Whether the projections have biases.
        add_bias_kv: Append a learned key and value to every sequence.
        add_zero_attn: Append a key and value of zeros.
        kdim: Features of the keys, embed_dim if None.
        vdim: Features of the values, embed_dim if None.
        batch_first: True; arrays are (N, T, E) here.
        dtype: float32 or float64.

    Attributes:
        in_proj_weight: (3·E, E): queries, keys, values; None where kdim or vdim differ: then there
            are q_proj_weight (E, E), k_proj_weight (E, kdim), v_proj_weight (E, vdim).
        in_proj_bias: (3·E,), or None.
        out_proj: The last projection.
        bias_k, bias_v: (1, 1, E), or None.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                f"{name}: embed_dim is {embed_dim} and num_heads {num_heads}, "
                "expected positive numbers and heads that divide the features"
            )
        if not batch_first:
            raise ValueError(f"{name}: batch_first is False, but arrays are (N, T, E) here")
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is {dropout}, expected 0 to 1")
        kind = as_dtype(np.float32 if dtype is None else dtype, name)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn

        def parameter(*shape: int) -> Parameter:
            return Parameter(np.empty(shape, kind))

        same = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = parameter(3 * embed_dim, embed_dim) if same else None
        self.q_proj_weight = None if same else parameter(embed_dim, embed_dim)
        self.k_proj_weight = None if same else parameter(embed_dim, self.kdim)
        self.v_proj_weight = None if same else parameter(embed_dim, self.vdim)
        self.in_proj_bias = parameter(3 * embed_dim) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=kind)
        self.bias_k = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights of the projections anew; biases start at 0."""
        for w in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if w is not None:
                init.xavier_uniform_(w)
        for b in (self.in_proj_bias, self.out_proj.bias):
            if b is not None:
                init.zeros_(b)
        for b in (self.bias_k, self.bias_v):
            if b is not None:
                init.normal_(b, 0.0, self.embed_dim**-0.5)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends from query to key and value.

        Masks are PyTorch's: True is *ignored*, a float mask is added to the scores.

        Args:
            query: (N, T, E), or (T, E) for a single sequence.
            key: (N, S, kdim); None is query.
            value: (N, S, vdim); None is key.
            key_padding_mask: (N, S).
            need_weights: Also return the weights, which costs a pass of its own; no gradient flows
                through them.
            attn_mask: (T, S) or (N·num_heads, T, S).
            average_attn_weights: The weights' mean over heads instead of each head's.
            is_causal: Hides later keys, the first query being level with the first key; attn_mask,
                if given, is taken to say the same and not looked at.

        Returns:
            (N, T, E), and the weights (N, T, S) or (N, num_heads, T, S), or None.

        Raises:
            ValueError: Shapes that do not fit.
        """
        key = query if key is None else key
        value = key if value is None else value
        a = array_of(query)
        if a.ndim == 2:
            single, alike = ops.unsqueeze(query, 0), (key is query, value is key)
            k = single if alike[0] else ops.unsqueeze(key, 0)
            v = k if alike[1] else ops.unsqueeze(value, 0)
            padding = None if key_padding_mask is None else array_of(key_padding_mask)[None]
            y, w = self.forward(
                single, k, v, padding, need_weights, attn_mask, average_attn_weights, is_causal
            )
            return ops.squeeze(y, 0), None if w is None else ops.squeeze(w, 0)
        for x, name, size in (
            (query, "query", self.embed_dim),
            (key, "key", self.kdim),
            (value, "value", self.vdim),
        ):
            if array_of(x).ndim != 3 or array_of(x).shape[2] != size:
                raise ValueError(
                    f"MultiheadAttention: {name} has shape {array_of(x).shape}, "
                    f"expected (N, T, {size})"
                )
        extra = (self.bias_k is not None) + self.add_zero_attn
        n, t, s = *a.shape[:2], array_of(key).shape[1]
        mask, bias = _masks(
            key_padding_mask, None if is_causal else attn_mask, n, t, s, self.num_heads
        )
        if extra:
            if is_causal:
                mask = _both(mask, np.tri(t, s, dtype=np.bool_))
                is_causal = False
            mask, bias = _longer(mask, bias, extra)
        if mask is not None:
            mask = beside(mask, a)
        options = options_for(
            "MultiheadAttention",
            causal="upper_left" if is_causal else False,
            dropout=self.dropout if self.training else 0.0,
            mask=mask,
        )
        if key is query and value is key and self.in_proj_weight is not None and not extra:
            x = linear(query, self.in_proj_weight, self.in_proj_bias)
            packed = x.reshape(n, t, 3, self.num_heads, self.head_dim)
            y, weights = attend_packed(None, packed, bias, options, need_weights)
        elif value is key and self.in_proj_weight is not None and not extra:
            e, b = self.embed_dim, self.in_proj_bias
            q = linear(query, self.in_proj_weight[:e], None if b is None else b[:e])
            x = linear(key, self.in_proj_weight[e:], None if b is None else b[e:])
            packed = x.reshape(n, s, 2, self.num_heads, self.head_dim)
            y, weights = attend_packed(self._heads(q), packed, bias, options, need_weights)
        else:
            q, k, v = self._projections(query, key, value)
            y, weights = attend(
                self._heads(q), self._heads(k), self._heads(v), bias, options, need_weights
            )
        out = self.out_proj(y.reshape(n, t, self.embed_dim))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        return out, weights

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim)

    def _projections(self, query: Any, key: Any, value: Any) -> list[Tensor]:
        e, b = self.embed_dim, self.in_proj_bias
        if self.in_proj_weight is not None:
            w = [self.in_proj_weight[i * e : (i + 1) * e] for i in range(3)]
        else:
            w = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]  # type: ignore[list-item]
        parts = [
            linear(x, w[i], None if b is None else b[i * e : (i + 1) * e])
            for i, x in enumerate((query, key, value))
        ]
        n = parts[1].shape[0]
        for i, learned in ((1, self.bias_k), (2, self.bias_v)):
            if learned is not None:
                parts[i] = ops.cat([parts[i], learned.expand(n, 1, e)], 1)
            if self.add_zero_attn:
                zeros = Tensor(np.zeros_like(parts[i]._array, shape=(n, 1, e)))
                parts[i] = ops.cat([parts[i], zeros], 1)
        return parts

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}"


def _masks(padding: Any, attn_mask: Any, n: int, t: int, s: int, heads: int) -> Masks:
    """PyTorch's two masks as the kernel's: what takes part, and what is added."""
    mask: Array | None = None
    bias: Any = None
    if padding is not None:
        a = on_host(array_of(padding))
        if a.shape != (n, s):
            raise ValueError(
                f"MultiheadAttention: key_padding_mask has shape {a.shape}, expected {(n, s)}"
            )
        if a.dtype.kind == "b":
            mask = ~a[:, None, None]
        else:
            bias = ops.reshape(padding, (n, 1, 1, s))
    if attn_mask is not None:
        a = on_host(array_of(attn_mask))
        if a.shape not in ((t, s), (n * heads, t, s)):
            raise ValueError(
                f"MultiheadAttention: attn_mask has shape {a.shape}, expected {(t, s)} or "
                f"{(n * heads, t, s)}"
            )
        shape = (n, heads, t, s) if a.ndim == 3 else (t, s)
        if a.dtype.kind == "b":
            mask = _both(mask, ~a.reshape(shape))
        else:
            added = ops.reshape(attn_mask, shape)
            bias = added if bias is None else bias + added
    return mask, bias


def _both(a: Array | None, b: Array) -> Array:
    return b if a is None else a & b


def _longer(mask: Array | None, bias: Any, extra: int) -> Masks:
    """Masks for `extra` more keys that everyone sees."""
    if mask is not None:
        mask = np.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, extra)], constant_values=True)
    if bias is not None:
        shape = (*bias.shape[:-1], extra)
        bias = ops.cat([bias, Tensor(np.zeros_like(array_of(bias), shape=shape))], -1)
    return mask, bias
