"""Pools that share the input out, and unpooling. Channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handloom._calls.pooling import AVG, MAX, MIN, OutputSize, sizes_on, unpooled_size
from handloom._calls.window import Sizes
from handloom.ops._common import TensorLike, array_of
from handloom.ops.layout import reshape
from handloom.ops.pool import Pool, Unpool, extreme
from handloom.tensor import Tensor


def adaptive_avg_pool2d(input: TensorLike, output_size: OutputSize) -> Tensor:
    """Mean of each of `output_size` equal parts of (N, H, W, C).

    Args:
        input: (N, H, W, C).
        output_size: An int, or an int or None (as large as the input) per spatial axis.
    """
    window = sizes_on("adaptive_avg_pool2d", array_of(input), 2, output_size)
    out: Tensor = Pool().run1(input, AVG, window, False, False, 0.0, False)
    return out


def adaptive_avg_pool1d(input: TensorLike, output_size: OutputSize) -> Tensor:
    """Mean of each of `output_size` equal parts of (N, W, C)."""
    window = sizes_on("adaptive_avg_pool1d", array_of(input), 1, output_size)
    out: Tensor = Pool().run1(input, AVG, window, False, False, 0.0, False)
    return out


def adaptive_avg_pool3d(input: TensorLike, output_size: OutputSize) -> Tensor:
    """Mean of each of `output_size` equal parts of (N, D, H, W, C)."""
    window = sizes_on("adaptive_avg_pool3d", array_of(input), 3, output_size)
    out: Tensor = Pool().run1(input, AVG, window, False, False, 0.0, False)
    return out


def adaptive_max_pool2d(
    input: TensorLike, output_size: OutputSize, return_indices: bool = False
) -> Any:
    """Largest of each of `output_size` equal parts of (N, H, W, C)."""
    window = sizes_on("adaptive_max_pool2d", array_of(input), 2, output_size)
    return extreme(MAX, input, window, False, return_indices)


def adaptive_max_pool1d(
    input: TensorLike, output_size: OutputSize, return_indices: bool = False
) -> Any:
    """Largest of each of `output_size` equal parts of (N, W, C)."""
    window = sizes_on("adaptive_max_pool1d", array_of(input), 1, output_size)
    return extreme(MAX, input, window, False, return_indices)


def adaptive_max_pool3d(
    input: TensorLike, output_size: OutputSize, return_indices: bool = False
) -> Any:
    """Largest of each of `output_size` equal parts of (N, D, H, W, C)."""
    window = sizes_on("adaptive_max_pool3d", array_of(input), 3, output_size)
    return extreme(MAX, input, window, False, return_indices)


def adaptive_min_pool2d(
    x: TensorLike, output_size: OutputSize, return_indices: bool = False
) -> Any:
    """Smallest of each of `output_size` equal parts of (N, H, W, C)."""
    window = sizes_on("adaptive_min_pool2d", array_of(x), 2, output_size)
    return extreme(MIN, x, window, False, return_indices)


def adaptive_min_pool1d(
    x: TensorLike, output_size: OutputSize, return_indices: bool = False
) -> Any:
    """Smallest of each of `output_size` equal parts of (N, W, C)."""
    window = sizes_on("adaptive_min_pool1d", array_of(x), 1, output_size)
    return extreme(MIN, x, window, False, return_indices)


def adaptive_min_pool3d(
    x: TensorLike, output_size: OutputSize, return_indices: bool = False
) -> Any:
    """Smallest of each of `output_size` equal parts of (N, D, H, W, C)."""
    window = sizes_on("adaptive_min_pool3d", array_of(x), 3, output_size)
    return extreme(MIN, x, window, False, return_indices)


def _global(kind: int, x: TensorLike, keepdim: bool) -> Tensor:
    y: Tensor = Pool().run1(x, kind, None, False, False, 0.0, False)
    return y if keepdim else reshape(y, (y.shape[0], y.shape[-1]))


def global_avg_pool(x: TensorLike, keepdim: bool = False) -> Tensor:
    """Mean over all spatial axes of (N, …, C): (N, C). PyTorch: `adaptive_avg_pool2d(x, 1)`."""
    return _global(AVG, x, keepdim)


def global_max_pool(x: TensorLike, keepdim: bool = False) -> Tensor:
    """Largest element over all spatial axes of (N, …, C): (N, C)."""
    return _global(MAX, x, keepdim)


def global_min_pool(x: TensorLike, keepdim: bool = False) -> Tensor:
    """Smallest element over all spatial axes of (N, …, C): (N, C)."""
    return _global(MIN, x, keepdim)


def _unpool(
    op: str,
    dims: int,
    x: TensorLike,
    indices: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Sequence[int] | None,
) -> Tensor:
    size = unpooled_size(op, array_of(x), dims, kernel_size, stride, padding, output_size)
    out: Tensor = Unpool().run1(x, array_of(indices), size)
    return out


def max_unpool2d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Partial inverse of `max_pool2d`: maxima at their places, zeros elsewhere.

    Args:
        input: The pooled (N, H, W, C).
        indices: From `max_pool2d(return_indices=True)`.
        kernel_size: Of the pool.
        stride: Of the pool; default `kernel_size`.
        padding: Of the pool.
        output_size: What the pool's input had, where pooling has rounded: (H, W) or (N, H, W, C).
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool1d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Partial inverse of `max_pool1d`; see `max_unpool2d`."""
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Partial inverse of `max_pool3d`; see `max_unpool2d`."""
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
