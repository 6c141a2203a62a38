"""Normalisation: batch, instance, group, layer, RMS, pixel and adaptive instance norm.

``x`` is ``(N, ..., C)``, features last, contiguous float32 or float64; weights and statistics have
its dtype. ``TypeError`` for another dtype, ``ValueError`` for other strides, shapes that do not fit
or statistics of a single number.

    xhat = (x - mean) * rstd     rstd = 1 / sqrt(var + eps)     y = weight * xhat + bias

The variance is that of the population (n, not n - 1), computed from deviations, so that data far
from zero lose nothing. Norms over rows can finish with an activation: ``y = act(...)`` in the same
pass; their backward then takes ``bias`` as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from .._calls.norms import ADAIN, BATCH, GROUP, INSTANCE, LAYER, PIXEL, RMS
from ._options import need_mask
from .dense import activation_of

Array = npt.NDArray[Any]
Saved = tuple[Array, Array]
Gradients = tuple[Array | None, Array | None, Array | None]

_AFFINE = ("x", "weight", "bias")


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Any:
    """Batch normalisation: statistics of each channel over all rows. Ioffe and Szegedy (2015).

    Args:
        x: ``(N, ..., C)``.
        weight, bias: ``(C,)``, or None for 1 and 0.
        running_mean, running_var: ``(C,)``: updated in place in training (or None), used in
            evaluation. The variance that is kept has n - 1 for n, as in PyTorch.
        training: Whether the statistics are those of ``x``.
        momentum: ``running = (1 - momentum) * running + momentum * new``. Keras' momentum is 1
            minus this.
        eps: Added to the variance (Keras: 1e-3).
        activation: As in :func:`linear`.

    Returns:
        ``(y, mean, rstd)`` in training, ``y`` otherwise.

    Raises:
        ValueError: One value per channel in training, or no running statistics in evaluation.
    """
    act = activation_of("batch_norm", activation)
    return _C.channel_norm_forward(
        BATCH, x, 0, weight, bias, running_mean, running_var, not training, momentum, eps,
        act.code, act.p0, act.p1, training,
    )  # fmt: skip


def batch_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    *,
    bias: Array | None = None,
    training: bool = True,
    activation: str | None = None,
    need: Iterable[str] = _AFFINE,
) -> Gradients:
    """Gradients of :func:`batch_norm`.

    Args:
        dy: Of the shape of ``x``.
        x, weight: As given to :func:`batch_norm`.
        mean, rstd: As it returned them; in evaluation the running mean and
            ``1 / sqrt(running_var + eps)``, which are constants then.
        bias: As given, where there is an activation.
        training, activation: As given.
        need: Which gradients to compute.

    Returns:
        ``(dx, dweight, dbias)``, None for those not in ``need``.
    """
    act = activation_of("batch_norm_backward", activation)
    return _C.channel_norm_backward(
        BATCH, dy, x, 0, weight, bias, mean, rstd, not training, act.code, act.p0, act.p1,
        need_mask("batch_norm_backward", need, _AFFINE),
    )  # fmt: skip


def instance_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    momentum: float = 0.1,
    return_saved: bool = False,
) -> Any:
    """Instance normalisation: statistics of each channel of each sample. Ulyanov et al. (2016).

    Args:
        x: ``(N, ..., C)`` with at least one axis between. Keras: GroupNormalization(groups=-1).
        weight, bias: ``(C,)`` or None.
        eps: Added to the variance.
        activation: As in :func:`linear`.
        running_mean, running_var: ``(C,)``, updated in place by the mean over the samples; or None.
        momentum: As in :func:`batch_norm`.
        return_saved: Return ``(y, (mean, rstd))``, which backward needs; both ``(N, C)``.

    Raises:
        ValueError: A single spatial position.
    """
    act = activation_of("instance_norm", activation)
    return _saved(
        _C.channel_norm_forward(
            INSTANCE, x, 0, weight, bias, running_mean, running_var, False, momentum, eps,
            act.code, act.p0, act.p1, return_saved,
        ),
        return_saved,
    )  # fmt: skip


def instance_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None = None,
    *,
    saved: Saved,
    bias: Array | None = None,
    activation: str | None = None,
    need: Iterable[str] = _AFFINE,
) -> Gradients:
    """Gradients of :func:`instance_norm`: ``(dx, dweight, dbias)``, None where not in ``need``."""
    act = activation_of("instance_norm_backward", activation)
    return _C.channel_norm_backward(
        INSTANCE, dy, x, 0, weight, bias, *saved, False, act.code, act.p0, act.p1,
        need_mask("instance_norm_backward", need, _AFFINE),
    )  # fmt: skip


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    return_saved: bool = False,
) -> Any:
    """Group normalisation: statistics of groups of neighbouring channels. Wu and He (2018).

    Args:
        x: ``(N, ..., C)``.
        num_groups: How many groups; it divides C. Keras: GroupNormalization(groups).
        weight, bias: ``(C,)`` or None.
        eps: Added to the variance (Keras: 1e-3).
        activation: As in :func:`linear`.
        return_saved: Return ``(y, (mean, rstd))``, which backward needs; both ``(N, num_groups)``.

    Raises:
        ValueError: ``num_groups`` does not divide the channels.
    """
    act = activation_of("group_norm", activation)
    return _saved(
        _C.channel_norm_forward(
            GROUP, x, num_groups, weight, bias, None, None, False, 0.0, eps,
            act.code, act.p0, act.p1, return_saved,
        ),
        return_saved,
    )  # fmt: skip


def group_norm_backward(
    dy: Array,
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    *,
    saved: Saved,
    bias: Array | None = None,
    activation: str | None = None,
    need: Iterable[str] = _AFFINE,
) -> Gradients:
    """Gradients of :func:`group_norm`: ``(dx, dweight, dbias)``, None where not in ``need``."""
    act = activation_of("group_norm_backward", activation)
    return _C.channel_norm_backward(
        GROUP, dy, x, num_groups, weight, bias, *saved, False, act.code, act.p0, act.p1,
        need_mask("group_norm_backward", need, _AFFINE),
    )  # fmt: skip


def adain(
    x: Array,
    scale: Array,
    shift: Array,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    return_saved: bool = False,
) -> Any:
    """Adaptive instance norm: each sample brings its own weight and bias.

    Huang and Belongie (2017); ``y = scale * xhat + shift`` as in StyleGAN (Karras et al., 2019).

    Args:
        x: ``(N, ..., C)`` with at least one axis between.
        scale, shift: ``(N, C)``.
        eps: Added to the variance.
        activation: As in :func:`linear`.
        return_saved: Return ``(y, (mean, rstd))``, which backward needs; both ``(N, C)``.
    """
    act = activation_of("adain", activation)
    return _saved(
        _C.channel_norm_forward(
            ADAIN, x, 0, scale, shift, None, None, False, 0.0, eps,
            act.code, act.p0, act.p1, return_saved,
        ),
        return_saved,
    )  # fmt: skip


def adain_backward(
    dy: Array,
    x: Array,
    scale: Array,
    *,
    saved: Saved,
    shift: Array | None = None,
    activation: str | None = None,
    need: Iterable[str] = ("x", "scale", "shift"),
) -> Gradients:
    """Gradients of :func:`adain`: ``(dx, dscale, dshift)``, None where not in ``need``."""
    act = activation_of("adain_backward", activation)
    return _C.channel_norm_backward(
        ADAIN, dy, x, 0, scale, shift, *saved, False, act.code, act.p0, act.p1,
        need_mask("adain_backward", need, ("x", "scale", "shift")),
    )  # fmt: skip


def _saved(result: Any, return_saved: bool) -> Any:
    return (result[0], (result[1], result[2])) if return_saved else result


def _axes(op: str, x: Array, weight: Array | None, normalized_shape: Any) -> int:
    """How many of the last axes make a row."""
    if normalized_shape is None:
        return 1 if weight is None else max(np.ndim(weight), 1)
    if isinstance(normalized_shape, Sequence):
        shape = tuple(normalized_shape)
    else:
        shape = (int(normalized_shape),)
    axes = len(shape)
    if not 0 < axes <= x.ndim or x.shape[x.ndim - axes :] != shape:
        raise ValueError(
            f"{op}: x has shape {x.shape}, expected the last axes to be normalized_shape {shape}"
        )
    return axes


def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    normalized_shape: int | Sequence[int] | None = None,
    eps: float = 1e-5,
    return_saved: bool = False,
) -> Any:
    """Layer normalisation: statistics along the last axis, or axes. Ba, Kiros and Hinton (2016).

    Args:
        x: ``(..., *normalized_shape)``.
        weight, bias: Of the normalised shape, or None.
        normalized_shape: Sizes of the last axes; default: the shape of ``weight``, else the last
            axis.
        eps: Added to the variance (Keras: 1e-3).
        return_saved: Return ``(y, (mean, rstd))``, which backward needs; both of the shape of x
            without the normalised axes.
    """
    axes = _axes("layer_norm", x, weight, normalized_shape)
    return _saved(
        _C.row_norm_forward(LAYER, x, axes, weight, bias, eps, return_saved), return_saved
    )


def layer_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None = None,
    *,
    saved: Saved,
    need: Iterable[str] = _AFFINE,
) -> Gradients:
    """Gradients of :func:`layer_norm`: ``(dx, dweight, dbias)``, None where not in ``need``."""
    mean, rstd = saved
    mask = need_mask("layer_norm_backward", need, _AFFINE)
    axes = x.ndim - rstd.ndim
    return _C.row_norm_backward(LAYER, dy, x, axes, weight, mean, rstd, mask)


def rms_norm(
    x: Array,
    weight: Array | None = None,
    *,
    normalized_shape: int | Sequence[int] | None = None,
    eps: float | None = None,
    return_saved: bool = False,
) -> Any:
    """``weight * x / sqrt(mean(x²) + eps)`` along the last axis, or axes. Zhang, Sennrich (2019).

    Args:
        x: ``(..., *normalized_shape)``.
        weight: Of the normalised shape, or None.
        normalized_shape: As in :func:`layer_norm`.
        eps: Default: the machine epsilon of the dtype, as in PyTorch (Keras: 1e-6).
        return_saved: Return ``(y, rstd)``; backward needs rstd.
    """
    axes = _axes("rms_norm", x, weight, normalized_shape)
    e = _epsilon(x) if eps is None else eps
    result = _C.row_norm_forward(RMS, x, axes, weight, None, e, return_saved)
    return (result[0], result[2]) if return_saved else result


def _epsilon(x: Array) -> float:
    return float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 0.0


def rms_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None = None,
    *,
    saved: Array,
    need: Iterable[str] = ("x", "weight"),
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`rms_norm`: ``(dx, dweight)``, None where not in ``need``."""
    mask = need_mask("rms_norm_backward", need, ("x", "weight"))
    axes = x.ndim - saved.ndim
    return _C.row_norm_backward(RMS, dy, x, axes, weight, None, saved, mask)[:2]


