"""Softmax and glu: their edges, and that lines never mix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import handloom as hl
from handloom import kernels

INF, NAN = np.inf, np.nan


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


@pytest.mark.parametrize("n", [3, 40, 70000])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1])
def test_bad_lines_are_nan_and_only_they(n, name, axis, isa):
    x = np.zeros((5, n), np.float32)
    x[1] = -INF
    x[2, n - 1] = NAN
    x[3, 1] = INF
    x[4, 0] = -INF
    x = x if axis == 1 else np.ascontiguousarray(x.T)
    y = getattr(kernels, name)(x, axis=axis)
    lines = y if axis == 1 else y.T
    assert np.isnan(lines[1:4]).all()
    if name == "softmax":
        np.testing.assert_allclose(lines[0], 1 / n, rtol=1e-6)
        assert lines[4, 0] == 0
        np.testing.assert_allclose(lines[4, 1:], 1 / (n - 1), rtol=1e-6)
    else:
        np.testing.assert_allclose(lines[0], -np.log(n), rtol=1e-6)
        assert lines[4, 0] == -INF


def test_large_logits_do_not_overflow(isa):
    x = np.array([[1e4, 1e4 - 1], [-1e4, -1e4 - 1]], np.float32)
    p = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(kernels.softmax(x), [[p, 1 - p]] * 2, rtol=1e-6)
    np.testing.assert_allclose(kernels.log_softmax(x), np.log([[p, 1 - p]] * 2), rtol=1e-6)
    assert kernels.log_softmax(np.array([0.0, -1e5], np.float32))[1] == -1e5


def test_a_single_number_is_a_line_of_one():
    assert kernels.softmax(np.array(3.0)) == 1
    assert kernels.log_softmax(np.array(3.0)) == 0


@settings(deadline=None, max_examples=150)
@given(
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=20),
    st.sampled_from([np.float32, np.float64]),
    st.data(),
)
def test_lines_of_any_axis_sum_to_one(shape, dtype, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(0)
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    y = kernels.softmax(x, axis)
    assert y.shape == x.shape
    assert y.dtype == dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    if x.size:
        np.testing.assert_allclose(y.sum(axis), 1, rtol=tolerance)
        np.testing.assert_allclose(np.exp(kernels.log_softmax(x, axis)), y, rtol=20 * tolerance)
        # what is the same along a line moves no softmax, and a constant gradient goes nowhere
        dx = kernels.softmax_backward(np.ones_like(y), y, axis=axis)
        np.testing.assert_allclose(dx, 0, atol=tolerance)


def test_errors_name_the_argument():
    x = np.ones((4, 6))
    with pytest.raises(
        ValueError, match=r"softmax: x is not contiguous; pass np.ascontiguousarray"
    ):
        kernels.softmax(x.T)
    with pytest.raises(TypeError, match="log_softmax: x has dtype int64"):
        kernels.log_softmax(np.ones(3, np.int64))
    with pytest.raises(ValueError, match=r"softmax: x has shape \(4, 6\), so there is no axis 2"):
        kernels.softmax(x, axis=2)
    with pytest.raises(
        ValueError, match=r"softmax_backward: dy has shape \(4,\), expected \(4, 6\)"
    ):
        kernels.softmax_backward(np.ones(4), x)
    with pytest.raises(ValueError, match=r"glu: x has shape \(4, 7\), but axis 1 must be even"):
        kernels.glu(np.ones((4, 7)), axis=1)
