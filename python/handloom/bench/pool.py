"""Pooling: its cases, its inputs, and what each contender does with them.

Arrays are channels-last for everyone; PyTorch is given its better memory format, found by trying
both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from .cases import Case, Shape, Target
from .contenders import Array, Call, Prepared, once

Inputs = dict[str, Any]

TRIALS = 5
FORWARD = Target(roof=0.6, ratio=1.2, over=("torch", "jax"))
BACKWARD = Target(ratio=1.2, over=("torch", "jax"))


def pool(
    kind: str, x: Shape, kernel: int, stride: int, padding: int = 0, *, cold: bool, quick: bool
) -> list[Case]:
    """Forward and gradient of a 2-D pool."""
    n, h, w, c = x
    out = (n, *((m + 2 * padding - kernel) // stride + 1 for m in (h, w)), c)
    options = (("kernel_size", kernel), ("stride", stride), ("padding", padding), ("x", x))
    window = f"{kernel}×{kernel}" + (f"/{stride}" if stride != kernel else "")
    title = f"{kind} {window} {'×'.join(map(str, x))}"
    return [
        Case(
            "pool",
            title if what == "forward" else f"{title} {what}",
            f"{kind}_pool2d_{what}",
            (x,) if what == "forward" else (out, x),
            options=options,
            flops=float(prod(out) * kernel * kernel),
            bytes=4.0 * (prod(x) + prod(out)),
            depth=kernel * kernel,
            roofs=("copy",),
            cold=cold,
            quick=quick and what == "forward",
            target=FORWARD if what == "forward" else BACKWARD,
        )
        for what in ("forward", "backward")
    ]


def _cases() -> list[Case]:
    cases = []
    for kind in ("max", "avg"):
        cases += pool(kind, (32, 32, 32, 64), 2, 2, cold=True, quick=True)
        cases += pool(kind, (16, 112, 112, 64), 3, 2, 1, cold=True, quick=False)
        cases += pool(kind, (16, 28, 28, 192), 3, 1, 1, cold=True, quick=False)
        cases += pool(kind, (64, 28, 28, 6), 2, 2, cold=False, quick=False)
    cases += pool("avg", (64, 7, 7, 2048), 7, 7, cold=True, quick=False)
    return cases


CASES: tuple[Case, ...] = tuple(_cases())


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``x`` for forward, ``dy x`` for the gradient."""
    names = "x" if case.op.endswith("forward") else "dy x"
    return {
        name: np.asarray(rng.standard_normal(shape, dtype=np.float32))
        for name, shape in zip(names.split(), case.shapes)
    }


def _options(case: Case) -> dict[str, Any]:
    return {name: case.option(name) for name in ("kernel_size", "stride", "padding")}


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays; max keeps its winners from forward, as training does."""
    kernels, options = contender.kernels, _options(case)
    kind = case.op[:3]
    forward = getattr(kernels, f"{kind}_pool2d")
    backward = getattr(kernels, f"{kind}_pool2d_backward")

    def call(i: Inputs) -> Call:
        if "dy" not in i:
            return partial(forward, i["x"], **options)
        saved = {}
        if kind == "max":
            saved["saved"] = forward(i["x"], **options, return_saved=True)[1]
        return partial(backward, i["dy"], i["x"], **options, **saved)

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """PyTorch's pools in the better of its two memory formats; backward by its aten kernels."""
    library = contender.torch
    aten, functional = library.ops.aten, library.nn.functional
    formats = {"NCHW": library.contiguous_format, "channels_last": library.channels_last}
    k, s, p = _options(case).values()

    def call(i: Inputs, memory: Any) -> Call:
        t = {
            name: library.from_numpy(v).permute(0, 3, 1, 2).contiguous(memory_format=memory)
            for name, v in i.items()
        }
        if case.op == "max_pool2d_forward":
            return partial(functional.max_pool2d, t["x"], k, s, p)
        if case.op == "avg_pool2d_forward":
            return partial(functional.avg_pool2d, t["x"], k, s, p)
        pairs = ([k, k], [s, s], [p, p])
        if case.op == "max_pool2d_backward":
            indices = aten.max_pool2d_with_indices(t["x"], *pairs)[1]
            backward = aten.max_pool2d_with_indices_backward
            return partial(backward, t["dy"], t["x"], *pairs, [1, 1], False, indices)
        return partial(aten.avg_pool2d_backward, t["dy"], t["x"], *pairs, False, True, None)

    def seconds(name: str) -> float:
        one = call(inputs[0], formats[name])
        one()
        start = time.perf_counter()
        for _ in range(TRIALS):
            one()
        return time.perf_counter() - start

    with library.inference_mode():
        best = min(formats, key=seconds)
        calls = [call(i, formats[best]) for i in inputs]

    def channels_last(value: Any) -> Array:
        return np.asarray(value.permute(0, 2, 3, 1).contiguous().numpy())

    check = once(calls[0], channels_last)
    return Prepared(calls, check, f"format: {best}", library.inference_mode)


def jax(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``lax.reduce_window`` on NHWC and its transpose, jitted."""
    library = contender.jax
    lax = library.lax
    k, s, p = _options(case).values()
    window, strides = (1, k, k, 1), (1, s, s, 1)
    around = ((0, 0), (p, p), (p, p), (0, 0))

    def forward(x: Any) -> Any:
        if case.op.startswith("max"):
            return lax.reduce_window(x, -np.inf, lax.max, window, strides, around)
        return lax.reduce_window(x, 0.0, lax.add, window, strides, around) / (k * k)

    functions: dict[bool, Callable[..., Any]] = {
        True: forward,
        False: lambda dy, x: library.vjp(forward, x)[1](dy)[0],
    }
    jitted = library.jit(functions[case.op.endswith("forward")])

    def call(i: Inputs) -> Call:
        arrays = [library.device_put(value) for value in i.values()]
        return lambda: library.block_until_ready(jitted(*arrays))

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))
