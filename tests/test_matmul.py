"""Matrix products with operands of any shape and stride, right or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handloom import kernels
from harness import assert_within, bound


def strided(draw, shape, dtype, rng):
    """An array of this shape over memory that is permuted, spread, reversed or repeated."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 1, 2, -1, -2])) for _ in shape]
    repeat = [draw(st.integers(0, 9)) == 0 for _ in shape]
    memory_shape = [1 if again else n * abs(step) for n, step, again in zip(shape, steps, repeat)]
    memory = rng.standard_normal([memory_shape[axis] for axis in order]).astype(dtype)
    x = memory.transpose(np.argsort(order))
    x = x[tuple(slice(None) if again else slice(None, None, s) for s, again in zip(steps, repeat))]
    return np.broadcast_to(x, shape)


@st.composite
def products(draw):
    dtype = draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    sizes = st.integers(0, 40) if draw(st.booleans()) else st.integers(1, 5)
    m, k, n = draw(sizes), draw(sizes), draw(sizes)
    batch = draw(st.lists(st.integers(1, 3), max_size=3))

    def side(last):
        own = [1 if draw(st.integers(0, 3)) == 0 else size for size in batch]
        own = own[draw(st.integers(0, len(own))) :]
        return strided(draw, (*own, *last), dtype, rng)

    a = strided(draw, (k,), dtype, rng) if draw(st.integers(0, 7)) == 0 else side((m, k))
    b = strided(draw, (k,), dtype, rng) if draw(st.integers(0, 7)) == 0 else side((k, n))
    return a, b


def check(actual, a, b, alpha=1.0, beta=0.0, c=None):
    def reference(dtype, magnitude=False):
        x, y = a.astype(dtype), b.astype(dtype)
        if magnitude:
            x, y = np.abs(x), np.abs(y)
        result = np.dtype(dtype).type(abs(alpha) if magnitude else alpha) * np.matmul(x, y)
        if beta:
            z = c.astype(dtype)
            result = result + (
                abs(beta) * np.abs(z) if magnitude else np.dtype(dtype).type(beta) * z
            )
        return result

    dtype = a.dtype.name
    exact = reference("float64")
    allowed = bound(reference(dtype), exact, reference("float64", True), dtype, 2.0)
    assert np.asarray(actual).dtype == a.dtype
    assert_within(actual, exact, allowed, f"{a.shape} {a.strides} @ {b.shape} {b.strides}")


@given(products())
@settings(max_examples=400, deadline=None)
def test_any_shapes_and_strides(operands):
    a, b = operands
    check(kernels.matmul(a, b), a, b)


@given(products(), st.data())
@settings(max_examples=200, deadline=None)
def test_out_alpha_beta(operands, data):
    a, b = operands
    shape = np.matmul(a, b).shape
    alpha = data.draw(st.sampled_from([1.0, -1.0, 0.5, 0.0]))
    beta = data.draw(st.sampled_from([0.0, 1.0, -0.5]))
    rng = np.random.default_rng(1)
    spread = data.draw(st.sampled_from([1, 2, -1]))
    order = data.draw(st.permutations(range(len(shape))))
    memory = rng.standard_normal([shape[i] * abs(spread) for i in order]).astype(a.dtype)
    out = memory.transpose(np.argsort(order) if shape else ())
    out = out[(*(slice(None, None, spread) for _ in shape), ...)]
    if beta == 0:
        out[...] = np.nan  # an output is never read
    before, rest = out.copy(), memory.copy()
    assert kernels.matmul(a, b, out=out, alpha=alpha, beta=beta) is out
    check(out, a, b, alpha, beta, before)
    out[...] = before
    assert memory.tobytes() == rest.tobytes()  # nothing beside it was written


