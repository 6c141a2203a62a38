"""What reductions promise beyond their values: NaN, ties, empty axes, strides, accuracy, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import handloom as hl
from handloom import _C, kernels

REDUCTIONS = ("sum", "mean", "prod", "max", "min", "var", "std", "norm", "logsumexp")
NUMPY = {name: getattr(np, name) for name in ("sum", "mean", "prod", "max", "min", "var", "std")}


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


# ---- NaN and infinity ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, 1])
def test_one_nan_is_enough_wherever_it_is(name, axis, isa):
    n = 37
    function = getattr(kernels, name)
    for at in range(n):
        x = np.ones((n, n), np.float32)
        x[at, (at * 5) % n] = np.nan
        y = function(x, axis=axis)
        hit = (at * 5) % n if axis == 0 else at
        assert np.isnan(y[hit])
        assert np.isnan(y).sum() == 1


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("n", [5, 16, 40, 5000])
def test_arg_finds_the_first_nan_and_the_first_of_equals(name, n, isa):
    x = np.zeros((n, 3), np.float32)
    sign = 1 if name == "argmax" else -1
    x[[1, n - 1], 0] = sign
    x[[2, n - 1], 1] = np.nan
    x[1, 1] = sign
    want = [1, 2, 0]
    function = getattr(kernels, name)
    np.testing.assert_array_equal(function(x, axis=0), want)
    np.testing.assert_array_equal(function(np.ascontiguousarray(x.T), axis=1), want)
    np.testing.assert_array_equal(function(x.T, axis=1), want)


def test_infinite_inputs():
    inf = np.inf
    x = np.array([[1, inf], [-inf, -inf], [inf, -inf]])
    np.testing.assert_array_equal(kernels.sum(x, axis=1), [inf, -inf, np.nan])
    np.testing.assert_array_equal(kernels.logsumexp(x, axis=1), [inf, -inf, inf])
    np.testing.assert_array_equal(kernels.max(x, axis=1), [inf, -inf, inf])
    np.testing.assert_array_equal(kernels.logsumexp(x[1:2].T, axis=0), [-inf])
    assert np.isnan(kernels.var(x))
    assert kernels.logsumexp(np.array([1000.0, 1000.0])) == 1000 + np.log(2)


def test_logsumexp_over_blocks_of_nothing_but_minus_infinity(isa):
    x = np.full(20000, -np.inf, np.float32)
    assert kernels.logsumexp(x) == -np.inf
    x[-1] = 3
    assert kernels.logsumexp(x) == 3
    assert kernels.logsumexp(x[::-1]) == 3


# ---- empty axes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("sum", 0), ("mean", np.nan), ("prod", 1), ("var", np.nan), ("std", np.nan), ("norm", 0)],
)
def test_reducing_nothing(name, value):
    y = getattr(kernels, name)(np.empty((3, 0), np.float32), axis=1)
    np.testing.assert_array_equal(y, np.full(3, value, np.float32))
    assert getattr(kernels, name)(np.empty((0, 3), np.float32), axis=1).shape == (0,)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_there_is_no_extreme_of_nothing(name):
    function = getattr(kernels, name)
    with pytest.raises(ValueError, match=rf"{name}: x has shape \(3, 0\): no element along axis 1"):
        function(np.empty((3, 0)), axis=1)
    with pytest.raises(ValueError, match="no element along axis 0"):
        function(np.empty(0))
    assert function(np.empty((0, 3)), axis=1).shape == (0,)
    assert kernels.logsumexp(np.empty((2, 0)), axis=1).tolist() == [-np.inf, -np.inf]


# ---- accuracy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
def test_variance_does_not_care_how_large_the_mean_is(axis, isa):
    rng = np.random.default_rng(3)
    deviations = rng.integers(-50, 51, (3000, 20)).astype(np.float32)  # x is exact in float32
    x = deviations + np.float32(1e5)
    x = x if axis == 0 else np.ascontiguousarray(x.T)
    exact = np.var(x.astype(np.float64), axis=axis)
    np.testing.assert_allclose(kernels.var(x, axis=axis), exact, rtol=3e-7)


def test_a_long_sum_keeps_its_last_digits(isa):
    eps = np.finfo(np.float32).eps
    x = np.full(1 << 22, 0.1, np.float32)  # every addition rounds the same way
    exact = float(np.float32(0.1)) * x.size
    assert abs(float(kernels.sum(x)) - exact) <= 2 * eps * exact
    x = np.random.default_rng(1).random((1 << 15, 100), np.float32)
    exact = x.astype(np.float64).sum(0)
    assert (np.abs(kernels.sum(x, axis=0) - exact) <= eps * exact).all()
    y = np.concatenate([[1e16], np.ones(100000), [-1e16]])
    assert abs(kernels.sum(y) - 100000) <= 2048  # only the ones beside 1e16 may suffer


def test_cumsum_in_float32_is_summed_in_double():
    x = np.full(100000, 0.1, np.float32)
    exact = np.cumsum(x.astype(np.float64))
    np.testing.assert_allclose(kernels.cumsum(x), exact, rtol=1e-7)


# ---- gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ord"), [("max", None), ("min", None), ("norm", np.inf)])
def test_ties_share_the_gradient(name, ord, isa):
    x = np.array([[2.0, -3, 3, 3], [1, 1, 1, 1], [-2, -2, 5, 0]])
    options = {"axis": 1} if ord is None else {"axis": 1, "ord": ord}
    y = getattr(kernels, name)(x, **options)
    dy = np.array([6.0, 4, 2])
    dx = getattr(kernels, f"{name}_backward")(dy, x, y, **options)
    a = np.abs(x) if ord else x
    mask = a == y[:, None]
    want = dy[:, None] * mask / mask.sum(1, keepdims=True) * (np.sign(x) if ord else 1)
    np.testing.assert_array_equal(dx, want)


def test_gradient_of_a_product_with_zeros(isa):
    x = np.array([[2.0, 3, 4], [2, 0, 4], [0, 0, 4]])
    dx = kernels.prod_backward(np.array([1.0, 10, 1]), x, axis=1)
    np.testing.assert_array_equal(dx, [[12, 8, 6], [0, 80, 0], [0, 0, 0]])


def test_gradient_where_there_is_no_slope():
    zero = np.zeros((2, 5), np.float32)
    dy = np.ones(2, np.float32)
    assert not kernels.norm_backward(dy, zero, kernels.norm(zero, axis=1), axis=1).any()
    assert not kernels.std_backward(dy, zero, kernels.std(zero, axis=1), axis=1).any()


def test_sum_and_mean_gradients_need_only_the_shape():
    dy = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(
        kernels.sum_backward(dy, (3, 4), axis=1), np.repeat(dy[:, None], 4, 1)
    )
    np.testing.assert_array_equal(
        kernels.mean_backward(dy[None], (4, 3), axis=0), np.tile(dy / 4, (4, 1))
    )


def test_gradients_take_strided_and_broadcast_dy():
    x = np.random.default_rng(0).standard_normal((6, 8))[::-1, ::2].T
    y = kernels.max(x, axis=0)
    wide = np.broadcast_to(np.float64(2), y.shape)
    dx = kernels.max_backward(wide, x, y, axis=0)
    np.testing.assert_array_equal(dx, 2.0 * (x == y))
    assert dx.flags.c_contiguous


def test_sum_to_undoes_broadcasting():
    x = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    np.testing.assert_array_equal(kernels.sum_to(x, (3, 1)), x.sum((0, 2))[:, None])
    np.testing.assert_array_equal(kernels.sum_to(x, ()), x.sum())
    assert kernels.sum_to(x, (2, 3, 4)) is x
    with pytest.raises(ValueError, match=r"sum_to: x has shape \(2, 3, 4\), which is no broadcast"):
        kernels.sum_to(x, (2, 4))
    with pytest.raises(ValueError, match=r"sum_to: shape is \(2, -3, 4\), a size is negative"):
        kernels.sum_to(x, (2, -3, 4))
    with pytest.raises(TypeError, match=r"sum: x is \(2, 'a'\), expected a tuple of ints"):
        kernels.sum_backward(np.array(1.0), (2, "a"))  # type: ignore[arg-type]


# ---- sorting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 500])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sort_is_stable_and_nan_is_the_largest(n, dtype, isa):
    rng = np.random.default_rng(n)
    x = rng.integers(-3, 4, n).astype(dtype)
    x[1], x[n // 2], x[-1], x[0], x[3] = np.nan, np.nan, np.inf, -np.inf, -0.0
    values, indices = kernels.sort(x)
    want = np.argsort(x, kind="stable")
    np.testing.assert_array_equal(indices, want)
    np.testing.assert_array_equal(values.view(np.uint8), x[want].view(np.uint8))
    down = np.concatenate([np.flatnonzero(np.isnan(x)), np.argsort(-x, kind="stable")])[:n]
    np.testing.assert_array_equal(kernels.sort(x, descending=True)[1], down)


def test_topk_breaks_ties_by_position():
    x = np.zeros(400, np.float32)
    x[[7, 300]] = 1
    values, indices = kernels.topk(x, 4)
    assert indices.tolist() == [7, 300, 0, 1]
    assert values.tolist() == [1, 1, 0, 0]


# ---- any array ----------------------------------------------------------------------------------


@st.composite
def views(draw):
    """A float array seen through slices, negative strides, transposes and broadcasts."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=7))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    seed = draw(st.integers(0, 1 << 30))
    x = np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)
    index = tuple(
        slice(None, None, draw(st.sampled_from([1, 1, 2, -1, -3]))) for _ in range(x.ndim)
    )
    x = np.asarray(x[index]).transpose(draw(st.permutations(range(x.ndim))))
    if x.ndim < 5 and draw(st.booleans()):
        x = np.broadcast_to(x, (draw(st.integers(0, 4)), *x.shape))
    return x


