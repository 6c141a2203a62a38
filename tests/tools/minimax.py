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
    """The same by weighted least squares on Chebyshev's nodes: near enough for a remainder."""
    m = 8 * (len(powers) + 4)
    a, b = mp.matrix(m, len(powers)), mp.matrix(m, 1)
    for i in range(m):
        x = (mp.mpf(lo) + hi) / 2 - (mp.mpf(hi) - lo) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * m))
        for j, k in enumerate(powers):
            a[i, j] = x**k * w(x)
        b[i] = f(x) * w(x)
    return list(mp.lu_solve(a, b))


def remainder(f: Real, coefficients: list[mp.mpf]) -> Real:
    """f without the polynomial found so far."""
    done = coefficients[::-1]
    return lambda x: f(x) - mp.polyval(done, x)


def fit(f: Real, w: Real, lo: float, hi: float, terms: int, dtype: type) -> list[float]:
    """Prints and returns `terms` coefficients, lowest power first, rounded to dtype."""
    powers = list(range(terms))
    c, worst = remez(f, w, lo, hi, powers)
    fixed: list[mp.mpf] = []
    for k in range(terms):
        fixed.append(mp.mpf(float(dtype(float(c[0])))))
        rest = powers[k + 1 :]
        if rest:
            left = remainder(f, fixed)
            c = least_squares(left, w, lo, hi, rest)
    grid = [mp.mpf(lo) + (mp.mpf(hi) - lo) * i / 1000 for i in range(1001)]
    rounded = max(abs(w(x) * (f(x) - mp.polyval(fixed[::-1], x))) for x in grid)
    print(
        f"// error 2^{float(mp.log(worst, 2)):.2f}, 2^{float(mp.log(rounded, 2)):.2f} once rounded"
    )
    print("{" + ", ".join(text(float(c), dtype) for c in fixed) + "};\n")
    return [float(c) for c in fixed]


def text(x: float, dtype: type) -> str:
    return f"{x:.9g}f" if dtype is np.float32 else f"{x:.17g}"


def near_zero(exact: Real, series: Real, switch: str) -> Real:
    """``exact``, but ``series`` below ``switch``, where it would cancel even in 60 digits."""
    return lambda x: exact(x) if abs(x) > mp.mpf(switch) else series(x)


def normal_tail(centre: mp.mpf) -> Real:
    """exp(x²/2) (normal integral from x on) / t over u = 1 - 2t, t = centre / (x + centre)."""

    def f(u: mp.mpf) -> mp.mpf:
        x = centre * (1 + u) / (1 - u)
        return mp.exp(x * x / 2) * mp.erfc(x / mp.sqrt(2)) / 2 * (x + centre) / centre

    return f


def main() -> None:
    """Print every polynomial of csrc/cpu/simd/constants.h."""
    r = float(mp.log(2) / 2) * 1.0001
    exponential = near_zero(
        lambda x: (mp.expm1(x) - x) / x**2, lambda x: mp.mpf(1) / 2 + x / 6 + x * x / 24, "1e-8"
    )
    s = float((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * 1.0001
    logarithm = near_zero(
        lambda z: 2 * (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda z: mp.mpf(2) / 3 + 2 * z / 5,
        "1e-12",
    )
    tangent = near_zero(
        lambda z: (mp.tanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda z: -mp.mpf(1) / 3 + 2 * z / 15,
        "1e-12",
    )
    error = near_zero(
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        lambda z: 2 / mp.sqrt(mp.pi) * (1 - z / 3) - 1,
        "1e-30",
    )
    q = float((mp.pi / 4) ** 2) * 1.02
    sine = near_zero(
        lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda z: -mp.mpf(1) / 6 + z / 120,
        "1e-12",
    )
    cosine = near_zero(
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: mp.mpf(1) / 24 - z / 720 + z * z / 40320,
        "1e-9",
    )
    for dtype, terms in (
        (np.float32, (5, 3, 4, 5, 6, 7, 10, 3, 3)),
        (np.float64, (11, 7, 11, 10, 13, 18, 23, 6, 6)),
    ):
        single = dtype is np.float32
        switch, one = (0.85, 3.95) if single else (1.0, 5.95)
        centre, limit = (3.5, 13.5) if single else (4.0, 39.0)
        tail = normal_tail(mp.mpf(centre))
        jobs: list[tuple[str, Real, Real, float, float]] = [
            ("ExpConstants", exponential, lambda x: abs(x) + mp.mpf("0.02"), -r, r),
            ("LogConstants kPoly", logarithm, lambda z: z + mp.mpf("0.001"), 0, s),
            ("LogConstants kUnit", logarithm, lambda z: z + mp.mpf("0.003"), 0, 1 / 9),
            ("TanhConstants", tangent, lambda z: z + mp.mpf("0.01"), 0, 0.55**2),
            ("ErfConstants kNear", error, lambda z: mp.mpf(1), 0, switch**2),
            (
                "ErfConstants kFar",
                lambda a: mp.log(mp.erfc(a)),
                lambda a: mp.erfc(a) / mp.erf(a),
                0.99 * switch,
                one,
            ),
            (
                "ErfConstants kTail",
                tail,
                lambda u, tail=tail: 1 / tail(u),
                -1,
                (limit - centre) / (limit + centre),
            ),
            ("TrigConstants kSine", sine, lambda z: z + mp.mpf("0.01"), 0, q),
            ("TrigConstants kCosine", cosine, lambda z: z * z + mp.mpf("0.001"), 0, q),
        ]
        for (name, f, w, lo, hi), n in zip(jobs, terms, strict=True):
            print(f"// {name}, {np.dtype(dtype).name}")
            fit(f, w, lo, hi, n, dtype)


if __name__ == "__main__":
    main()