@pytest.mark.parametrize("n", [1, 3, 16, 17, 64, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_reach_their_row_and_column_only(n, dtype):
    rng = np.random.default_rng(0)
    for value in (np.nan, np.inf):
        a, b = rng.standard_normal((n, n)).astype(dtype), rng.standard_normal((n, n)).astype(dtype)
        i = n // 2
        a[i, n - 1] = value
        y = kernels.matmul(a, b)
        assert not np.isfinite(y[i]).any()
        assert np.isfinite(np.delete(y, i, 0)).all()


ONE = np.ones((3, 4), np.float32)
READ_ONLY = np.ones((3, 3), np.float32)
READ_ONLY.flags.writeable = False
HUGE = np.broadcast_to(np.float32(1), (1 << 40, 1))


def overlapping():
    memory = np.ones((6, 4), np.float32)
    return kernels.matmul(memory[:3], np.ones((4, 4), np.float32), out=memory[1:4])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: kernels.matmul([[1.0]], ONE), TypeError, "matmul: a is a list, expected a numpy"),
        (lambda: kernels.matmul(ONE, None), TypeError, "matmul: b is a NoneType"),
        (
            lambda: kernels.matmul(ONE, ONE.astype(int)),
            TypeError,
            "b has dtype int64, expected float32",
        ),
        (
            lambda: kernels.matmul(ONE, ONE.T.astype(np.float64)),
            TypeError,
            r"matmul: b is float64 but a is float32; .* b\.astype\(np\.float32\)",
        ),
        (lambda: kernels.matmul(ONE, ONE), ValueError, r"a \(3, 4\) and b \(3, 4\) do not match"),
        (lambda: kernels.matmul(ONE[0, 0:1][0:0].reshape(0), ONE), ValueError, "do not match"),
        (
            lambda: kernels.matmul(np.float32(1) * np.ones(()), ONE),
            (TypeError, ValueError),
            "matmul: a",
        ),
        (
            lambda: kernels.matmul(np.ones((2, 3, 4)), np.ones((3, 4, 3))),
            ValueError,
            r"\(2, 3, 4\) and b \(3, 4, 3\)",
        ),
        (
            lambda: kernels.matmul(np.ones((1,) * 7 + (3, 3)), np.ones((3, 3))),
            ValueError,
            "at most 6",
        ),
        (
            lambda: kernels.matmul(ONE, ONE.T, out=np.ones((3, 3))),
            TypeError,
            "out has dtype float64",
        ),
        (lambda: kernels.matmul(ONE, ONE.T, out=ONE.copy()), ValueError, r"out has shape \(3, 4\)"),
        (lambda: kernels.matmul(ONE, ONE.T, out=READ_ONLY), ValueError, "out is read-only"),
        (overlapping, ValueError, "out overlaps a"),
        (
            lambda: kernels.matmul(
                ONE, ONE.T, out=np.lib.stride_tricks.as_strided(ONE, (3, 3), (0, 4))
            ),
            ValueError,
            "out is a broadcast view",
        ),
        (lambda: kernels.matmul(ONE, ONE.T, beta=1.0), ValueError, "needs out="),
        (lambda: kernels.matmul(ONE.astype(">f4"), ONE.T), ValueError, "foreign byte order"),
        (lambda: kernels.matmul(HUGE, HUGE.T), ValueError, "more elements than memory"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_interleaved_out_shares_a_range_but_no_memory():
    memory = np.ones((4, 8), np.float32)
    a, out = memory[:, ::2], memory[:, 1::2]
    kernels.matmul(a, np.eye(4, dtype=np.float32) * 2, out=out)
    np.testing.assert_array_equal(memory, np.tile([1, 2], (4, 4)))


def test_out_that_overlaps_itself_is_refused():
    a, b = np.eye(3), np.arange(9.0).reshape(3, 3)
    memory = np.zeros(40)
    for strides in ((8, 8), (8, 16), (16, 16), (-8, 8), (16, 8)):
        out = np.lib.stride_tricks.as_strided(memory[8:], (3, 3), strides)
        with pytest.raises(ValueError, match="matmul: out overlaps itself"):
            kernels.matmul(a, b, out=out)
        with pytest.raises(ValueError, match="add: out overlaps itself"):
            kernels.add(a, b, out=out)
    assert not memory.any()
    wide = np.zeros((6, 2, 12))
    for out in (wide[::2, 0, ::4], wide[3:, 1, 9:].T, wide[2::-1, 0, ::-5], wide[:3, 1:, :3][:, 0]):
        np.testing.assert_array_equal(kernels.matmul(a, b, out=out), b)
    row = np.zeros((1, 3))
    assert kernels.matmul(a[:1], b, out=row) is row


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("outputs", [0, 1, 33, 600])
def test_a_linear_layer_of_an_empty_batch(rows, outputs):
    x, w = np.zeros((rows, 17), np.float32), np.ones((outputs, 17), np.float32)
    assert kernels.linear(x, w).shape == (rows, outputs)
