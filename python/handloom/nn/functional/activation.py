"""Functions of features that are a layer by themselves: dropout and gates.

`inplace` is PyTorch's argument and changes nothing: results are new, from a pool of memory.
"""

from __future__ import annotations

from handloom.ops import chunk, neg, silu, softmax
from handloom.ops import dropout as _dropout
from handloom.ops._common import TensorLike
from handloom.ops.random import ALPHA, ELEMENT, FEATURE, FEATURE_ALPHA
from handloom.tensor import Tensor, wrap


def _maybe(x: TensorLike, p: float, training: bool, kind: int, op: str) -> Tensor:
    if training:
        return _dropout(x, p, kind, op)
    return x if isinstance(x, Tensor) else wrap(x)


def dropout(
    input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Elements become 0 with probability p, the rest is scaled by 1/(1 − p)."""
    return _maybe(input, p, training, ELEMENT, "dropout")


def dropout1d(
    input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole features of (N, T, C) become 0."""
    return _maybe(input, p, training, FEATURE, "dropout1d")


def dropout2d(
    input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole feature maps of (N, H, W, C) become 0."""
    return _maybe(input, p, training, FEATURE, "dropout2d")


def dropout3d(
    input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole feature maps of (N, D, H, W, C) become 0."""
    return _maybe(input, p, training, FEATURE, "dropout3d")


def alpha_dropout(
    input: TensorLike, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout for SELU: mean and variance stay."""
    return _maybe(input, p, training, ALPHA, "alpha_dropout")


def feature_alpha_dropout(
    input: TensorLike, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole features."""
    return _maybe(input, p, training, FEATURE_ALPHA, "feature_alpha_dropout")


def softmin(input: TensorLike, dim: int = -1) -> Tensor:
    """softmax(−x)."""
    return softmax(neg(input), dim)


def swiglu(x: TensorLike, dim: int = -1) -> Tensor:
    """silu(a)·b for the halves a, b of x along dim. Shazeer (2020)."""
    a, b = chunk(x, 2, dim)
    return silu(a) * b
