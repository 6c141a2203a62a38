"""Softmax attention: every query takes a weighted mean of the values.

Arrays are ``(N, T, heads, D)``. The mathematics is in ``csrc/ops/attention/attention.h``; after
Vaswani et al., "Attention is all you need" (2017), computed without the matrix of weights as in
Dao, "FlashAttention-2" (2023).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.attention import Causal, Options, Window, causal_code, reach
from ._options import need_mask

Array = npt.NDArray[Any]
Gradients = tuple[Array | None, Array | None, Array | None, Array | None]

_NAMES = ("q", "k", "v", "bias")


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: Causal = False,
    window: Window = None,
    lengths: Array | None = None,
    starts: Array | None = None,
    slopes: Array | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: int | None = None,
    call: int = 0,
    return_saved: bool = False,
    return_weights: bool = False,
) -> Any:
    """``softmax(scale q kᵀ + bias) v`` for every head, over the keys that a query sees.

    Memory beyond the result is linear in the lengths: the weights are never stored. Blocks of keys
    that a window, ``causal`` or ``lengths`` hides are skipped. A query that sees none gives zeros.

    Args:
        q: ``(N, Tq, heads, D)``, float32 or float64, with any strides but the last axis's, so that
            a slice of a packed projection is used where it lies.
        k: ``(N, Tk, kv_heads, D)``; ``kv_heads`` divides ``heads``, and each serves as many heads
            in a row (grouped-query attention; 1 is multi-query).
        v: ``(N, Tk, kv_heads, Dv)``.
        mask: bool, broadcast to ``(N, heads, Tq, Tk)``: True takes part.
        bias: Added to the scaled scores, broadcast likewise; −inf hides a key.
        causal: True hides later keys, the last query being level with the last key (as with a
            cache); ``"upper_left"`` with the first query level with the first key.
        window: A query at position p sees keys p − left … p + right: a number for both, or a pair
            with None for no limit. Positions are those of ``causal``, else p = i.
        lengths: ``(N,)`` int64 or int32: keys of each sequence, the rest is padding that is never
            read.
        starts: ``(N,)``: the position of each sequence's first query, where it is neither 0 nor
            what ``causal`` makes it: for a cache whose sequences have different lengths.
        slopes: ``(heads,)`` or ``(N, heads)``: ALiBi; the score loses slope · distance.
        scale: 1 / sqrt(D) if None.
        dropout: Probability that a weight is dropped, as :func:`dropout` of an array of the
            weights' shape would; the others are scaled up.
        seed: Key of the draw; None takes a fresh one. Pass one where there will be a backward.
        call: Which draw under this seed.
        return_saved: Also return what :func:`attention_backward` needs.
        return_weights: Also return the weights ``(N, heads, Tq, Tk)``, dropout included.

    Returns:
        ``y`` ``(N, Tq, heads, Dv)``, then ``saved`` ``(N, heads, Tq)`` (the logarithm of each
        softmax's sum) and the weights as asked for.

    Raises:
        TypeError: Not arrays, not float32 or float64, different dtypes, a mask that is not bool.
        ValueError: Shapes that do not fit or broadcast, heads that do not divide, a length out of
            range, numbers of a head that do not lie side by side.
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(8), "little") if dropout else 0
    left, right = reach("attention", window)
    code = causal_code("attention", causal)
    options = Options(
        mask, bias, lengths, starts, slopes, scale, code, left, right, dropout, seed, call
    )
    y, saved = _C.attention_forward("attention", q, k, v, options)
    if not return_saved and not return_weights:
        return y
    result = [y]
    if return_saved:
        result.append(saved)
    if return_weights:
        result.append(_C.attention_weights("attention", q, k, saved, options))
    return tuple(result)


def attention_backward(
    dy: Array,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    *,
    saved: Array,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: Causal = False,
    window: Window = None,
    lengths: Array | None = None,
    starts: Array | None = None,
    slopes: Array | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    call: int = 0,
    need: Sequence[str] = _NAMES,
) -> Gradients:
    """Gradients of :func:`attention`, with its options.

    Args:
        dy: Gradient of ``y``, contiguous.
        q, k, v: As given to :func:`attention`.
        y: Its result.
        saved: What it returned with ``return_saved=True``.
        need: Which gradients to compute, of ``"q"``, ``"k"``, ``"v"``, ``"bias"``.

    Returns:
        ``(dq, dk, dv, dbias)``, None for those not in ``need`` and for a bias that was not given;
        ``dbias`` is summed over the axes that were broadcast.
    """
    op = "attention_backward"
    bits = need_mask(op, need, _NAMES)
    left, right = reach(op, window)
    options = Options(
        mask, bias, lengths, starts, slopes, scale, causal_code(op, causal), left, right, dropout,
        seed, call,
    )  # fmt: skip
    grads: Gradients = _C.attention_backward(
        op, dy, q, k, v, y, saved, options, bits, None, None, None
    )
    return grads
