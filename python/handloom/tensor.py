"""The tensor: a NumPy array that remembers where it came from.

A `Tensor` holds an `ndarray`, the version counter of the memory behind it, and, where a gradient is
wanted, the tape's node that made it (`handloom.autograd`). Everything that computes is in
`handloom.ops`; the methods and operators are in `handloom._methods`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from handloom._device_array import ARRAYS, place
from handloom._methods import Methods

if TYPE_CHECKING:
    from handloom.autograd import Function, RemovableHandle

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
DTypeLike = Any  # "float32", np.float32, np.dtype("float32"), float, int, bool

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_new = object.__new__


def as_dtype(dtype: DTypeLike, op: str) -> np.dtype[Any]:
    """Returns the dtype that a user named; Python's `float` means float32, as in PyTorch.

    Raises:
        TypeError: It is not a real number type, or a half precision that no kernel has.
    """
    if dtype is float:
        return FLOATS[0]
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"{op}: dtype {dtype!r} is unknown, expected float32, float64, int64, int32 or bool"
        ) from None
    if found in FLOATS or found.kind in "biu":
        native: np.dtype[Any] = found.newbyteorder("=")
        return native
    raise TypeError(
        f"{op}: dtype {found} is not supported, expected float32, float64, an integer type or bool"
    )


def as_ndarray(data: object, op: str, dtype: DTypeLike = None) -> Array:
    """Reads array-like data without copying where it can.

    Args:
        data: A tensor, an array (keeps its dtype), a number or lists (floats become float32).
        op: How errors name the caller.
        dtype: The dtype of the result, if another is wanted.

    Raises:
        TypeError: Not numbers, or a dtype that the library does not have.
        ValueError: A ragged list, or an array in foreign byte order.
    """
    if isinstance(data, Tensor):
        array = data._array
    elif isinstance(data, ARRAYS):
        array = data
    else:
        if hasattr(data, "__array__") and not isinstance(data, float):
            array = np.asarray(data)
        else:
            try:
                array = np.asarray(data)
            except ValueError as error:
                raise ValueError(f"{op}: data is a ragged list: {error}") from None
            if array.dtype == np.float64 and dtype is None:
                array = array.astype(np.float32)
    if not array.dtype.isnative:
        raise ValueError(
            f"{op}: data has dtype {array.dtype} in foreign byte order; convert it with "
            "a.astype(a.dtype.newbyteorder('='))"
        )
    wanted = as_dtype(array.dtype if dtype is None else dtype, op)
    return array if array.dtype == wanted else array.astype(wanted)


class Leaf:
    """Where the gradient of a leaf comes to rest.

    The tensor holds its Leaf, the tape's nodes hold it, and it holds neither: no cycle.
    """

    __slots__ = ("dtype", "grad", "hooks", "made", "shape")

    def __init__(self, array: Array) -> None:
        self.shape = array.shape
        self.dtype = array.dtype
        self.grad: Tensor | None = None
        self.made = False  # the tape made grad's buffer, so it may add to it in place
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None


class Tensor(Methods):
    """An array with an optional gradient. Made by `hl.tensor`, `hl.from_numpy`, `hl.zeros` …

    Attributes:
        grad: The gradient of a leaf after `backward()`, a `Tensor` of the same shape, or None; that
            of an embedding with `sparse=True` a `RowGradient`.
        requires_grad: Whether operations on this tensor are recorded.
    """

    __slots__ = (
        "__weakref__",
        "_array",  # the data
        "_grad",  # a gradient kept by retain_grad or from before freezing; unset otherwise
        "_node",  # the Function that made this tensor, the Leaf of a leaf, None without a gradient
        "_version",  # [n]: how often the memory was written; one list for all views of it
    )

    __array_ufunc__ = None  # so that ndarray + tensor comes to Tensor.__radd__
    __hash__ = object.__hash__  # == compares elements

    _array: Array
    _grad: Tensor | None
    _node: Function | Leaf | None
    _version: list[int]

    def __init__(
        self,
        data: object,
        requires_grad: bool = False,
        dtype: DTypeLike = None,
        device: object = None,
    ) -> None:
        array = as_ndarray(data, "tensor", dtype)
        moved = array if device is None else place(array, device_index(device, "tensor"))
        if moved is array and (array.base is not None or hasattr(data, "__array__")):
            moved = array.copy()
        self._array = moved
        self._version = [0]
        self._node = None
        if requires_grad:
            self.requires_grad = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def device(self) -> str:
        """ "cpu", or "cuda:<number>"."""
        return "cpu" if isinstance(self._array, np.ndarray) else self._array.device

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user (or detached), not by a recorded operation."""
        return self._node is None or self._node.__class__ is Leaf

    @property
    def grad_fn(self) -> Function | None:
        """The node of the tape that made this tensor."""
        node = self._node
        return None if isinstance(node, Leaf) else node

    @property
    def requires_grad(self) -> bool:
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        node = self._node
        if wanted and node is None:
            if self._array.dtype not in FLOATS:
                raise TypeError(
                    "requires_grad: needs a float32 or float64 tensor, this one is "
                    f"{self._array.dtype}"
                )
            leaf = Leaf(self._array)
            leaf.grad = getattr(self, "_grad", None)
            self._node = leaf
        elif not wanted and node is not None:
            if not isinstance(node, Leaf):
                raise RuntimeError(
                    "requires_grad: only a leaf can stop recording; use x.detach() for the result "
                    f"of {node.name}"
                )
            self._grad = node.grad
            self._node = None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets `requires_grad` and returns the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> Tensor | None:
        node = self._node
        return node.grad if isinstance(node, Leaf) else getattr(self, "_grad", None)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor) and not getattr(value, "is_sparse", False):
                raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(
                    f"grad: expected shape {self.shape} and {self.dtype}, "
                    f"got {value.shape} and {value.dtype}"
                )
        node = self._node
        if isinstance(node, Leaf):
            node.grad = value
            node.made = False
        else:
            self._grad = value

    @property
    def data(self) -> Tensor:
        """The same memory as a tensor outside the graph; assign to it to put other data there."""
        return self.detach()

    @data.setter
    def data(self, value: object) -> None:
        array = as_ndarray(value, "data")
        self._put(array, value._version if isinstance(value, Tensor) else [0])

    def _put(self, array: Array, version: list[int]) -> None:
        """Other memory for this leaf; a gradient that still fits stays."""
        node = self._node
        if node is not None:
            if not isinstance(node, Leaf):
                raise RuntimeError(f"data: the tensor is the result of {node.name}, not a leaf")
            self._node = leaf = Leaf(array)
            leaf.hooks = node.hooks
            if node.grad is not None and node.grad.shape == array.shape:
                leaf.grad = node.grad.detach().astype(array.dtype)
        self._array = array
        self._version = version

    def detach(self) -> Tensor:
        """The same memory (and version counter) without a history."""
        out = wrap(self._array)
        out._version = self._version
        return out

    def numpy(self) -> Array:
        """The array itself, not a copy. The tape does not see what is written through it.

        Raises:
            TypeError: The tensor is on a GPU; `x.cpu().numpy()` copies it.
        """
        if not isinstance(self._array, np.ndarray):
            raise TypeError(f"numpy: the tensor is on {self.device}; use .cpu().numpy()")
        return self._array

    def item(self) -> float | int | bool:
        """The only element as a Python number.

        Raises:
            ValueError: There is not exactly one element.
        """
        if self._array.size != 1:
            raise ValueError(f"item: expects one element, the tensor has shape {self.shape}")
        value: float | int | bool = self._array.item()
        return value

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._array.tolist()

    def backward(
        self, gradient: object = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Walks the tape back from here and adds to `.grad` of every leaf that requires it.

        Args:
            gradient: d(objective)/d(self), of this shape; may be left out for a single element.
            retain_graph: Keep the graph for another walk; it is freed on the way otherwise.
            create_graph: Not available: there are no second derivatives.
        """
        if (
            gradient is None
            and not create_graph
            and self._node is not None
            and self._array.size == 1
        ):
            autograd.walk([(self, autograd.one(self._array))], retain_graph, None)
        else:
            autograd.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Calls `hook(gradient)` when this tensor's gradient is complete; what it returns, if not
        None, is used instead."""
        return autograd.register_hook(self, hook)

    def retain_grad(self) -> None:
        """Keeps `.grad` of a tensor that is not a leaf."""
        autograd.retain_grad(self)

    def zero_grad(self) -> None:
        """Forgets the gradient."""
        self.grad = None

    def __repr__(self) -> str:
        from handloom._text import tensor_repr

        return tensor_repr(self)

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len: a tensor without axes has no length")
        length: int = self._array.shape[0]
        return length

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ValueError(
                f"bool: a tensor of shape {self.shape} is neither true nor false; "
                "use .any() or .all()"
            )
        return bool(self._array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "biu":
            raise TypeError(f"index: expects an integer tensor, this one is {self.dtype}")
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"array: {array.dtype} to {dtype} needs a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self._array.size != 1:
            raise TypeError(
                f"format: {spec!r} is for one number, the tensor has shape {self.shape}"
            )
        return format(self.item(), spec)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        node = self._node
        if node is not None and not isinstance(node, Leaf):
            raise RuntimeError(
                f"deepcopy: only leaves can be copied so, this is the result of {node.name}; "
                "use x.detach().clone()"
            )
        if id(self) in memo:
            copied: Tensor = memo[id(self)]
            return copied
        out = _new(type(self))
        memo[id(self)] = out
        out._array = self._array.copy()
        out._version = [0]
        out._node = None if node is None else Leaf(out._array)
        if self.grad is not None:
            out.grad = self.grad.__deepcopy__(memo)
        return out


def wrap(array: Array) -> Tensor:
    """A tensor around an array that nobody else writes to; no check, no copy."""
    out = _new(Tensor)
    out._array = array
    out._version = [0]
    out._node = None
    return out


def tensor(
    data: object, requires_grad: bool = False, dtype: DTypeLike = None, device: object = None
) -> Tensor:
    """A tensor with a copy of the data.

    Args:
        data: An array (keeps its dtype), a number or nested lists (floats become float32, integers
            int64), or a tensor.
        requires_grad: Record what is computed with it.
        dtype: The dtype wanted, if another.
        device: "cpu", "cuda" or "cuda:<number>".

    Raises:
        TypeError: Not numbers, or a dtype that the library does not have.
        ValueError: A ragged list, foreign byte order, or an unknown device.
        RuntimeError: The device is a GPU, and none can be used.
    """
    return Tensor(data, requires_grad, dtype, device)


def from_numpy(array: Array) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy.ndarray, got {type(array).__name__}")
    return wrap(as_ndarray(array, "from_numpy"))


def device_index(device: object, op: str) -> int:
    """−1 for "cpu" (and None), the number of a GPU for "cuda" and "cuda:<number>".

    Raises:
        ValueError: Another name, or a GPU that this machine does not have.
        RuntimeError: No GPU can be used; the text says why.
    """
    if device is None or device == "cpu":
        return -1
    from handloom.cuda._device import index_of

    return index_of(device, op)


from handloom import autograd  # noqa: E402  the tape is written in terms of Tensor
