"""Elementwise kernels: any strides, NaN, numbers, aliases, exact bits, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import _C, kernels

ACTIVATIONS = (
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
)
FUNCTIONS = (
    "abs",
    "ceil",
    "cos",
    "erf",
    "exp",
    "expm1",
    "floor",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
)
UNARY = (*FUNCTIONS, *ACTIVATIONS)
ARITHMETIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
COMPARISONS = {
    "eq": np.equal, "ge": np.greater_equal, "gt": np.greater, "le": np.less_equal, "lt": np.less,
    "ne": np.not_equal,
}  # fmt: skip
SETTINGS = settings(max_examples=60, deadline=None)


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


@st.composite
def views(draw, shape, dtype="float32"):
    """An array of a shape as a view: axes permuted, steps of either sign, a few repeated."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in shape]
    seed = draw(st.integers(0, 1000))
    memory = np.random.default_rng(seed).standard_normal(
        [shape[axis] * abs(steps[axis]) for axis in order]
    )
    memory = np.asarray(memory, dtype)
    view = memory.transpose(np.argsort(order)) if shape else memory
    view = view[tuple(slice(None, None, step) for step in steps)]
    if shape and draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        first = tuple(slice(0, 1) if i == axis else slice(None) for i in range(len(shape)))
        view = np.broadcast_to(view[first], shape)
    assert view.shape == tuple(shape)
    return np.asarray(view)


shapes = (
    st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 17, 40]), max_size=5)
    .filter(lambda shape: math.prod(shape) <= 20_000)
    .map(tuple)
)


@st.composite
def operands(draw, dtype="float32"):
    """Two arrays that broadcast."""
    shape = draw(shapes)
    a, b = list(shape), list(shape)
    for axis in range(len(shape)):
        if draw(st.integers(0, 3)) == 0:
            draw(st.sampled_from([a, b]))[axis] = 1
    cut = draw(st.integers(0, len(shape)))
    a = a[cut:] if draw(st.booleans()) else a
    return draw(views(tuple(a), dtype)), draw(views(tuple(b), dtype))


# ---- any strides --------------------------------------------------------------------------------


@SETTINGS
@given(pair=operands(), name=st.sampled_from(sorted(ARITHMETIC)))
def test_arithmetic_is_numpys_to_the_bit(pair, name):
    a, b = pair
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(getattr(kernels, name)(a, b), ARITHMETIC[name](a, b))


@SETTINGS
@given(data=st.data(), name=st.sampled_from(UNARY), dtype=st.sampled_from(["float32", "float64"]))
def test_strides_do_not_change_a_result(data, name, dtype):
    x = data.draw(shapes.flatmap(lambda shape: views(shape, dtype)))
    op, gradient = getattr(kernels, name), getattr(kernels, f"{name}_backward")
    with np.errstate(all="ignore"):
        y = op(x)
        np.testing.assert_array_equal(y, op(np.ascontiguousarray(x).reshape(x.shape)))
        assert y.shape == x.shape
        dy = data.draw(views(x.shape, dtype))
        dense = np.ascontiguousarray(dy).reshape(x.shape), np.ascontiguousarray(x).reshape(x.shape)
        np.testing.assert_array_equal(gradient(dy, x), gradient(*dense))


@SETTINGS
@given(pair=operands("float64"), name=st.sampled_from(["add", "mul", "sub", "prelu", "maximum"]))
def test_gradients_are_summed_to_the_operands(pair, name):
    a, b = pair
    shape = np.broadcast_shapes(a.shape, b.shape)
    dy = np.random.default_rng(0).standard_normal(shape)
    da, db = getattr(kernels, f"{name}_backward")(dy, a, b)
    wide_a, wide_b = np.broadcast_to(a, shape), np.broadcast_to(b, shape)
    full_a, full_b = getattr(kernels, f"{name}_backward")(dy, wide_a, wide_b)
    for grad, full in ((da, full_a), (db, full_b)):
        lead = len(shape) - grad.ndim
        axes = tuple(i for i in range(len(shape)) if i < lead or grad.shape[i - lead] == 1)
        expected = full.sum(axis=axes, keepdims=True).reshape(grad.shape)
        np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-12)


