"""Layers that put margins around the spatial axes, by number of axes and kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from handloom.nn.functional.pad import pad_spatial
from handloom.nn.module import Module
from handloom.ops._common import array_of
from handloom.tensor import Tensor


class _Pad(Module):
    axes: ClassVar[int]
    mode: ClassVar[str]
    value = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sides = (padding,) * (2 * self.axes) if isinstance(padding, int) else tuple(padding)
        if len(sides) != 2 * self.axes:
            raise ValueError(
                f"{type(self).__name__}: padding is {padding}, expected one number or "
                f"{2 * self.axes}: (before, after) of each axis, the last axis first"
            )
        self.padding = sides

    def forward(self, x: Any) -> Tensor:
        shape = array_of(x).shape
        name = type(self).__name__
        if len(shape) != self.axes + 2:
            letters = ("N, W, C", "N, H, W, C", "N, D, H, W, C")[self.axes - 1]
            raise ValueError(f"{name}: x has shape {shape}, expected ({letters})")
        return pad_spatial(name, x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class _Constant(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _Zero(_Pad):
    mode = "constant"


class _Reflection(_Pad):
    mode = "reflect"


class _Replication(_Pad):
    mode = "replicate"


class _Circular(_Pad):
    mode = "circular"


class ConstantPad1d(_Constant):
    """Puts `value` around W of (N, W, C); padding (left, right) or one number."""

    axes = 1


class ConstantPad2d(_Constant):
    """Puts `value` around (N, H, W, C); padding (left, right, top, bottom) or one number."""

    axes = 2


class ConstantPad3d(_Constant):
    """Puts `value` around (N, D, H, W, C); padding (left, right, top, bottom, front, back)."""

    axes = 3


class ZeroPad1d(_Zero):
    """Puts zeros around W of (N, W, C). Keras: ZeroPadding1D."""

    axes = 1


class ZeroPad2d(_Zero):
    """Puts zeros around (N, H, W, C). Keras: ZeroPadding2D."""

    axes = 2


class ZeroPad3d(_Zero):
    """Puts zeros around (N, D, H, W, C). Keras: ZeroPadding3D."""

    axes = 3


class ReflectionPad1d(_Reflection):
    """Mirrors W of (N, W, C) without its edges: 2 1 [0 1 2] 1 0."""

    axes = 1


class ReflectionPad2d(_Reflection):
    """Mirrors (N, H, W, C) without its edges."""

    axes = 2


class ReflectionPad3d(_Reflection):
    """Mirrors (N, D, H, W, C) without its edges."""

    axes = 3


class ReplicationPad1d(_Replication):
    """Repeats the edges of W of (N, W, C): 0 0 [0 1 2] 2 2."""

    axes = 1


class ReplicationPad2d(_Replication):
    """Repeats the edges of (N, H, W, C)."""

    axes = 2


class ReplicationPad3d(_Replication):
    """Repeats the edges of (N, D, H, W, C)."""

    axes = 3


class CircularPad1d(_Circular):
    """Goes round W of (N, W, C): 1 2 [0 1 2] 0 1."""

    axes = 1


class CircularPad2d(_Circular):
    """Goes round H and W of (N, H, W, C)."""

    axes = 2


class CircularPad3d(_Circular):
    """Goes round D, H and W of (N, D, H, W, C)."""

    axes = 3
