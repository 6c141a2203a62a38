"""Cases of the dense family: matmul, linear, elementwise, reductions, softmax, loss, steps."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

from .cases import Case, Shape, Target

ITEMSIZE = {"float32": 4, "float64": 8}
DTYPES = ("float32", "float64")

# Below these sizes a product is bound by call and packing, and no share of the peak is promised.
PEAK_SHARE = {128: 0.45, 256: 0.70, 512: 0.88, 1024: 0.88, 2048: 0.88}
NOT_SLOWER = 0.97

# 4 M float32 are 16 MB; the rotation over several such buffers goes beyond the last cache.
BIG = (2048, 2048)
UNARY = ("tanh", "exp", "erf", "sigmoid", "gelu", "relu")
BINARY = ("add", "mul")


def product(
    name: str, a: Shape, b: Shape, dtype: str = "float32", *, family: str = "matmul", **rest: Any
) -> Case:
    """A case ``a @ b``; ``trans`` is two letters, ``"t"`` for an operand stored transposed."""
    m, k, n = a[-2], a[-1], b[-1]
    batch = max((a[:-2], b[:-2]), key=len)
    options = (("trans", rest.pop("trans", "nn")),)
    elements = prod(a) + prod(b) + prod(batch) * m * n
    return Case(
        family,
        name,
        "matmul",
        (a, b),
        dtype,
        options,
        flops=2.0 * prod(batch) * m * n * k,
        bytes=float(elements * ITEMSIZE[dtype]),
        depth=max(k, 1),
        **rest,
    )


def _cubes() -> list[Case]:
    cases = []
    for dtype in DTYPES:
        for size in (16, 32, 64, 128, 256, 512, 1024, 2048):
            target = Target(roof=PEAK_SHARE.get(size), ratio=NOT_SLOWER)
            quick = dtype == "float32" and size in (64, 256, 512)
            cases.append(
                product(
                    f"{size}³", (size, size), (size, size), dtype,
                    roofs=("peak",), quick=quick, target=target,
                )
            )  # fmt: skip
    return cases


def _skinny() -> list[Case]:
    target = Target(ratio=NOT_SLOWER)
    cases = [
        product("32×768→3072", (32, 768), (768, 3072), roofs=("peak",), quick=True, target=target),
        product("128×784→10", (128, 784), (784, 10), roofs=("peak",), target=target),
    ]
    # The large operand alone is 64 MB: these run at the speed of memory, or should.
    for m in (1, 4, 8, 16):
        cases.append(
            product(
                f"{m}×4096→4096", (m, 4096), (4096, 4096),
                roofs=("peak", "read"), cold=True, quick=m == 1, target=target,
            )
        )  # fmt: skip
        cases.append(
            product(
                f"4096×4096→{m}", (4096, 4096), (4096, m),
                roofs=("peak", "read"), cold=True, target=target,
            )
        )  # fmt: skip
    for shapes in (((1, 4096), (4096, 4096)), ((4096, 4096), (4096, 1))):
        (m, k), (_, n) = shapes
        cases.append(
            product(
                f"{m}×{k}→{n}", *shapes, "float64",
                roofs=("peak", "read"), cold=True, target=target,
            )
        )  # fmt: skip
    return cases


def _layouts() -> list[Case]:
    target = Target(ratio=NOT_SLOWER)
    cases = [
        product(
            f"512³ {trans}", (512, 512), (512, 512), trans=trans, roofs=("peak",), target=target
        )
        for trans in ("nt", "tn", "tt")
    ]
    for batch, size in ((256, 32), (64, 64), (32, 128)):
        a = (batch, size, size)
        cases.append(product(f"{batch}× {size}³", a, a, roofs=("peak",), target=target))
    cases.append(
        product("64× 64×256→64, b shared", (64, 64, 256), (256, 64), roofs=("peak",), target=target)
    )
    return cases


def linear(
    x: Shape, outputs: int, activation: str | None, *, backward: bool = False, **rest: Any
) -> Case:
    """``act(x @ w.T + b)`` with w (O, I), or its three gradients."""
    (m, k), n = x, outputs
    dtype = rest.pop("dtype", "float32")
    elements = m * k + n * k + n + m * n
    shapes = ((m, n), x, (n, k)) if backward else (x, (n, k), (n,))
    label = f"{m}×{k}→{n}" + (f" {activation}" if activation else "")
    return Case(
        "linear",
        label + (" backward" if backward else ""),
        "linear_backward" if backward else "linear",
        shapes,
        dtype,
        (("activation", activation),),
        flops=(4.0 if backward else 2.0) * m * n * k,
        bytes=float((2 if backward else 1) * elements * ITEMSIZE[dtype]),
        depth=max(k, m, n, 1) if backward else max(k, 1),
        roofs=("peak",),
        **rest,
    )


def _linears() -> list[Case]:
    cases = []
    for x, outputs, activation in (
        ((32, 64), 64, "relu"),
        ((128, 784), 512, "relu"),
        ((128, 784), 10, None),
        ((100, 300), 300, "tanh"),
        ((32, 768), 3072, "gelu"),
        ((512, 512), 512, "relu"),
    ):
        quick = x == (128, 784) and activation == "relu"
        cases.append(linear(x, outputs, activation, quick=quick))
        if activation != "gelu":  # its gradient needs a saved value that each library names its way
            cases.append(linear(x, outputs, activation, backward=True, quick=quick))
    return cases


def unary(op: str, shape: Shape, dtype: str = "float32", **rest: Any) -> Case:
    """An elementwise op of one input."""
    n = prod(shape)
    traffic = float(2 * n * ITEMSIZE[dtype])
    name = rest.pop("name", f"{op} {_size(n)}")
    return Case(
        "elementwise", name, op, (shape,), dtype, flops=float(n), bytes=traffic, **rest
    )  # fmt: skip


def binary(op: str, a: Shape, b: Shape, dtype: str = "float32", **rest: Any) -> Case:
    """An elementwise op of two inputs, with broadcasting."""
    rank = max(len(a), len(b))
    wide = [(1,) * (rank - len(s)) + s for s in (a, b)]
    n = prod(max(pair) if min(pair) else 0 for pair in zip(*wide))
    traffic = float((prod(a) + prod(b) + n) * ITEMSIZE[dtype])
    name = rest.pop("name", f"{op} {_size(n)}")
    return Case("elementwise", name, op, (a, b), dtype, flops=float(n), bytes=traffic, **rest)


def _size(n: int) -> str:
    return f"{n >> 20} M" if n >= 1 << 20 else str(n)


def _elementwise() -> list[Case]:
    call = Target(ratio=1 / 3, over=("numpy",))
    stream: dict[str, Any] = {"roofs": ("copy",), "cold": True}
    cases = [binary("add", (16,), (16,), quick=True, target=call)]
    cases += [unary(op, (16,)) for op in ("relu", "tanh")]
    for op in BINARY:
        cases.append(binary(op, BIG, BIG, target=Target(roof=0.8), quick=op == "add", **stream))
    cases.append(
        binary("add", BIG, BIG[1:], name="add 4 M + row", target=Target(roof=0.8), **stream)
    )
    for op in UNARY:
        # 1.5 times a copy of the same size is two thirds of its bandwidth.
        target = Target(roof=0.8 if op == "relu" else 2 / 3)
        cases.append(unary(op, BIG, target=target, quick=op == "tanh", **stream))
    for op in ("tanh", "exp"):
        cases.append(unary(op, BIG, "float64", **stream))
    cases.append(binary("add", BIG, BIG, "float64", target=Target(roof=0.8), **stream))
    return cases


def reduction(op: str, shape: Shape, axis: int | None, dtype: str = "float32", **rest: Any) -> Case:
    """A reduction over one axis or all."""
    n = prod(shape)
    return Case(
        "reduce",
        f"{op} {'×'.join(map(str, shape))} {'all' if axis is None else f'axis {axis}'}",
        op,
        (shape,),
        dtype,
        (("axis", axis),),
        flops=float(n),
        bytes=float(n * ITEMSIZE[dtype]),
        # Libraries sum in blocks; more terms than these do not add up in one chain.
        depth=min(max(n, 1), 4096) if op in ("sum", "mean") else 1,
        **rest,
    )


def _reductions() -> list[Case]:
    stream: dict[str, Any] = {"roofs": ("read",), "cold": True, "target": Target(roof=0.8)}
    cases = [
        reduction(op, BIG, axis, quick=op == "sum" and axis is None, **stream)
        for op in ("sum", "mean", "max")
        for axis in (None, -1)
    ]
    cases.append(reduction("sum", BIG, 0, **stream))
    cases.append(reduction("sum", BIG, None, "float64", **stream))
    cases.append(reduction("sum", (128, 10), -1))
    return cases


def rowwise(op: str, shape: Shape, dtype: str = "float32", **rest: Any) -> Case:
    """Softmax, or cross-entropy with class indices, over the last axis."""
    n = prod(shape)
    traffic = float((1 if op == "cross_entropy" else 2) * n * ITEMSIZE[dtype])
    title = {"cross_entropy_grad": "cross_entropy + gradient"}.get(op, op)
    return Case(
        "softmax",
        f"{title} {'×'.join(map(str, shape))}",
        op,
        (shape,),
        dtype,
        flops=4.0 * n,
        bytes=traffic,
        depth=max(shape[-1], 1),
        **rest,
    )


def _rowwise() -> list[Case]:
    cases = []
    for shape in ((128, 10), (4096, 1000)):
        big: dict[str, Any] = {"roofs": ("copy",), "cold": True} if shape[0] > 1000 else {}
        quick = shape[0] > 1000
        cases.append(rowwise("softmax", shape, quick=quick, **big))
        cases.append(
            rowwise("cross_entropy", shape, **({**big, "roofs": ("read",)} if big else {}))
        )
        cases.append(rowwise("cross_entropy_grad", shape, quick=not quick, **big))
    return cases


def step(name: str, widths: Shape, batch: int, optimiser: str, **rest: Any) -> Case:
    """One training step of a dense network: forward, loss, backward, update, on a fresh batch."""
    pairs = list(pairwise(widths))
    activation, batches = rest.pop("activation", "relu"), rest.pop("batches")
    # Two products a layer going back, but none for the gradient of the data.
    flops = 2.0 * batch * (3 * sum(i * o for i, o in pairs) - pairs[0][0] * pairs[0][1])
    return Case(
        "step",
        f"{name} B{batch} {optimiser}",
        "step",
        tuple(pairs),
        options=(
            ("batch", batch), ("activation", activation), ("optimiser", optimiser),
            ("lr", 1e-3 if optimiser == "adam" else 1e-2), ("batches", batches),
            ("loss", "bce" if widths[-1] == 1 else "cross_entropy"),
        ),
        flops=flops,
        depth=max(widths),
        roofs=("peak",),
        **rest,
    )  # fmt: skip


def _steps() -> list[Case]:
    higgs = (28, 300, 300, 300, 300, 300, 1)
    cases = []
    for optimiser in ("adam", "sgd"):
        for name, widths, batch, faster, rest in (
            ("MLP 64-64-10", (64, 64, 10), 32, 4.0, {"batches": 256}),
            ("MLP 784-512-256-10", (784, 512, 256, 10), 128, 2.5, {"batches": 64}),
            ("HIGGS 28-5×300-1", higgs, 100, 3.0, {"batches": 256, "activation": "tanh"}),
        ):
            target = Target(ratio=faster, over=("torch",))
            quick = optimiser == "adam" and batch != 100
            cases.append(
                step(name, widths, batch, optimiser, target=target, quick=quick, **rest)
            )  # fmt: skip
    return cases


def _scaling() -> list[Case]:
    big = (1024, 1024)
    target = Target(ratio=0.93)
    return [
        product("1024³", big, big, dtype, family="scaling", roofs=("peak",), target=target)
        for dtype in DTYPES
    ]


CASES: tuple[Case, ...] = (
    *_cubes(), *_skinny(), *_layouts(), *_linears(), *_elementwise(), *_reductions(),
    *_rowwise(), *_steps(), *_scaling(),
)  # fmt: skip
