"""Normalisation layers; x is (N, …, C), features last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from handloom import ops
from handloom._replay import each_replay, refuse
from handloom.nn.linear import Linear
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.ops.dense import Fusable
from handloom.tensor import DTypeLike, Tensor, as_dtype

# Ranks of x that a layer takes, and how errors call them.
_FLAT_OR_1D = ((2, 3), "(N, C) or (N, W, C)")
_1D = ((3,), "(N, W, C)")
_2D = ((4,), "(N, H, W, C)")
_3D = ((5,), "(N, D, H, W, C)")


class _Running(Module):
    """Weights, running statistics and checks of batch and instance norm."""

    accepted: ClassVar[tuple[tuple[int, ...], str]]

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: DTypeLike,
        bias: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if num_features < 0:
            raise ValueError(f"{name}: num_features is {num_features}, expected at least 0")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        kind = as_dtype(np.float32 if dtype is None else dtype, name)
        self.weight = Parameter(np.ones(num_features, kind)) if affine else None
        self.bias = Parameter(np.zeros(num_features, kind)) if affine and bias else None
        track = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, kind) if track else None)
        self.register_buffer("running_var", np.ones(num_features, kind) if track else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if track else None)

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches seen."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.fill_(0)
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.fill_(0)

    def reset_parameters(self) -> None:
        """Also weight 1 and bias 0."""
        self.reset_running_stats()
        if self.weight is not None:
            self.weight.fill_(1)
        if self.bias is not None:
            self.bias.fill_(0)

    def _check(self, x: Any) -> None:
        shape = np.shape(x) if not isinstance(x, Tensor) else x.shape
        ranks, expected = self.accepted
        if len(shape) not in ranks:
            raise ValueError(f"{type(self).__name__}: x has shape {shape}, expected {expected}")
        if shape[-1] != self.num_features:
            hint = ""
            if len(shape) > 2 and shape[1] == self.num_features:
                hint = "; channels come last here, move axis 1 to the end"
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}, expected {self.num_features} "
                f"channels, {expected}{hint}"
            )

    def forward(self, x: Any) -> Tensor:
        return self._run(x, None)

    def _run(self, x: Any, activation: Fusable | None) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def _count(self) -> float:
        """One more batch; the weight of its statistics in the running ones."""
        count = self.num_batches_tracked
        if count is None:
            return self.momentum or 0.0

        def one_more() -> None:
            count._array += 1
            count._version[0] += 1

        if self.momentum is None:
            refuse("BatchNorm", "with momentum None its weight changes at each batch")
        if not each_replay((self, "batches"), one_more):
            one_more()
        return 1.0 / int(count._array) if self.momentum is None else self.momentum

    def _run(self, x: Any, activation: Fusable | None) -> Tensor:
        self._check(x)
        momentum = self._count() if self.training else 0.0
        return ops.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, momentum, self.eps, activation,
        )  # fmt: skip

    _forward_fused = _run


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, W, C). Ioffe and Szegedy (2015).

    In training each channel is shifted and scaled by the mean and standard deviation of the batch,
    which the running statistics follow; in evaluation by those. Then y = weight·x̂ + bias.

    Args:
        num_features: C.
        eps: Added to the variance (Keras: 1e-3).
        momentum: Weight of the new batch in the running statistics, 1 minus Keras' momentum; None
            for the plain average over all batches.
        affine: Whether there are weight and bias.
        track_running_stats: Whether there are running statistics; without them evaluation too uses
            the batch.
        dtype: float32 or float64.
        bias: Whether an affine norm has a bias besides its weight.

    Attributes:
        weight, bias: (C,), or None.
        running_mean, running_var: (C,), or None; the variance with n − 1.
        num_batches_tracked: How many batches they have seen.
    """

    accepted = _FLAT_OR_1D


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, H, W, C); see `BatchNorm1d`."""

    accepted = _2D


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, D, H, W, C); see `BatchNorm1d`."""

    accepted = _3D


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: DTypeLike = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def _run(self, x: Any, activation: Fusable | None) -> Tensor:
        self._check(x)
        own = self.training or self.running_mean is None
        momentum = self.momentum or 0.0  # num_batches_tracked stays at 0, as in PyTorch
        return ops.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, own, momentum,
            self.eps, activation,
        )  # fmt: skip

    _forward_fused = _run


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, W, C): each channel of each sample. Ulyanov et al. (2016).

    Args:
        num_features: C.
        eps: Added to the variance.
        momentum: Weight of the new statistics in the running ones.
        affine: Whether there are weight and bias.
        track_running_stats: Whether evaluation uses running statistics.
        dtype: float32 or float64.
        bias: Whether an affine norm has a bias besides its weight.
    """

    accepted = _1D


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, H, W, C); see `InstanceNorm1d`."""

    accepted = _2D


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, D, H, W, C); see `InstanceNorm1d`."""

    accepted = _3D


class GroupNorm(Module):
    """Group normalisation of (N, …, C): groups of neighbouring channels. Wu and He (2018).

    Args:
        num_groups: How many groups; it divides num_channels.
        num_channels: C.
        eps: Added to the variance (Keras: 1e-3).
        affine: Whether there are weight and bias, (C,).
        dtype: float32 or float64.
        bias: Whether an affine norm has a bias besides its weight.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups is {num_groups}, which does not divide num_channels "
                f"{num_channels}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        kind = as_dtype(np.float32 if dtype is None else dtype, "GroupNorm")
        self.weight = Parameter(np.ones(num_channels, kind)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, kind)) if affine and bias else None

    def forward(self, x: Any) -> Tensor:
        return self._run(x, None)

    def _run(self, x: Any, activation: Fusable | None) -> Tensor:
        shape = np.shape(x) if not isinstance(x, Tensor) else x.shape
        if not shape or shape[-1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: x has shape {shape}, expected (N, ..., C) with "
                f"C = {self.num_channels} channels last"
            )
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps, activation)

    _forward_fused = _run

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


