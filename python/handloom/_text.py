"""How a tensor prints: as PyTorch's."""

from __future__ import annotations

import numpy as np

from handloom._device_array import place
from handloom.tensor import Tensor

_PLAIN = {"float32", "int64", "bool"}  # dtypes that literals have by themselves


def tensor_repr(x: Tensor) -> str:
    """tensor([[1., 2.]], requires_grad=True)."""
    a = place(x._array, -1)
    lead = "Parameter containing:\ntensor(" if type(x).__name__ == "Parameter" else "tensor("
    if a.size == 0:
        text = "[]" if a.ndim == 1 else f"[], size={a.shape}"
    else:
        whole = a.dtype.kind == "f" and _whole_numbers(a)
        text = np.array2string(
            a,
            separator=", ",
            prefix="tensor(",
            precision=0 if whole else 4,
            floatmode="fixed",
            threshold=1000,
        )
    extra = "" if str(a.dtype) in _PLAIN else f", dtype={a.dtype}"
    if x.device != "cpu":
        extra += f", device={x.device!r}"
    if x.grad_fn is not None:
        extra += f", grad_fn=<{type(x.grad_fn).__name__}>"
    elif x.requires_grad:
        extra += ", requires_grad=True"
    return f"{lead}{text}{extra})"


def _whole_numbers(a: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> bool:
    finite = a[np.isfinite(a)]
    return bool((finite == np.floor(finite)).all() and (np.abs(finite) < 1e8).all())