@SETTINGS
@given(data=st.data())
def test_out_takes_the_result_in_any_layout(data):
    a, b = data.draw(operands())
    shape = np.broadcast_shapes(a.shape, b.shape)
    memory = np.full([2 * n for n in shape][::-1], np.nan, np.float32)
    out = memory.T[(..., *(slice(None, None, 2) for _ in shape))]
    assert kernels.mul(a, b, out=out) is out
    np.testing.assert_array_equal(out, a * b)
    assert np.isnan(memory).sum() == memory.size - out.size  # nothing beside it was written


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", [(1000,), (40, 30)])
def test_out_may_be_the_operand(name, shape, isa):
    x = np.random.default_rng(1).uniform(0.1, 2, shape).astype(np.float32)
    expected = getattr(kernels, name)(x)
    for y in (x.copy(), np.asfortranarray(x), np.repeat(x, 2, axis=-1)[..., ::2]):
        assert getattr(kernels, name)(y, out=y) is y
        np.testing.assert_array_equal(y, expected)


def test_out_may_be_either_operand_of_two():
    a, b = np.float32(np.arange(50)), np.float32(np.arange(50)[::-1] + 1)
    expected = a / b
    for out in ("a", "b"):
        pair = {"a": a.copy(), "b": b.copy()}
        kernels.div(pair["a"], pair["b"], out=pair[out])
        np.testing.assert_array_equal(pair[out], expected)
    x = a.copy()
    np.testing.assert_array_equal(kernels.mul(x, x, out=x), a * a)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_larger_than_the_caches(dtype, isa):
    # These go past the caches, in whole vectors only where the address allows.
    x = np.arange(5_000_011).astype(dtype) % 1000
    for part in (x, x[1:], x[:5_000_000], x[:5_000_000].reshape(1000, 5000)):
        np.testing.assert_array_equal(kernels.square(part), part * part)
        np.testing.assert_array_equal(kernels.add(part, 1.5), part + np.array(1.5, dtype))
    out = x.copy()
    kernels.neg(out, out=out)
    np.testing.assert_array_equal(out, -x)


def test_axes_beyond_the_limit_are_refused():
    x = np.zeros((2,) * 12, np.float32)
    assert kernels.neg(x).shape == x.shape  # contiguous: one axis
    holes = np.zeros((4,) * 9, np.float32)[(slice(None, None, 2),) * 9]
    with pytest.raises(ValueError, match="neg: the operands' strides leave 9 separate axes"):
        kernels.neg(holes)


# ---- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(0.1), np.float32(3), np.int64(7)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_takes_the_arrays_dtype(number, dtype):
    x = np.linspace(0.5, 4, 37).astype(dtype)
    n = np.asarray(number).astype(dtype)
    for name, f in ARITHMETIC.items():
        op = getattr(kernels, name)
        for y, expected in ((op(x, number), f(x, n)), (op(number, x), f(n, x))):
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, expected)
    y = kernels.sub(1, x[::2].reshape(1, -1).T)
    np.testing.assert_array_equal(y, (1 - x[::2])[:, None])


@pytest.mark.parametrize("p", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.5, -3.25])
def test_pow_by_a_number(p, isa):
    x = np.linspace(0.2, 5, 101)
    np.testing.assert_allclose(kernels.pow(x, p), x**p, rtol=1e-15)
    dy = np.linspace(-1, 1, 101)
    da, db = kernels.pow_backward(dy, x, p)
    assert db is None
    np.testing.assert_allclose(da, dy * p * x ** (p - 1.0), rtol=4e-15)


