"""Fits the polynomials of csrc/cpu/simd/math.h and prints them as C++ constants.

    python tests/tools/minimax.py            # needs mpmath

Remez' exchange in 60 digits finds the polynomial p of least max |w(x) (f(x) - p(x))|; the
coefficients are then rounded one at a time, lowest first, and the rest fitted anew, so that each
rounding is made good by those that follow.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Real = Callable[[mp.mpf], mp.mpf]


def remez(f: Real, w: Real, lo: float, hi: float, powers: list[int]) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients of x**powers that minimise max |w (f - p)| on [lo, hi], and that maximum."""
    n = len(powers)
    lo, hi = mp.mpf(lo), mp.mpf(hi)
    nodes = [
        (lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n + 2))
        for i in range(n + 1)
    ]
    grid = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * i / (24 * n)) for i in range(24 * n + 1)]
    fg, wg = [f(x) for x in grid], [w(x) for x in grid]
    worst = mp.mpf(0)
    for _ in range(12):
        a = mp.matrix(n + 1, n + 1)
        b = mp.matrix(n + 1, 1)
        for i, x in enumerate(nodes):
            for j, k in enumerate(powers):
                a[i, j] = x**k * w(x)
            a[i, n] = (-1) ** i
            b[i] = f(x) * w(x)
        solution = mp.lu_solve(a, b)
        c = [solution[j] for j in range(n)]
        error = [
            wg[i] * (fg[i] - sum(c[j] * x**k for j, k in enumerate(powers)))
            for i, x in enumerate(grid)
        ]
        # One extremum for each run of equal sign.
        peaks: list[int] = []
        for i, e in enumerate(error):
            if peaks and mp.sign(error[peaks[-1]]) == mp.sign(e):
                if abs(e) > abs(error[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        worst = max(abs(e) for e in error)
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) < n + 1 or worst < abs(solution[n]) * mp.mpf("1.02"):
            break
        nodes = [grid[i] for i in peaks]
    return c, worst


def least_squares(f: Real, w: Real, lo: float, hi: float, powers: list[int]) -> list[mp.mpf]:
    """The same by weighted least squares on Chebyshev's nodes: near enough for what is left over."""
    m = 8 * (len(powers) + 4)
    a, b = mp.matrix(m, len(powers)), mp.matrix(m, 1)
    for i in range(m):
        x = (mp.mpf(lo) + hi) / 2 - (mp.mpf(hi) - lo) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * m))
        for j, k in enumerate(powers):
            a[i, j] = x**k * w(x)
        b[i] = f(x) * w(x)
    return list(mp.lu_solve(a, b))


def fit(f: Real, w: Real, lo: float, hi: float, terms: int, dtype: type) -> list[float]:
    """Prints and returns `terms` coefficients, lowest power first, rounded to dtype."""
    powers = list(range(terms))
    c, worst = remez(f, w, lo, hi, powers)
    fixed: list[mp.mpf] = []
    for k in range(terms):
        fixed.append(mp.mpf(float(dtype(float(c[0])))))
        done = list(fixed)
        rest = powers[k + 1 :]
        if rest:
            c = least_squares(lambda x: f(x) - mp.polyval(done[::-1], x), w, lo, hi, rest)
    grid = [mp.mpf(lo) + (mp.mpf(hi) - lo) * i / 1000 for i in range(1001)]
    rounded = max(abs(w(x) * (f(x) - mp.polyval(fixed[::-1], x))) for x in grid)
    print(
        f"// error 2^{float(mp.log(worst, 2)):.2f}, 2^{float(mp.log(rounded, 2)):.2f} once rounded"
    )
    print("{" + ", ".join(text(float(c), dtype) for c in fixed) + "};\n")
    return [float(c) for c in fixed]


def text(x: float, dtype: type) -> str:
    return f"{x:.9g}f" if dtype is np.float32 else f"{x:.17g}"
