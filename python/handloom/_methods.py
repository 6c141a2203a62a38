"""Operators and methods of tensors. Each one is a line: the work is in `handloom.ops`.

Names and arguments are PyTorch's (`dim`, `keepdim`).
"""

# Every self here is a Tensor, which a mixin cannot tell mypy.
# mypy: disable-error-code="arg-type"

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import handloom
from handloom._device_array import ARRAYS

if TYPE_CHECKING:
    import handloom.ops
    from handloom.ops._common import Dim, TensorLike
    from handloom.ops.reduce import ValuesIndices
    from handloom.tensor import DTypeLike, Tensor


def _operand(x: object) -> bool:
    return isinstance(x, (Methods, *ARRAYS, int, float, np.generic))


class Methods:
    """What `Tensor` inherits."""

    __slots__ = ()

    _array: Any

    # operators

    def __add__(self, other: Any) -> Tensor:
        return handloom.ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return handloom.ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return handloom.ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return handloom.ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return handloom.ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return handloom.ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return handloom.ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return handloom.ops.div(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return handloom.ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return handloom.ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return handloom.ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return handloom.ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return handloom.ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return handloom.ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return handloom.ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return handloom.ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return handloom.ops.neg(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return handloom.ops.abs(self)

    def __invert__(self) -> Tensor:
        return handloom.ops.logical(np.bitwise_xor, self, self._all_ones(), "invert")

    def __and__(self, other: Any) -> Tensor:
        return handloom.ops.logical(np.bitwise_and, self, other, "and")

    def __or__(self, other: Any) -> Tensor:
        return handloom.ops.logical(np.bitwise_or, self, other, "or")

    def __xor__(self, other: Any) -> Tensor:
        return handloom.ops.logical(np.bitwise_xor, self, other, "xor")

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def _all_ones(self) -> bool | int:
        return True if self._array.dtype == np.bool_ else -1

    def __lt__(self, other: Any) -> Tensor:
        return handloom.ops.compare("lt", self, other)

    def __le__(self, other: Any) -> Tensor:
        return handloom.ops.compare("le", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return handloom.ops.compare("gt", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return handloom.ops.compare("ge", self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return handloom.ops.compare("eq", self, other) if _operand(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return handloom.ops.compare("ne", self, other) if _operand(other) else NotImplemented

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Tensor:
        return handloom.ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        handloom.ops.setitem(self, index, value)

    def __iter__(self) -> Iterator[Tensor]:
        if self._array.ndim == 0:
            raise TypeError("iter: a tensor without axes cannot be iterated over")
        return (self[i] for i in range(self._array.shape[0]))

    # shape

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it."""
        return self._array.shape if dim is None else self._array.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    def reshape(self, *shape: Any) -> Tensor:
        """`x.reshape(2, -1)` or `x.reshape((2, -1))`."""
        return handloom.ops.reshape(self, handloom.ops.sizes_of(shape))

    def view(self, *shape: Any) -> Tensor:
        """As `reshape`, but never a copy."""
        return handloom.ops.view(self, handloom.ops.sizes_of(shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Joins axes into one."""
        return handloom.ops.flatten(self, start_dim, end_dim)

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        """Splits an axis into several."""
        return handloom.ops.unflatten(self, dim, sizes)

    def permute(self, *axes: Any) -> Tensor:
        """The axes in another order."""
        return handloom.ops.permute(self, handloom.ops.sizes_of(axes))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Swaps two axes."""
        return handloom.ops.transpose(self, dim0, dim1)

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return handloom.ops.permute(self, range(self._array.ndim)[::-1])

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return handloom.ops.transpose(self, -1, -2)

    def squeeze(self, dim: int | Sequence[int] | None = None) -> Tensor:
        """Drops axes of size 1."""
        return handloom.ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """Adds an axis of size 1."""
        return handloom.ops.unsqueeze(self, dim)

    def expand(self, *sizes: Any) -> Tensor:
        """Repeats axes of size 1 without a copy."""
        return handloom.ops.expand(self, handloom.ops.sizes_of(sizes))

    def expand_as(self, other: TensorLike) -> Tensor:
        """`expand` to another tensor's shape."""
        return handloom.ops.expand(self, other.shape)

    def repeat(self, *times: Any) -> Tensor:
        """Tiles along each axis."""
        return handloom.ops.repeat(self, handloom.ops.sizes_of(times))

    def flip(self, *dims: Any) -> Tensor:
        """Back to front along dims."""
        return handloom.ops.flip(self, handloom.ops.sizes_of(dims))

    def split(self, size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Views of consecutive parts."""
        return handloom.ops.split(self, size, dim)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` parts of equal size."""
        return handloom.ops.chunk(self, chunks, dim)

    def diagonal(self, dim1: int = -2, dim2: int = -1) -> Tensor:
        """The diagonal of two axes."""
        return handloom.ops.diagonal(self, dim1, dim2)

    def tril(self, diagonal: int = 0) -> Tensor:
        """The lower triangle of the last two axes."""
        return handloom.ops.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The upper triangle of the last two axes."""
        return handloom.ops.triu(self, diagonal)

    def contiguous(self) -> Tensor:
        """The tensor itself, or a copy in C order."""
        return handloom.ops.contiguous(self)

    def is_contiguous(self) -> bool:
        """Whether the elements lie in C order without gaps."""
        return bool(self._array.flags.c_contiguous)

    def clone(self) -> Tensor:
        """A copy, through which gradients flow."""
        return handloom.ops.clone(self)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """Another dtype; gradients flow between float types."""
        return handloom.ops.astype(self, dtype)

    def to(self, target: Any) -> Tensor:
        """Another dtype ("float64") or device ("cpu", "cuda"); gradients flow back."""
        if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda", "gpu"):
            return handloom.ops.to_device(self, target)
        return handloom.ops.astype(self, target)

    def cpu(self) -> Tensor:
        """On the host; the tensor itself if it is there."""
        return handloom.ops.to_device(self, "cpu")

    def cuda(self, device: int = 0) -> Tensor:
        """On a GPU; the tensor itself if it is there."""
        return handloom.ops.to_device(self, f"cuda:{device}")

    def float(self) -> Tensor:
        """As float32."""
        return handloom.ops.astype(self, np.float32)

    def double(self) -> Tensor:
        """As float64."""
        return handloom.ops.astype(self, np.float64)

    def long(self) -> Tensor:
        """As int64, cut towards 0."""
        return handloom.ops.astype(self, np.int64)

    # reductions and order

    def sum(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.sum(self, dim, keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.mean(self, dim, keepdim)

    def var(self, dim: Dim = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        return handloom.ops.var(self, dim, correction, keepdim)

    def std(self, dim: Dim = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        return handloom.ops.std(self, dim, correction, keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest element, or (values, indices) along dim."""
        return handloom.ops.max(self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest element, or (values, indices) along dim."""
        return handloom.ops.min(self, dim, keepdim)

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.amax(self, dim, keepdim)

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.amin(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.argmax(self, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.argmin(self, dim, keepdim)

    def norm(self, p: Any = 2.0, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.norm(self, p, dim, keepdim)

    def logsumexp(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.logsumexp(self, dim, keepdim)

    def prod(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.prod(self, dim, keepdim)

    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.any(self, dim, keepdim)

    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return handloom.ops.all(self, dim, keepdim)

    def cumsum(self, dim: int) -> Tensor:
        return handloom.ops.cumsum(self, dim)

    def sort(self, dim: int = -1, descending: bool = False) -> ValuesIndices:
        return handloom.ops.sort(self, dim, descending)

    def argsort(self, dim: int = -1, descending: bool = False) -> Tensor:
        return handloom.ops.argsort(self, dim, descending)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> ValuesIndices:
        return handloom.ops.topk(self, k, dim, largest)

    def gather(self, dim: int, index: TensorLike) -> Tensor:
        return handloom.ops.gather(self, dim, index)

    def index_select(self, dim: int, index: TensorLike) -> Tensor:
        return handloom.ops.index_select(self, dim, index)

    def masked_fill(self, mask: TensorLike, value: Any) -> Tensor:
        return handloom.ops.masked_fill(self, mask, value)

    # mathematics

    def matmul(self, other: TensorLike) -> Tensor:
        return handloom.ops.matmul(self, other)

    def exp(self) -> Tensor:
        return handloom.ops.exp(self)

    def log(self) -> Tensor:
        return handloom.ops.log(self)

    def sqrt(self) -> Tensor:
        return handloom.ops.sqrt(self)

    def rsqrt(self) -> Tensor:
        return handloom.ops.rsqrt(self)

    def square(self) -> Tensor:
        return handloom.ops.square(self)

    def reciprocal(self) -> Tensor:
        return handloom.ops.reciprocal(self)

    def sin(self) -> Tensor:
        return handloom.ops.sin(self)

    def cos(self) -> Tensor:
        return handloom.ops.cos(self)

    def erf(self) -> Tensor:
        return handloom.ops.erf(self)

    def sign(self) -> Tensor:
        return handloom.ops.sign(self)

    def floor(self) -> Tensor:
        return handloom.ops.floor(self)

    def abs(self) -> Tensor:
        return handloom.ops.abs(self)

    def tanh(self) -> Tensor:
        return handloom.ops.tanh(self)

    def sigmoid(self) -> Tensor:
        return handloom.ops.sigmoid(self)

    def relu(self) -> Tensor:
        return handloom.ops.relu(self)

    def softmax(self, dim: int = -1) -> Tensor:
        return handloom.ops.softmax(self, dim)

    def log_softmax(self, dim: int = -1) -> Tensor:
        return handloom.ops.log_softmax(self, dim)

    def pow(self, exponent: Any) -> Tensor:
        return handloom.ops.pow(self, exponent)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """Limits values to [min, max]."""
        return handloom.ops.clamp(self, min, max)

    clip = clamp

    # in place, without a gradient

    def fill_(self, value: Any) -> Tensor:
        """Sets every element."""
        return handloom.ops.fill_(self, value)

    def zero_(self) -> Tensor:
        """Sets every element to 0."""
        return handloom.ops.fill_(self, 0)

    def copy_(self, source: TensorLike) -> Tensor:
        """Writes another tensor's elements, broadcast and converted, into this one."""
        return handloom.ops.copy_(self, source)
