"""How much of the input one output sees."""

from __future__ import annotations

from handloom.nn.module import Module


def receptive_field(model: Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Size of the window of the input that one output depends on, and the step between two of them.

    Goes through the layers with a window (convolutions, pools) in the order in which the model
    holds them: ``size += dilation (kernel - 1) jump``, then ``jump *= stride``. Araujo, Norris and
    Sim, "Computing receptive fields of convolutional neural networks" (2019).

    Args:
        model: A chain of layers; of parallel branches, give the one you mean.

    Returns:
        ``(sizes, jumps)``, one number per spatial axis; empty tuples where no layer has a window.

    Raises:
        ValueError: A layer that spreads instead of gathering, or windows over other axes.
    """
    sizes: tuple[int, ...] = ()
    jumps: tuple[int, ...] = ()
    for name, layer in model.named_modules():
        kernel = getattr(layer, "kernel_size", None)
        if kernel is None:
            continue
        kind = type(layer).__name__
        if "Transpose" in kind or "Unpool" in kind:
            raise ValueError(f"receptive_field: {name or 'the model'} is a {kind}, which spreads")
        digits = [c for c in kind if c.isdigit()]
        n = int(digits[-1]) if digits else len(kernel)
        k, s, d = (
            (value,) * n if isinstance(value, int) else tuple(value)
            for value in (kernel, getattr(layer, "stride", 1), getattr(layer, "dilation", 1))
        )
        sizes, jumps = sizes or (1,) * n, jumps or (1,) * n
        if len(sizes) != n:
            raise ValueError(
                f"receptive_field: {name} has {n} spatial axes, the layers before it {len(sizes)}"
            )
        sizes = tuple(size + di * (ki - 1) * j for size, di, ki, j in zip(sizes, d, k, jumps))
        jumps = tuple(j * si for j, si in zip(jumps, s))
    return sizes, jumps
