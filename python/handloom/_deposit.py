"""How gradients that meet are added: on the way, and in the leaves."""

from __future__ import annotations

from typing import Any

from handloom import _C
from handloom._rows import RowGradient
from handloom.tensor import Array, Leaf, wrap

_ADD = _C.binary_ops["add"]
_add = _C.binary_forward
_add_in_place = _C.add_


def summed(entry: list[Any] | None, sink: Any, g: Array, fresh: bool) -> list[Any]:
    """Adds g to [sink, gradient, ours], in place only where the buffer is the tape's own."""
    if g.__class__ is RowGradient:
        g, fresh = g.spread(), True
    if entry is None:
        return [sink, g, fresh]
    if entry[2]:
        _add_in_place(entry[1], g if g.flags.c_contiguous else _C.copy(g, None), 1.0)
    else:
        entry[1] = _add(_ADD, entry[1], g, None)
        entry[2] = True
    return entry


def own(g: Array) -> Array:
    """A contiguous copy of a gradient that others may hold too."""
    return _C.copy(g, None)


def deposit(leaf: Leaf, g: Any, made: bool, node: Any) -> None:
    """Adds g to the gradient of a leaf; `made` says that g is a buffer that nobody else holds.

    Rows stay rows as long as nothing but rows comes to them.
    """
    held: Any = leaf.grad
    if g.__class__ is RowGradient:
        if held is None or held.__class__ is RowGradient:
            rows: Any = g if held is None else held.added(g)
            leaf.grad = rows
            return
        g, made = g.spread(), True
    elif held.__class__ is RowGradient:
        held = leaf.grad = wrap(held.spread())
        leaf.made = True
    if not made and (g.shape != leaf.shape or g.dtype != leaf.dtype):
        raise RuntimeError(
            f"backward: {node.name if node else 'a hook'} gave a gradient of shape {g.shape} and "
            f"{g.dtype} for an input of shape {leaf.shape} and {leaf.dtype}"
        )
    if held is None:
        leaf.grad = wrap(g if made else own(g))
    elif leaf.made:
        summed([leaf, held._array, True], leaf, g, made)
        held._version[0] += 1
    else:
        leaf.grad = wrap(_add(_ADD, held._array, g, None))
    leaf.made = True
