"""Arrays on a GPU: NumPy's layouts over device memory. Public as `handloom.cuda.Array`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handloom import _C

Host = np.ndarray[Any, np.dtype[Any]]


class Array:
    """An n-dimensional array in a GPU's memory.

    Shape, strides and views are those of an ndarray of the same layout, which is kept for exactly
    that: views (`reshape`, `transpose`, slices) share memory as NumPy's do. Arithmetic is done by
    `handloom.kernels` and on tensors; `numpy()` copies to the host.

    Attributes:
        index: The number of the device.
    """

    # _layout: an ndarray at the device's address. NumPy may move its axes, nobody may read it.
    __slots__ = ("__weakref__", "_layout", "index")

    __array_ufunc__ = None

    def __init__(self, layout: Host, index: int) -> None:
        self._layout = layout
        self.index = index

    @property
    def device(self) -> str:
        """`cuda:<number>`."""
        return f"cuda:{self.index}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._layout.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        return self._layout.strides

    @property
    def ndim(self) -> int:
        return self._layout.ndim

    @property
    def size(self) -> int:
        return self._layout.size

    @property
    def nbytes(self) -> int:
        return self._layout.nbytes

    @property
    def itemsize(self) -> int:
        return self._layout.itemsize

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._layout.dtype

    @property
    def flags(self) -> Any:
        return self._layout.flags

    @property
    def base(self) -> Any:
        return self._layout.base

    @property
    def T(self) -> Array:
        return self._view(self._layout.T)

    def __len__(self) -> int:
        return len(self._layout)

    def _view(self, layout: Host) -> Array:
        return Array(layout, self.index)

    def __getitem__(self, key: Any) -> Array:
        """A view by integers, slices, None and `...`; `kernels.take` gathers by indices."""
        key = key if isinstance(key, tuple) else (key,)
        for item in key:
            basic = isinstance(item, (int, np.integer, slice)) or item is None or item is ...
            if not basic or isinstance(item, bool):
                raise TypeError(
                    "cuda.Array: only integers, slices, None and ... make a view; index a tensor, "
                    "or use kernels.take, for anything else"
                )
        if not any(item is ... for item in key):
            key = (*key, ...)  # else NumPy would read a single element
        return self._view(self._layout[key])

    def reshape(self, *shape: Any) -> Array:
        """Another shape, as a view where the elements lie in C order, else of a copy."""
        whole = self if self._layout.flags.c_contiguous else self.copy()
        return whole._view(whole._layout.reshape(*shape))

    def ravel(self) -> Array:
        """One axis."""
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> Array:
        """Axes in another order."""
        return self._view(self._layout.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> Array:
        """Two axes exchanged."""
        return self._view(self._layout.swapaxes(a, b))

    def squeeze(self, axis: Any = None) -> Array:
        """Axes of size 1 left out."""
        return self._view(self._layout.squeeze(axis))

    def view(self, dtype: Any = None) -> Array:
        """The same memory under another dtype."""
        return self._view(self._layout.view() if dtype is None else self._layout.view(dtype))

    def copy(self, order: str = "C") -> Array:
        """A copy in C order."""
        made: Any = _C.copy(self, None)  # type: ignore[arg-type]
        return made  # type: ignore[no-any-return]

    def astype(self, dtype: Any, order: str = "C", copy: bool = True) -> Array:
        """Another element type; the array itself if it is of that type and `copy` is False."""
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self.copy() if copy else self
        return array(self.numpy().astype(wanted), self.index)

    def numpy(self) -> Host:
        """The elements, copied to the host; waits for the work that makes them."""
        dense = self if self._layout.flags.c_contiguous else self.copy()
        host = np.empty(self.shape, self.dtype)
        _C.gpu.download(dense, host)
        return host

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: expects one element, the array has shape {self.shape}")
        return self.numpy().item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self.numpy().tolist()

    def __repr__(self) -> str:
        return f"{np.array2string(self.numpy(), separator=', ', prefix='cuda.Array(')}".join(
            ("cuda.Array(", f", dtype={self.dtype}, device={self.device!r})")
        )

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __array__(self, *_: Any, **__: Any) -> Host:
        raise TypeError(
            f"this array is on {self.device}; copy it to the host first: .numpy() or .cpu()"
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3: consumers wait for `stream` before they read."""
        return {
            "version": 3,
            "shape": self.shape,
            "strides": None if self.flags.c_contiguous else self.strides,
            "typestr": self.dtype.str,
            "data": (_C.gpu.address(self._layout), not self.flags.writeable),
            "stream": _C.gpu.current_stream(self.index),
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.index

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule with this memory, for a consumer on `stream` (Python array API standard).

        None and 1 mean the legacy default stream, 2 the calling thread's, −1 that the consumer
        waits by itself, anything larger is a `cudaStream_t`.
        """
        if dl_device is not None and tuple(dl_device) != (2, self.index):
            raise BufferError(f"__dlpack__: the array is on {self.device}; copy it with .numpy()")
        if stream == 0:
            raise ValueError("__dlpack__: stream 0 is ambiguous, pass 1 or 2")
        source = self.copy() if copy else self
        handle = 1 if stream is None else stream
        versioned = max_version is not None and tuple(max_version) >= (1, 0)
        return _C.gpu.to_dlpack(source, versioned, None if handle == -1 else handle)

    def cpu(self) -> Host:
        """As `numpy()`."""
        return self.numpy()

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        own = _FUNCTIONS.get(function)
        if own is not None:
            return own(*args, **kwargs)
        if function not in _VIEWS:
            return NotImplemented
        first, *rest = args
        found = function(first._layout, *rest, **kwargs)
        if isinstance(found, list):
            return [first._view(v) for v in found]
        return first._view(found) if isinstance(found, np.ndarray) else found


# NumPy's functions that look at shape and strides only.
_VIEWS = {
    np.broadcast_to,
    np.diagonal,
    np.expand_dims,
    np.moveaxis,
    np.ndim,
    np.shape,
    np.size,
    np.split,
    np.squeeze,
    np.swapaxes,
    np.transpose,
}


def zeros(shape: tuple[int, ...], dtype: Any, index: int) -> Array:
    """Zeros on a device."""
    made: Array = _C.gpu.empty(shape, np.dtype(dtype), index)
    _C.gpu.clear(made)
    return made


def full(shape: tuple[int, ...], value: Any, dtype: Any, index: int) -> Array:
    """One value throughout."""
    made: Array = _C.gpu.empty(shape, np.dtype(dtype), index)
    _C.fill(made, value)  # type: ignore[arg-type]
    return made


def _like(make: Callable[..., Host]) -> Callable[..., Array]:
    def function(a: Array, *args: Any, **kwargs: Any) -> Array:
        kwargs.pop("order", None)
        value = args[0] if make is np.full else None
        rest = args[1:] if make is np.full else args
        dtype = kwargs.get("dtype") or (rest[0] if rest and rest[0] is not None else a.dtype)
        shape = kwargs.get("shape")
        shape = a.shape if shape is None else shape
        if make is np.zeros:
            return zeros(shape, dtype, a.index)
        if make is np.empty:
            return _C.gpu.empty(shape, np.dtype(dtype), a.index)  # type: ignore[no-any-return]
        return full(shape, 1 if value is None else value, dtype, a.index)

    return function


def by_numpy(function: Callable[..., Any], *operands: Any, **options: Any) -> Any:
    """NumPy's function; of device arrays it is computed on the host, and the result goes back.

    Raises:
        ValueError: Some arrays are on a GPU, others are not.
    """
    like = next((a for a in operands if isinstance(a, Array)), None)
    if like is not None and any(isinstance(a, np.ndarray) for a in operands):
        raise ValueError(
            f"{function.__name__}: an operand is on the CPU but another is on {like.device}; move "
            'one of them, for example with .to("cuda") or .cpu()'
        )
    return beside(np.asarray(function(*map(on_host, operands), **options)), like)


def _diagonal(subscripts: str, a: Array) -> Array:
    if subscripts != "...ii->...i":  # NumPy makes a view of this one alone
        raise TypeError(f"einsum: {subscripts!r} of a device array; use hl.einsum")
    return a._view(np.einsum(subscripts, a._layout))


def _flip(m: Array, axis: Any = None) -> Array:
    if m.ndim == 0 and axis is None:
        return m  # where NumPy would read the element
    return m._view(np.flip(m._layout, axis))


_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.einsum: _diagonal,
    np.flip: _flip,
    np.empty_like: _like(np.empty),
    np.full_like: _like(np.full),
    np.ones_like: _like(np.ones),
    np.zeros_like: _like(np.zeros),
}


def on_host(x: Any) -> Any:
    """The elements of a device array, copied; anything else as it is."""
    return place(x, -1)


def beside(host: Host, x: Any) -> Any:
    """An array of the host, moved to where `x` is."""
    return place(host, index_of(x))


def array(source: object, device: int | str = 0) -> Array:
    """Copies an array to a GPU, or takes over one of another library that is there already.

    Args:
        source: A NumPy array, anything that `np.asarray` reads, or an array of this class.
        device: The number of the GPU, or "cuda:<number>".

    Raises:
        RuntimeError: There is no GPU.
        TypeError: The elements are no numbers.
        MemoryError: The card is full.
    """
    from handloom.cuda._device import index_of

    foreign = not isinstance(source, (Array, np.ndarray))
    if foreign and hasattr(source, "__cuda_array_interface__"):
        return _from_interface(source)
    if foreign and getattr(source, "__dlpack_device__", lambda: (1, 0))()[0] in _CUDA_KINDS:
        return from_dlpack(source)
    index = index_of(f"cuda:{device}" if isinstance(device, int) else device, "cuda.array")
    if isinstance(source, Array):
        return source if source.index == index else array(source.numpy(), index)
    host = np.asarray(source, order="C")
    if host.dtype.kind not in "biuf":
        raise TypeError(
            f"cuda.array: {host.dtype} cannot be on a GPU, expected numbers or booleans"
        )
    made: Array = _C.gpu.upload(host, index)
    return made


_CUDA_KINDS = (2, 13)  # kDLCUDA, kDLCUDAManaged


def from_dlpack(source: Any) -> Array:
    """An array that shares the device memory of another library's (PyTorch, CuPy, JAX …).

    Our stream waits for theirs, and theirs is kept alive.

    Raises:
        TypeError: It has no `__dlpack__`, or an element type that we have not.
        ValueError: It is not on a GPU.
        RuntimeError: There is no GPU.
    """
    from handloom.cuda._device import require

    if not hasattr(source, "__dlpack__"):
        came = type(source).__name__
        raise TypeError(f"from_dlpack: expected an array with __dlpack__, got {came}")
    kind, index = source.__dlpack_device__()
    if kind not in _CUDA_KINDS:
        raise ValueError("from_dlpack: the array is not in a GPU's memory")
    require()
    stream = _C.gpu.current_stream(index)
    try:
        capsule = source.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # a producer from before version 1
        capsule = source.__dlpack__(stream=stream)
    data, shape, strides, dtype, number, owner, read_only = _C.gpu.from_dlpack(capsule)
    made: Array = _C.gpu.adopt(data, shape, strides, np.dtype(dtype), number, owner)
    if read_only:
        made._layout.flags.writeable = False
    return made


def _from_interface(source: Any) -> Array:
    """By `__cuda_array_interface__`, which has no device: that of the current one."""
    from handloom.cuda._device import require

    require()
    held = source.__cuda_array_interface__
    if held.get("mask") is not None:
        raise ValueError("cuda.array: a masked array cannot be shared")
    index, stream = 0, held.get("stream")
    if stream == 0:
        raise ValueError("cuda.array: stream 0 in __cuda_array_interface__ is ambiguous")
    if stream is not None:
        _C.gpu.stream_wait(index, _C.gpu.current_stream(index), stream)
    data, read_only = held["data"]
    dtype = np.dtype(held["typestr"])
    made: Array = _C.gpu.adopt(data, held["shape"], held.get("strides"), dtype, index, source)
    if read_only:
        made._layout.flags.writeable = False
    return made


# What the library takes for an array. To type checkers the second is one of the first: the same
# code serves both.
ARRAYS: tuple[type[Host], type[Host]] = (np.ndarray, Array)  # type: ignore[assignment]


def index_of(a: Any) -> int:
    """The device's number, −1 for the host."""
    return a.index if isinstance(a, Array) else -1


def place(a: Any, index: int) -> Any:
    """The array itself if it is on that device (−1: the host), else a copy there."""
    if index_of(a) == index:
        return a
    return a.numpy() if index < 0 else array(a, index)
