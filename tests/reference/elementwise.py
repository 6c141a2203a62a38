"""Elementwise operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op, assert_same_bits

_erf = np.vectorize(math.erf, otypes=[float])

Maker = Callable[[Case, np.random.Generator], Arrays]


def erf(x: Any) -> Any:
    return _erf(x).astype(x.dtype)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return np.where(beta * x > threshold, x, np.logaddexp(beta * x, x.dtype.type(0)) / beta)


def gelu(x: Any, approximate: str = "none") -> Any:
    half = x.dtype.type(0.5)
    if approximate == "tanh":
        u = x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x**3)
        return half * x * (1 + np.tanh(u))
    return half * x * (1 + erf(x / x.dtype.type(math.sqrt(2))))


def elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def selu(x: Any) -> Any:
    return x.dtype.type(1.0507009873554805) * elu(x, 1.6732632423543773)


def heaviside(x: Any, value: float = 1.0) -> Any:
    return np.heaviside(x, x.dtype.type(value))


def prelu(x: Any, weight: Any) -> Any:
    return np.where(x > 0, x, weight * x)


def normal(case: Case, rng: np.random.Generator) -> Arrays:
    """Some of each sign, some large; never so near a kink that a difference would straddle it."""
    arrays = []
    for shape in case.shapes:
        x = 2.5 * rng.standard_normal(shape)
        arrays.append(np.asarray(x + np.where(x < 0, -1e-3, 1e-3)))
    return tuple(arrays)


def positive(case: Case, rng: np.random.Generator) -> Arrays:
    return tuple(np.asarray(np.exp(1.5 * rng.standard_normal(shape))) for shape in case.shapes)


def nonzero(case: Case, rng: np.random.Generator) -> Arrays:
    return tuple(
        np.asarray(rng.uniform(0.5, 2.5, shape) * rng.choice([-1.0, 1.0], shape))
        for shape in case.shapes
    )


def apart(case: Case, rng: np.random.Generator) -> Arrays:
    """Two operands that never come close to each other."""
    a, b = (np.round(rng.standard_normal(shape), 2) for shape in case.shapes)
    return np.asarray(a), np.asarray(b + 0.005)


def above_minus_one(case: Case, rng: np.random.Generator) -> Arrays:
    return tuple(np.expm1(rng.standard_normal(shape)) for shape in case.shapes)


def power_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    base, exponent = case.shapes
    a, b = rng.uniform(0.5, 2.5, base), rng.standard_normal(exponent)
    return np.asarray(a), np.asarray(b)


def where_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    mask, a, b = case.shapes
    values = (np.asarray(rng.standard_normal(shape)) for shape in (a, b))
    return np.asarray(rng.random(mask) < 0.5), *values


def unary(
    name: str,
    reference: Callable[..., Any],
    inputs: Maker = normal,
    slope: Callable[..., Any] | None = None,
) -> Op:
    """Forward and backward of ``kernels.<name>``, with y given to backward.

    ``slope(y)`` is the derivative where it is computed from y and cancels.
    """
    gradient = getattr(kernels, f"{name}_backward")

    def backward(dy: Any, arrays: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        (x,) = arrays
        dx = gradient(dy, x, y=y, **options)
        assert_same_bits(dx, gradient(dy, x, **options), name)
        return (dx,)

    def magnitude(x: Any, **options: Any) -> Any:
        return np.abs(reference(x, **options)) + np.abs(reference(np.abs(x), **options))

    def reference_backward(dy: Any, arrays: Arrays, options: dict[str, Any]) -> Arrays:
        assert slope is not None
        return (dy * slope(reference(*arrays, **options)),)

    return Op(
        getattr(kernels, name),
        reference,
        inputs,
        magnitude,
        backward,
        reference_backward=reference_backward if slope else None,
    )


def binary(name: str, reference: Callable[..., Any], inputs: Maker = normal) -> Op:
    """Forward and backward of ``kernels.<name>``."""
    gradient = getattr(kernels, f"{name}_backward")
    return Op(
        getattr(kernels, name),
        reference,
        inputs,
        backward=lambda dy, arrays, y, options: gradient(dy, *arrays),
        wrt=(0, 1),
    )


def between_steps(case: Case, rng: np.random.Generator) -> Arrays:
    """Odd halves over small whole numbers: no quotient is near a whole one, where floor jumps."""
    top, bottom = case.shapes
    a, b = rng.integers(-20, 20, top) + 0.5, rng.choice([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], bottom)
    return np.asarray(a), np.asarray(b)


UNARY = {
    "abs": unary("abs", np.abs),
    "ceil": unary("ceil", np.ceil),
    "clip": unary("clip", lambda x, min=None, max=None: np.clip(x, min, max)),
    "cos": unary("cos", np.cos),
    "erf": unary("erf", erf),
    "exp": unary("exp", np.exp),
    "expm1": unary("expm1", np.expm1),
    "floor": unary("floor", np.floor),
    "log": unary("log", np.log, positive),
    "log1p": unary("log1p", np.log1p, above_minus_one),
    "neg": unary("neg", np.negative),
    "reciprocal": unary("reciprocal", np.reciprocal, nonzero),
    "rsqrt": unary("rsqrt", lambda x: 1 / np.sqrt(x), positive),
    "sign": unary("sign", np.sign),
    "sin": unary("sin", np.sin),
    "sqrt": unary("sqrt", np.sqrt, positive),
    "square": unary("square", np.square),
    # activations
    "elu": unary("elu", elu),
    "gelu": unary("gelu", gelu),
    "hardsigmoid": unary("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6),
    "hardswish": unary("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "hardtanh": unary(
        "hardtanh", lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val)
    ),
    "leaky_relu": unary(
        "leaky_relu",
        lambda x, negative_slope=0.01: np.where(x > 0, x, x.dtype.type(negative_slope) * x),
    ),
    "logsigmoid": unary("logsigmoid", lambda x: -np.logaddexp(-x, x.dtype.type(0))),
    "mish": unary("mish", lambda x: x * np.tanh(softplus(x))),
    "relu": unary("relu", lambda x: np.maximum(x, 0)),
    "relu6": unary("relu6", lambda x: np.clip(x, 0, 6)),
    "selu": unary("selu", selu),
    "sigmoid": unary("sigmoid", sigmoid, slope=lambda y: y * (1 - y)),
    "silu": unary("silu", lambda x: x * sigmoid(x)),
    "softplus": unary("softplus", softplus),
    "softsign": unary("softsign", lambda x: x / (1 + np.abs(x))),
    "tanh": unary("tanh", np.tanh, slope=lambda y: 1 - y * y),
}
BINARY = {
    "add": binary("add", np.add),
    "div": binary("div", np.divide, nonzero),
    "floor_divide": binary("floor_divide", np.floor_divide, between_steps),
    "maximum": binary("maximum", np.maximum, apart),
    "minimum": binary("minimum", np.minimum, apart),
    "mul": binary("mul", np.multiply),
    "pow": binary("pow", np.power, power_inputs),
    "prelu": binary("prelu", prelu),
    "remainder": binary("remainder", np.remainder, between_steps),
    "sub": binary("sub", np.subtract),
}
# A difference is measured against what it is made of.
BINARY["sub"] = BINARY["sub"]._replace(magnitude=lambda a, b: np.abs(a) + np.abs(b))
BINARY["remainder"] = BINARY["remainder"]._replace(
    magnitude=lambda a, b: np.broadcast_to(np.abs(b), np.broadcast_shapes(a.shape, b.shape))
)
BINARY["pow"] = BINARY["pow"]._replace(magnitude=np.power)

OPS = {
    **UNARY,
    **BINARY,
    "heaviside": Op(kernels.heaviside, heaviside, normal),
    "where": Op(
        kernels.where,
        np.where,
        where_inputs,
        magnitude=lambda mask, a, b: np.where(mask, np.abs(a), np.abs(b)),
        backward=lambda dy, arrays, y, options: kernels.where_backward(
            dy, arrays[0], arrays[1].shape, arrays[2].shape
        ),
        wrt=(1, 2),
    ),
}


def _case(op: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    name = " ".join("x".join(map(str, shape)) for shape in shapes)
    return Case("elementwise", f"{op} {name} {options or ''}", op, shapes,
                options=tuple(options.items()), bench=False)  # fmt: skip


_OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "clip": ({"min": -0.5, "max": 1.25}, {"max": 0.3}, {"min": 0.1}),
    "elu": ({"alpha": 0.7}, {"alpha": -0.5}),
    "gelu": ({"approximate": "tanh"},),
    "hardtanh": ({"min_val": -0.3, "max_val": 2.0},),
    "heaviside": ({"value": 0.5},),
    "leaky_relu": ({"negative_slope": 0.2}, {"negative_slope": -0.2}),
    "softplus": ({"beta": 2.0, "threshold": 4.0}, {"beta": 0.5}),
}
# The result's shape is dy's: what is summed is what is missing in an operand.
_BROADCASTS = (
    ((7,), (1,)),
    ((), (5,)),
    ((1000, 3), (3,)),
    ((3, 1000), (3, 1)),
    ((33, 257), (257,)),
    ((257, 33), (257, 1)),
    ((2, 3, 4, 5), (3, 1, 5)),
    ((4, 1, 6, 1), (5, 1, 7)),
    ((1, 600), (700, 1)),
    ((40, 1, 40), (40, 40, 1)),
    ((0, 3), (3,)),
    ((3, 0), (3, 1)),
)

CASES = (
    *(_case(op, shape) for op in (*UNARY, "heaviside") for shape in ((1,), (19,), (3, 67), (0,))),
    *(_case(op, (35_001,)) for op in ("exp", "gelu", "relu", "sin")),
    *(_case(op, (41,), **options) for op, each in _OPTIONS.items() for options in each),
    *(_case(op, shape, shape) for op in BINARY for shape in ((1,), (19,), (3, 67))),
    *(_case(op, *shapes) for op in BINARY for shapes in _BROADCASTS),
    # sums cut into pieces, and many results
    _case("mul", (70_000,), ()),
    _case("mul", (9000, 17), (17,)),
    _case("mul", (17, 9000), (17, 1)),
    _case("mul", (300, 300), (300, 300)),
    _case("add", (5, 3000, 6), (3000, 1)),
    _case("where", (19,), (19,), (19,)),
    _case("where", (5, 67), (67,), (5, 1)),
    _case("where", (40_000,), (1,), (40_000,)),
    _case("where", (1, 4), (3, 1), ()),
)
