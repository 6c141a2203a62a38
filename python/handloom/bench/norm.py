"""Normalisation: its cases, its inputs, and what each contender does with them.

A case is a forward, or a forward and a backward together, as a training step has them. Arrays are
channels-last for everyone; PyTorch is given its better memory format, found by trying both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from math import prod
from typing import Any

import numpy as np

from .cases import Case, Shape, Target
from .contenders import Array, Call, Prepared, once

Inputs = dict[str, Any]

TRIALS = 5
EPS = 1e-5


def norm(op: str, x: Shape, *, groups: int = 0, **rest: Any) -> list[Case]:
    """The forward of a norm, and forward + backward."""
    text = f"{op} {'×'.join(map(str, x))}" + (f" {groups} groups" if groups else "")
    rows = prod(x) // x[-1]
    targets = (rest.pop("forward", None), rest.pop("both", None))
    return [
        Case(
            "norm",
            text + (" + backward" if backward else ""),
            f"{op}_grad" if backward else op,
            (x, x[-1:], x[-1:]),
            options=(("groups", groups),),
            flops=(12.0 if backward else 5.0) * prod(x),
            # x to y; then x and dy to dx
            bytes=(5.0 if backward else 2.0) * 4 * prod(x),
            depth=max(rows, x[-1]),
            roofs=("copy",),
            target=targets[backward],
            **rest,
        )
        for backward in (False, True)
    ]


_BATCH: dict[str, Any] = {"both": Target(ratio=1.3, over=("torch",))}
_LAYER: dict[str, Any] = {
    "forward": Target(ratio=1.0, over=("torch",)),
    "both": Target(ratio=1.0, over=("torch",)),
}

CASES: tuple[Case, ...] = (
    *norm("batch_norm", (32, 28, 28, 64), quick=True, **_BATCH),
    *norm("batch_norm", (32, 56, 56, 64), **_BATCH),
    *norm("batch_norm", (64, 14, 14, 256), **_BATCH),
    *norm("batch_norm", (32, 7, 7, 512), **_BATCH),
    *norm("batch_norm", (64, 32, 32, 3), **_BATCH),
    *norm("batch_norm", (256, 512), **_BATCH),
    *norm("layer_norm", (4096, 1024), cold=True, quick=True, **_LAYER),
    *norm("layer_norm", (16384, 128), **_LAYER),
    *norm("layer_norm", (2048, 64), **_LAYER),
    *norm("rms_norm", (4096, 1024), cold=True),
    *norm("group_norm", (16, 32, 32, 64), groups=8),
    *norm("instance_norm", (16, 64, 64, 32)),
)


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``x w b``, and ``dy`` for the gradients."""
    shapes = dict(zip("xwb", case.shapes))
    if case.op.endswith("_grad"):
        shapes["dy"] = case.shapes[0]
    return {
        name: np.asarray(rng.standard_normal(shape, dtype=np.float32))
        for name, shape in shapes.items()
    }


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays."""
    kernels = contender.kernels
    name, groups = case.op.removesuffix("_grad"), case.option("groups")
    rest = (groups,) if groups else ()
    function = getattr(kernels, name)
    backward = getattr(kernels, name + "_backward")

    def forward(i: Inputs) -> Call:
        x, w, b = i["x"], i["w"], i["b"]
        if name == "batch_norm":
            return lambda: function(x, w, b, None, None, training=True)[0]
        if name == "rms_norm":
            return lambda: function(x, w, eps=EPS)
        return lambda: function(x, *rest, w, b)

    def both(i: Inputs) -> Call:
        x, w, b, dy = i["x"], i["w"], i["b"], i["dy"]

        def call() -> tuple[Any, ...]:
            if name == "batch_norm":
                y, mean, rstd = function(x, w, b, None, None, training=True)
                return (y, *backward(dy, x, w, mean, rstd))
            if name == "rms_norm":
                y, saved = function(x, w, eps=EPS, return_saved=True)
            else:
                y, saved = function(x, *rest, w, b, return_saved=True)
            return (y, *backward(dy, x, *rest, w, saved=saved))

        return call

    calls = [(both if case.op.endswith("_grad") else forward)(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``torch.nn.functional``, with autograd for the gradients."""
    library = contender.torch
    f = library.nn.functional
    name, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")
    rows = name in ("layer_norm", "rms_norm")
    functions: dict[str, Callable[[Any, Any, Any], Any]] = {
        "batch_norm": lambda x, w, b: f.batch_norm(x, None, None, w, b, True, 0.1, EPS),
        "layer_norm": lambda x, w, b: f.layer_norm(x, w.shape, w, b, EPS),
        "rms_norm": lambda x, w, b: f.rms_norm(x, w.shape, w, EPS),
        "group_norm": lambda x, w, b: f.group_norm(x, case.option("groups"), w, b, EPS),
        "instance_norm": lambda x, w, b: f.instance_norm(x, weight=w, bias=b, eps=EPS),
    }
    function = functions[name]
    images = not rows and len(case.shapes[0]) == 4
    formats = {"": None}
    if images:
        formats = {
            "NCHW": library.contiguous_format,
            "channels_last": library.channels_last,
        }

    def placed(array: Array, memory: Any) -> Any:
        tensor = library.from_numpy(array)
        if memory is None or array.ndim == 1:
            return tensor
        return tensor.permute(0, 3, 1, 2).contiguous(memory_format=memory)

    def call(i: Inputs, memory: Any) -> Call:
        t = {k: placed(v, memory) for k, v in i.items()}
        x, w, b = t["x"], t["w"], t["b"]
        if not grad:
            return lambda: function(x, w, b)
        wanted = [x, w] if name == "rms_norm" else [x, w, b]
        for leaf in wanted:
            leaf.requires_grad_()

        def both() -> tuple[Any, ...]:
            y = function(x, w, b)
            return (y, *library.autograd.grad(y, wanted, t["dy"]))

        return both

    within = nullcontext if grad else library.inference_mode

    def seconds(which: str) -> float:
        one = call(inputs[0], formats[which])
        one()
        start = time.perf_counter()
        for _ in range(TRIALS):
            one()
        return time.perf_counter() - start

    with within():
        best = min(formats, key=seconds) if images else ""
        calls = [call(i, formats[best]) for i in inputs]

    def channels_last(value: Any) -> Array:
        value = value.detach()
        if value.ndim == 4:
            value = value.permute(0, 2, 3, 1).contiguous()
        return np.asarray(value.numpy())

    note = f"format: {best}" if images else ""
    return Prepared(calls, once(calls[0], channels_last), note, within)


