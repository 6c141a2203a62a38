"""Normalisation over rows (batch, instance, group, adaptive) and along the last axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handloom import _C
from handloom._calls.norms import ADAIN, BATCH, GROUP, INSTANCE, LAYER, PIXEL, RMS
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense
from handloom.ops.dense import CODES, Activation, fusable
from handloom.tensor import Array, Tensor

_PLAIN = (-1, 0.0, 0.0)
_NAMES = {BATCH: "batch_norm", INSTANCE: "instance_norm", GROUP: "group_norm", ADAIN: "adain"}


class ChannelNorm(Function):
    """y = act(w·x̂ + b), x̂ = (x − mean)·rstd, statistics over the rows of channels.

    x (N, …, C); w and b (C,), for AdaIN (N, C).
    """

    __slots__ = ("act", "given", "groups", "kind")
    fresh = True

    @property
    def name(self) -> str:
        return _NAMES[self.kind]

    def forward(
        ctx,
        x: Array,
        w: Array | None,
        b: Array | None,
        kind: int,
        groups: int,
        running: tuple[Array | None, Array | None],
        given: bool,
        momentum: float,
        eps: float,
        act: tuple[int, float, float],
    ) -> Array:
        x = dense(x)
        w, b = w if w is None else dense(w), b if b is None else dense(b)
        mean, var = running
        code, p0, p1 = act
        result = _C.channel_norm_forward(
            kind, x, groups, w, b, mean, var, given, momentum, eps, code, p0, p1, ctx.need != 0
        )
        y: Array
        if not ctx.need:
            y = result
            return y
        y, mean, rstd = result
        ctx.kind, ctx.groups, ctx.given, ctx.act = kind, groups, given, act
        # The activation's gradient takes w·x̂ + b anew, so that nothing of x's size is kept for it.
        ctx.saved = (x, w, None if act[0] < 0 else b, mean, rstd)
        return y

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w, b, mean, rstd = ctx.saved
        return _C.channel_norm_backward(
            ctx.kind, dense(dy), x, ctx.groups, w, b, mean, rstd, ctx.given, *ctx.act, ctx.need
        )


class RowNorm(Function):
    """y = w·x̂ + b, x̂ = (x − mean)·rstd along the last axes; RMS and pixel norm have mean 0."""

    __slots__ = ("axes", "kind")
    fresh = True

    @property
    def name(self) -> str:
        return ("layer_norm", "rms_norm", "pixel_norm")[self.kind]

    def forward(
        ctx, x: Array, w: Array | None, b: Array | None, kind: int, axes: int, eps: float
    ) -> Array:
        x = dense(x)
        w, b = w if w is None else dense(w), b if b is None else dense(b)
        y: Array
        if not ctx.need:
            y = _C.row_norm_forward(kind, x, axes, w, b, eps, False)
            return y
        y, mean, rstd = _C.row_norm_forward(kind, x, axes, w, b, eps, True)
        ctx.kind, ctx.axes = kind, axes
        ctx.saved = (x, w, mean, rstd)
        return y

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w, mean, rstd = ctx.saved
        return _C.row_norm_backward(ctx.kind, dense(dy), x, ctx.axes, w, mean, rstd, ctx.need)


class MinibatchStd(Function):
    """x with the standard deviation over its group of images as further features."""

    __slots__ = ("options",)
    fresh = True

    @property
    def name(self) -> str:
        return "minibatch_stddev"

    def forward(ctx, x: Array, group_size: int, num_features: int, eps: float) -> Array:
        x = dense(x)
        ctx.options = group_size, num_features, eps
        ctx.saved = (x,)
        return _C.minibatch_std_forward(x, *ctx.options)

    def backward(ctx, dy: Array) -> Array:
        return _C.minibatch_std_backward(dense(dy), ctx.saved[0], *ctx.options)


def _act(op: str, activation: Activation) -> tuple[int, float, float]:
    act = fusable(op, activation)
    return _PLAIN if act is None else (CODES[act[0]], act[1], act[2])


def _running(
    mean: TensorLike | None, var: TensorLike | None, written: bool
) -> tuple[Array | None, Array | None]:
    arrays = []
    for t in (mean, var):
        if written and isinstance(t, Tensor):
            t._version[0] += 1
        arrays.append(None if t is None else array_of(t))
    return arrays[0], arrays[1]


def batch_norm(
    input: TensorLike,
    running_mean: TensorLike | None,
    running_var: TensorLike | None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: Activation = None,
) -> Tensor:
    """Batch normalisation of (N, …, C): each channel over all rows. Ioffe and Szegedy (2015).

    Args:
        input: (N, …, C).
        running_mean, running_var: (C,), updated in place in training (or None), used otherwise.
        weight, bias: (C,), or None for 1 and 0.
        training: Whether the statistics are those of x.
        momentum: running = (1 − momentum)·running + momentum·new. Keras' is 1 minus this.
        eps: Added to the variance.
        activation: Computed in the same pass; PyTorch has no such argument.

    Raises:
        ValueError: One value per channel in training, or no running statistics in evaluation.
    """
    act = _act("batch_norm", activation)
    running = _running(running_mean, running_var, training)
    out: Tensor = ChannelNorm().run(
        (input, weight, bias), BATCH, 0, running, not training, momentum, eps, act
    )
    return out


def instance_norm(
    input: TensorLike,
    running_mean: TensorLike | None = None,
    running_var: TensorLike | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: Activation = None,
) -> Tensor:
    """Instance normalisation of (N, …, C): each channel of each sample. Ulyanov et al. (2016).

    Args:
        input: (N, …, C) with at least one axis between.
        running_mean, running_var: (C,), updated in place by the mean over the samples; or None.
        weight, bias: (C,), or None for 1 and 0.
        use_input_stats: Whether the statistics are those of x, not the running ones.
        momentum: As in `batch_norm`.
        eps: Added to the variance.
        activation: Computed in the same pass; PyTorch has no such argument.

    Raises:
        ValueError: A single spatial position.
    """
    if not use_input_stats:  # the same constants for every sample
        return batch_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps, activation
        )
    act = _act("instance_norm", activation)
    running = _running(running_mean, running_var, True)
    out: Tensor = ChannelNorm().run(
        (input, weight, bias), INSTANCE, 0, running, False, momentum, eps, act
    )
    return out


def group_norm(
    input: TensorLike,
    num_groups: int,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
    activation: Activation = None,
) -> Tensor:
    """Group normalisation of (N, …, C): groups of neighbouring channels. Wu and He (2018).

    Raises:
        ValueError: num_groups does not divide C.
    """
    act = _act("group_norm", activation)
    out: Tensor = ChannelNorm().run(
        (input, weight, bias), GROUP, num_groups, (None, None), False, 0.0, eps, act
    )
    return out


def adain(
    x: TensorLike,
    scale: TensorLike,
    shift: TensorLike,
    eps: float = 1e-5,
    activation: Activation = None,
) -> Tensor:
    """Adaptive instance norm: y = scale·x̂ + shift, scale and shift (N, C). Huang, Belongie (2017).

    Raises:
        ValueError: A single spatial position, or shapes that do not fit.
    """
    act = _act("adain", activation)
    out: Tensor = ChannelNorm().run((x, scale, shift), ADAIN, 0, (None, None), False, 0.0, eps, act)
    return out


def _axes(op: str, x: TensorLike, normalized_shape: int | Sequence[int]) -> int:
    if isinstance(normalized_shape, (int, np.integer)):
        shape: tuple[int, ...] = (int(normalized_shape),)
    else:
        shape = tuple(normalized_shape)
    have = array_of(x).shape
    axes = len(shape)
    if not 0 < axes <= len(have) or have[-axes:] != shape:
        raise ValueError(
            f"{op}: x has shape {have}, expected the last axes to be normalized_shape {shape}"
        )
    return axes


def layer_norm(
    input: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalisation along the last axes. Ba, Kiros and Hinton (2016).

    Args:
        input: (…, *normalized_shape).
        normalized_shape: Sizes of the axes that share statistics.
        weight, bias: Of that shape, or None for 1 and 0.
        eps: Added to the variance.
    """
    axes = _axes("layer_norm", input, normalized_shape)
    out: Tensor = RowNorm().run((input, weight, bias), LAYER, axes, eps)
    return out


def rms_norm(
    input: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None = None,
    eps: float | None = None,
) -> Tensor:
    """weight·x/√(mean(x²) + eps) along the last axes; eps None is the machine epsilon.

    Zhang and Sennrich (2019).
    """
    axes = _axes("rms_norm", input, normalized_shape)
    if eps is None:
        dtype = array_of(input).dtype
        eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    out: Tensor = RowNorm().run((input, weight, None), RMS, axes, eps)
    return out


def pixel_norm(x: TensorLike, eps: float = 1e-8) -> Tensor:
    """x/√(mean(x²) + eps) over the features of each pixel. Karras et al. (2018)."""
    out: Tensor = RowNorm().run((x, None, None), PIXEL, 1, eps)
    return out


def minibatch_stddev(
    x: TensorLike, group_size: int = 4, num_features: int = 1, eps: float = 1e-8
) -> Tensor:
    """(N, …, C) → (N, …, C + num_features): how much each image's group varies.

    Karras et al. (2018), as in StyleGAN; images whose numbers are equal modulo N/group_size make a
    group.

    Raises:
        ValueError: group_size does not divide N, or num_features C.
    """
    out: Tensor = MinibatchStd().run1(x, group_size, num_features, eps)
    return out
