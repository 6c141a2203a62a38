"""Convolution: its cases, its inputs, and what each contender does with them.

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

PASSES = ("forward", "dx", "dw")
TRIALS = 5


def conv(
    x: Shape, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False, **rest: Any
) -> list[Case]:
    """Forward and both gradients of a 2-D convolution, padded as ``kernel // 2``."""
    n, h, w, c = x
    pad = rest.pop("pad", kernel // 2)
    groups = c if depthwise else 1
    weight = (outputs, kernel, kernel, c // groups)
    out = (n, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1, outputs)
    options = (("stride", stride), ("padding", pad), ("groups", groups))
    text = f"{n}×{h}×{w}×{c}→{outputs} {kernel}×{kernel}" + (f"/{stride}" if stride > 1 else "")
    text += " depthwise" if depthwise else ""
    shapes = {"forward": (x, weight, (outputs,)), "dx": (out, weight), "dw": (out, x)}
    depth = {
        "forward": prod(weight[1:]),
        "dx": prod(weight) // weight[-1],
        "dw": prod(out[:-1]),
    }
    passes = rest.pop("passes", PASSES)
    return [
        Case(
            "conv",
            text if what == "forward" else f"{text} {what}",
            f"conv2d_{what}",
            shapes[what],
            options=(*options, ("x", x), ("w", weight)),
            flops=2.0 * prod(out) * prod(weight[1:]),
            bytes=4.0 * (prod(x) + prod(weight) + prod(out)),
            depth=depth[what],
            roofs=("copy",) if depthwise else ("peak",),
            **rest,
        )
        for what in passes
    ]


def _wide(roof: float) -> Target:
    return Target(roof=roof, ratio=1.0, over=("torch", "jax"))


CASES: tuple[Case, ...] = (
    *conv((16, 28, 28, 128), 128, 3, target=_wide(0.80), quick=True),
    *conv((16, 14, 14, 256), 256, 3, target=_wide(0.80)),
    *conv((32, 32, 32, 64), 64, 3, target=_wide(0.80)),
    *conv((32, 28, 28, 32), 64, 3, target=Target(ratio=1.0, over=("torch", "jax"))),
    *conv((32, 8, 8, 256), 256, 3, target=_wide(0.80)),
    *conv((32, 32, 32, 64), 128, 3, 2, target=_wide(0.70)),
    *conv((32, 28, 28, 1), 32, 3, passes=("forward", "dw"), target=Target(ratio=2.0)),
    *conv((32, 32, 32, 3), 32, 3, passes=("forward", "dw"), target=Target(ratio=2.0)),
    *conv((8, 224, 224, 3), 64, 7, 2, passes=("forward", "dw"), target=_wide(0.70)),
    *conv((64, 14, 14, 6), 16, 5, pad=0),
    *conv((16, 28, 28, 256), 64, 1, target=_wide(0.85)),
    *conv((16, 56, 56, 64), 64, 3, depthwise=True, target=Target(roof=0.67)),
)


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``x w b`` for forward, ``dy`` beside one of them for the gradients."""
    names = {"conv2d_forward": "x w b", "conv2d_dx": "dy w", "conv2d_dw": "dy x"}[case.op]
    arrays = {
        name: np.asarray(rng.standard_normal(shape, dtype=np.float32))
        for name, shape in zip(names.split(), case.shapes)
    }
    if "w" in arrays:
        arrays["w"] *= np.float32(prod(arrays["w"].shape[1:]) ** -0.5)
    return arrays


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays."""
    kernels = contender.kernels
    options = {name: case.option(name) for name in ("stride", "padding", "groups")}
    x, w = (np.empty(case.option(name), np.float32) for name in "xw")

    def call(i: Inputs) -> Call:
        if case.op == "conv2d_forward":
            return partial(kernels.conv2d, i["x"], i["w"], i["b"], **options)
        if case.op == "conv2d_dx":
            backward = partial(kernels.conv2d_backward, i["dy"], x, i["w"], need=("x",), **options)
            return lambda: backward()[0]
        backward = partial(kernels.conv2d_backward, i["dy"], i["x"], w, need=("w",), **options)
        return lambda: backward()[1]

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``conv2d`` and ``convolution_backward`` in the better of its two memory formats."""
    library = contender.torch
    formats = {
        "NCHW": library.contiguous_format,
        "channels_last": library.channels_last,
    }
    stride, pad, groups = (case.option(name) for name in ("stride", "padding", "groups"))
    like = {name: np.empty(case.option(name), np.float32) for name in "xw"}

    def placed(array: Array, memory: Any) -> Any:
        tensor = library.from_numpy(array)
        return tensor.permute(0, 3, 1, 2).contiguous(memory_format=memory)

    def call(i: Inputs, memory: Any) -> Call:
        t = {k: library.from_numpy(v) if v.ndim == 1 else placed(v, memory) for k, v in i.items()}
        if case.op == "conv2d_forward":
            function = library.nn.functional.conv2d
            return partial(function, t["x"], t["w"], t["b"], stride, pad, 1, groups)
        which = case.op == "conv2d_dw"
        x = t.get("x", placed(like["x"], memory) if "x" not in t else None)
        w = t.get("w", placed(like["w"], memory) if "w" not in t else None)
        backward = partial(
            library.ops.aten.convolution_backward,
            t["dy"], x, w, None, (stride, stride), (pad, pad), (1, 1), False, (0, 0), groups,
            (not which, which, False),
        )  # fmt: skip
        return lambda: backward()[int(which)]

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
    """``lax.conv_general_dilated`` on NHWC and its transposes, jitted."""
    library = contender.jax
    stride, pad, groups = (case.option(name) for name in ("stride", "padding", "groups"))
    # XLA wants the kernel's input channels before its output channels.
    numbers = ("NHWC", "HWIO", "NHWC")

    def forward(x: Any, w: Any) -> Any:
        return library.lax.conv_general_dilated(
            x, w.transpose(1, 2, 3, 0), (stride, stride), [(pad, pad)] * 2,
            dimension_numbers=numbers, feature_group_count=groups,
        )  # fmt: skip

    x, w = (np.zeros(case.option(name), np.float32) for name in "xw")
    functions: dict[str, tuple[Callable[..., Any], str]] = {
        "conv2d_forward": (lambda x, w, b: forward(x, w) + b, "x w b"),
        "conv2d_dx": (lambda dy, w: library.vjp(lambda x: forward(x, w), x)[1](dy)[0], "dy w"),
        "conv2d_dw": (lambda dy, x: library.vjp(lambda w: forward(x, w), w)[1](dy)[0], "dy x"),
    }
    function, names = functions[case.op]
    jitted = library.jit(function)

    def call(i: Inputs) -> Call:
        arrays = [library.device_put(i[name]) for name in names.split()]
        return lambda: library.block_until_ready(jitted(*arrays))

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))
