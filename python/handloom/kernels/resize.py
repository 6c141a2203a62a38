"""Resampling images: interpolation, FIR blurs, pixel shuffling.

Arrays are contiguous float32 or float64, batch first, features last: ``(N, W, C)``,
``(N, H, W, C)`` or ``(N, D, H, W, C)``. ``TypeError`` for another dtype, ``ValueError`` for other
strides or ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.resample import (
    BLUR,
    Factors,
    Sizes,
    blur_padding,
    downsample_padding,
    each,
    factors_of,
    mode_of,
    sizes_of,
    taps_of,
    upsample_padding,
)

Array = npt.NDArray[Any]


def interpolate(
    x: Array,
    size: Sizes | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Array:
    """Resize the spatial axes; PyTorch's ``interpolate``, Keras' ``UpSampling*D`` and ``Resizing``.

    Args:
        x: ``(N, W, C)``, ``(N, H, W, C)`` or ``(N, D, H, W, C)``.
        size: Of the result's spatial axes, one number for all or one for each.
        scale_factor: Instead of ``size``: result size is ``floor(input size * scale_factor)``, and
            places are found with the factor itself.
        mode: ``"nearest"`` (PyTorch's rule, which rounds down), ``"nearest-exact"``,
            ``"linear"`` for any number of axes (``"bilinear"`` and ``"trilinear"`` insist on 2 and
            3), ``"bicubic"``, or ``"area"`` (the mean of what a result covers).
        align_corners: For the linear and cubic modes: first and last elements keep their place.
        recompute_scale_factor: Find places with the ratio of the sizes instead of the factor.

    Returns:
        ``(N, *size, C)``.

    Raises:
        ValueError: Both or neither of ``size`` and ``scale_factor``, a mode that does not fit the
            rank, a size below 1, ``align_corners`` where it has no meaning.
    """
    axes = x.ndim - 2
    name = mode_of("interpolate", mode, axes, align_corners)
    made, scales = sizes_of(
        "interpolate", x.shape[1:-1], size, scale_factor, bool(recompute_scale_factor)
    )
    return _C.resample_forward(x, made, scales, _C.resample_modes[name], bool(align_corners))


def interpolate_backward(
    dy: Array,
    input_size: Sequence[int],
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Array:
    """Gradient of :func:`interpolate`: each input adds up the results that it is part of.

    Args:
        dy: Like the result.
        input_size: Spatial sizes of ``x``.
        scale_factor: As given to :func:`interpolate`, unless it was recomputed.
        mode: As given.
        align_corners: As given.
    """
    op, axes = "interpolate_backward", dy.ndim - 2
    name = mode_of(op, mode, axes, align_corners)
    scales = None if scale_factor is None else factors_of(op, scale_factor, axes)
    return _C.resample_backward(
        dy, tuple(input_size), scales, _C.resample_modes[name], bool(align_corners)
    )


def upfirdn(
    x: Array,
    kernel: Sequence[float],
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Array:
    """Insert zeros, convolve with a FIR kernel, keep every ``down``-th: along each spatial axis.

    The kernel is the same for every feature and axis. Karras et al. (2019), StyleGAN.

    Args:
        x: ``(N, W, C)``, ``(N, H, W, C)`` or ``(N, D, H, W, C)``.
        kernel: Up to 64 numbers, used as they are, as a convolution (not a correlation).
        up: ``up - 1`` zeros are put after each element.
        down: Which results are kept: each ``down``-th, from the first.
        padding: Zeros ``(before, after)`` each axis, after the upsampling.

    Returns:
        Along each axis ``(n * up + before + after - len(kernel)) // down + 1`` elements.
    """
    axes = x.ndim - 2
    before, after = padding
    return _C.upfirdn_forward(
        x, list(kernel), each(up, axes), each(down, axes), each(before, axes), each(after, axes)
    )


def upfirdn_backward(
    dy: Array,
    input_size: Sequence[int],
    kernel: Sequence[float],
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Array:
    """Gradient of :func:`upfirdn` with respect to ``x``, whose spatial sizes are ``input_size``."""
    axes = dy.ndim - 2
    before, after = padding
    return _C.upfirdn_backward(
        dy,
        tuple(input_size),
        list(kernel),
        each(up, axes),
        each(down, axes),
        each(before, axes),
        each(after, axes),
    )


def blur(x: Array, kernel: Sequence[float] = BLUR) -> Array:
    """Smooth each feature with a separable kernel, scaled to the sum 1; the size stays.

    Zeros lie outside. The default is StyleGAN's binomial kernel.
    """
    taps = taps_of("blur", kernel)
    return upfirdn(x, taps, padding=blur_padding(len(taps)))


def blur_backward(dy: Array, kernel: Sequence[float] = BLUR) -> Array:
    """Gradient of :func:`blur`."""
    taps = taps_of("blur_backward", kernel)
    return upfirdn_backward(dy, dy.shape[1:-1], taps, padding=blur_padding(len(taps)))


def blur_upsample(x: Array, kernel: Sequence[float] = BLUR, factor: int = 2) -> Array:
    """Insert zeros and smooth: ``factor`` times as many elements along each spatial axis.

    The kernel is scaled to the sum ``factor``, so that a constant stays what it is, away from the
    edges. StyleGAN2's ``upsample_2d``.
    """
    taps = taps_of("blur_upsample", kernel, factor)
    padding = upsample_padding("blur_upsample", len(taps), factor)
    return upfirdn(x, taps, up=factor, padding=padding)


def blur_upsample_backward(dy: Array, kernel: Sequence[float] = BLUR, factor: int = 2) -> Array:
    """Gradient of :func:`blur_upsample`."""
    op = "blur_upsample_backward"
    taps = taps_of(op, kernel, factor)
    size = tuple(n // factor for n in dy.shape[1:-1])
    return upfirdn_backward(
        dy, size, taps, up=factor, padding=upsample_padding(op, len(taps), factor)
    )


def blur_downsample(x: Array, kernel: Sequence[float] = BLUR, factor: int = 2) -> Array:
    """Smooth and keep every ``factor``-th element along each spatial axis: ``n // factor`` of them.

    StyleGAN2's ``downsample_2d``.
    """
    taps = taps_of("blur_downsample", kernel)
    padding = downsample_padding("blur_downsample", len(taps), factor)
    return upfirdn(x, taps, down=factor, padding=padding)


def blur_downsample_backward(
    dy: Array, input_size: Sequence[int], kernel: Sequence[float] = BLUR, factor: int = 2
) -> Array:
    """Gradient of :func:`blur_downsample`; ``input_size`` are the spatial sizes of ``x``."""
    op = "blur_downsample_backward"
    taps = taps_of(op, kernel)
    padding = downsample_padding(op, len(taps), factor)
    return upfirdn_backward(dy, input_size, taps, down=factor, padding=padding)


def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """Move features to places: ``(..., H, W, C r²)`` → ``(..., H r, W r, C)``, any dtype.

    Feature ``(c r + i) r + j`` goes to row ``i`` and column ``j`` of its block, as in PyTorch
    (TensorFlow's ``depth_to_space`` orders them ``(i r + j) C + c``). Shi et al. (2016). Its
    gradient is :func:`pixel_unshuffle`.

    Raises:
        ValueError: Features that are no multiple of ``upscale_factor²``, or fewer than 3 axes.
    """
    r = upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % (r * r):
        raise ValueError(
            f"pixel_shuffle: x has shape {x.shape}, expected (..., H, W, C * {r}**2) with "
            "upscale_factor of at least 1"
        )
    *lead, h, w, c = x.shape
    blocks = x.reshape(-1, h, w, c // (r * r), r, r).transpose(0, 1, 4, 2, 5, 3)
    return _C.copy(blocks).reshape(*lead, h * r, w * r, c // (r * r))


def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    """Move places to features: ``(..., H r, W r, C)`` → ``(..., H, W, C r²)``, any dtype.

    The inverse of :func:`pixel_shuffle`, and its gradient.

    Raises:
        ValueError: Sizes that are no multiple of ``downscale_factor``, or fewer than 3 axes.
    """
    r = downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % r or x.shape[-2] % r:
        raise ValueError(
            f"pixel_unshuffle: x has shape {x.shape}, expected (..., H * {r}, W * {r}, C) with "
            "downscale_factor of at least 1"
        )
    *lead, h, w, c = x.shape
    blocks = x.reshape(-1, h // r, r, w // r, r, c).transpose(0, 1, 3, 5, 2, 4)
    return _C.copy(blocks).reshape(*lead, h // r, w // r, c * r * r)
