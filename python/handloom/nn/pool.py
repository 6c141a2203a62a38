"""Pooling layers, under PyTorch's names and arguments; inputs are (N, …, C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from handloom import ops
from handloom._calls.pooling import OutputSize
from handloom._calls.window import Padding, Sizes
from handloom.nn.module import Module
from handloom.ops import TensorLike
from handloom.tensor import Tensor


class _Extreme(Module):
    pool: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: TensorLike) -> Any:
        return type(self).pool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding!r}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class _Average(Module):
    pool: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: TensorLike) -> Tensor:
        return type(self).pool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding!r}"


class _Power(Module):
    pool: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode = ceil_mode

    def forward(self, x: TensorLike) -> Tensor:
        return type(self).pool(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class _Adaptive(Module):
    pool: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: TensorLike) -> Any:
        return type(self).pool(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveExtreme(_Adaptive):
    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: TensorLike) -> Any:
        return type(self).pool(x, self.output_size, self.return_indices)


class _Global(Module):
    pool: ClassVar[Callable[..., Tensor]]

    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: TensorLike) -> Tensor:
        return type(self).pool(x, self.keepdim)

    def extra_repr(self) -> str:
        return "keepdim=True" if self.keepdim else ""


class _Unpool(Module):
    pool: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(
        self, x: TensorLike, indices: TensorLike, output_size: Sequence[int] | None = None
    ) -> Tensor:
        return type(self).pool(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(_Extreme):
    """Largest element under a sliding window, on (N, W, C). Keras: MaxPooling1D."""

    pool = staticmethod(ops.max_pool1d)


class MaxPool2d(_Extreme):
    """Largest element under a sliding window, on (N, H, W, C). Keras: MaxPooling2D."""

    pool = staticmethod(ops.max_pool2d)


class MaxPool3d(_Extreme):
    """Largest element under a sliding window, on (N, D, H, W, C). Keras: MaxPooling3D."""

    pool = staticmethod(ops.max_pool3d)


class MinPool1d(_Extreme):
    """Smallest element under a sliding window, on (N, W, C)."""

    pool = staticmethod(ops.min_pool1d)


class MinPool2d(_Extreme):
    """Smallest element under a sliding window, on (N, H, W, C)."""

    pool = staticmethod(ops.min_pool2d)


class MinPool3d(_Extreme):
    """Smallest element under a sliding window, on (N, D, H, W, C)."""

    pool = staticmethod(ops.min_pool3d)


class AvgPool1d(_Average):
    """Mean under a sliding window, on (N, W, C). Keras: AveragePooling1D."""

    pool = staticmethod(ops.avg_pool1d)


class AvgPool2d(_Average):
    """Mean under a sliding window, on (N, H, W, C). Keras: AveragePooling2D."""

    pool = staticmethod(ops.avg_pool2d)


class AvgPool3d(_Average):
    """Mean under a sliding window, on (N, D, H, W, C). Keras: AveragePooling3D."""

    pool = staticmethod(ops.avg_pool3d)


class LPPool1d(_Power):
    """(Σ xᵖ)^(1/p) under a sliding window, on (N, W, C)."""

    pool = staticmethod(ops.lp_pool1d)


class LPPool2d(_Power):
    """(Σ xᵖ)^(1/p) under a sliding window, on (N, H, W, C)."""

    pool = staticmethod(ops.lp_pool2d)


class LPPool3d(_Power):
    """(Σ xᵖ)^(1/p) under a sliding window, on (N, D, H, W, C)."""

    pool = staticmethod(ops.lp_pool3d)


class AdaptiveAvgPool1d(_Adaptive):
    """Mean of `output_size` equal parts of (N, W, C)."""

    pool = staticmethod(ops.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """Mean of `output_size` equal parts of (N, H, W, C)."""

    pool = staticmethod(ops.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """Mean of `output_size` equal parts of (N, D, H, W, C)."""

    pool = staticmethod(ops.adaptive_avg_pool3d)


class AdaptiveMaxPool1d(_AdaptiveExtreme):
    """Largest of each of `output_size` equal parts of (N, W, C)."""

    pool = staticmethod(ops.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveExtreme):
    """Largest of each of `output_size` equal parts of (N, H, W, C)."""

    pool = staticmethod(ops.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveExtreme):
    """Largest of each of `output_size` equal parts of (N, D, H, W, C)."""

    pool = staticmethod(ops.adaptive_max_pool3d)


class AdaptiveMinPool1d(_AdaptiveExtreme):
    """Smallest of each of `output_size` equal parts of (N, W, C)."""

    pool = staticmethod(ops.adaptive_min_pool1d)


class AdaptiveMinPool2d(_AdaptiveExtreme):
    """Smallest of each of `output_size` equal parts of (N, H, W, C)."""

    pool = staticmethod(ops.adaptive_min_pool2d)


class AdaptiveMinPool3d(_AdaptiveExtreme):
    """Smallest of each of `output_size` equal parts of (N, D, H, W, C)."""

    pool = staticmethod(ops.adaptive_min_pool3d)


class GlobalAvgPool(_Global):
    """Mean over all spatial axes: (N, …, C) to (N, C). Keras: GlobalAveragePooling2D."""

    pool = staticmethod(ops.global_avg_pool)


class GlobalMaxPool(_Global):
    """Largest over all spatial axes: (N, …, C) to (N, C). Keras: GlobalMaxPooling2D."""

    pool = staticmethod(ops.global_max_pool)


class GlobalMinPool(_Global):
    """Smallest over all spatial axes: (N, …, C) to (N, C)."""

    pool = staticmethod(ops.global_min_pool)


class MaxUnpool1d(_Unpool):
    """Maxima back at the places that `MaxPool1d(return_indices=True)` told, on (N, W, C)."""

    pool = staticmethod(ops.max_unpool1d)


class MaxUnpool2d(_Unpool):
    """Maxima back at the places that `MaxPool2d(return_indices=True)` told, on (N, H, W, C)."""

    pool = staticmethod(ops.max_unpool2d)


class MaxUnpool3d(_Unpool):
    """Maxima back at the places that `MaxPool3d(return_indices=True)` told, on (N, D, H, W, C)."""

    pool = staticmethod(ops.max_unpool3d)
