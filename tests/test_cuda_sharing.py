"""Device arrays and other libraries: DLPack, the CUDA array interface, streams and events."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest

import handloom as hl
from handloom import _C, kernels

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(3).standard_normal(shape) * 8).astype(dtype)


class OldProducer:
    """A library that knows no version 1 of DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, *, stream=None):
        return self.array.__dlpack__(stream=stream)


@pytest.mark.parametrize("producer", [lambda a: a, OldProducer])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "bool", "uint8"])
def test_dlpack_shares_memory(dtype, producer):
    host = numbers(3, 5, dtype=dtype)
    ours = hl.cuda.array(host)
    theirs = hl.cuda.from_dlpack(producer(ours))
    assert theirs.dtype == dtype
    assert theirs.__cuda_array_interface__["data"] == ours.__cuda_array_interface__["data"]
    np.testing.assert_array_equal(theirs.numpy(), host)


def test_dlpack_keeps_strides_and_memory():
    host = numbers(4, 6)
    view = hl.cuda.array(host).T[1:5, ::2]
    theirs = hl.cuda.from_dlpack(view)
    assert theirs.strides == view.strides
    del view
    gc.collect()
    hl.cuda.array(numbers(400))  # would take the block if it were free
    np.testing.assert_array_equal(theirs.numpy(), host.T[1:5, ::2])


def test_a_capsule_is_used_once_and_an_unused_one_lets_go():
    array = hl.cuda.array(numbers(2000))
    free = hl.cuda.mem_get_info()[0]
    capsule = array.__dlpack__()
    _C.gpu.from_dlpack(capsule)
    with pytest.raises(TypeError, match="nobody has used"):
        _C.gpu.from_dlpack(capsule)
    unused = array.__dlpack__(max_version=(1, 0))
    del capsule, unused, array
    gc.collect()
    assert hl.cuda.mem_get_info()[0] >= free


def test_dlpack_refuses_what_it_cannot_do():
    array = hl.cuda.array(numbers(3))
    with pytest.raises(BufferError, match="copy it with"):
        array.__dlpack__(dl_device=(1, 0))
    with pytest.raises(ValueError, match="stream 0 is ambiguous"):
        array.__dlpack__(stream=0)
    with pytest.raises(ValueError, match="not in a GPU's memory"):
        hl.cuda.from_dlpack(numbers(3))
    with pytest.raises(TypeError, match="expected an array with __dlpack__, got list"):
        hl.cuda.from_dlpack([1.0])


@pytest.mark.parametrize("stream", [None, 1, 2])
def test_the_array_interface_is_taken_over(stream):
    host = numbers(4, 3)
    ours = hl.cuda.array(host)
    described = {**ours.T.__cuda_array_interface__, "stream": stream}
    foreign = SimpleNamespace(__cuda_array_interface__=described, keep=ours)
    taken = hl.cuda.array(foreign)
    np.testing.assert_array_equal(taken.numpy(), host.T)
    np.testing.assert_array_equal(
        kernels.softmax(hl.cuda.array(taken).copy()).numpy().shape, (3, 4)
    )


def test_the_array_interface_is_checked():
    ours = hl.cuda.array(numbers(4))
    for change, message in (({"stream": 0}, "ambiguous"), ({"mask": object()}, "masked")):
        foreign = SimpleNamespace(__cuda_array_interface__=ours.__cuda_array_interface__ | change)
        with pytest.raises(ValueError, match=message):
            hl.cuda.array(foreign)


def test_a_read_only_array_stays_so():
    ours = hl.cuda.array(numbers(4))
    data = (ours.__cuda_array_interface__["data"][0], True)
    foreign = SimpleNamespace(
        __cuda_array_interface__=ours.__cuda_array_interface__ | {"data": data}, keep=ours
    )
    assert not hl.cuda.array(foreign).flags.writeable


def test_arrays_outlive_the_stream_that_they_were_made_on():
    x = hl.cuda.array(numbers(5, 7))
    kept = []
    for _ in range(3):
        side = hl.cuda.Stream()
        with hl.cuda.stream(side):
            inner = kernels.softmax(x)
            kept.append(kernels.softmax(inner))
            del inner
        del side
    np.testing.assert_array_equal(kept[0].numpy(), kept[2].numpy())
    del kept, x
    hl.cuda.synchronize()


def test_streams_and_events():
    x = numbers(5, 7)
    side = hl.cuda.Stream()
    start, end = hl.cuda.Event(), hl.cuda.Event()
    before = hl.cuda.current_stream().handle
    device = hl.cuda.array(x)
    with hl.cuda.stream(side) as current:
        assert current is side
        assert hl.cuda.current_stream().handle == side.handle
        start.record()
        y = kernels.softmax(device)
        end.record(side)
    assert hl.cuda.current_stream().handle == before
    assert start.elapsed_time(end) >= 0
    side.synchronize()
    np.testing.assert_allclose(y.numpy(), kernels.softmax(x), rtol=1e-6)
    with hl.cuda.stream(side.handle), pytest.raises(ZeroDivisionError):
        1 / 0  # noqa: B018
    assert hl.cuda.current_stream().handle == before
    assert "device=0" in repr(side)
