"""Resampling of images: interpolation, grids, FIR blurs, pixel shuffling."""

from __future__ import annotations

from collections.abc import Sequence

from handloom import _C
from handloom._calls import resample as _resample
from handloom._calls.resample import BLUR, Factors, Sizes
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense
from handloom.ops.layout import permute, reshape
from handloom.tensor import Array, Tensor

_MODES = _C.resample_modes


class Interpolate(Function):
    """y = A x along each spatial axis; backward is Aᵀ dy, so only the sizes are kept."""

    __slots__ = ("options", "size")
    fresh = True

    def forward(
        ctx, x: Array, size: tuple[int, ...], scales: list[float] | None, mode: int, aligned: bool
    ) -> Array:
        ctx.size, ctx.options = x.shape[1:-1], (scales, mode, aligned)
        return _C.resample_forward(dense(x), size, *ctx.options)

    def backward(ctx, dy: Array) -> Array:
        return _C.resample_backward(dense(dy), ctx.size, *ctx.options)


class Upfirdn(Function):
    """Zeros in between, a FIR kernel, every down-th result."""

    __slots__ = ("size", "steps", "taps")
    fresh = True

    def forward(
        ctx, x: Array, taps: list[float], up: int, down: int, padding: tuple[int, int]
    ) -> Array:
        axes = x.ndim - 2
        ctx.size, ctx.taps = x.shape[1:-1], taps
        ctx.steps = [_resample.each(v, axes) for v in (up, down, *padding)]
        return _C.upfirdn_forward(dense(x), taps, *ctx.steps)

    def backward(ctx, dy: Array) -> Array:
        return _C.upfirdn_backward(dense(dy), ctx.size, ctx.taps, *ctx.steps)


class GridSample(Function):
    """y = x at the places of a grid."""

    __slots__ = ("options",)
    fresh = True

    @property
    def name(self) -> str:
        return "grid_sample"

    def forward(ctx, x: Array, grid: Array, mode: int, outside: int, aligned: bool) -> Array:
        x, grid = dense(x), dense(grid)
        ctx.saved, ctx.options = (x, grid), (mode, outside, aligned)
        return _C.grid_sample_forward(x, grid, *ctx.options)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        x, grid = ctx.saved
        return _C.grid_sample_backward(dense(dy), x, grid, *ctx.options, ctx.need)


class AffineGrid(Function):
    """g = theta (x, y, 1); dtheta sums dg (x, y, 1)."""

    __slots__ = ("aligned",)
    fresh = True

    @property
    def name(self) -> str:
        return "affine_grid"

    def forward(ctx, theta: Array, size: tuple[int, ...], aligned: bool) -> Array:
        ctx.aligned = aligned
        return _C.affine_grid_forward(dense(theta), size, aligned)

    def backward(ctx, dy: Array) -> Array:
        return _C.affine_grid_backward(dense(dy), ctx.aligned)


