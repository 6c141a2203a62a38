"""From one device to another."""

from __future__ import annotations

from handloom._device_array import index_of, place
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of
from handloom.tensor import Array, Tensor, device_index, wrap


class Move(Function):
    """A copy elsewhere; the gradient comes back."""

    __slots__ = ("home",)

    def forward(ctx, x: Array, index: int) -> Array:
        ctx.home = index_of(x)
        return place(x, index)

    def backward(ctx, dy: Array) -> Array:
        return place(dy, ctx.home)


def to_device(x: TensorLike, device: object) -> Tensor:
    """The tensor on `device`: itself if it is there, else a copy.

    Args:
        x: A tensor or an array.
        device: "cpu", "cuda" or "cuda:<number>".

    Raises:
        ValueError: Another name, or a GPU that this machine does not have.
        RuntimeError: No GPU can be used; the text says why.
    """
    index = device_index(device, "to")
    if index_of(array_of(x)) == index:
        return x if isinstance(x, Tensor) else wrap(x)
    moved: Tensor = Move().run1(x, index)
    return moved
