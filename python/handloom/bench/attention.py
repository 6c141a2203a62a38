"""Attention: its cases, its inputs, and what each contender does with them.

A case is a forward, or a forward and a backward together, as a training step has them. Arrays are
``(N, T, heads, D)``, which JAX takes too; PyTorch wants the heads first and is given its better
layout,
found by trying both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from math import prod
from typing import Any

import numpy as np

from .cases import Case, Target
from .contenders import Array, Call, Prepared, once

Inputs = dict[str, Any]

TRIALS = 5


def _seen(tq: int, tk: int, causal: bool, window: int | None) -> Array:
    """(tq, tk): which keys each query sees; the last query is level with the last key."""
    away = np.arange(tk) - (np.arange(tq)[:, None] + tk - tq)
    see = away <= 0 if causal else np.ones(away.shape, np.bool_)
    return see & (away >= -window) if window is not None else see


def attention(
    n: int,
    tq: int,
    heads: int,
    d: int,
    *,
    tk: int = 0,
    causal: bool = False,
    window: int | None = None,
    passes: tuple[bool, ...] = (False, True),
    **rest: Any,
) -> list[Case]:
    """The forward, and forward + backward."""
    tk = tk or tq
    text = f"{n}×{tq}" + (f"→{tk}" if tk != tq else "") + f"×{heads}×{d}"
    text += " causal" if causal else ""
    text += f" window {window}" if window is not None else ""
    q, k = (n, tq, heads, d), (n, tk, heads, d)
    pairs = float(_seen(tq, tk, causal, window).sum()) * n * heads
    targets = (rest.pop("forward", None), rest.pop("both", None))
    return [
        Case(
            "attention",
            text + (" + backward" if backward else ""),
            "attention_grad" if backward else "attention",
            (q, k, k),
            options=(("causal", causal), ("window", window)),
            flops=(14.0 if backward else 4.0) * pairs * d,
            bytes=4.0 * (prod(q) + prod(k)) * (6 if backward else 2),
            depth=tk,
            roofs=("read",) if tq == 1 else ("peak",),
            target=targets[backward],
            **rest,
        )
        for backward in passes
    ]


def _ahead(roof: float | None, forward: float, both: float) -> dict[str, Any]:
    return {
        "forward": Target(roof=roof, ratio=forward, over=("torch", "jax")),
        "both": Target(ratio=both, over=("torch", "jax")),
    }


CASES: tuple[Case, ...] = (
    *attention(8, 128, 8, 64, quick=True, **_ahead(None, 2.2, 2.0)),
    *attention(4, 512, 8, 64, **_ahead(0.62, 2.2, 2.0)),
    *attention(4, 512, 8, 64, causal=True, **_ahead(None, 3.5, 3.5)),
    *attention(4, 512, 8, 64, causal=True, window=128, **_ahead(None, 3.5, 3.5)),
    *attention(1, 2048, 8, 64, causal=True, **_ahead(0.55, 2.2, 2.2)),
    *attention(1, 2048, 8, 64, causal=True, window=128, **_ahead(None, 6.0, 6.0)),
    *attention(32, 64, 4, 32, **_ahead(None, 2.2, 2.0)),
    *attention(4, 512, 8, 64, tk=128, **_ahead(None, 2.2, 2.0)),
    *attention(4, 1, 8, 64, tk=1024, passes=(False,), forward=Target(ratio=1.0)),
    *attention(1, 1, 8, 64, tk=1024, passes=(False,), forward=Target(ratio=1.0)),
)


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``q k v``, and ``dy`` for the gradients."""
    shapes = dict(zip("qkv", case.shapes))
    if case.op.endswith("_grad"):
        shapes["dy"] = case.shapes[0]
    return {
        name: np.asarray(rng.standard_normal(shape, dtype=np.float32))
        for name, shape in shapes.items()
    }


def _reach(case: Case) -> tuple[bool, int | None]:
    return case.option("causal"), case.option("window")


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The public functions on arrays."""
    kernels = contender.kernels
    causal, window = _reach(case)
    options = {"causal": causal, "window": None if window is None else (window, None)}

    def forward(i: Inputs) -> Call:
        q, k, v = i["q"], i["k"], i["v"]
        return lambda: kernels.attention(q, k, v, **options)

    def both(i: Inputs) -> Call:
        q, k, v, dy = i["q"], i["k"], i["v"], i["dy"]

        def call() -> tuple[Any, ...]:
            y, saved = kernels.attention(q, k, v, **options, return_saved=True)
            grads = kernels.attention_backward(dy, q, k, v, y, saved=saved, **options)
            return (y, *grads[:3])

        return call

    calls = [(both if case.op.endswith("_grad") else forward)(i) for i in inputs]
    return Prepared(calls, once(calls[0]))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``scaled_dot_product_attention``, with autograd for the gradients; a window is a mask."""
    library = contender.torch
    grad = case.op.endswith("_grad")
    causal, window = _reach(case)
    attend = library.nn.functional.scaled_dot_product_attention
    options: dict[str, Any] = {"is_causal": causal}
    if window is not None:
        see = _seen(case.shapes[0][1], case.shapes[1][1], causal, window)
        options = {"attn_mask": library.from_numpy(see)}
    layouts: dict[str, Callable[[Any], Any]] = {
        "(N, T, heads, D), seen as (N, heads, T, D)": lambda t: t.transpose(1, 2),
        "(N, heads, T, D)": lambda t: t.transpose(1, 2).contiguous(),
    }

    def call(i: Inputs, place: Callable[[Any], Any]) -> Call:
        q, k, v, *rest = (place(library.from_numpy(a)) for a in i.values())
        if not grad:
            return lambda: attend(q, k, v, **options)
        wanted = [q, k, v]
        for leaf in wanted:
            leaf.requires_grad_()

        def both() -> tuple[Any, ...]:
            y = attend(q, k, v, **options)
            return (y, *library.autograd.grad(y, wanted, rest[0]))

        return both

    within = nullcontext if grad else library.inference_mode

    def seconds(name: str) -> float:
        one = call(inputs[0], layouts[name])
        one()
        start = time.perf_counter()
        for _ in range(TRIALS):
            one()
        return time.perf_counter() - start

    with within():
        best = min(layouts, key=seconds)
        calls = [call(i, layouts[best]) for i in inputs]

    def heads_inside(value: Any) -> Array:
        return np.asarray(value.detach().transpose(1, 2).contiguous().numpy())

    return Prepared(calls, once(calls[0], heads_inside), f"layout: {best}", within)


def jax(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """``jax.nn.dot_product_attention`` and its transpose, jitted."""
    library = contender.jax
    grad = case.op.endswith("_grad")
    causal, window = _reach(case)
    reach = None if window is None else (window, 0)

    def forward(q: Any, k: Any, v: Any) -> Any:
        return library.nn.dot_product_attention(q, k, v, is_causal=causal, local_window_size=reach)

    def both(q: Any, k: Any, v: Any, dy: Any) -> Any:
        y, pull = library.vjp(forward, q, k, v)
        return (y, *pull(dy))

    jitted = library.jit(both if grad else forward)

    def call(i: Inputs) -> Call:
        arrays = [library.device_put(a) for a in i.values()]
        return lambda: library.block_until_ready(jitted(*arrays))

    calls = [call(i) for i in inputs]
    return Prepared(calls, once(calls[0]))
