"""A convolution's geometry: what the functions on arrays and those on tensors share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from .. import _C
from .packed import PackedWeight, unpacked
from .window import NAMES, Padding, Sizes, Window, pad_pairs, per_axis, window

Array = npt.NDArray[Any]

LAYOUTS = {1: "(N, W, C)", 2: "(N, H, W, C)", 3: "(N, D, H, W, C)"}
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Convolution(NamedTuple):
    """A convolution of arrays of known sizes.

    Attributes:
        op: Name of the public function, for errors.
        size: Spatial sizes of the side with the input channels of ``w``, margins included.
        window: How the kernel moves over it.
        groups: Into how many groups the channels fall.
        margins: ``(before, after)`` of every axis that are filled by a padding mode other than
            zeros before the convolution; None with zeros, which are never stored.
        mode: That padding mode.
    """

    op: str
    size: tuple[int, ...]
    window: Window
    groups: int
    margins: tuple[tuple[int, int], ...] | None = None
    mode: int = 0

    def padded(self, x: Array) -> Array:
        """X with its margins, where they are more than zeros."""
        return x if self.margins is None else _C.pad(x, self.margins, self.mode, 0.0)

    def forward(
        self,
        x: Array,
        w: Array | PackedWeight,
        b: Array | None,
        act: tuple[int, bool, float, float],
    ) -> Any:
        """``y``, or ``(y, z)`` if act says so: code, whether z is wanted, two parameters."""
        _, stride, dilation, before, after = self.window
        plain, panels = unpacked(w)
        return _C.conv_forward(
            self.op,
            self.padded(x),
            plain,
            b,
            stride,
            before,
            after,
            dilation,
            self.groups,
            *act,
            panels,
        )

    def backward_data(
        self,
        dy: Array,
        w: Array,
        b: Array | None = None,
        act: tuple[int, bool, float, float] = (-1, False, 0.0, 0.0),
        name: str = "dy",
    ) -> Any:
        """``dx``; or a transposed convolution of the array called ``name``."""
        _, stride, dilation, before, after = self.window
        dx = _C.conv_backward_data(
            self.op, name, dy, w, b, self.size, stride, before, after, dilation, self.groups, *act
        )
        return dx if self.margins is None else _C.pad_backward(dx, self.margins, self.mode)

    def backward_weight(
        self, dy: Array, x: Array, w: Array, need_w: bool, need_b: bool
    ) -> tuple[Array | None, Array | None]:
        """``(dw, db)``."""
        _, stride, dilation, before, after = self.window
        return _C.conv_backward_weight(
            self.op, dy, self.padded(x), w, stride, before, after, dilation, self.groups,
            need_w, need_b,
        )  # fmt: skip


def _sizes(
    op: str, n: int, x: Array, w: Array | PackedWeight
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spatial sizes of x and of w."""
    x_shape, w_shape = getattr(x, "shape", None), getattr(w, "shape", None)
    if x_shape is None or w_shape is None:
        name, came = ("x", x) if x_shape is None else ("w", w)
        raise TypeError(f"{op}: {name} is a {type(came).__name__}, expected a numpy.ndarray")
    if len(x_shape) != n + 2:
        raise ValueError(f"{op}: x has shape {x_shape}, expected {LAYOUTS[n]}")
    if len(w_shape) != n + 2:
        raise ValueError(
            f"{op}: w has shape {w_shape}, expected {n + 2} axes, "
            "(out channels, kernel axes, in channels / groups)"
        )
    return x_shape[1:-1], w_shape[1:-1]


def convolution(
    op: str,
    n: int,
    x: Array,
    w: Array | PackedWeight,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
    padding_mode: str = "zeros",
) -> Convolution:
    """Check the options of a convolution of x by w."""
    size, kernel = _sizes(op, n, x, w)
    moves = window(op, size, kernel, stride, padding, dilation)
    if padding_mode == "zeros":
        return Convolution(op, size, moves, groups)
    if padding_mode not in PADDING_MODES:
        names = ", ".join(PADDING_MODES)
        raise ValueError(f"{op}: padding_mode is {padding_mode!r}, expected one of {names}")
    for axis, (length, before, after) in enumerate(zip(size, moves.before, moves.after)):
        if length == 0:
            raise ValueError(
                f"{op}: spatial axis {axis} of x is empty, "
                f"so {padding_mode} padding has nothing to repeat"
            )
        most = {"reflect": length - 1, "circular": length}.get(padding_mode, before + after)
        if max(before, after) > most:
            raise ValueError(
                f"{op}: {padding_mode} padding of ({before}, {after}) does not fit spatial axis "
                f"{axis} of x, which has {length}: at most {most}"
            )
    none = (0,) * n
    margins = ((0, 0), *zip(moves.before, moves.after), (0, 0))
    padded = tuple(s + b + a for s, b, a in zip(size, moves.before, moves.after))
    bare = Window(moves.kernel, moves.stride, moves.dilation, none, none)
    return Convolution(op, padded, bare, groups, margins, _C.pad_modes[padding_mode])


def transposed(
    op: str,
    n: int,
    x: Array,
    w: Array,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Convolution:
    """The convolution whose gradient by its input is this transposed convolution of x by w."""
    size, kernel = _sizes(op, n, x, w)
    if isinstance(padding, str) and padding != "valid":
        names = ", ".join(NAMES[1:])
        raise ValueError(
            f"{op}: padding is {padding!r}, expected numbers or 'valid' "
            f"({names} depend on the size of the result)"
        )
    s = per_axis(op, "stride", stride, n)
    d = per_axis(op, "dilation", dilation, n)
    extra = per_axis(op, "output_padding", output_padding, n, 0)
    pairs = pad_pairs(op, padding, size, tuple(kernel), s, d)
    result, after = [], []
    for axis, (length, k, step, wide, (low, high), more) in enumerate(
        zip(size, kernel, s, d, pairs, extra)
    ):
        if more >= max(step, wide):
            raise ValueError(
                f"{op}: output_padding is {extra}, expected less than stride {s} or dilation {d}"
            )
        out = (length - 1) * step - low - high + wide * (k - 1) + 1 + more
        if length == 0 or k == 0 or out < 1:
            raise ValueError(
                f"{op}: spatial axis {axis} of x has {length}, which gives a result of size {out}"
            )
        result.append(out)
        after.append(high - more)
    moves = Window(tuple(kernel), s, d, tuple(p[0] for p in pairs), tuple(after))
    return Convolution(op, tuple(result), moves, groups)