def test_pow_special_cases():
    base = np.array([0.0, -0.0, 0.0, -2.0, -2.0, math.inf, math.nan, 1.0])
    exponent = np.array([0.0, 3.0, -1.0, 3.0, 0.5, -1.0, 0.0, math.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(kernels.pow(base, exponent), np.power(base, exponent))
    # The gradient by the exponent has the limit 0 at a base of 0.
    _, db = kernels.pow_backward(np.ones(2), np.zeros(2), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(db, [0, 0])
    da, _ = kernels.pow_backward(np.ones(2), np.zeros(2), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(da, [0, 0])


# ---- NaN and bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*UNARY, "clip", "heaviside"])
def test_nan_comes_through_in_every_lane(name, dtype, isa):
    op = getattr(kernels, name)
    for n in (1, 15, 33):
        for lane in range(n):
            x = np.full(n, 0.75, dtype)
            x[lane] = np.nan
            y = op(x, -1.0, 1.0) if name == "clip" else op(x)
            np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_nan_of_either_operand_wins(name, isa):
    f = getattr(kernels, name)
    for n in (1, 15, 33):
        for lane in range(n):
            a, b = np.full(n, 2.0, np.float32), np.full(n, 3.0, np.float32)
            a[lane] = np.nan
            assert np.isnan(f(a, b)).nonzero()[0].tolist() == [lane]
            assert np.isnan(f(b, a)).nonzero()[0].tolist() == [lane]


@pytest.mark.parametrize(("dtype", "bits"), [("float32", "uint32"), ("float64", "uint64")])
def test_neg_and_abs_change_nothing_but_the_sign(dtype, bits, isa):
    rng = np.random.default_rng(3)
    x = rng.integers(0, np.iinfo(bits).max, 1003, dtype=bits, endpoint=True)
    sign = np.array(1, bits) << np.array(8 * x.itemsize - 1, bits)
    x[:5] = [1, sign + 1, 0, sign, sign - 1]  # subnormal numbers, zeros, a NaN
    np.testing.assert_array_equal(kernels.neg(x.view(dtype)).view(bits), x ^ sign)
    np.testing.assert_array_equal(kernels.abs(x.view(dtype)).view(bits), x & ~sign)


def test_conventions_at_corners(isa):
    one = np.ones(3)
    at = np.array([-1.0, 0.0, 1.0])
    for name, x, expected in (
        ("relu", at, [0, 0, 1]),
        ("abs", at, [-1, 0, 1]),
        ("hardtanh", at, [0, 1, 0]),
        ("relu6", np.array([0.0, 3.0, 6.0]), [0, 1, 0]),
        ("sign", at, [0, 0, 0]),
        ("floor", at, [0, 0, 0]),
    ):
        np.testing.assert_array_equal(getattr(kernels, f"{name}_backward")(one, x), expected)
    np.testing.assert_array_equal(kernels.clip_backward(one, at, -1, 1), [1, 1, 1])
    np.testing.assert_array_equal(kernels.clip_backward(one, at, -0.5, 0.5), [0, 1, 0])
    np.testing.assert_array_equal(kernels.heaviside(at), [0, 1, 1])
    np.testing.assert_array_equal(kernels.heaviside(at, 0.5), [0, 0.5, 1])
    da, db = kernels.maximum_backward(one, at, np.array([-1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(da, [0.5, 0, 1])
    np.testing.assert_array_equal(db, [0.5, 1, 0])
    da, db = kernels.minimum_backward(one, at, np.array([-1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(da, [0.5, 1, 0])
    np.testing.assert_array_equal(db, [0.5, 0, 1])


# ---- comparisons and choice ---------------------------------------------------------------------


@SETTINGS
@given(
    pair=operands(),
    name=st.sampled_from(sorted(COMPARISONS)),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64", "bool"]),
)
def test_comparisons_are_numpys(pair, name, dtype):
    a, b = (np.asarray(2 * x).astype(dtype) for x in pair)
    y = getattr(kernels, name)(a, b)
    assert y.dtype == np.bool_
    np.testing.assert_array_equal(y, COMPARISONS[name](a, b))


def test_comparison_with_nan_and_numbers():
    x = np.array([np.nan, 1.0, 2.0], np.float32)
    for name, f in COMPARISONS.items():
        np.testing.assert_array_equal(getattr(kernels, name)(x, 1), f(x, np.float32(1)))
        np.testing.assert_array_equal(getattr(kernels, name)(1, x), f(np.float32(1), x))
    labels = np.arange(5)
    np.testing.assert_array_equal(kernels.eq(labels, 3), labels == 3)
    with pytest.raises(TypeError, match=r"eq: b is 2\.5, which is no int64"):
        kernels.eq(labels, 2.5)
    with pytest.raises(TypeError, match="lt: b is int64 but a is float32"):
        kernels.lt(x, labels[:3])


@SETTINGS
@given(pair=operands(), dtype=st.sampled_from(["float32", "float64", "int32", "int64", "bool"]))
def test_where_moves_bits(pair, dtype):
    a, b = (np.asarray(3 * x).astype(dtype) for x in pair)
    mask = (
        np.broadcast_to(a != b, np.broadcast_shapes(a.shape, b.shape))[..., ::-1]
        if a.ndim
        else a != b
    )
    mask = np.asarray(mask)
    np.testing.assert_array_equal(kernels.where(mask, a, b), np.where(mask, a, b))


def test_where_with_numbers_and_gradients():
    x = np.linspace(-1, 1, 21).astype(np.float32)
    np.testing.assert_array_equal(kernels.where(x > 0, x, 0), np.where(x > 0, x, 0))
    np.testing.assert_array_equal(kernels.where(x > 0, 0.5, x), np.where(x > 0, np.float32(0.5), x))
    dy = np.arange(21, dtype=np.float32)
    da, db = kernels.where_backward(dy, x > 0, (21,), None)
    np.testing.assert_array_equal(da, np.where(x > 0, dy, 0))
    assert db is None
    da, db = kernels.where_backward(dy, x > 0, (1,), ())
    assert da.tolist() == [dy[x > 0].sum()]
    assert db == dy[x <= 0].sum()


def test_a_lost_gradient_of_an_empty_array_is_zero():
    da, db = kernels.add_backward(
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.ones(3, np.float32)
    )
    assert da.shape == (0, 3)
    assert db.tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(5,), (100_000,), (300, 301)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_finite(shape, dtype, isa):
    x = np.ones(shape, dtype)
    assert _C.isfinite_all(x) is True
    for bad in (np.nan, np.inf, -np.inf):
        for at in (0, x.size // 2, x.size - 1):
            y = x.copy()
            y.reshape(-1)[at] = bad
            assert _C.isfinite_all(y) is False
            assert _C.isfinite_all(y.T[::-1]) is False
    assert _C.isfinite_all(np.zeros((0,), dtype)) is True


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adding_in_place(dtype, isa):
    rng = np.random.default_rng(5)
    for shape in ((7,), (40_000,), (30, 41)):
        x, y = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
        expected = y + np.array(0.5, dtype) * x  # half of a number is exact
        given_y = y.copy()
        _C.add_(given_y, x, 0.5)
        np.testing.assert_array_equal(given_y, expected)
        strided = np.repeat(y, 2, axis=-1)[..., ::2]
        _C.add_(strided, x, 0.5)
        np.testing.assert_array_equal(strided, expected)


# ---- sums ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((1 << 20,), ()), ((1 << 17, 8), (8,)), ((8, 1 << 17), (8, 1))])
def test_a_million_terms_lose_no_more_than_numpys_pairs(shapes, isa):
    rng = np.random.default_rng(8)
    a = rng.uniform(0.5, 1.5, shapes[0]).astype(np.float32)
    _, db = kernels.mul_backward(np.ones_like(a), a, np.ones(shapes[1], np.float32))
    axes = {0: (0,), 1: (0,), 2: (1,)}[len(shapes[1])]
    exact = a.astype(np.float64).sum(axis=axes).reshape(db.shape)
    np.testing.assert_allclose(db, exact, rtol=2e-7)


def test_every_name_is_documented_and_has_its_gradient():
    for name in (*UNARY, *ARITHMETIC, "maximum", "minimum", "pow", "clip", "where", "prelu"):
        assert getattr(kernels, name).__doc__
        assert getattr(kernels, f"{name}_backward").__doc__
    assert set(_C.unary_ops) - {"clip", "pow_scalar", "gelu_tanh", "heaviside"} == set(UNARY)
    assert set(_C.unary_saves) == set(_C.unary_defaults) == set(_C.unary_ops)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floor_division_and_remainder_are_numpys(dtype, isa):
    values = [0.0, -0.0, 0.1, -0.1, 1.0, -1.0, 3.0, -7.5, 1e30, -1e30, np.inf, -np.inf, np.nan]
    a, b = (x.ravel() for x in np.meshgrid(np.array(values, dtype), np.array(values, dtype)))
    with np.errstate(all="ignore"):
        for name in ("floor_divide", "remainder"):
            want = getattr(np, name)(a, b)
            got = getattr(kernels, name)(a, b)
            np.testing.assert_array_equal(got, want, name)
            zeros = want == 0
            np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))
    x = hl.tensor([1.0], dtype=dtype)
    assert (x // 0.1).item() == np.floor_divide(np.ones((), dtype), np.asarray(0.1, dtype))
    assert (x % 0.1).item() == np.remainder(np.ones((), dtype), np.asarray(0.1, dtype))
