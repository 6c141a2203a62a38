"""Queues of work on a GPU, and marks in them."""

from __future__ import annotations

from types import TracebackType

from handloom import _C
from handloom.cuda._device import index_of, require


class Stream:
    """A queue: work on one stream runs in order, work on several may overlap.

    The library has one stream per device, ordered with the legacy default stream, so that what it
    computes and what PyTorch or CuPy compute on their default streams never overlap.

    Args:
        device: The number of the GPU.
        handle: A `cudaStream_t` of another library to use instead of a new stream; it stays theirs.
    """

    __slots__ = ("_own", "device", "handle")

    def __init__(self, device: int = 0, handle: int | None = None) -> None:
        require()
        self.device = index_of(f"cuda:{device}", "Stream")
        self._own = handle is None
        self.handle: int = _C.gpu.stream_create(self.device) if handle is None else int(handle)

    def wait_stream(self, other: Stream) -> None:
        """What is queued here from now on waits for what `other` has queued so far."""
        _C.gpu.stream_wait(self.device, self.handle, other.handle)

    def synchronize(self) -> None:
        """Waits on the host for all of it."""
        _C.gpu.stream_synchronize(self.device, self.handle)

    def __repr__(self) -> str:
        return f"cuda.Stream(device={self.device}, handle={self.handle:#x})"

    def __del__(self) -> None:
        if getattr(self, "_own", False) and hasattr(self, "handle"):
            _C.gpu.stream_destroy(self.device, self.handle)


def current_stream(device: int = 0) -> Stream:
    """The stream that this thread's kernels go to."""
    require()
    return Stream(device, _C.gpu.current_stream(device))


class stream:
    """Sends this thread's kernels to another stream, inside a `with` block.

    The stream first waits for what was queued before the block, and what follows the block waits
    for it: results may be used on either side.

    Args:
        stream: A `Stream`, or the handle (`cudaStream_t` as an integer) of another library's.
    """

    def __init__(self, stream: Stream | int) -> None:
        self.stream = stream if isinstance(stream, Stream) else Stream(handle=stream)

    def __enter__(self) -> Stream:
        device = self.stream.device
        self._before = _C.gpu.current_stream(device)
        _C.gpu.stream_wait(device, self.stream.handle, self._before)
        _C.gpu.use_stream(device, self.stream.handle)
        return self.stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        device = self.stream.device
        _C.gpu.use_stream(device, self._before)
        _C.gpu.stream_wait(device, self._before, self.stream.handle)


class Event:
    """A mark in a stream, for measuring time on the GPU.

    Args:
        device: The number of the GPU.
    """

    __slots__ = ("_handle", "device")

    def __init__(self, device: int = 0) -> None:
        require()
        self.device = index_of(f"cuda:{device}", "Event")
        self._handle = _C.gpu.event_create(self.device)

    def record(self, stream: Stream | None = None) -> None:
        """Puts the mark into a stream, by default the current one."""
        where = _C.gpu.current_stream(self.device) if stream is None else stream.handle
        _C.gpu.event_record(self.device, self._handle, where)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this mark to `end`; waits for both."""
        return _C.gpu.event_elapsed(self.device, self._handle, end._handle)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            _C.gpu.event_destroy(self.device, self._handle)
