"""Layers that resize: upsampling, blurs, pixel shuffling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handloom._calls.resample import BLUR, Factors, Sizes
from handloom.nn.module import Module
from handloom.ops.resize import (
    blur,
    blur_downsample,
    blur_upsample,
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
)
from handloom.tensor import Tensor


class Upsample(Module):
    """Resizes (N, W, C), (N, H, W, C) or (N, D, H, W, C). Keras: UpSampling1D/2D/3D.

    Args:
        size: Of the result's spatial axes, or None.
        scale_factor: Instead: factors of the sizes.
        mode: "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic" or "area".
        align_corners: For the linear and cubic modes.
        recompute_scale_factor: See `F.interpolate`.
    """

    def __init__(
        self,
        size: Sizes | None = None,
        scale_factor: Factors | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Any) -> Tensor:
        return interpolate(
            x,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        sizes = ("scale_factor", self.scale_factor) if self.size is None else ("size", self.size)
        return f"{sizes[0]}={sizes[1]}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of (N, H, W, C) by the nearest pixel."""

    def __init__(self, size: Sizes | None = None, scale_factor: Factors | None = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of (N, H, W, C), bilinear with aligned corners, as in PyTorch."""

    def __init__(self, size: Sizes | None = None, scale_factor: Factors | None = None) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class PixelShuffle(Module):
    """(…, H, W, C·r²) → (…, H·r, W·r, C). Shi et al. (2016)."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Tensor:
        return pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(…, H·r, W·r, C) → (…, H, W, C·r²): the inverse of `PixelShuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Tensor:
        return pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Blur(Module):
    """Smooths each feature with a fixed separable kernel; the size stays. StyleGAN.

    Args:
        kernel: One axis of it; scaled to the sum 1.
    """

    def __init__(self, kernel: Sequence[float] = BLUR) -> None:
        super().__init__()
        self.kernel = tuple(kernel)

    def forward(self, x: Any) -> Tensor:
        return blur(x, self.kernel)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}"


class BlurUpsample(Blur):
    """Inserts zeros and smooths: `factor` times the size. StyleGAN2."""

    def __init__(self, kernel: Sequence[float] = BLUR, factor: int = 2) -> None:
        super().__init__(kernel)
        self.factor = factor

    def forward(self, x: Any) -> Tensor:
        return blur_upsample(x, self.kernel, self.factor)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, factor={self.factor}"


class BlurDownsample(BlurUpsample):
    """Smooths and keeps every `factor`-th element. StyleGAN2."""

    def forward(self, x: Any) -> Tensor:
        return blur_downsample(x, self.kernel, self.factor)
