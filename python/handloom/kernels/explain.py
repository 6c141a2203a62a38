"""What a kernel is going to do with a shape, before it does it."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from .. import _C

# Operations per byte of memory traffic at which today's processors turn from waiting for memory to
# waiting for arithmetic; `handloom bench` measures yours.
_BALANCE = 8.0


class Explanation(NamedTuple):
    """One kernel of a call.

    Attributes:
        kernel: Name in the op table.
        algorithm: What was chosen for this shape.
        tile: Sizes that the algorithm cuts the work into; their meaning is on its docs page.
        scratch: Bytes of scratch memory on the present number of threads.
        flops: Floating-point operations.
        bytes: Least memory traffic: inputs read once, outputs written once.
        bound: ``"compute"`` or ``"memory"``, by operations per byte.
        why: What speaks for this algorithm; empty where there was no choice.
    """

    kernel: str
    algorithm: str
    tile: tuple[int, int, int]
    scratch: int
    flops: float
    bytes: float
    bound: str
    why: str


class Explanations(tuple[Explanation, ...]):
    """A tuple of :class:`Explanation` that prints as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        from .._runtime import table

        head = ("kernel", "algorithm", "bound", "tile", "scratch kB", "MFLOP", "MB")
        reasons = dict.fromkeys(f"{row.algorithm}: {row.why}" for row in self if row.why)
        body = [
            (
                *(row.kernel, row.algorithm, row.bound),
                " x ".join(map(str, row.tile)) if any(row.tile) else "-",
                *(f"{row.scratch / 1e3:.3f}", f"{row.flops / 1e6:.3f}", f"{row.bytes / 1e6:.3f}"),
            )
            for row in self
        ]
        return "\n".join([table(head, body, numbers=4), *reasons])


def explain(op: str, *shapes: Any, dtype: str = "float32", **options: Any) -> Explanations:
    """Explain how a kernel would run, without running it.

    Args:
        op: Name of a function of :mod:`handloom.kernels`.
        *shapes: Its array arguments: a shape (tuple of ints) for each, or arrays, or whatever else
            the function takes in that place.
        dtype: Of the arrays that shapes stand for.
        **options: The function's keyword arguments.

    Returns:
        One :class:`Explanation` for each kernel that the call would run, in order; prints as a
        table.

    Raises:
        ValueError: An unknown op, or arguments that the op itself refuses.

    Example:
        >>> explain("matmul", (512, 512), (512, 512))[0].bound
        'compute'
    """
    from handloom import kernels

    function: Callable[..., Any] | None = getattr(kernels, op, None)
    if function is None or op.startswith("_") or not callable(function):
        names = get_close_matches(op, kernels.__all__, n=5)
        hint = f"did you mean {', '.join(names)}?" if names else "dir(handloom.kernels) lists them"
        raise ValueError(f"explain: unknown op {op!r}; {hint}")
    arguments = [np.empty(s, dtype) if _is_shape(s) else s for s in shapes]
    rows = _C.explain(lambda: function(*arguments, **options))
    return Explanations(
        Explanation(
            *(kernel, algorithm, tile, scratch, flops, traffic),
            "compute" if flops > _BALANCE * max(traffic, 1.0) else "memory",
            why,
        )
        for kernel, algorithm, tile, scratch, flops, traffic, why in rows
    )


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int) for n in value)
