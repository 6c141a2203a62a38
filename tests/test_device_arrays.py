"""Arrays on a GPU, apart from kernels: layouts, printing, errors. A card or the emulator."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import handloom as hl

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
DTYPES = st.sampled_from(["float32", "float64", "int64", "int32", "bool", "uint8"])


def numbered(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def same(device: Any, host: Any) -> None:
    assert isinstance(device, hl.cuda.Array)
    assert device.shape == host.shape
    assert device.dtype == host.dtype
    np.testing.assert_array_equal(device.numpy(), host)


@given(shape=SHAPES, dtype=DTYPES)
def test_there_and_back(shape: tuple[int, ...], dtype: str) -> None:
    a = numbered(shape, dtype)
    d = hl.cuda.array(a)
    same(d, a)
    assert (d.ndim, d.size, d.nbytes, d.itemsize) == (a.ndim, a.size, a.nbytes, a.itemsize)
    same(d.copy(), a)


@settings(max_examples=200)
@given(data=st.data(), shape=SHAPES)
def test_views_are_numpys(data: st.DataObject, shape: tuple[int, ...]) -> None:
    """A chain of views: each shares the memory, and looks as NumPy's."""
    a = numbered(shape)
    d = hl.cuda.array(a)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["index", "transpose", "flip", "reshape", "expand"]))
        if kind == "index":
            key = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True, max_dims=6))
            a, d = np.asarray(a[key]), d[key]
        elif kind == "transpose":
            axes = data.draw(st.permutations(range(a.ndim)))
            a, d = a.transpose(axes), d.transpose(axes)
        elif kind == "flip":
            a, d = np.flip(a), np.flip(d)
        elif kind == "expand":
            a, d = np.expand_dims(a, 0), np.expand_dims(d, 0)
        else:
            a, d = a.reshape(-1), d.reshape(-1)
        same(d, a)


@given(data=st.data(), shape=SHAPES)
def test_other_functions_of_layout(data: st.DataObject, shape: tuple[int, ...]) -> None:
    a = numbered(shape)
    d = hl.cuda.array(a)
    same(np.squeeze(d), np.squeeze(a))
    same(d.T, a.T)
    same(np.broadcast_to(d, (2, *shape)), np.broadcast_to(a, (2, *shape)))
    if a.ndim >= 2:
        i, j = (data.draw(st.integers(-a.ndim, a.ndim - 1)) for _ in range(2))
        same(np.moveaxis(d, i, j), np.moveaxis(a, i, j))
        same(d.swapaxes(i, j), a.swapaxes(i, j))
    for make in (np.zeros_like, np.ones_like):
        same(make(d), make(a))
    same(np.full_like(d, 3), np.full_like(a, 3))


@given(shape=SHAPES, order=st.sampled_from(["K", "F", "stride"]))
def test_uploads_of_any_layout(shape: tuple[int, ...], order: str) -> None:
    a = numbered(shape)
    a = (
        np.asfortranarray(a)
        if order == "F"
        else a[..., ::-1]
        if order == "stride" and a.ndim
        else a
    )
    same(hl.cuda.array(a), a)


def test_views_share_memory() -> None:
    d = hl.cuda.array(np.zeros((3, 4), np.float32))
    view = d[1:, ::2]
    hl.kernels.add(hl.cuda.array(np.ones((3, 4), np.float32)), d, out=d)
    np.testing.assert_array_equal(view.numpy(), np.ones((2, 2)))


# ---- what must fail, and how ---------------------------------------------------------------------
@pytest.mark.parametrize("key", [5, (0, 9), (0, 0, 0), (slice(None), -9)])
def test_an_index_outside_is_an_index_error(key: Any) -> None:
    d = hl.cuda.array(np.zeros((3, 4), np.float32))
    with pytest.raises(IndexError):
        d[key]


@pytest.mark.parametrize("key", [[0, 1], np.array([0]), True, 1.5, "a"])
def test_indices_that_are_no_view_are_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=r"take|view"):
        hl.cuda.array(np.zeros((3, 4), np.float32))[key]


def test_numpy_does_not_read_it() -> None:
    d = hl.cuda.array(np.zeros(3, np.float32))
    for read in (np.asarray, np.array, np.ascontiguousarray, np.float32):
        with pytest.raises(TypeError, match=r"on cuda:0.*\.numpy\(\)"):
            read(d)
    with pytest.raises(TypeError):
        np.sum(d)
    with pytest.raises(TypeError):
        np.zeros(3, np.float32) + d
    with pytest.raises(TypeError):
        np.concatenate([d, d])


def test_two_places_do_not_mix() -> None:
    host = np.ones((2, 2), np.float32)
    device = hl.cuda.array(host)
    for a, b in ((host, device), (device, host)):
        with pytest.raises(ValueError, match=r"is on .* move one of them"):
            hl.kernels.matmul(a, b)
        with pytest.raises((ValueError, RuntimeError), match=r"cuda:0"):
            hl.tensor(a) @ hl.tensor(b) if a is host else hl.Tensor(a) @ hl.tensor(b)


@pytest.mark.parametrize("name", ["cuda:9", "cuda:-1", "cuda:x", "gpu", "cuda:"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        hl.tensor([1.0]).to(name)


def test_no_memory_is_a_memory_error_and_passes() -> None:
    keep = hl.cuda.array(np.arange(5, dtype=np.float32))
    free = hl.cuda.mem_get_info()[1]
    big = hl.cuda.array(np.zeros(1, np.float32))
    with pytest.raises(MemoryError, match="memory"):
        hl.kernels.add(np.broadcast_to(big, (free // 2,)), np.broadcast_to(big, (free // 2,)))
    with pytest.raises(MemoryError, match="memory"):
        np.zeros_like(np.broadcast_to(big, (free,)))
    np.testing.assert_array_equal(hl.kernels.add(keep, keep).numpy(), 2 * np.arange(5))


def test_memory_comes_back() -> None:
    before = hl.cuda.mem_get_info()[0]
    for _ in range(20):
        hl.cuda.array(np.zeros(1 << 16, np.float32))
    hl.cuda.synchronize()
    assert hl.cuda.mem_get_info()[0] >= before - (64 << 20)


def test_printing() -> None:
    d = hl.cuda.array(np.array([[1.5, 2.0], [3.0, 4.0]], np.float32))
    text = repr(d)
    assert text.startswith("cuda.Array([[1.5, 2. ],")
    assert text.endswith("dtype=float32, device='cuda:0')")
    assert "cuda" in repr(hl.tensor([1.0], device="cuda"))
    assert repr(hl.cuda.array(np.zeros((0, 3)))).startswith("cuda.Array([]")


def test_single_elements() -> None:
    d = hl.cuda.array(np.array([[2.5]], np.float32))
    assert d.item() == 2.5
    assert d.tolist() == [[2.5]]
    assert bool(d)
    assert len(d) == 1
    with pytest.raises(ValueError, match=r"one element"):
        hl.cuda.array(np.zeros(2)).item()
    with pytest.raises(TypeError):
        len(hl.cuda.array(np.zeros(())))
    with pytest.raises(TypeError):
        operator.index(d)


def test_arrays_that_cannot_go_there() -> None:
    for wrong in (np.array(["a"]), np.array([None])):
        with pytest.raises((TypeError, ValueError)):
            hl.cuda.array(wrong)
