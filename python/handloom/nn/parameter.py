"""Tensors that belong to a module and are trained."""

from __future__ import annotations

import numpy as np

from handloom.tensor import FLOATS, Leaf, Tensor, as_ndarray


class Parameter(Tensor):
    """A leaf tensor that a module counts among its parameters.

    Args:
        data: A tensor or array, whose memory is used where it is contiguous; numbers are copied.
        requires_grad: False for a frozen parameter.

    Raises:
        TypeError: The data are not float32 or float64.
    """

    __slots__ = ()

    def __init__(self, data: object, requires_grad: bool = True) -> None:
        array = as_ndarray(data, "Parameter")
        if array.dtype not in FLOATS:
            raise TypeError(f"Parameter: data has dtype {array.dtype}, expected float32 or float64")
        contiguous = np.ascontiguousarray(array).reshape(array.shape)
        self._array = contiguous
        shared = isinstance(data, Tensor) and contiguous is array
        self._version = data._version if shared and isinstance(data, Tensor) else [0]
        self._node = Leaf(contiguous) if requires_grad else None
