"""Convolution and transposed convolution in one, two and three dimensions.

Channels last: (N, W, C), (N, H, W, C), (N, D, H, W, C); weights out-first. The mathematics is in
``csrc/ops/conv/conv.h``; see Dumoulin and Visin, "A guide to convolution arithmetic for deep
learning" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import _C
from .._calls.convolve import Array, Convolution, convolution, transposed
from .._calls.packed import PackedWeight
from .._calls.window import Padding, Sizes
from ._options import need_mask, require_arrays
from .dense import activation_of

Gradients = tuple[Array | None, Array | None, Array | None]
_NAMES = ("x", "w", "b")


def _forward(
    c: Convolution, x: Array, w: Array | PackedWeight, b: Array | None, activation: str | None
) -> Array:
    act = activation_of(c.op, activation)
    y: Array = c.forward(x, w, b, (act.code, False, act.p0, act.p1))
    return y


def _dz(op: str, dy: Array, y: Array | None, saved: Array | None, activation: str | None) -> Array:
    """dy through the activation."""
    if activation is None:
        return dy
    act = activation_of(op, activation)
    given = saved if act.needs_z else y if saved is None else saved
    if given is None:
        what = "saved=, the result before the activation" if act.needs_z else "y="
        raise ValueError(f"{op}: the gradient of {activation} needs {what}")
    if act.needs_z:
        return _C.unary_backward(act.code, dy, given, None, act.p0, act.p1)
    return _C.unary_backward(act.code, dy, None, given, act.p0, act.p1)


def _backward(
    c: Convolution,
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None,
    saved: Array | None,
    activation: str | None,
    need: Sequence[str],
) -> Gradients:
    bits = need_mask(c.op, need, _NAMES)
    dz = _dz(c.op, dy, y, saved, activation)
    dw = db = None
    if bits & 6:
        dw, db = c.backward_weight(dz, x, w, bool(bits & 2), bool(bits & 4))
    return (c.backward_data(dz, w) if bits & 1 else None), dw, db


def _transposed_backward(
    c: Convolution, dy: Array, x: Array, w: Array, need: Sequence[str]
) -> Gradients:
    bits = need_mask(c.op, need, _NAMES)
    require_arrays(c.op, dy=dy)
    dx = c.forward(dy, w, None, (-1, False, 0.0, 0.0)) if bits & 1 else None
    dw = c.backward_weight(x, dy, w, True, False)[0] if bits & 2 else None
    return dx, dw, _C.sum_to(dy, (dy.shape[-1],)) if bits & 4 else None


def conv1d(
    x: Array,
    w: Array | PackedWeight,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
) -> Array:
    """Convolve x with w, add b, apply the activation: one pass over the result.

    Each output is ``b + sum x * w`` over the window under it (the kernel is not flipped), of size
    ``(size + padding - dilation (kernel - 1) - 1) // stride + 1`` along every axis.

    Args:
        x: ``(N, W, C)``, float32 or float64, contiguous.
        w: ``(O, kW, C/groups)``, the same dtype, contiguous; or what :func:`pack` made of
            it.
        b: ``(O,)`` or None.
        stride: How far the window moves: an int, or one per axis.
        padding: Zeros around x: an int, one per axis, a ``(before, after)`` pair per axis, or
            ``"valid"`` (none), ``"same"`` (as many outputs as inputs, divided by the stride),
            ``"full"`` (every overlap), ``"causal"`` (no output sees a later input; 1-D only).
        dilation: Distance between the taps of the kernel: an int, or one per axis.
        groups: Channels fall into this many groups that do not see each other; ``C`` of them make a
            depthwise convolution.
        padding_mode: ``"zeros"``, or what else to put around x: ``"reflect"``, ``"replicate"``,
            ``"circular"``.
        activation: As :func:`linear` takes it.

    Returns:
        ``(N, W', O)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Axes or channels that do not match, a window that does not fit, an unknown name.
    """
    c = convolution("conv1d", 1, x, w, stride, padding, dilation, groups, padding_mode)
    return _forward(c, x, w, b, activation)


def conv1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> Gradients:
    """Gradients of :func:`conv1d`, with its options.

    Args:
        dy: Gradient of the result, ``(N, W', O)``.
        x: As given to :func:`conv1d`.
        w: As given to :func:`conv1d`.
        y: The result, where there is an activation that it determines.
        saved: The result before the activation, for the others (GELU, SiLU, Mish, …).
        need: Which gradients to compute, of ``"x"``, ``"w"``, ``"b"``.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    c = convolution("conv1d_backward", 1, x, w, stride, padding, dilation, groups, padding_mode)
    return _backward(c, dy, x, w, y, saved, activation, need)


def conv_transpose1d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Array:
    """Transposed convolution: every input pixel adds the kernel, times its value, to the result.

    It is the gradient of :func:`conv1d` by its input, of size
    ``(size - 1) stride - padding + dilation (kernel - 1) + 1 + output_padding`` along every axis.

    Args:
        x: ``(N, W, C)``, float32 or float64, contiguous.
        w: ``(C, kW, O/groups)``, the same dtype, contiguous.
        b: ``(O,)`` or None.
        stride: How far apart input pixels lie in the result: an int, or one per axis.
        padding: How much the result is cut off: an int, one per axis, or a pair per axis.
        output_padding: How much it is longer at its end; less than stride or dilation.
        dilation: Distance between the taps of the kernel.
        groups: As in :func:`conv1d`.
        activation: As :func:`linear` takes it.

    Returns:
        ``(N, W', O)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Axes or channels that do not match, a result without elements.
    """
    c = transposed("conv_transpose1d", 1, x, w, stride, padding, output_padding, dilation, groups)
    act = activation_of(c.op, activation)
    y: Array = c.backward_data(x, w, b, (act.code, False, act.p0, act.p1), "x")
    return y


def conv_transpose1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> Gradients:
    """Gradients of :func:`conv_transpose1d`, with its options.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    op = "conv_transpose1d_backward"
    c = transposed(op, 1, x, w, stride, padding, output_padding, dilation, groups)
    return _transposed_backward(c, _dz(op, dy, y, saved, activation), x, w, need)


def conv2d(
    x: Array,
    w: Array | PackedWeight,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
) -> Array:
    """Convolve x with w, add b, apply the activation: one pass over the result.

    Each output is ``b + sum x * w`` over the window under it (the kernel is not flipped), of size
    ``(size + padding - dilation (kernel - 1) - 1) // stride + 1`` along every axis.

    Args:
        x: ``(N, H, W, C)``, float32 or float64, contiguous.
        w: ``(O, kH, kW, C/groups)``, the same dtype, contiguous; or what :func:`pack` made of
            it.
        b: ``(O,)`` or None.
        stride: How far the window moves: an int, or one per axis.
        padding: As :func:`conv1d` takes it, without ``"causal"``.
        dilation: Distance between the taps of the kernel: an int, or one per axis.
        groups: Channels fall into this many groups that do not see each other; ``C`` of them make a
            depthwise convolution.
        padding_mode: ``"zeros"``, or what else to put around x: ``"reflect"``, ``"replicate"``,
            ``"circular"``.
        activation: As :func:`linear` takes it.

    Returns:
        ``(N, H', W', O)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Axes or channels that do not match, a window that does not fit, an unknown name.
    """
    c = convolution("conv2d", 2, x, w, stride, padding, dilation, groups, padding_mode)
    return _forward(c, x, w, b, activation)


def conv2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> Gradients:
    """Gradients of :func:`conv2d`, with its options.

    Args:
        dy: Gradient of the result, ``(N, H', W', O)``.
        x: As given to :func:`conv2d`.
        w: As given to :func:`conv2d`.
        y: The result, where there is an activation that it determines.
        saved: The result before the activation, for the others (GELU, SiLU, Mish, …).
        need: Which gradients to compute, of ``"x"``, ``"w"``, ``"b"``.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    c = convolution("conv2d_backward", 2, x, w, stride, padding, dilation, groups, padding_mode)
    return _backward(c, dy, x, w, y, saved, activation, need)


def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Array:
    """Transposed convolution: every input pixel adds the kernel, times its value, to the result.

    It is the gradient of :func:`conv2d` by its input, of size
    ``(size - 1) stride - padding + dilation (kernel - 1) + 1 + output_padding`` along every axis.

    Args:
        x: ``(N, H, W, C)``, float32 or float64, contiguous.
        w: ``(C, kH, kW, O/groups)``, the same dtype, contiguous.
        b: ``(O,)`` or None.
        stride: How far apart input pixels lie in the result: an int, or one per axis.
        padding: How much the result is cut off: an int, one per axis, or a pair per axis.
        output_padding: How much it is longer at its end; less than stride or dilation.
        dilation: Distance between the taps of the kernel.
        groups: As in :func:`conv2d`.
        activation: As :func:`linear` takes it.

    Returns:
        ``(N, H', W', O)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Axes or channels that do not match, a result without elements.
    """
    c = transposed("conv_transpose2d", 2, x, w, stride, padding, output_padding, dilation, groups)
    act = activation_of(c.op, activation)
    y: Array = c.backward_data(x, w, b, (act.code, False, act.p0, act.p1), "x")
    return y


def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> Gradients:
    """Gradients of :func:`conv_transpose2d`, with its options.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    op = "conv_transpose2d_backward"
    c = transposed(op, 2, x, w, stride, padding, output_padding, dilation, groups)
    return _transposed_backward(c, _dz(op, dy, y, saved, activation), x, w, need)


def conv3d(
    x: Array,
    w: Array | PackedWeight,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
) -> Array:
    """Convolve x with w, add b, apply the activation: one pass over the result.

    Each output is ``b + sum x * w`` over the window under it (the kernel is not flipped), of size
    ``(size + padding - dilation (kernel - 1) - 1) // stride + 1`` along every axis.

    Args:
        x: ``(N, D, H, W, C)``, float32 or float64, contiguous.
        w: ``(O, kD, kH, kW, C/groups)``, the same dtype, contiguous; or what :func:`pack` made of
            it.
        b: ``(O,)`` or None.
        stride: How far the window moves: an int, or one per axis.
        padding: As :func:`conv1d` takes it, without ``"causal"``.
        dilation: Distance between the taps of the kernel: an int, or one per axis.
        groups: Channels fall into this many groups that do not see each other; ``C`` of them make a
            depthwise convolution.
        padding_mode: ``"zeros"``, or what else to put around x: ``"reflect"``, ``"replicate"``,
            ``"circular"``.
        activation: As :func:`linear` takes it.

    Returns:
        ``(N, D', H', W', O)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Axes or channels that do not match, a window that does not fit, an unknown name.
    """
    c = convolution("conv3d", 3, x, w, stride, padding, dilation, groups, padding_mode)
    return _forward(c, x, w, b, activation)


def conv3d_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> Gradients:
    """Gradients of :func:`conv3d`, with its options.

    Args:
        dy: Gradient of the result, ``(N, D', H', W', O)``.
        x: As given to :func:`conv3d`.
        w: As given to :func:`conv3d`.
        y: The result, where there is an activation that it determines.
        saved: The result before the activation, for the others (GELU, SiLU, Mish, …).
        need: Which gradients to compute, of ``"x"``, ``"w"``, ``"b"``.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    c = convolution("conv3d_backward", 3, x, w, stride, padding, dilation, groups, padding_mode)
    return _backward(c, dy, x, w, y, saved, activation, need)


def conv_transpose3d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Array:
    """Transposed convolution: every input pixel adds the kernel, times its value, to the result.

    It is the gradient of :func:`conv3d` by its input, of size
    ``(size - 1) stride - padding + dilation (kernel - 1) + 1 + output_padding`` along every axis.

    Args:
        x: ``(N, D, H, W, C)``, float32 or float64, contiguous.
        w: ``(C, kD, kH, kW, O/groups)``, the same dtype, contiguous.
        b: ``(O,)`` or None.
        stride: How far apart input pixels lie in the result: an int, or one per axis.
        padding: How much the result is cut off: an int, one per axis, or a pair per axis.
        output_padding: How much it is longer at its end; less than stride or dilation.
        dilation: Distance between the taps of the kernel.
        groups: As in :func:`conv3d`.
        activation: As :func:`linear` takes it.

    Returns:
        ``(N, D', H', W', O)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Axes or channels that do not match, a result without elements.
    """
    c = transposed("conv_transpose3d", 3, x, w, stride, padding, output_padding, dilation, groups)
    act = activation_of(c.op, activation)
    y: Array = c.backward_data(x, w, b, (act.code, False, act.p0, act.p1), "x")
    return y


def conv_transpose3d_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> Gradients:
    """Gradients of :func:`conv_transpose3d`, with its options.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    op = "conv_transpose3d_backward"
    c = transposed(op, 3, x, w, stride, padding, output_padding, dilation, groups)
    return _transposed_backward(c, _dz(op, dy, y, saved, activation), x, w, need)
