"""Sliding windows: kernel size, stride, padding and dilation as users write them.

Convolution and pooling share this. Spatial axes come in the order of the array's: (W), (H, W) or
(D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import index
from typing import NamedTuple, Union

Sizes = Union[int, Sequence[int]]  # noqa: UP007  evaluated at run time on Python 3.10
Padding = Union[int, Sequence[int], Sequence[tuple[int, int]], str]  # noqa: UP007

NAMES = ("valid", "same", "full", "causal")
AXES = ("", "W", "HW", "DHW")  # names of the spatial axes, by their number


class Window(NamedTuple):
    """A window that slides over 1, 2 or 3 spatial axes; each field has one number per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


def window(
    op: str,
    size: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> Window:
    """Check the arguments of a convolution or a pool and write them out, one number per axis.

    Args:
        op: Name of the function, for errors.
        size: Spatial sizes of the input: 1, 2 or 3 of them.
        kernel_size: An int, or one per axis.
        stride: The same; None means ``kernel_size``.
        padding: An int, one int per axis, one ``(before, after)`` pair per axis, or a name:

            - ``"valid"``: none;
            - ``"same"``: ``ceil(size / stride)`` outputs, an odd element goes after (TensorFlow's
              rule; at stride 1 also PyTorch's);
            - ``"full"``: ``dilation (kernel - 1)`` on both sides: every overlap counts;
            - ``"causal"``: the same, before only: outputs see no later input (1-D only).
        dilation: An int, or one per axis.

    Raises:
        TypeError: A value that is no integer.
        ValueError: A wrong number of values; a kernel, stride or dilation below 1; negative
            padding; an unknown name.
    """
    # Only this padding depends on the size, and a cache without it serves every size.
    seen = size if isinstance(padding, str) and padding == "same" else (0,) * len(size)
    try:
        return _window(op, seen, kernel_size, stride, padding, dilation)
    except TypeError:  # lists cannot be looked up; or it is the user's error, raised again here
        return _window.__wrapped__(op, seen, kernel_size, stride, padding, dilation)


@lru_cache(maxsize=256, typed=True)
def _window(
    op: str,
    size: tuple[int, ...],
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
) -> Window:
    n = len(size)
    k = per_axis(op, "kernel_size", kernel_size, n)
    s = k if stride is None else per_axis(op, "stride", stride, n)
    d = per_axis(op, "dilation", dilation, n)
    pairs = pad_pairs(op, padding, size, k, s, d)
    return Window(k, s, d, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def per_axis(op: str, name: str, value: Sizes, n: int, least: int = 1) -> tuple[int, ...]:
    """One integer for each of n axes, from an int or a sequence of n."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{op}: {name} is {value!r}, expected {_numbers(n)}")
    try:
        sizes = (index(value),) * n  # type: ignore[arg-type]  # a sequence has no index
    except TypeError:
        try:
            sizes = tuple(index(v) for v in value)  # type: ignore[union-attr]
        except TypeError:
            raise TypeError(f"{op}: {name} is {value!r}, expected {_numbers(n)}") from None
        if len(sizes) != n:
            raise ValueError(f"{op}: {name} is {value!r}, expected {_numbers(n)}") from None
    if min(sizes) < least:
        raise ValueError(f"{op}: {name} is {value!r}, expected at least {least}")
    return sizes


def pad_pairs(
    op: str,
    padding: Padding,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """``(before, after)`` for each axis; see :func:`window`."""
    n = len(kernel)
    if isinstance(padding, str):
        return tuple(
            _named(op, padding, n, *axis)
            for axis in zip(size, kernel, stride, dilation, strict=True)
        )
    if isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding):
        try:
            pairs = [tuple(map(index, pair)) for pair in padding]  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{op}: padding is {padding!r}, expected {_pairs(n)}") from None
        if len(pairs) != n or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"{op}: padding is {padding!r}, expected {_pairs(n)}")
        if min(min(pair) for pair in pairs) < 0:
            raise ValueError(f"{op}: padding is {padding!r}, expected at least 0")
        return tuple((pair[0], pair[1]) for pair in pairs)
    if n == 1 and isinstance(padding, Sequence) and len(padding) == 2:
        raise ValueError(
            f"{op}: padding is {padding!r}, expected one number; "
            f"a (before, after) pair is written ({tuple(padding)!r},)"
        )
    return tuple((p, p) for p in per_axis(op, "padding", padding, n, 0))  # type: ignore[arg-type]


def _named(
    op: str, name: str, n: int, size: int, kernel: int, stride: int, dilation: int
) -> tuple[int, int]:
    reach = dilation * (kernel - 1)
    if name == "valid":
        return 0, 0
    if name == "same":
        total = max(0, (-(-size // stride) - 1) * stride + reach + 1 - size)
        return total // 2, total - total // 2
    if name == "full":
        return reach, reach
    if name == "causal":
        if n != 1:
            raise ValueError(f"{op}: padding 'causal' is for sequences (N, W, C), not for {n}-D")
        return reach, 0
    names = ", ".join(NAMES if n == 1 else NAMES[:3])
    raise ValueError(f"{op}: padding is {name!r}, expected numbers or one of {names}")


def output_size(
    op: str, size: tuple[int, ...], w: Window, ceil_mode: bool = False
) -> tuple[int, ...]:
    """How many places the window has on each axis.

    ``floor((size + before + after - dilation (kernel - 1) - 1) / stride) + 1``. With ``ceil_mode``
    the quotient is rounded up, and a window that would begin behind the input and its padding
    before it is dropped (PyTorch's rule).

    Raises:
        ValueError: A kernel that is larger than the padded input (with ``ceil_mode``, by a stride
            or more).
    """
    out = []
    for axis, n, k, s, d, before, after in zip(AXES[len(size)], size, *w, strict=True):
        reach = d * (k - 1) + 1
        room = n + before + after - reach + (s - 1 if ceil_mode else 0)
        if room < 0 or n == 0:
            raise ValueError(
                f"{op}: the kernel spans {reach} along {axis}, but x has {n}"
                + (f" + {before} + {after} of padding" if before or after else "")
            )
        places = room // s + 1
        if ceil_mode:
            places = min(places, (n + before - 1) // s + 1)
        out.append(places)
    return tuple(out)


def _numbers(n: int) -> str:
    return "an int" if n == 1 else f"an int or {n} of them ({', '.join(AXES[n])})"


def _pairs(n: int) -> str:
    return f"{n} pair{'s' if n > 1 else ''} (before, after), for {', '.join(AXES[n])}"
