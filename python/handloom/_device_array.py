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
        for item in key if isinstance(key, tuple) else (key,):
            basic = isinstance(item, (int, np.integer, slice)) or item is None or item is ...
            if not basic or isinstance(item, bool):
                raise TypeError(
                    "cuda.Array: only integers, slices, None and ... make a view; index a tensor, "
                    "or use kernels.take, for anything else"
                )
        found = self._layout[key if isinstance(key, tuple) else (key,)] if key != () else None
        if not isinstance(found, np.ndarray):  # NumPy would read a single element
            key = (*(key if isinstance(key, tuple) else (key,)), ...)
            found = self._layout[key]
        return self._view(found)

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
        made: Array = _C.copy(self, None)
        return made

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
        return f"{np.array2string(self.numpy(), prefix='cuda.Array(')}".join(
            ("cuda.Array(", f", dtype={self.dtype}, device={self.device!r})")
        )

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __array__(self, *_: Any, **__: Any) -> Host:
        raise TypeError(
            f"this array is on {self.device}; copy it to the host first: .numpy() or .cpu()"
        )

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
    np.flip,
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
    return array(np.full(shape, value, dtype), index)


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


# What the library takes for an array.
ARRAYS = (np.ndarray, Array)


# What is computed by NumPy wherever its arrays are: integers, and values the host must see.
def host(a: Any) -> Any:
    """The elements where NumPy can read them; what is no device array comes back as it is."""
    return a.numpy() if isinstance(a, Array) else a


def beside(values: Any, like: Any) -> Any:
    """An array of the host to where `like` is."""
    return array(values, like.index) if isinstance(like, Array) else values


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
    return beside(np.asarray(function(*map(host, operands), **options)), like)


def _diagonal(subscripts: str, a: Array) -> Array:
    if subscripts != "...ii->...i":  # NumPy makes a view of this one alone
        raise TypeError(f"einsum: {subscripts!r} of a device array; use hl.einsum")
    return a._view(np.einsum(subscripts, a._layout))


_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.einsum: _diagonal,
    np.empty_like: _like(np.empty),
    np.full_like: _like(np.full),
    np.ones_like: _like(np.ones),
    np.zeros_like: _like(np.zeros),
}


def array(source: object, device: int | str = 0) -> Array:
    """Copies an array to a GPU, or takes over one of another library that is there already.

    Args:
        source: A NumPy array, anything that `np.asarray` reads, or an array of this class.
        device: The number of the GPU, or "cuda:<number>".

    Raises:
        RuntimeError: There is no GPU.
        MemoryError: The card is full.
    """
    from handloom.cuda._device import index_of

    index = index_of(f"cuda:{device}" if isinstance(device, int) else device, "cuda.array")
    if isinstance(source, Array):
        return source if source.index == index else array(source.numpy(), index)
    made: Array = _C.gpu.upload(np.ascontiguousarray(source).reshape(np.shape(source)), index)
    return made
