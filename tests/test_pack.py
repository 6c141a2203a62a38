"""Weights packed before the product give what the plain weights give."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import kernels

RNG = np.random.default_rng(5)


def array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def close(got: np.ndarray, want: np.ndarray, depth: int) -> None:
    eps = np.finfo(got.dtype).eps
    np.testing.assert_allclose(got, want, rtol=0, atol=16 * eps * depth**0.5 * 4)


@pytest.fixture(params=hl._C.available_isas())
def isa(request):
    before = hl._C.isa()
    hl.use_isa(request.param)
    yield request.param
    hl.use_isa(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 14, 15, 33, 64, 65])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (33, 17), (64, 0), (70, 128)])
def test_linear(isa, dtype, rows, outputs, inputs):
    x, w, b = array(rows, inputs, dtype=dtype), array(outputs, inputs, dtype=dtype), array(outputs)
    b = b.astype(dtype)
    packed = kernels.pack(w)
    y = kernels.linear(x, packed, b, activation="tanh")
    close(y, np.tanh(x.astype("f8") @ w.T.astype("f8") + b), max(inputs, 1))
    z = kernels.linear(x, packed, b, activation="gelu", return_saved=True)[1]
    close(z, x.astype("f8") @ w.T.astype("f8") + b, max(inputs, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "w_shape", "options"),
    [
        ((1, 9, 9, 16), (40, 3, 3, 16), {"padding": 1}),
        ((2, 9, 9, 16), (40, 3, 3, 16), {}),
        ((2, 8, 9, 16), (40, 3, 3, 8), {"groups": 2, "stride": 2, "dilation": 2, "padding": 2}),
        ((1, 5, 5, 32), (33, 1, 1, 32), {}),
        ((4, 9, 9, 32), (33, 1, 1, 32), {}),
        ((1, 9, 9, 32), (2, 3, 3, 32), {}),
        ((1, 9, 9, 8), (8, 3, 3, 1), {"groups": 8}),
        ((1, 9, 9, 16), (40, 3, 3, 16), {"padding": 1, "padding_mode": "circular"}),
    ],
)
def test_conv2d(isa, dtype, shape, w_shape, options):
    x, w, b = array(*shape, dtype=dtype), array(*w_shape, dtype=dtype), array(w_shape[0])
    b = b.astype(dtype)
    packed = kernels.pack(w, groups=options.get("groups", 1))
    y = kernels.conv2d(x, packed, b, activation="relu", **options)
    want = kernels.conv2d(x.astype("f8"), w.astype("f8"), b.astype("f8"), **options)
    close(y, np.maximum(want, 0), int(np.prod(w_shape[1:])))


def test_a_1d_and_a_3d_convolution():
    x, w = array(2, 11, 16), array(24, 3, 16)
    np.testing.assert_array_equal(kernels.conv1d(x, kernels.pack(w)), kernels.conv1d(x, w))
    x, w = array(1, 5, 6, 7, 16), array(24, 3, 3, 3, 16)
    np.testing.assert_array_equal(kernels.conv3d(x, kernels.pack(w)), kernels.conv3d(x, w))


def test_bits_do_not_depend_on_threads():
    x, w = array(30, 700), array(900, 700)
    packed = kernels.pack(w)
    before, results = hl.get_num_threads(), []
    for threads in (1, 2, 4):
        hl.set_num_threads(threads)
        results.append(kernels.linear(x, packed))
    hl.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_it_is_a_copy():
    w = array(40, 24)
    packed, before = kernels.pack(w), w.copy()
    w[:] = 0
    for rows in (1, 8, 200):
        x = array(rows, 24)
        close(kernels.linear(x, packed), x @ before.T, 24)


def test_explain_says_that_nothing_is_packed():
    (plan,) = kernels.explain("linear", (16, 256), kernels.pack(array(256, 256)))
    assert plan.algorithm == "tiles, packed before"
    assert plan.scratch == 0
    (plan,) = kernels.explain("conv2d", (1, 9, 9, 16), kernels.pack(array(40, 3, 3, 16)))
    assert "packed before" in plan.algorithm


def test_it_says_what_it_is():
    packed = kernels.pack(array(8, 3, 3, 2), groups=2)
    assert (packed.shape, packed.ndim, packed.dtype) == ((8, 3, 3, 2), 4, np.float32)
    assert repr(packed) == "PackedWeight((8, 3, 3, 2), float32, groups=2)"


def test_refusals():
    w = array(8, 6)
    with pytest.raises(ValueError, match=r"pack: w has shape \(6,\), expected \(O, \.\.\., I\)"):
        kernels.pack(w[0])
    with pytest.raises(ValueError, match="pack: groups = 3 does not divide w's 8 output channels"):
        kernels.pack(w, groups=3)
    with pytest.raises(TypeError, match="pack: w"):
        kernels.pack(w.astype("int32"))
    with pytest.raises(ValueError, match="ascontiguousarray"):
        kernels.pack(w.T)
    with pytest.raises(TypeError, match="linear"):
        kernels.linear(array(4, 6, dtype="float64"), kernels.pack(w))
    with pytest.raises(ValueError, match="5 features"):
        kernels.linear(array(4, 5), kernels.pack(w))
    with pytest.raises(TypeError, match="PackedWeight"):
        kernels.linear_backward(array(4, 8), array(4, 6), kernels.pack(w))
    grouped = kernels.pack(array(8, 3, 3, 4), groups=2)
    with pytest.raises(ValueError, match="conv2d: w was packed as"):
        kernels.conv2d(array(1, 5, 5, 4), grouped)


@pytest.mark.skipif(len(hl._C.available_isas()) < 2, reason="one instruction set")
def test_another_instruction_set_asks_to_pack_again():
    before, others = hl._C.isa(), [i for i in hl._C.available_isas() if i != hl._C.isa()]
    packed = kernels.pack(array(40, 24))
    try:
        hl.use_isa(others[-1])
        with pytest.raises(ValueError, match="pack it again"):
            kernels.linear(array(8, 24), packed)
    finally:
        hl.use_isa(before)
