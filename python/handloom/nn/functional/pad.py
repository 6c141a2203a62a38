"""Padding of the spatial axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from handloom.ops._common import TensorLike, array_of
from handloom.ops.assemble import pad_axes
from handloom.ops.indexing import getitem
from handloom.ops.layout import contiguous
from handloom.tensor import Tensor

# How much longer than its axis a margin may be, where it may not be any length: beyond, the mode
# would have to repeat itself. PyTorch refuses that too.
_LIMITS = {"reflect": -1, "circular": 0}


def pad(
    input: TensorLike, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Margins around the spatial axes of (N, …, C); batch and features are not padded.

    Args:
        input: (N, T, C), (N, H, W, C), (N, D, H, W, C) …
        pad: Pairs of (before, after), the last spatial axis first, as in PyTorch: (1, 1, 2, 2) pads
            W by 1 and H by 2. A negative number cuts off that many elements.
        mode: "constant", "reflect" (without the edge), "symmetric" (with it), "replicate" or
            "circular".
        value: What a constant margin holds; None is 0.

    Raises:
        ValueError: An odd number of sizes, more pairs than spatial axes, an unknown mode, a margin
            that the mode cannot fill, or more cut off than there is.
    """
    return pad_spatial("pad", input, pad, mode, value)


def pad_spatial(
    op: str, x: TensorLike, pad: Sequence[int], mode: str, value: float | None
) -> Tensor:
    """`pad` for a caller that errors name `op`."""
    shape = array_of(x).shape
    if len(pad) % 2:
        raise ValueError(f"{op}: pad has {len(pad)} sizes, expected pairs")
    given = len(pad) // 2
    if given > len(shape) - 2:
        raise ValueError(
            f"{op}: {given} pairs for x of {len(shape)} axes, "
            f"which has {max(len(shape) - 2, 0)} spatial ones"
        )
    pairs = [(0, 0)] * len(shape)
    for i in range(given):
        pairs[-2 - i] = (operator.index(pad[2 * i]), operator.index(pad[2 * i + 1]))
    if value is not None and mode != "constant" and value != 0:
        raise ValueError(f"{op}: value is {value}, which only mode 'constant' takes")
    for size, sides in zip(shape, pairs):
        limit = _LIMITS.get(mode)
        if limit is not None and max(sides) > max(size + limit, 0):
            raise ValueError(
                f"{op}: padding {sides} of an axis of {size}, expected at most "
                f"{max(size + limit, 0)} in mode {mode!r}"
            )
        if size + sum(sides) < 0:
            raise ValueError(f"{op}: padding {sides} cuts more off than the {size} of an axis")
    wider = [(max(before, 0), max(after, 0)) for before, after in pairs]
    y = pad_axes(x, wider, mode, 0.0 if value is None else value)
    if wider == pairs:
        return y
    kept = [slice(-min(b, 0), n + min(a, 0)) for n, (b, a) in zip(y.shape, pairs)]
    return contiguous(getitem(y, tuple(kept)))