def _sizes(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(normalized_shape, (int, np.integer)):
        return (int(normalized_shape),)
    return tuple(int(n) for n in normalized_shape)


class LayerNorm(Module):
    """Layer normalisation along the last axes. Ba, Kiros and Hinton (2016).

    Args:
        normalized_shape: Sizes of the axes that share statistics; an int for the last one.
        eps: Added to the variance (Keras: 1e-3).
        elementwise_affine: Whether there is a weight, of that shape.
        bias: Whether there is a bias besides.
        dtype: float32 or float64.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        kind = as_dtype(np.float32 if dtype is None else dtype, "LayerNorm")
        size = self.normalized_shape
        self.weight = Parameter(np.ones(size, kind)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(size, kind)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """weight·x/√(mean(x²) + eps) along the last axes. Zhang and Sennrich (2019).

    Args:
        normalized_shape: Sizes of the axes that share statistics; an int for the last one.
        eps: Default: the machine epsilon of x's dtype (Keras: 1e-6).
        elementwise_affine: Whether there is a weight, of that shape.
        dtype: float32 or float64.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        kind = as_dtype(np.float32 if dtype is None else dtype, "RMSNorm")
        self.weight = (
            Parameter(np.ones(self.normalized_shape, kind)) if elementwise_affine else None
        )

    def forward(self, x: Any) -> Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class PixelNorm(Module):
    """x/√(mean(x²) + eps) over the features of each pixel. Karras et al. (2018)."""

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Any) -> Tensor:
        return ops.pixel_norm(x, self.eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


class AdaIN(Module):
    """Instance norm with a scale and a shift that a style brings. Karras et al. (2019), "A".

    y = scale·x̂ + shift, where (scale, shift) = style wᵀ + b; scale starts near 1.

    Args:
        num_features: C of x (N, …, C).
        style_features: S of style (N, S).
        eps: Added to the variance.

    Attributes:
        style: The linear layer, S → 2C; scales before shifts.
    """

    def __init__(self, num_features: int, style_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.style = Linear(style_features, 2 * num_features)
        if self.style.bias is not None:
            bias = np.repeat(np.array([1, 0], np.float32), num_features)
            self.style.bias.copy_(bias)

    def forward(self, x: Any, style: Any) -> Tensor:
        scale, shift = ops.chunk(self.style(style), 2, -1)
        return ops.adain(x, scale, shift, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


class MinibatchStdDev(Module):
    """Appends the standard deviation over a group of images as features. Karras et al. (2018).

    Args:
        group_size: Images of a group; all of a smaller batch.
        num_features: Features appended.
        eps: Added to the variance.
    """

    def __init__(self, group_size: int = 4, num_features: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.group_size = group_size
        self.num_features = num_features
        self.eps = eps

    def forward(self, x: Any) -> Tensor:
        return ops.minibatch_stddev(x, self.group_size, self.num_features, self.eps)

    def extra_repr(self) -> str:
        return f"group_size={self.group_size}, num_features={self.num_features}, eps={self.eps}"