@settings(deadline=None, max_examples=300)
@given(views(), st.data())
def test_any_view_over_any_axes(x, data):
    axes = data.draw(st.none() | st.sets(st.integers(-x.ndim, x.ndim - 1)) if x.ndim else st.none())
    if axes is not None:
        axes = tuple({axis % x.ndim for axis in axes})
    keepdims = data.draw(st.booleans())
    for name in ("sum", "max", "min"):  # exact on small integers
        try:
            want = NUMPY[name](x, axis=axes, keepdims=keepdims)
        except ValueError:
            with pytest.raises(ValueError, match="of nothing"):
                getattr(kernels, name)(x, axis=axes, keepdims=keepdims)
            continue
        got = getattr(kernels, name)(x, axis=axes, keepdims=keepdims)
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, want)
        if name == "sum":
            dx = kernels.sum_backward(got, x, axis=axes)
            kept = np.sum(x, axis=axes, keepdims=True) if x.ndim else want
            np.testing.assert_array_equal(dx, np.broadcast_to(kept, x.shape))
    if x.size:
        with np.errstate(all="ignore"):
            want = np.var(x, axis=axes, keepdims=keepdims)
        np.testing.assert_allclose(
            kernels.var(x, axis=axes, keepdims=keepdims), want, rtol=1e-5, atol=1e-6
        )


