"""Moving data: every dtype, every stride, every bit; padding and indices as NumPy has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import handloom as hl
from handloom import kernels
from reference.layout import NUMPY_MODES

DTYPES = (
    "bool",
    "uint8",
    "int16",
    "float16",
    "float32",
    "int32",
    "float64",
    "int64",
    "complex64",
    "complex128",
)


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.tobytes() == np.ascontiguousarray(b).tobytes()


def random_bytes(shape, dtype, seed=0):
    """Any bit pattern, NaN payloads and subnormals among them."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    data = np.random.default_rng(seed).integers(0, 2 if dtype.kind == "b" else 256, size, np.uint8)
    return data.view(dtype).reshape(shape)


@st.composite
def views(draw, dtype=None):
    """An array and a view of it: permuted, sliced with any step, broadcast."""
    shape = draw(st.lists(st.integers(0, 9), min_size=0, max_size=5))
    kind = draw(st.sampled_from(DTYPES)) if dtype is None else dtype
    x = random_bytes(shape, kind, draw(st.integers(0, 100)))
    x = x.transpose(draw(st.permutations(range(x.ndim))))
    steps = draw(
        st.lists(st.sampled_from([1, 1, 1, -1, 2, -2, 3]), min_size=x.ndim, max_size=x.ndim)
    )
    x = np.asarray(x[tuple(slice(None, None, step) for step in steps)])
    if draw(st.booleans()):
        x = np.broadcast_to(x, (draw(st.integers(1, 4)), *x.shape))
    return x


@given(views())
@settings(max_examples=300, deadline=None)
def test_copy_of_any_view(x):
    same_bits(kernels.copy(x), x)


@given(views(), st.data())
@settings(max_examples=200, deadline=None)
def test_copy_into_any_view(x, data):
    order = data.draw(st.permutations(range(x.ndim)))
    base = random_bytes(tuple(2 * x.shape[axis] + 1 for axis in order), x.dtype, 5).copy()
    steps = [data.draw(st.sampled_from([1, -1, 2])) for _ in range(x.ndim)]
    places = [
        slice(n, 0, -1) if step < 0 else slice(0, n * step, step) for n, step in zip(x.shape, steps)
    ]
    out = base.transpose(np.argsort(order) if x.ndim else ())[(*places, ...)]
    before, where = base.copy(), out.copy()
    assert kernels.copy(x, out=out) is out
    same_bits(np.ascontiguousarray(out).reshape(x.shape), x)
    kernels.assign(out, where)
    same_bits(base, before)  # nothing else was written


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1000, 37), (130, 130), (129, 600), (5, 20000)])
def test_large_transposes_and_flips(shape, dtype, isa):
    x = random_bytes(shape, dtype)
    for view in (x, x.T, x[::-1], x[:, ::-1], x.T[::-1], x[::2, 1:], x.T[:, ::2]):
        same_bits(kernels.copy(view), view)


