"""Resampling: its cases, its inputs, and what each contender does with them.

A case is a forward, or a forward and a backward together, as a training step has them. Images are
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
from .contenders import Array, Call, Prepared, Unsupported, once

Inputs = dict[str, Any]

TRIALS = 5
TAPS = (1.0, 3.0, 3.0, 1.0)
# A turn and a zoom, so that neighbouring places lie on different rows.
THETA = ((0.9, 0.2, 0.1), (-0.2, 0.9, 0.0))


def _pair(op: str, x: Shape, made: Shape, title: str, **rest: Any) -> list[Case]:
    """The forward, and forward + backward."""
    quick, options = rest.pop("quick", False), rest.pop("options", ())
    grid = 2 * prod(made[:-1]) if op == "grid_sample" else 0
    pixels = prod(x) + prod(made) + grid
    target = rest.pop("target", None)
    return [
        Case(
            "resize",
            f"{title} {'×'.join(map(str, x))}" + (" + backward" if backward else ""),
            f"{op}_grad" if backward else op,
            (x, made),
            options=options,
            flops=(3.0 if backward else 1.0) * rest["per_result"] * prod(made),
            bytes=4.0 * (2 if backward else 1) * pixels,
            # A place in the image is rounded in proportion to its size, and so are its weights.
            depth=16 if op != "grid_sample" else max(16, made[1] ** 2),
            roofs=("copy",),
            quick=quick,
            target=target,
        )
        for backward in (False, True)
    ]


def _doubled(mode: str, n: int, h: int, c: int, **rest: Any) -> list[Case]:
    x, made = (n, h, h, c), (n, 2 * h, 2 * h, c)
    per = 0.0 if mode == "nearest" else 6.0
    options = (("mode", mode),)
    return _pair("interpolate", x, made, f"{mode} ×2", options=options, per_result=per, **rest)


def _same(op: str, n: int, h: int, c: int, per: float, **rest: Any) -> list[Case]:
    return _pair(op, (n, h, h, c), (n, h, h, c), op, per_result=per, **rest)


_FASTER = {"target": Target(ratio=1.0, over=("torch", "jax"))}

CASES: tuple[Case, ...] = (
    *_doubled("nearest", 16, 32, 128, quick=True, **_FASTER),
    *_doubled("nearest", 32, 64, 3, **_FASTER),
    *_doubled("bilinear", 16, 32, 128, quick=True, **_FASTER),
    *_doubled("bilinear", 8, 64, 64, **_FASTER),
    *_doubled("bilinear", 16, 112, 3, **_FASTER),
    *_doubled("bilinear", 32, 64, 1, **_FASTER),
    *_same("grid_sample", 16, 32, 128, 8.0, **_FASTER),
    *_same("grid_sample", 16, 112, 3, 8.0, quick=True, **_FASTER),
    *_same("grid_sample", 64, 28, 1, 8.0, **_FASTER),
    *_same("blur", 16, 32, 128, 16.0, **_FASTER),
    *_same("blur", 8, 128, 32, 16.0, **_FASTER),
)


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``x``, the ``grid`` where there is one, and ``dy`` for the gradients."""
    x, made = case.shapes
    arrays = {"x": np.asarray(rng.standard_normal(x, dtype=np.float32))}
    if case.op.startswith("grid_sample"):
        h, w = made[1:3]
        places = np.stack(
            np.broadcast_arrays(
                (2 * np.arange(w) + 1) / w - 1, ((2 * np.arange(h) + 1) / h - 1)[:, None], 1.0
            ),
            -1,
        )
        jitter = rng.uniform(-0.01, 0.01, (made[0], h, w, 2))
        arrays["grid"] = (places @ np.array(THETA).T + jitter).astype(np.float32)
    if case.op.endswith("_grad"):
        arrays["dy"] = np.asarray(rng.standard_normal(made, dtype=np.float32))
    return arrays


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays."""
    kernels = contender.kernels
    name, mode = case.op.removesuffix("_grad"), case.option("mode")
    spatial, size = (tuple(shape[1:3]) for shape in case.shapes)

    def forward(i: Inputs) -> Any:
        if name == "interpolate":
            return kernels.interpolate(i["x"], size, mode=mode)
        if name == "grid_sample":
            return kernels.grid_sample(i["x"], i["grid"])
        return kernels.blur(i["x"], TAPS)

    def backward(i: Inputs) -> tuple[Any, ...]:
        if name == "interpolate":
            return (kernels.interpolate_backward(i["dy"], spatial, mode=mode),)
        if name == "grid_sample":
            pair: tuple[Any, ...] = kernels.grid_sample_backward(i["dy"], i["x"], i["grid"])
            return pair
        return (kernels.blur_backward(i["dy"], TAPS),)

    def call(i: Inputs) -> Call:
        if case.op.endswith("_grad"):
            return lambda: (forward(i), *backward(i))
        return lambda: forward(i)

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``torch.nn.functional`` with autograd; a blur is a depthwise convolution."""
    library = contender.torch
    f = library.nn.functional
    name, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")
    size, mode = tuple(case.shapes[1][1:3]), case.option("mode")
    taps = library.tensor(TAPS) / sum(TAPS)
    channels = case.shapes[0][-1]
    kernel = (taps[:, None] * taps).expand(channels, 1, 4, 4).contiguous()
    functions: dict[str, Callable[..., Any]] = {
        "interpolate": lambda x: f.interpolate(x, size, mode=mode),
        "grid_sample": lambda x, grid: f.grid_sample(x, grid, align_corners=False),
        "blur": lambda x: f.conv2d(f.pad(x, (2, 1, 2, 1)), kernel, groups=channels),
    }
    function = functions[name]
    formats = {"NCHW": library.contiguous_format, "channels_last": library.channels_last}

    def placed(key: str, array: Array, memory: Any) -> Any:
        tensor = library.from_numpy(array)
        if key == "grid":
            return tensor
        return tensor.permute(0, 3, 1, 2).contiguous(memory_format=memory)

    def call(i: Inputs, memory: Any) -> Call:
        t = {k: placed(k, v, memory) for k, v in i.items()}
        arguments = [t[k] for k in ("x", "grid") if k in t]
        if not grad:
            return lambda: function(*arguments)
        for leaf in arguments:
            leaf.requires_grad_()

        def both() -> tuple[Any, ...]:
            y = function(*arguments)
            return (y, *library.autograd.grad(y, arguments, t["dy"]))

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
        best = min(formats, key=seconds)
        calls = [call(i, formats[best]) for i in inputs]

    def channels_last(value: Any) -> Array:
        value = value.detach()
        # A grid's gradient has (x, y) last; no image here is two pixels wide.
        image = value if value.shape[-1] == 2 else value.permute(0, 2, 3, 1).contiguous()
        return np.asarray(image.numpy())

    return Prepared(calls, once(calls[0], channels_last), f"format: {best}", within)


def jax(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``jax.image.resize`` and a depthwise convolution, jitted, and their transposes."""
    library, jnp = contender.jax, contender.jnp
    name, grad = case.op.removesuffix("_grad"), case.op.endswith("_grad")
    if name == "grid_sample":
        raise Unsupported("JAX has no grid sampling of images")
    made, channels = case.shapes[1], case.shapes[0][-1]
    taps = jnp.asarray(TAPS, jnp.float32) / sum(TAPS)
    kernel = jnp.tile((taps[:, None] * taps)[..., None, None], (1, 1, 1, channels))

    def forward(x: Any) -> Any:
        if name == "interpolate":
            return library.image.resize(x, made, case.option("mode"))
        return library.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            ((2, 1), (2, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=channels,
        )

    def both(x: Any, dy: Any) -> Any:
        y, pull = library.vjp(forward, x)
        return (y, *pull(dy))

    jitted = library.jit(both if grad else forward)

    def call(i: Inputs) -> Call:
        arrays = [library.device_put(i[key]) for key in ("x", "dy") if key in i]
        return lambda: library.block_until_ready(jitted(*arrays))

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))
