"""Convolution in NumPy: one matrix product for each tap."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op, host


def _triple(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def conv(
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """y[n, j, o] = b[o] + Σ x[n, j·stride + t·dilation − padding, c] w[o, t, c]."""
    n = x.ndim - 2
    stride, dilation = _triple(stride, n), _triple(dilation, n)
    pairs = [(p, p) if isinstance(p, int) else p for p in _triple(padding, n)]
    x = np.pad(x, [(0, 0), *pairs, (0, 0)])
    kernel = w.shape[1:-1]
    out = tuple(
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
    )
    y = np.zeros((x.shape[0], *out, w.shape[0]), x.dtype)
    width, outputs = x.shape[-1] // groups, w.shape[0] // groups
    for tap in itertools.product(*map(range, kernel)):
        at = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, dilation, stride, out, strict=True)
        )
        seen = x[(slice(None), *at)]
        for g in range(groups):
            o = slice(g * outputs, (g + 1) * outputs)
            y[..., o] += seen[..., g * width : (g + 1) * width] @ w[(o, *tap)].T
    return y if b is None else y + b


def conv_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Every pixel adds the kernel, times its value."""
    n = x.ndim - 2
    stride, dilation, extra = (_triple(v, n) for v in (stride, dilation, output_padding))
    pads = _triple(padding, n)
    kernel = w.shape[1:-1]
    sizes = [
        (size - 1) * s + d * (k - 1) + 1
        for size, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
    ]
    full = [size + e for size, e in zip(sizes, extra, strict=True)]
    width, outputs = w.shape[0] // groups, w.shape[-1]
    y = np.zeros((x.shape[0], *full, outputs * groups), x.dtype)
    for tap in itertools.product(*map(range, kernel)):
        at = tuple(
            slice(t * d, t * d + s * (size - 1) + 1, s)
            for t, d, s, size in zip(tap, dilation, stride, x.shape[1:-1], strict=True)
        )
        for g in range(groups):
            c = slice(g * width, (g + 1) * width)
            o = slice(g * outputs, (g + 1) * outputs)
            y[(slice(None), *at, o)] += x[..., c] @ w[(c, *tap)]
    cut = tuple(slice(p, size - p) for p, size in zip(pads, full, strict=True))
    y = y[(slice(None), *cut)]
    return y if b is None else y + b


def _op(name: str, n: int, reference: Any) -> Op:
    forward = getattr(kernels, f"{name}{n}d")
    gradient = getattr(kernels, f"{name}{n}d_backward")

    def backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        x, w, _ = inputs
        grads = gradient(dy, x, w, **options)
        for i, one in enumerate("xwb"):  # alone or together: the same bits
            alone = gradient(dy, x, w, need=(one,), **options)
            assert np.array_equal(host(alone[i]), host(grads[i]))
            assert all(alone[j] is None for j in range(3) if j != i)
        return grads

    return Op(forward, reference, backward=backward, wrt=(0, 1, 2))


OPS = {
    f"{name}{n}d": _op(name, n, reference)
    for name, reference in (("conv", conv), ("conv_transpose", conv_transpose))
    for n in (1, 2, 3)
}


