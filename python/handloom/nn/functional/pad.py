"""Padding of the spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

from handloom.ops._common import TensorLike, array_of
from handloom.ops.assemble import pad_axes
from handloom.tensor import Tensor


def pad(x: TensorLike, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Margins around the spatial axes of (N, …, C); batch and features are not padded.

    Args:
        x: (N, T, C), (N, H, W, C), (N, D, H, W, C) …
        pad: Pairs of (before, after), the last spatial axis first, as in PyTorch: (1, 1, 2, 2) pads
            W by 1 and H by 2.
        mode: "constant", "reflect" (without the edge), "symmetric" (with it), "replicate" or
            "circular".
        value: What a constant margin holds.

    Raises:
        ValueError: An odd number of sizes, more pairs than spatial axes, an unknown mode, a margin
            that the mode cannot fill.
    """
    ndim = array_of(x).ndim
    if len(pad) % 2:
        raise ValueError(f"pad: pad has {len(pad)} sizes, expected pairs")
    given = len(pad) // 2
    if given > ndim - 2:
        raise ValueError(
            f"pad: {given} pairs for x of {ndim} axes, which has {max(ndim - 2, 0)} spatial ones"
        )
    pairs = [(0, 0)] * ndim
    for i in range(given):
        pairs[ndim - 2 - i] = (pad[2 * i], pad[2 * i + 1])
    return pad_axes(x, pairs, mode, value)