def interpolate(
    input: TensorLike,
    size: Sizes | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Resizes the spatial axes of (N, W, C), (N, H, W, C) or (N, D, H, W, C).

    Args:
        input: Any of these.
        size: Of the result's spatial axes.
        scale_factor: Instead: the result's sizes are floor(size · scale_factor).
        mode: "nearest", "nearest-exact", "linear" (any rank), "bilinear", "trilinear", "bicubic" or
            "area".
        align_corners: For the linear and cubic modes: first and last elements keep their place.
        recompute_scale_factor: Find places with the ratio of the sizes, not with the factor.

    Raises:
        ValueError: Both or neither of size and scale_factor; a mode that does not fit.
    """
    spatial = array_of(input).shape[1:-1]
    name = _resample.mode_of("interpolate", mode, len(spatial), align_corners)
    made, scales = _resample.sizes_of(
        "interpolate", spatial, size, scale_factor, bool(recompute_scale_factor)
    )
    out: Tensor = Interpolate().run1(input, made, scales, _MODES[name], bool(align_corners))
    return out


def upfirdn(
    x: TensorLike,
    kernel: Sequence[float],
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """Inserts up − 1 zeros, pads, convolves with `kernel`, keeps every down-th; on each axis."""
    out: Tensor = Upfirdn().run1(x, [float(v) for v in kernel], up, down, padding)
    return out


def blur(x: TensorLike, kernel: Sequence[float] = BLUR) -> Tensor:
    """Smooths each feature with a separable kernel, scaled to the sum 1; the size stays."""
    taps = _resample.taps_of("blur", kernel)
    return upfirdn(x, taps, padding=_resample.blur_padding(len(taps)))


def blur_upsample(x: TensorLike, kernel: Sequence[float] = BLUR, factor: int = 2) -> Tensor:
    """Inserts zeros and smooths: factor times as many elements along each axis. StyleGAN2."""
    taps = _resample.taps_of("blur_upsample", kernel, factor)
    padding = _resample.upsample_padding("blur_upsample", len(taps), factor)
    return upfirdn(x, taps, factor, 1, padding)


def blur_downsample(x: TensorLike, kernel: Sequence[float] = BLUR, factor: int = 2) -> Tensor:
    """Smooths and keeps every factor-th element along each axis. StyleGAN2."""
    taps = _resample.taps_of("blur_downsample", kernel)
    padding = _resample.downsample_padding("blur_downsample", len(taps), factor)
    return upfirdn(x, taps, 1, factor, padding)


def _choice(op: str, name: str, value: str, known: dict[str, int]) -> int:
    if value not in known:
        raise ValueError(f"{op}: {name} is {value!r}, expected one of {', '.join(known)}")
    return known[value]


def grid_sample(
    input: TensorLike,
    grid: TensorLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Reads images (N, H, W, C) at the places of a grid (N, H', W', 2) of (x, y) in [−1, 1].

    Volumes (N, D, H, W, C) take (N, D', H', W', 3). Gradients flow to both.

    Args:
        input: The images.
        grid: The places, of x's dtype.
        mode: "bilinear" or "nearest".
        padding_mode: "zeros", "border" or "reflection".
        align_corners: Whether ±1 are the middles of the outermost pixels; default: their outer
            edges.
    """
    op = "grid_sample"
    out: Tensor = GridSample().run(
        (input, grid),
        _choice(op, "mode", mode, _C.sample_modes),
        _choice(op, "padding_mode", padding_mode, _C.outside_modes),
        bool(align_corners),
    )
    return out


def affine_grid(
    theta: TensorLike, size: Sequence[int], align_corners: bool | None = None
) -> Tensor:
    """The grid of an affine map theta (N, 2, 3) for a result of size (N, H, W, C).

    Volumes: (N, 3, 4) and (N, D, H, W, C).
    """
    out: Tensor = AffineGrid().run1(theta, tuple(size), bool(align_corners))
    return out


def pixel_shuffle(input: TensorLike, upscale_factor: int) -> Tensor:
    """(…, H, W, C·r²) → (…, H·r, W·r, C): feature (c·r + i)·r + j to row i, column j of a block.

    Raises:
        ValueError: The features are no multiple of r².
    """
    shape, r = array_of(input).shape, upscale_factor
    if len(shape) < 3 or r < 1 or shape[-1] % (r * r):
        raise ValueError(f"pixel_shuffle: x has shape {shape}, expected (…, H, W, C·{r}²)")
    *lead, h, w, c = shape
    c //= r * r
    n = len(lead)
    blocks = permute(
        reshape(input, (*lead, h, w, c, r, r)),
        (*range(n), n, n + 3, n + 1, n + 4, n + 2),
    )
    return reshape(blocks, (*lead, h * r, w * r, c))


def pixel_unshuffle(input: TensorLike, downscale_factor: int) -> Tensor:
    """(…, H·r, W·r, C) → (…, H, W, C·r²): the inverse of `pixel_shuffle`.

    Raises:
        ValueError: H or W is no multiple of r.
    """
    shape, r = array_of(input).shape, downscale_factor
    if len(shape) < 3 or r < 1 or shape[-3] % r or shape[-2] % r:
        raise ValueError(f"pixel_unshuffle: x has shape {shape}, expected (…, H·{r}, W·{r}, C)")
    *lead, h, w, c = shape
    h, w = h // r, w // r
    n = len(lead)
    blocks = permute(
        reshape(input, (*lead, h, r, w, r, c)),
        (*range(n), n, n + 2, n + 4, n + 1, n + 3),
    )
    return reshape(blocks, (*lead, h, w, c * r * r))