def jax(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The formulas on NHWC, jitted, and their transposes."""
    library, jnp = contender.jax, contender.jnp
    name, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")
    ndim = len(case.shapes[0])
    axes = {
        "batch_norm": tuple(range(ndim - 1)),
        "instance_norm": tuple(range(1, ndim - 1)),
        "group_norm": (*range(1, ndim - 1), ndim),
    }.get(name, (-1,))

    def forward(x: Any, w: Any, b: Any) -> Any:
        if name == "rms_norm":
            return x * library.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * w
        groups = case.option("groups")
        shape = x.shape
        if groups:
            x = x.reshape(*shape[:-1], groups, -1)
        mean = jnp.mean(x, axes, keepdims=True)
        var = jnp.var(x, axes, keepdims=True)
        return ((x - mean) * library.lax.rsqrt(var + EPS)).reshape(shape) * w + b

    def both(x: Any, w: Any, b: Any, dy: Any) -> Any:
        y, pull = library.vjp(forward, x, w, b)
        dx, dw, db = pull(dy)
        return (y, dx, dw) if name == "rms_norm" else (y, dx, dw, db)

    jitted = library.jit(both if grad else forward)

    def call(i: Inputs) -> Call:
        arrays = [library.device_put(i[key]) for key in ("x", "w", "b", "dy") if key in i]
        return lambda: library.block_until_ready(jitted(*arrays))

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))