def pixel_norm(x: Array, *, eps: float = 1e-8, return_saved: bool = False) -> Any:
    """``x / sqrt(mean(x²) + eps)`` over the features of each pixel. Karras et al. (2018).

    Args:
        x: ``(..., C)``.
        eps: Added to the mean square.
        return_saved: Return ``(y, rstd)``; backward needs rstd, of the shape ``x.shape[:-1]``.
    """
    result = _C.row_norm_forward(PIXEL, x, 1, None, None, eps, return_saved)
    return (result[0], result[2]) if return_saved else result


def pixel_norm_backward(dy: Array, x: Array, *, saved: Array) -> Array:
    """Gradient of :func:`pixel_norm`, of the shape of ``x``."""
    dx: Any = _C.row_norm_backward(PIXEL, dy, x, 1, None, None, saved, 1)[0]
    return dx  # type: ignore[no-any-return]


def minibatch_stddev(
    x: Array, group_size: int = 4, num_features: int = 1, *, eps: float = 1e-8
) -> Array:
    """Append to each image how much its group varies. Karras et al. (2018), as in StyleGAN.

    The batch is cut into N / group_size groups; images whose numbers are equal modulo the number of
    groups belong together. The standard deviation over a group is averaged over pixels and
    channels, and becomes a feature of each pixel of the group's images: a discriminator sees when a
    generator makes the same image again and again.

    Args:
        x: ``(N, ..., C)``.
        group_size: Images of a group; at most N is used.
        num_features: The channels are cut into this many parts with an average each.
        eps: Added to the variance.

    Returns:
        ``(N, ..., C + num_features)``.

    Raises:
        ValueError: ``group_size`` does not divide N, or ``num_features`` C.
    """
    return _C.minibatch_std_forward(x, group_size, num_features, eps)


def minibatch_stddev_backward(
    dy: Array, x: Array, group_size: int = 4, num_features: int = 1, *, eps: float = 1e-8
) -> Array:
    """Gradient of :func:`minibatch_stddev`, of the shape of ``x``."""
    return _C.minibatch_std_backward(dy, x, group_size, num_features, eps)
