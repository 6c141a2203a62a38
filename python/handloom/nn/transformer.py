"""The Transformer: encoder and decoder layers, stacks of them, and both together.

Vaswani et al. (2017), with the norms behind the residual sums (`norm_first=False`) or in front of
the blocks (Xiong et al. 2020). PyTorch's layers with `batch_first=True`; masks are PyTorch's too:
True is ignored.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Union

import numpy as np

from handloom.nn import init
from handloom.nn.attention import MultiheadAttention
from handloom.nn.containers import ModuleList
from handloom.nn.dropout import Dropout
from handloom.nn.linear import Linear
from handloom.nn.module import Module
from handloom.nn.norm import LayerNorm
from handloom.ops._common import array_of
from handloom.ops.dense import ACTIVATIONS, linear
from handloom.tensor import DTypeLike, Tensor

Activation = Union[str, Callable[[Any], Any]]  # noqa: UP007  evaluated at run time on Python 3.10


class _Layer(Module):
    """What encoder and decoder layers share: the feed-forward block and how blocks are joined."""

    linear1: Linear
    linear2: Linear
    dropout: Dropout
    norm_first: bool
    activation: Activation

    def _feed_forward(self, x: Tensor) -> Tensor:
        if isinstance(self.activation, str):
            hidden = linear(x, self.linear1.weight, self.linear1.bias, self.activation)
        else:
            hidden = self.activation(self.linear1(x))
        return self.linear2(self.dropout(hidden))

    def _residual(
        self, x: Tensor, norm: Module, dropout: Module, block: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if self.norm_first:
            return x + dropout(block(norm(x)))
        out: Tensor = norm(x + dropout(block(x)))
        return out


def _activation(op: str, activation: Activation) -> Activation:
    if isinstance(activation, str) and activation not in ACTIVATIONS:
        raise ValueError(
            f"{op}: activation {activation!r} is unknown, expected one of {', '.join(ACTIVATIONS)}"
        )
    return activation


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear layers at every position, each with a residual and a norm.

    Args:
        d_model: Features.
        nhead: Heads.
        dim_feedforward: Features between the two linear layers.
        dropout: Behind each block, inside the feed-forward block, and of the weights.
        activation: A name that `Linear` takes, or a function.
        layer_norm_eps: Of the norms.
        batch_first: True; arrays are (N, T, d_model) here.
        norm_first: Norms in front of the blocks instead of behind the sums.
        bias: Whether projections, linear layers and norms have biases.
        dtype: float32 or float64.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = _activation("TransformerEncoderLayer", activation)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """src (N, T, d_model) → the same; masks as in `MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )[0]

        x = self._residual(src, self.norm1, self.dropout1, attend)
        return self._residual(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """As the encoder layer, with attention to an encoder's output between the two blocks.

    Arguments as `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
        )
        self.multihead_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(3))
        self.activation = _activation("TransformerDecoderLayer", activation)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt (N, T, d_model), memory (N, S, d_model) → (N, T, d_model)."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )[0]

        def look(x: Tensor) -> Tensor:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip

        x = self._residual(tgt, self.norm1, self.dropout1, attend)
        x = self._residual(x, self.norm2, self.dropout2, look)
        return self._residual(x, self.norm3, self.dropout3, self._feed_forward)


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Args:
        encoder_layer: Copied num_layers times.
        num_layers: How many.
        norm: Applied at the end, or None.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """src (N, T, d_model) → the same. A mask that hides what is later is seen to be causal."""
        causal = is_causal_mask(mask) if is_causal is None else is_causal
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """A stack of decoder layers; arguments as `TransformerEncoder`."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt (N, T, d_model), memory (N, S, d_model) → (N, T, d_model)."""
        causal = is_causal_mask(tgt_mask) if tgt_is_causal is None else tgt_is_causal
        x = tgt
        for layer in self.layers:
            x = layer(
                x, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                causal, memory_is_causal,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias: Of
            the layers, as `TransformerEncoderLayer`.
        num_encoder_layers: Layers of the encoder, behind which there is a norm.
        num_decoder_layers: Layers of the decoder, likewise.
        custom_encoder: Another encoder, called as `TransformerEncoder`.
        custom_decoder: Another decoder, called as `TransformerDecoder`.
        batch_first: True; arrays are (N, T, d_model) here.
        dtype: float32 or float64.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        options: Any = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*options), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*options), num_decoder_layers, norm()
        )
        self.d_model, self.nhead = d_model, nhead
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """src (N, S, d_model), tgt (N, T, d_model) → (N, T, d_model)."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        out: Tensor = self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            tgt_is_causal, memory_is_causal,
        )  # fmt: skip
        return out

    @staticmethod
    def generate_square_subsequent_mask(sz: int) -> Tensor:
        """(sz, sz) float32: −inf where the key is later than the query, else 0."""
        return Tensor(np.triu(np.full((sz, sz), -np.inf, np.float32), 1))


def is_causal_mask(mask: Any) -> bool:
    """Whether a mask (T, T), True or −inf for ignored, hides just what is later."""
    if mask is None:
        return False
    a = array_of(mask)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        return False
    later = np.tri(len(a), k=-1, dtype=np.bool_).T
    if a.dtype.kind == "b":
        return bool((a == later).all())
    return bool((a == np.where(later, -np.inf, 0.0)).all())
