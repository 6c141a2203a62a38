"""Pools keep their promises on every window, dtype and edge; and say what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels, nn
from handloom.nn import functional as F
from reference import pool as oracle

NAMED = st.sampled_from(("valid", "same", "full"))


@st.composite
def pools(draw: Any) -> tuple[Any, dict[str, Any]]:
    """An array with ties, NaN and infinities among small numbers, and a window that fits it."""
    d = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, (0, 20, 9, 5)[d])) for _ in range(d))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(d))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(d))
    reach = [q * (k - 1) for q, k in zip(dilation, kernel)]
    sides = st.tuples(*(st.tuples(st.integers(0, r), st.integers(0, r)) for r in reach))
    options = {
        "kernel_size": kernel,
        "stride": tuple(draw(st.integers(1, 4)) for _ in range(d)),
        "dilation": dilation,
        "padding": draw(sides | NAMED),
        "ceil_mode": draw(st.booleans()),
    }
    shape = (draw(st.integers(0, 3)), *size, draw(st.integers(0, 37)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = np.round(rng.standard_normal(shape) * 2).astype(draw(st.sampled_from(["f4", "f8"])))
    special = draw(st.sampled_from((None, np.nan, np.inf, -np.inf)))
    if special is not None:
        x[rng.random(shape) < 0.1] = special
    return x, options


def empty(x: Any, options: dict[str, Any]) -> bool:
    return any(not axis for axis in oracle.windows(x, options)[0])


@settings(deadline=None)
@given(case=pools(), largest=st.booleans())
def test_extremes_on_any_window(case, largest):
    x, options = case
    name = f"{'max' if largest else 'min'}_pool{x.ndim - 2}d"
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    if empty(x, options):
        with pytest.raises(ValueError, match=rf"{name}: the kernel spans"):
            forward(x, **options)
        return
    y, indices, saved = forward(x, **options, return_indices=True, return_saved=True)
    expected, places = oracle.extreme(x, largest, options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(forward(x, **options), y)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(x.dtype)
    dx = backward(dy, x, **options, saved=saved)
    np.testing.assert_allclose(dx, oracle.extreme(x, largest, options, dy), atol=1e-5)
    np.testing.assert_array_equal(backward(dy, x, **options), dx)


@settings(deadline=None)
@given(case=pools(), count_include_pad=st.booleans(), override=st.sampled_from((None, 1, 3, -2)))
def test_averages_on_any_window(case, count_include_pad, override):
    x, options = case
    name = f"avg_pool{x.ndim - 2}d"
    options |= {"count_include_pad": count_include_pad, "divisor_override": override}
    if empty(x, options):
        return
    with np.errstate(invalid="ignore"):
        expected = oracle.avg(x, **options)
    y = getattr(kernels, name)(x, **options)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(x.dtype)
    dx = getattr(kernels, name + "_backward")(dy, x, **options)
    np.testing.assert_allclose(dx, oracle.avg_backward(dy, (x,), options)[0], atol=1e-5)


@settings(deadline=None)
@given(data=st.data(), d=st.integers(1, 3))
def test_adaptive_pools_on_any_size(data, d):
    size = tuple(data.draw(st.integers(1, 9)) for _ in range(d))
    out = tuple(data.draw(st.integers(1, 12)) for _ in range(d))
    x = np.round(np.random.default_rng(d).standard_normal((2, *size, 5)) * 2)
    mean = getattr(kernels, f"adaptive_avg_pool{d}d")(x, out)
    np.testing.assert_allclose(mean, oracle.avg(x, output_size=out), rtol=1e-12, atol=1e-12)
    y, indices = getattr(kernels, f"adaptive_max_pool{d}d")(x, out, return_indices=True)
    expected, places = oracle.extreme(x, True, {"output_size": out})
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)


def test_nan_wins_in_every_lane_and_the_last_one_stays():
    for c in (1, 5, 16, 21, 64, 67):
        for lane in range(c):
            x = np.ones((1, 2, 2, c), np.float32)
            x[0, 0, 1, lane] = x[0, 1, 0, lane] = np.nan
            x[0, 1, 1] = 2
            for pool in (kernels.max_pool2d, kernels.min_pool2d):
                y, at = pool(x, 2, return_indices=True)
                assert np.array_equal(np.isnan(y[0, 0, 0]), np.arange(c) == lane)
                assert at[0, 0, 0, lane] == 2
            assert np.isnan(kernels.avg_pool2d(x, 2)[0, 0, 0, lane])


def test_ties_and_the_sign_of_zero_go_to_the_first():
    x = np.array([0.0, -0.0, -0.0, 0.0], np.float32).reshape(1, 4, 1)
    for pool in (kernels.max_pool1d, kernels.min_pool1d):
        y, at = pool(x, 2, return_indices=True)
        assert at.ravel().tolist() == [0, 2]
        assert np.signbit(y).ravel().tolist() == [False, True]
        np.testing.assert_array_equal(np.signbit(pool(x, 2)), np.signbit(y))
    lowest = np.full((1, 4, 1), -np.inf)
    y, at = kernels.max_pool1d(lowest, 2, return_indices=True)
    assert at.ravel().tolist() == [0, 2]
    dx = kernels.max_pool1d_backward(np.ones((1, 2, 1)), lowest, 2)
    assert dx.ravel().tolist() == [1, 0, 1, 0]


def test_a_window_that_steps_over_everything():
    # Taps at -1 and 1 of an axis of length 1.
    x = np.ones((1, 1, 3))
    y, at = kernels.max_pool1d(x, 2, padding=1, dilation=2, return_indices=True)
    assert np.all(y == -np.inf)
    assert np.all(at == -1)
    assert not kernels.max_pool1d_backward(np.ones_like(y), x, 2, padding=1, dilation=2).any()
    mean = kernels.avg_pool1d(x, 2, padding=1, dilation=2, count_include_pad=False)
    assert not mean.any()


def test_causal_pools_see_nothing_later():
    x = np.arange(6.0).reshape(1, 6, 1)
    y = kernels.max_pool1d(x, 3, stride=1, padding="causal")
    assert y.ravel().tolist() == x.ravel().tolist()
    y = kernels.avg_pool1d(x, 3, stride=1, padding="causal", count_include_pad=False)
    assert y.ravel().tolist() == [0, 0.5, 1, 2, 3, 4]


def test_large_results_go_past_the_caches_unharmed():
    x = np.random.default_rng(0).standard_normal((3, 1050, 2048)).astype(np.float32)
    for threads in (1, 2):
        before = hl.get_num_threads()
        hl.set_num_threads(threads)
        y, saved = kernels.max_pool1d(x, 2, stride=1, return_saved=True)
        hl.set_num_threads(before)
        np.testing.assert_array_equal(y, np.maximum(x[:, 1:], x[:, :-1]))
        dx = kernels.max_pool1d_backward(y, x, 2, stride=1, saved=saved)
        first = x[:, :-1] >= x[:, 1:]
        expected = np.zeros_like(x)
        expected[:, 1:] += np.where(first, 0, y)
        expected[:, :-1] += np.where(first, y, 0)
        np.testing.assert_allclose(dx, expected, rtol=1e-6)


def test_many_channels_of_one_image_are_shared_out():
    x = np.random.default_rng(0).standard_normal((1, 40, 30, 1111)).astype(np.float32)
    np.testing.assert_array_equal(kernels.global_max_pool(x), x.max((1, 2)))
    mean = x.astype(np.float64).mean((1, 2))
    np.testing.assert_allclose(kernels.global_avg_pool(x), mean, atol=1e-6)
    dy = np.random.default_rng(1).standard_normal((1, 1111)).astype(np.float32)
    dx = kernels.global_max_pool_backward(dy, x)
    np.testing.assert_array_equal(dx.sum((1, 2)), dy)
    np.testing.assert_array_equal(dx != 0, x == x.max((1, 2), keepdims=True))


def test_long_sums_stay_accurate():
    x = np.full((1, 1000, 999, 1), 0.1, np.float32)
    exact = float(np.float32(0.1))
    assert kernels.global_avg_pool(x)[0, 0] == pytest.approx(exact, rel=5e-7)
    tall = kernels.avg_pool1d(x.reshape(1, -1, 1), 999_000)
    assert tall[0, 0, 0] == pytest.approx(exact, rel=5e-7)


def test_global_pools_keep_dims_on_request():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    for name in ("avg", "max", "min"):
        function = getattr(kernels, f"global_{name}_pool")
        y = function(x)
        kept = function(x, keepdims=True)
        assert y.shape == (2, 5)
        assert kept.shape == (2, 1, 1, 5)
        backward = getattr(kernels, f"global_{name}_pool_backward")
        np.testing.assert_array_equal(backward(y, x), backward(kept, x))


def test_unpool_inverts_a_pool_and_repeats_resolve_to_the_last():
    x = np.random.default_rng(0).standard_normal((2, 7, 6, 5)).astype(np.float32)
    y, at = kernels.max_pool2d(x, 2, return_indices=True)
    back = kernels.max_unpool2d(y, at, 2, output_size=x.shape)
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    assert np.count_nonzero(back) == y.size
    np.testing.assert_array_equal(kernels.max_pool2d(np.where(back == 0, -9, back), 2), y)
    twice = kernels.max_unpool1d(
        np.array([1.0, 2, 3]).reshape(1, 3, 1), np.array([4, 4, 0], np.int32).reshape(1, 3, 1), 2
    )
    assert twice.ravel().tolist() == [3, 0, 0, 0, 2, 0]


X = np.ones((2, 6, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (TypeError, r"max_pool2d: x is a list, expected", lambda: kernels.max_pool2d([1], 2)),
        (
            TypeError,
            r"avg_pool2d: x has dtype int64, expected float32",
            lambda: kernels.avg_pool2d(X.astype(int), 2),
        ),
        (
            ValueError,
            r"max_pool2d: x has shape \(6, 5, 3\), expected \(N, H, W, C\)",
            lambda: kernels.max_pool2d(X[0], 2),
        ),
        (
            ValueError,
            r"max_pool1d: x has shape \(2, 6, 5, 3\), expected \(N, W, C\)",
            lambda: kernels.max_pool1d(X, 2),
        ),
        (
            ValueError,
            r"max_pool2d: x is not contiguous; pass np.ascontiguousarray",
            lambda: kernels.max_pool2d(X.transpose(0, 2, 1, 3), 2),
        ),
        (
            ValueError,
            r"max_pool2d: the kernel spans 7 along H, which has 6: "
            r"x \(N, H, W, C\) is \(2, 6, 5, 3\)",
            lambda: kernels.max_pool2d(X, 7),
        ),
        (
            ValueError,
            r"lp_pool2d: the kernel spans 9 along W, which has 5 \+ 1 \+ 1 of padding",
            lambda: kernels.lp_pool2d(X, 2, (2, 3), dilation=4, padding=1),
        ),
        (
            ValueError,
            r"avg_pool2d: padding is 2 along H, expected at most .* = 1",
            lambda: kernels.avg_pool2d(X, 2, padding=2),
        ),
        (
            ValueError,
            r"max_pool2d: stride is 0, expected at least 1",
            lambda: kernels.max_pool2d(X, 2, stride=0),
        ),
        (
            ValueError,
            r"max_pool2d: kernel_size is \(5000000000, 1\), expected below 2\*\*31",
            lambda: kernels.max_pool2d(X, (5_000_000_000, 1)),
        ),
        (
            ValueError,
            r"min_pool2d: padding is 'reflect', expected numbers or one of",
            lambda: kernels.min_pool2d(X, 2, padding="reflect"),
        ),
        (
            ValueError,
            r"avg_pool2d: divisor_override is 0",
            lambda: kernels.avg_pool2d(X, 2, divisor_override=0),
        ),
        (
            ValueError,
            r"lp_pool2d: norm_type is inf, expected a finite number above 0",
            lambda: kernels.lp_pool2d(X, np.inf, 2),
        ),
        (
            ValueError,
            r"adaptive_avg_pool2d: output_size is \(3, 0\), expected at least 1",
            lambda: kernels.adaptive_avg_pool2d(X, (3, 0)),
        ),
        (
            TypeError,
            r"adaptive_max_pool2d: output_size is 2.5, expected an int, None, or 2",
            lambda: kernels.adaptive_max_pool2d(X, 2.5),
        ),
        (
            ValueError,
            r"adaptive_max_pool2d: there is nothing to pool",
            lambda: kernels.adaptive_max_pool2d(X[:, :0], 2),
        ),
        (
            ValueError,
            r"max_pool2d: the kernel spans 1 along H, which has 0",
            lambda: kernels.max_pool2d(X[:, :0], 1),
        ),
        (
            ValueError,
            r"global_avg_pool: x has shape \(6, 3\), expected \(N, W, C\), \(N, H, W, C\) or",
            lambda: kernels.global_avg_pool(np.ones((6, 3))),
        ),
        (
            ValueError,
            r"max_pool2d_backward: dy has shape \(2, 3, 3, 3\), expected \(2, 3, 2, 3\)",
            lambda: kernels.max_pool2d_backward(np.ones((2, 3, 3, 3), np.float32), X, 2),
        ),
        (
            TypeError,
            r"max_pool2d_backward: saved has dtype int64, expected the array that forward",
            lambda: kernels.max_pool2d_backward(
                np.ones((2, 3, 2, 3), np.float32), X, 2, saved=np.ones(100, int)
            ),
        ),
        (
            ValueError,
            r"max_pool2d_backward: saved has shape \(9,\), expected",
            lambda: kernels.max_pool2d_backward(
                np.ones((2, 3, 2, 3), np.float32), X, 2, saved=np.ones(9, np.uint8)
            ),
        ),
        (
            TypeError,
            r"lp_pool2d_backward: x is float32 but dy is float64",
            lambda: kernels.lp_pool2d_backward(np.ones((2, 3, 2, 3)), X, 2, 2),
        ),
        (
            ValueError,
            r"max_unpool2d: indices\[0, 0, 0, 1\] is 99, expected 0 <= index < 4",
            lambda: kernels.max_unpool2d(
                np.ones((1, 1, 1, 2)), np.array([0, 99]).reshape(1, 1, 1, 2), 2
            ),
        ),
        (
            ValueError,
            r"max_unpool2d: output_size is \(9, 9\), expected less than a stride \(2, 2\) away",
            lambda: kernels.max_unpool2d(X, np.zeros(X.shape, int), 2, output_size=(9, 9)),
        ),
        (
            TypeError,
            r"max_unpool2d: indices has dtype float64, expected int64 or int32",
            lambda: kernels.max_unpool2d(X, np.zeros(X.shape), 2),
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


def test_explain_counts_the_bytes():
    (plan,) = kernels.explain("max_pool2d", (32, 32, 32, 64), kernel_size=2)
    assert (plan.kernel, plan.bound) == ("pool_forward", "memory")
    assert plan.bytes == 4 * 32 * 64 * (32 * 32 + 16 * 16)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        lambda x: F.min_pool2d(x, 2, 1, "same", 2, True),
        lambda x: F.avg_pool2d(x, 3, 2, 1, False, False),
        lambda x: F.lp_pool2d(x.exp(), 3, 2),
        lambda x: F.adaptive_avg_pool2d(x, (3, None)),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.adaptive_min_pool2d(x, 4, True)[0],
        lambda x: F.global_avg_pool(x),
        lambda x: F.global_max_pool(x, keepdim=True),
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
        lambda x: F.max_pool2d(x.permute(0, 2, 1, 3), 2),
    ],
)
def test_gradients_on_the_tape(function):
    x = hl.tensor(np.random.default_rng(0).standard_normal((2, 6, 8, 3)), requires_grad=True)
    assert hl.gradcheck(function, [x])


def test_the_tape_keeps_a_byte_for_each_maximum():
    x = hl.tensor(np.random.default_rng(0).standard_normal((2, 8, 8, 16)), requires_grad=True)
    y = F.max_pool2d(x, 2)
    (saved,) = y._node.saved
    assert saved.dtype == np.uint8
    assert saved.size < y.numpy().size + 100
    with hl.no_grad():
        assert F.max_pool2d(x, 2)._node is None


def test_layers_pool_and_print_as_in_pytorch():
    x = np.random.default_rng(0).standard_normal((2, 9, 8, 3)).astype(np.float32)
    model = nn.Sequential(
        nn.MaxPool2d(3, 2, padding=1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert model(x).shape == (2, 3)
    assert repr(nn.MaxPool2d(2)) == (
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    )
    assert repr(nn.AvgPool2d(3, 1, "same")) == "AvgPool2d(kernel_size=3, stride=1, padding='same')"
    assert repr(nn.AdaptiveMaxPool2d((2, None))) == "AdaptiveMaxPool2d(output_size=(2, None))"
    y, at = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(y, at, output_size=x.shape)
    assert back.shape == x.shape
    np.testing.assert_array_equal(nn.GlobalMaxPool()(x).numpy(), x.max((1, 2)))
    np.testing.assert_array_equal(nn.MinPool2d(2)(x).numpy(), -nn.MaxPool2d(2)(-x).numpy())
    power = nn.LPPool2d(2, 3, stride=2)(np.abs(x)).numpy()
    np.testing.assert_allclose(power, kernels.lp_pool2d(np.abs(x), 2, 3, stride=2))
    for d, shape in ((1, (2, 8, 3)), (3, (2, 4, 4, 4, 3))):
        for kind in ("Max", "Min", "Avg"):
            assert getattr(nn, f"{kind}Pool{d}d")(2)(np.ones(shape)).shape[1] == shape[1] // 2
            layer = getattr(nn, f"Adaptive{kind}Pool{d}d")
            assert layer(3)(np.ones(shape)).shape == (2, *(3,) * d, 3)
