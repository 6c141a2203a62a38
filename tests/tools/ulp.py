"""Measures the elementary functions' errors in units of the last place (ulp).

    python tests/tools/ulp.py [ISA ...]      # prints a table, all instruction sets by default

The exact values come from extended precision (80 bits on x86-64), for float32 from float64. Samples
are every magnitude of the dtype, densely the range where the function bends, and the neighbours of
the points where its method changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import handloom as hl
from handloom import kernels

Array = npt.NDArray[Any]


def erf_series(x: Array) -> Array:
    """erf for |x| <= 3: 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, all terms of one sign."""
    term = x.copy()
    total = x.copy()
    for n in range(1, 90):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return total * np.exp(-x * x) * (2 / np.sqrt(np.arctan(np.ones_like(x)) * 4))


def erfc_tail(x: Array) -> Array:
    """erfc for x >= 2 by its continued fraction x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))."""
    fraction = x.copy()
    for n in range(400, 0, -1):
        fraction = x + x.dtype.type(n) / 2 / fraction
    # The rounding of x^2 would be seen in its exponential.
    head = x.astype(np.float32 if x.dtype == np.float64 else np.float64).astype(x.dtype)
    square = np.exp(-head * head) * np.exp(-(x - head) * (x + head))
    return square / (fraction * np.sqrt(np.arctan(np.ones_like(x)) * 4))


def exact_erf(x: Array) -> Array:
    a = np.abs(x)
    near = erf_series(np.minimum(a, 2))
    far = 1 - erfc_tail(np.clip(a, 2, 50))
    return np.copysign(np.where(a < 2, near, far), x)


def exact_cdf(x: Array) -> Array:
    """The normal distribution's integral."""
    u = np.abs(x) / np.sqrt(x.dtype.type(2))
    tail = np.where(u < 2, 1 - erf_series(np.minimum(u, 2)), erfc_tail(np.clip(u, 2, 50))) / 2
    return np.where(x > 0, 1 - tail, tail)


def exact_sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Function(NamedTuple):
    """One function of math.h, and where to look closely."""

    ours: Callable[[Array], Array]
    exact: Callable[[Array], Array]
    dense: tuple[float, float]
    points: tuple[float, ...]  # where the method changes


FUNCTIONS = {
    "exp": Function(kernels.exp, np.exp, (-110, 95), (0.34657359, -87.33654, 88.72283, 709.7827)),
    "expm1": Function(kernels.expm1, np.expm1, (-20, 20), (0.34657359, -0.34657359, 88.72283)),
    "sigmoid": Function(kernels.sigmoid, exact_sigmoid, (-90, 40), (0.0,)),
    "tanh": Function(kernels.tanh, np.tanh, (-10, 10), (0.55, -0.55, 0.0)),
    "log": Function(kernels.log, np.log, (1e-3, 4), (0.70710678, 1.0, 1.41421356)),
    "log1p": Function(kernels.log1p, np.log1p, (-0.999, 3), (-0.29289322, 0.41421356, 0.0)),
    "softplus": Function(
        lambda x: kernels.softplus(x, threshold=1e300),
        lambda x: np.logaddexp(x, x.dtype.type(0)),
        (-90, 40),
        (0.0,),
    ),
    "erf": Function(kernels.erf, exact_erf, (-6, 6), (0.85, 1.0, 3.95)),
    "gelu": Function(kernels.gelu, lambda x: x * exact_cdf(x), (-14, 6), (0.0,)),
    "sin": Function(kernels.sin, np.sin, (-900, 900), (0.78539816, 1.57079633, 3.14159265, 1e5)),
    "cos": Function(kernels.cos, np.cos, (-900, 900), (0.78539816, 1.57079633, 3.14159265, 1e5)),
}


def samples(function: Function, dtype: Any, count: int, seed: int = 0) -> Array:
    """``count`` of every magnitude and either sign, as many of the dense range, and the points."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    bits = np.int32 if dtype == np.float32 else np.int64
    with np.errstate(over="ignore"):
        largest = np.array(np.inf, dtype).view(bits)
        anything = rng.integers(0, largest, count).astype(bits).view(dtype)
        anything = np.where(rng.random(count) < 0.5, anything, -anything)
        lo, hi = function.dense
        dense = np.linspace(lo, hi, count).astype(dtype)
        dense = dense + (rng.random(count) * (hi - lo) / count).astype(dtype)
        points = np.array(function.points, dtype)
    around = [points]
    for direction in (np.inf, -np.inf):
        p = points
        for _ in range(50):
            p = np.nextafter(p, dtype.type(direction))
            around.append(p)
    return np.concatenate([anything, dense, *around]).astype(dtype)


def errors(function: Function, x: Array) -> Array:
    """Error of each sample in ulp; infinite for a wrong infinity, NaN or underflow."""
    dtype = x.dtype
    wide = np.float64 if dtype == np.float32 else np.longdouble
    x = x[np.abs(x) >= np.finfo(dtype).tiny]
    with np.errstate(all="ignore"):
        exact = function.exact(x.astype(wide))
        y = function.ours(x)
        nearest = exact.astype(dtype)
        normal = (np.abs(nearest) >= np.finfo(dtype).tiny) & np.isfinite(nearest)
        ulp = np.spacing(np.abs(nearest)).astype(wide)
        error = np.where(normal, np.abs(y.astype(wide) - exact) / ulp, 0)
        same = (y == nearest) | (np.isnan(y) & np.isnan(nearest))
        # What is too small for a normal number may be zero, but no more than one ulp too large.
        small = (np.abs(nearest) < np.finfo(dtype).tiny) & (np.abs(y) <= np.finfo(dtype).tiny)
    return np.where(normal | same | small, error, np.inf).astype(np.float64)


def table(isas: list[str], count: int) -> str:
    """Markdown: one row per function, the largest error on each instruction set."""
    columns = [(isa, dtype) for isa in isas for dtype in ("float32", "float64")]
    lines = ["| function | " + " | ".join(f"{isa} {dtype}" for isa, dtype in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name, function in FUNCTIONS.items():
        cells = []
        for isa, dtype in columns:
            with hl.use_isa(isa):
                cells.append(f"{errors(function, samples(function, dtype, count)).max():.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(sys.argv[1:] or hl.available_isas(), 500_000))