@settings(deadline=None, max_examples=150)
@given(views().filter(lambda x: x.ndim > 0), st.data())
def test_any_view_along_one_axis(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    np.testing.assert_array_equal(kernels.cumsum(x, axis), np.cumsum(x, axis))
    values, indices = kernels.sort(x, axis)
    np.testing.assert_array_equal(indices, np.argsort(x, axis, kind="stable"))
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, axis))
    if x.shape[axis]:
        np.testing.assert_array_equal(kernels.argmax(x, axis), np.argmax(x, axis))
        np.testing.assert_array_equal(kernels.argmin(x, axis), np.argmin(x, axis))
        k = data.draw(st.integers(0, x.shape[axis]))
        top = kernels.topk(x, k, axis, largest=False)
        np.testing.assert_array_equal(top[1], np.take(indices, range(k), axis))


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REDUCTIONS)
def test_wrong_types_and_axes_are_named(name):
    function = getattr(kernels, name)
    x = np.ones((2, 3))
    with pytest.raises(TypeError, match=f"{name}: x has dtype int64, expected float32 or float64"):
        function(np.ones(3, np.int64))
    with pytest.raises(TypeError, match=f"{name}: x is a list"):
        function([1.0])
    with pytest.raises(ValueError, match=rf"{name}: x has shape \(2, 3\), so there is no axis 2"):
        function(x, axis=2)
    with pytest.raises(ValueError, match="names an axis twice"):
        function(x, axis=(0, -2))
    with pytest.raises(TypeError, match="axis is 'a', expected None, an int"):
        function(x, axis="a")


def test_other_errors_name_what_came():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match="norm: the order is nan"):
        kernels.norm(x, ord=np.nan)
    with pytest.raises(ValueError, match=r"max: dy has shape \(3,\), expected the result's \(2,\)"):
        kernels.max_backward(np.ones(3), x, kernels.max(x, axis=1), axis=1)
    with pytest.raises(TypeError, match="max: y is float32 but dy is float64"):
        kernels.max_backward(np.ones(2), x, np.ones(2, np.float32), axis=1)
    with pytest.raises(ValueError, match="topk: k is 4, but axis -1 of x"):
        kernels.topk(x, 4)
    with pytest.raises(ValueError, match="sort_backward: indices has 7 at position 1, expected 0"):
        kernels.sort_backward(np.ones(2), np.array([0, 7]), 3)
    with pytest.raises(ValueError, match="sort: x is a single number"):
        kernels.sort(np.array(1.0))
    with pytest.raises(TypeError, match="argmax: axis is "):
        kernels.argmax(x, axis=(0, 1))
    with pytest.raises(ValueError, match="there is no op number 99"):
        _C.reduce_forward(99, x, None, False, 0.0)


def test_too_many_axes_that_do_not_merge():
    x = np.ones((3,) * 18)[(slice(None, None, 2),) * 18]
    with pytest.raises(ValueError, match="more than 8 axes that cannot be merged"):
        kernels.sum(x, axis=tuple(range(0, 18, 2)))


@pytest.mark.parametrize("axis", [None, 1.0, "0", (0, 1)])
def test_the_axis_of_sort_and_topk_is_an_int(axis):
    x = np.zeros((2, 3))
    with pytest.raises(TypeError, match=r"sort: axis is .*, expected an int"):
        kernels.sort(x, axis)
    with pytest.raises(TypeError, match=r"topk: axis is .*, expected an int"):
        kernels.topk(x, 1, axis)


@pytest.mark.parametrize("name", ["sum", "mean", "norm"])
def test_nothing_along_one_axis_beside_a_turned_one(name):
    """The result was written from where the turned axis begins, past its end."""
    for shape in ((0, 5), (0, 5, 40), (3, 0, 7)):
        x = np.zeros(shape)[..., ::-1]
        axis = shape.index(0)
        y = getattr(kernels, name)(x, axis=axis)
        expected = np.full(y.shape, np.nan if name == "mean" else 0.0)
        np.testing.assert_array_equal(y, expected)
