"""The elementary functions keep the error bounds that csrc/cpu/simd/math.h states."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import handloom as hl
from handloom import kernels

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "tools"))
from ulp import FUNCTIONS, errors, samples  # noqa: E402

HEADER = HERE.parent / "csrc" / "cpu" / "simd" / "math.h"
STATED = re.compile(
    r"// Largest error: ([\d.]+) ulp float, ([\d.]+) double(?:; not fused ([\d.]+), ([\d.]+))?\.\n"
    r"template <class V>\nHL_INLINE V (\w+)\("
)


def stated_bounds() -> dict[tuple[str, str, bool], float]:
    """(function, dtype, fused) → bound in ulp, as the header's comments say."""
    bounds = {}
    for single, double, single_slow, double_slow, name in STATED.findall(HEADER.read_text()):
        for fused in (True, False):
            slow = not fused and single_slow
            bounds[name, "float32", fused] = float(single_slow if slow else single)
            bounds[name, "float64", fused] = float(double_slow if slow else double)
    return bounds


BOUNDS = stated_bounds()


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


def test_header_states_a_bound_for_every_function():
    names = {name for name, _, _ in BOUNDS}
    assert names == {
        "exp", "expm1", "sigmoid", "tanh", "log", "log1p", "erf", "gelu", "sin", "cos",
    }  # fmt: skip
    assert names <= set(FUNCTIONS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted({name for name, _, _ in BOUNDS}))
def test_error_is_within_the_stated_bound(name, dtype, isa):
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("no extended precision to compare with on this platform")
    function = FUNCTIONS[name]
    x = samples(function, dtype, 40_000, seed=1)
    x = x[np.abs(x) >= np.finfo(dtype).tiny]
    error = errors(function, x)
    worst = int(np.argmax(error))
    assert error[worst] <= BOUNDS[name, dtype, isa != "scalar"], f"{name}({x[worst]!r})"


def test_error_stated_is_not_far_above_the_measured_one():
    # A bound that nothing comes near would hide a loss of accuracy.
    for (name, dtype, fused), bound in BOUNDS.items():
        if fused and np.finfo(np.longdouble).nmant >= 63:
            function = FUNCTIONS[name]
            error = errors(function, samples(function, dtype, 40_000, seed=1)).max()
            assert error > 0.6 * bound, (name, dtype, error)


INF, NAN = math.inf, math.nan
SPECIAL = {
    "exp": [(-INF, 0), (INF, INF), (NAN, NAN), (0.0, 1), (-0.0, 1), (1e30, INF), (-1e30, 0)],
    "expm1": [(-INF, -1), (INF, INF), (NAN, NAN), (0.0, 0.0), (-0.0, -0.0), (-1e30, -1)],
    "sigmoid": [(-INF, 0), (INF, 1), (NAN, NAN), (0.0, 0.5), (-0.0, 0.5), (-1e30, 0)],
    "tanh": [(-INF, -1), (INF, 1), (NAN, NAN), (0.0, 0.0), (-0.0, -0.0), (1e30, 1), (-1e30, -1)],
    "log": [(-INF, NAN), (INF, INF), (NAN, NAN), (0.0, -INF), (-0.0, -INF), (-1, NAN), (1, 0.0)],
    "log1p": [(-INF, NAN), (INF, INF), (NAN, NAN), (0.0, 0.0), (-0.0, -0.0), (-1, -INF), (-2, NAN)],
    "erf": [(-INF, -1), (INF, 1), (NAN, NAN), (0.0, 0.0), (-0.0, -0.0), (1e30, 1), (-1e30, -1)],
    "gelu": [(-INF, 0), (INF, INF), (NAN, NAN), (0.0, 0.0), (-1e30, 0)],
    "sin": [(-INF, NAN), (INF, NAN), (NAN, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "cos": [(-INF, NAN), (INF, NAN), (NAN, NAN), (0.0, 1), (-0.0, 1)],
    "sqrt": [(-1, NAN), (INF, INF), (NAN, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "rsqrt": [(-1, NAN), (INF, 0), (NAN, NAN), (0.0, INF)],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_values_in_every_lane(name, dtype, isa):
    f = getattr(kernels, name)
    for given, expected in SPECIAL[name]:
        for n in (1, 7, 16, 19):
            x = np.full(n, given, dtype)
            y = f(x)
            np.testing.assert_array_equal(y, np.full(n, expected, dtype), err_msg=f"{given}")
            if expected == 0 and given == 0:
                assert (np.signbit(y) == np.signbit(np.array(expected))).all(), given


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_lane_does_not_touch_its_neighbours(name, dtype, isa):
    f = FUNCTIONS[name].ours
    x = np.linspace(-3, 3, 21).astype(dtype) + np.array(0.013, dtype)
    with np.errstate(all="ignore"):
        clean = f(x)
        for lane in range(x.size):
            for odd in (math.nan, math.inf, -math.inf, 3e38, -1e6):
                z = x.copy()
                z[lane] = odd
                y = f(z)
                others = np.arange(x.size) != lane
                np.testing.assert_array_equal(y[others], clean[others])


def test_far_arguments_of_sine_are_reduced_exactly(isa):
    # The float64 number closest to a multiple of pi/2, after Kahan.
    x = np.array([6381956970095103.0 * 2.0**797])
    assert kernels.cos(x)[0] == pytest.approx(-4.68716592425462761112e-19, rel=1e-15)
    assert kernels.sin(x)[0] == 1.0
    y = np.array([1e22, 1e300, -1e22])
    expected = [-0.8522008497671888, -0.8178819121159085, 0.8522008497671888]
    np.testing.assert_allclose(kernels.sin(y), expected, rtol=1e-15)