def test_signalling_nan_and_subnormals_keep_their_bits(isa):
    bits = np.array([0x7FA00001, 0xFFC12345, 0x00000001, 0x80000000, 0x807FFFFF] * 40, np.uint32)
    x = bits.view(np.float32).reshape(10, 20)
    for y in (
        kernels.copy(x),
        kernels.copy(x.T).T,
        kernels.flip(kernels.flip(x)),
        kernels.concat([x]),
    ):
        np.testing.assert_array_equal(np.ascontiguousarray(y).view(np.uint32).ravel(), bits)
    padded = kernels.pad(x, 1, mode="reflect")[1:-1, 1:-1]
    np.testing.assert_array_equal(padded.copy().view(np.uint32).ravel(), bits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_and_broadcast(dtype, isa):
    x = np.zeros((7, 300), dtype)
    kernels.fill(x[:, ::3], 1)
    expected = np.zeros((7, 300), dtype)
    expected[:, ::3] = 1
    same_bits(x, expected)
    row, column = random_bytes((300,), dtype), random_bytes((7, 1), dtype)
    for source in (row, column, random_bytes((), dtype)):
        kernels.assign(x, source)
        expected[...] = source
        same_bits(x, expected)


def test_overlapping_assignment_reads_before_it_writes():
    x = np.arange(10000.0)
    kernels.assign(x[1:], x[:-1])
    np.testing.assert_array_equal(x, [0, *range(9999)])
    y = np.arange(12.0).reshape(3, 4)[:, :3].copy()
    kernels.assign(y, y.T)
    np.testing.assert_array_equal(y, np.arange(12.0).reshape(3, 4)[:, :3].T)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_pad_is_numpys(data):
    x = data.draw(hnp.arrays(np.int32, hnp.array_shapes(max_dims=4, max_side=5)))
    pairs = [(data.draw(st.integers(0, 12)), data.draw(st.integers(0, 12))) for _ in range(x.ndim)]
    mode = data.draw(st.sampled_from(sorted(NUMPY_MODES)))
    expected = np.pad(
        x, pairs, NUMPY_MODES[mode], **({"constant_values": 7} if mode == "constant" else {})
    )
    same_bits(kernels.pad(x, pairs, mode=mode, value=7), expected)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_pad_backward_is_the_transpose(data):
    """<pad(x), dy> = <x, pad_backward(dy)>, in exact integers held by float64."""
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=4))
    pairs = [(data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))) for _ in shape]
    mode = data.draw(st.sampled_from(sorted(NUMPY_MODES)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(-9, 9, shape).astype(np.float64)
    y = kernels.pad(x, pairs, mode=mode)
    dy = rng.integers(-9, 9, y.shape).astype(np.float64)
    assert (y * dy).sum() == (x * kernels.pad_backward(dy, pairs, mode=mode)).sum()


@pytest.mark.parametrize("dtype", DTYPES)
def test_take_and_gather_move_bits(dtype, isa):
    x = random_bytes((9, 5, 7), dtype)
    rng = np.random.default_rng(0)
    for axis in (0, 1, 2, -1):
        index = rng.integers(0, x.shape[axis], (2, 3))
        same_bits(kernels.take(x, index, axis=axis), np.take(x, index, axis))
        same_bits(kernels.take(x, index.astype(np.int32).T, axis=axis), np.take(x, index.T, axis))
        order = np.argsort(rng.random(x.shape), axis)
        same_bits(kernels.gather(x, order, axis=axis), np.take_along_axis(x, order, axis))
        view = x[::-1, ::2]
        order = np.argsort(rng.random(view.shape), axis)
        same_bits(kernels.gather(view, order, axis=axis), np.take_along_axis(view, order, axis))


def test_stack_and_concat():
    arrays = [random_bytes((3, 4), "float32", i) for i in range(3)]
    for axis in (0, 1, -1, 2):
        same_bits(kernels.stack(arrays, axis), np.stack(arrays, axis))
    for axis in (0, 1, -1):
        same_bits(
            kernels.concat([a.T for a in arrays], axis), np.concatenate([a.T for a in arrays], axis)
        )


def test_one_hot():
    index = np.array([[0, 2], [1, 1]], np.int32)
    y = kernels.one_hot(index, 3)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, np.eye(3, dtype=int)[index])
    assert kernels.one_hot(np.empty(0, int), 0).shape == (0, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [-(2**62), -4, -1, 0, 1, 6, 2**62])
def test_triangles(dtype, k):
    x = random_bytes((2, 4, 5), dtype)
    bounded = max(-9, min(9, k))
    same_bits(kernels.tril(x, k), np.tril(x, bounded))
    same_bits(kernels.triu(x, k), np.triu(x, bounded))


def test_scatter_add_of_many_rows_is_accurate():
    """A million terms into three rows: plain float32 accumulation would lose four digits."""
    rng = np.random.default_rng(0)
    dy, index = rng.random((300000, 3), np.float32), rng.integers(0, 3, 300000)
    exact = np.stack([dy[index == v].sum(0, dtype=np.float64) for v in range(3)])
    got = kernels.take_backward(dy, index, 3)
    assert np.max(np.abs(got - exact) / exact) < 4e-7 * 8


F = np.ones((2, 3), np.float32)
I = np.zeros((2, 3), np.int64)
READ_ONLY = np.ones(3)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: kernels.copy([1.0]), TypeError, "copy: x is a list, expected a numpy.ndarray"),
        (lambda: kernels.copy(np.array([None])), TypeError, "copy: x has dtype object"),
        (lambda: kernels.copy(np.zeros(2, "i4,f8")), TypeError, "copy: x has dtype"),
        (
            lambda: kernels.copy(F, out=np.ones((2, 3))),
            TypeError,
            "out is float64 but x is float32",
        ),
        (lambda: kernels.copy(F, out=F), ValueError, "out overlaps x"),
        (
            lambda: kernels.copy(F, out=np.ones((3, 2), np.float32)),
            ValueError,
            r"expected \(2, 3\)",
        ),
        (lambda: kernels.copy(np.ones(3), out=READ_ONLY), ValueError, "out is read-only"),
        (lambda: kernels.copy(np.zeros((2,) * 9)[..., ::-1].T), ValueError, "at most 8 axes"),
        (lambda: kernels.copy(F.astype(">f4")), ValueError, "foreign byte order"),
        (lambda: kernels.assign(F.copy(), I), TypeError, "src is int64 but dst is float32"),
        (lambda: kernels.assign(F.copy(), F.T), ValueError, r"src \(3, 2\) does not broadcast"),
        (lambda: kernels.assign(READ_ONLY, np.ones(3)), ValueError, "dst is read-only"),
        (lambda: kernels.assign(np.broadcast_to(F, (4, 2, 3)), F), ValueError, "dst is"),
        (lambda: kernels.fill(F.copy(), "x"), TypeError, "fill: value is a str"),
        (lambda: kernels.concat([]), ValueError, "concat: arrays is empty"),
        (lambda: kernels.concat([F, I]), TypeError, r"arrays\[1\] is int64 but arrays\[0\]"),
        (lambda: kernels.concat([F, F.T]), ValueError, r"arrays\[1\] has shape \(3, 2\)"),
        (lambda: kernels.concat([F], 2), ValueError, "axis is 2"),
        (lambda: kernels.stack([F], 3), ValueError, r"stack: axis is 3, but arrays\[0\] has shape"),
        (lambda: kernels.stack([F], -4), ValueError, "stack: axis is -4"),
        (lambda: kernels.stack([F, [1.0]]), TypeError, r"stack: arrays\[1\] is a list"),
        (lambda: kernels.flip(F, 2), ValueError, r"flip: axis is 2, but x has shape \(2, 3\)"),
        (lambda: kernels.flip(F, (0, -2)), ValueError, r"flip: axis is \(0, -2\)"),
        (lambda: kernels.pad(F, [(1, 1)]), ValueError, "pairs has 1 entries"),
        (lambda: kernels.pad(F, [(1, 1), (-1, 0)]), ValueError, r"pairs\[1\] is \(-1, 0\)"),
        (
            lambda: kernels.pad(F, 1, mode="mirror"),
            ValueError,
            "mode 'mirror' is unknown, expected one of",
        ),
        (lambda: kernels.pad(F[:0], 1, mode="reflect"), ValueError, "nothing to repeat: axis 0"),
        (lambda: kernels.pad(F.T, 1), ValueError, "pad: x is not contiguous"),
        (lambda: kernels.pad(F, 2**49), (ValueError, MemoryError), "pad"),
        (lambda: kernels.pad_backward(F, [(1, 2), (0, 0)]), ValueError, "has only 2 elements"),
        (lambda: kernels.pad_backward(I, 0), TypeError, "pad_backward: dy has dtype int64"),
        (
            lambda: kernels.take(F, np.array([0, 1, 2])),
            ValueError,
            r"indices\[2\] is 2, expected 0 <=",
        ),
        (lambda: kernels.take(F, np.array([[0], [-1]])), ValueError, r"indices\[1, 0\] is -1"),
        (lambda: kernels.take(F, np.array([0.0])), TypeError, "indices has dtype float64"),
        (lambda: kernels.take(F, I, axis=2), ValueError, "take: axis is 2"),
        (lambda: kernels.take_backward(F, np.array([0, 5]), 3), ValueError, r"indices\[1\] is 5"),
        (lambda: kernels.take_backward(F, np.array([0]), 3), ValueError, "dy has shape"),
        (lambda: kernels.take_backward(F, np.array([0, 0]), -1), ValueError, "num_rows is -1"),
        (lambda: kernels.gather(F, I + 9, axis=0), ValueError, r"index\[0, 0\] is 9"),
        (lambda: kernels.gather(F, I[0], axis=0), ValueError, "expected 2 axes"),
        (lambda: kernels.gather(F, np.zeros((3, 3), int), axis=1), ValueError, "longer than x"),
        (lambda: kernels.gather_backward(F, I, (2,), axis=0), ValueError, r"shape is \(2,\)"),
        (lambda: kernels.one_hot(np.array([3]), 3), ValueError, r"indices\[0\] is 3"),
        (lambda: kernels.one_hot(np.array([0]), -1), ValueError, "classes is -1"),
        (lambda: kernels.tril(np.ones(3)), ValueError, r"expected \(\.\.\., M, N\)"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