def _case(
    x: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    transpose: bool = False,
    **options: Any,
) -> Case:
    n = len(kernel)
    groups = options.get("groups", 1)
    first, last = (x[-1], outputs // groups) if transpose else (outputs, x[-1] // groups)
    name = f"conv{'_transpose' if transpose else ''}{n}d"
    text = "×".join(map(str, x)) + f"→{outputs} by {'×'.join(map(str, kernel))}"
    return Case(
        "conv",
        " ".join((text, *(f"{k} {v}" for k, v in options.items()))),
        name,
        (x, (first, *kernel, last), (outputs,)),
        options=tuple(options.items()),
        depth=math.prod(kernel) * x[-1] // groups,
    )


CASES = (
    # channels through the tails of the tile
    *(_case((1, 3, 5, c), 3, (2, 2)) for c in (1, 2, 3, 4, 7, 8, 15, 16, 17, 33)),
    *(_case((2, 4, 4, 2), k, (3, 3), padding=1) for k in (1, 2, 7, 16, 17, 31, 32, 33, 65)),
    # widths through the heights of the tile
    *(_case((1, 2, q, 3), 4, (2, 3), padding=1) for q in (1, 2, 5, 6, 7, 8, 13, 14, 15, 29)),
    _case((0, 4, 4, 3), 2, (3, 3)),
    _case((2, 1, 1, 5), 3, (1, 1)),
    _case((2, 5, 6, 5), 7, (1, 1)),
    _case((2, 5, 6, 5), 7, (1, 1), stride=2),
    _case((2, 5, 6, 5), 7, (1, 1), padding=1),
    _case((2, 9, 11, 4), 5, (3, 2), stride=(2, 3), padding=((1, 0), (2, 1))),
    _case((1, 9, 10, 3), 4, (3, 3), dilation=2, padding=2),
    _case((1, 9, 10, 3), 4, (2, 3), stride=3, dilation=(2, 3), padding=3),
    _case((1, 12, 12, 2), 3, (3, 3), stride=4),  # some pixels meet no tap
    _case((2, 5, 5, 6), 4, (3, 3), groups=2, padding=1),
    _case((2, 5, 5, 6), 9, (3, 3), groups=3, stride=2, padding=1),
    _case((1, 30, 20, 40), 40, (3, 3), padding=1),  # several blocks of rows
    _case((2, 8, 8, 70), 20, (3, 3), padding=1),  # several blocks of channels
    # 3 × 3 over many channels: through the edges, the tails and the blocks of Winograd's tiles
    *(_case((2, h, w, 16), 16, (3, 3), padding=1) for h, w in ((6, 12), (7, 12), (9, 15), (1, 99))),
    *(_case((2, 11, 9, c), k, (3, 3), padding=p) for c, k, p in ((33, 17, 0), (20, 65, 2))),
    _case((3, 13, 14, 64), 130, (3, 3), padding=((0, 2), (3, 1))),
    _case((1, 10, 12, 300), 280, (3, 3), padding=1),
    _case((2, 3, 9, 8, 16), 24, (1, 3, 3), padding=(0, 1, 1)),
    _case((2, 10, 11, 24), 32, (3, 3), True, padding=1),
    # one channel to few
    *(_case((2, 6, q, 1), k, (3, 5), padding=2) for q, k in ((7, 6), (29, 8), (33, 3), (70, 1))),
    _case((2, 9, 20, 1), 6, (3, 3), stride=(2, 1), padding=1),
    _case((1, 4, 5, 20, 1), 4, (2, 3, 3), padding=1),
    *(_case((2, 7, 28, 1), k, (5, 5), padding=2) for k in (1, 2, 3, 4, 5, 8, 9)),
    *(_case((n, 9, 16, 1), 4, (3, 3), padding=(0, 1)) for n in (1, 17, 35)),
    _case((2, 9, 30, 1), 6, (3, 5), stride=(2, 1), dilation=(2, 1), padding=(2, 2)),
    _case((1, 90, 120, 1), 7, (3, 3), padding=1),  # several blocks of rows
    _case((3, 33, 1), 5, (3,), padding=0),
    # one channel a group
    *(_case((2, 5, 9, c), c, (3, 3), groups=c, padding=1) for c in (2, 16, 19)),
    _case((2, 9, 11, 17), 17, (3, 3), groups=17, padding=1, stride=2),
    _case((1, 4, 30, 5), 5, (5, 5), groups=5, padding=2),
    _case((1, 9, 9, 4), 4, (3, 2), groups=4, dilation=2, padding=(2, 1)),
    _case((1, 5, 5, 3), 6, (3, 3), groups=3, padding=1),
    # sequences
    _case((2, 17, 3), 4, (3,), padding=1),
    _case((2, 17, 3), 4, (3,), padding=((4, 0),), dilation=2),
    _case((1, 3000, 20), 3, (5,), stride=2),
    _case((2, 9, 8), 8, (3,), groups=8, padding=1),
    # volumes
    _case((1, 3, 4, 5, 2), 3, (2, 3, 2), padding=1),
    _case((2, 4, 5, 6, 3), 2, (3, 1, 2), stride=(2, 1, 3), dilation=(1, 2, 1), padding=(1, 0, 2)),
    _case((1, 3, 4, 5, 4), 4, (3, 3, 3), groups=4, padding=1),
    # transposed
    _case((2, 4, 5, 3), 4, (3, 3), True),
    _case((2, 4, 5, 3), 4, (4, 4), True, stride=2, padding=1),
    _case((1, 3, 4, 6), 4, (3, 3), True, stride=2, padding=1, output_padding=1, groups=2),
    _case((1, 4, 4, 17), 3, (2, 3), True, stride=(3, 2), dilation=2, output_padding=(2, 1)),
    _case((2, 4, 5, 6), 6, (3, 3), True, stride=2, padding=1, groups=6),
    _case((2, 7, 3), 5, (4,), True, stride=2, padding=1),
    _case((1, 2, 3, 4, 2), 3, (2, 3, 2), True, stride=2),
)
