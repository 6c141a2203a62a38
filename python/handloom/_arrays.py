"""What counts as an array at the edges of the library: data, weights, metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def as_array(value: object, where: str) -> Array:
    """Returns `value` as a NumPy array of numbers, sharing memory where it can.

    Accepts arrays, numbers and nested sequences of them, our tensors, and anything else that has
    PyTorch's `detach()`, `cpu()` and `numpy()`; PyTorch itself is not imported.

    Args:
        value: The array-like.
        where: How an error names it, e.g. `"accuracy: y_true"`.

    Returns:
        An array of booleans, integers or floats, in its own dtype.

    Raises:
        TypeError: `value` is not an array of numbers.
        ValueError: `value` is a ragged sequence.
    """
    if isinstance(value, np.ndarray):
        array: Array = value
    else:
        array = _from_tensor_or_sequence(value, where)
    if array.dtype.kind not in "biuf":
        got = type(value).__name__ if array.dtype.kind == "O" else f"an array of {array.dtype}"
        raise TypeError(f"{where} expects an array of numbers, got {got}")
    return array


def _from_tensor_or_sequence(value: object, where: str) -> Array:
    for step in ("detach", "cpu"):
        method = getattr(value, step, None)
        if callable(method):
            value = method()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        value = value.float()  # type: ignore[attr-defined]  # NumPy has no bfloat16
    to_numpy = getattr(value, "numpy", None)
    if callable(to_numpy):
        value = to_numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where} is a ragged sequence, expected an array: {error}") from None
