"""Loading a state: everything is compared before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from handloom._device_array import ARRAYS
from handloom.tensor import Array, Tensor, as_ndarray


def load_into(
    name: str, targets: dict[str, Tensor], state: Mapping[str, Any], strict: bool
) -> None:
    """Copies arrays into the tensors of the same names.

    Raises:
        TypeError: The state is no mapping.
        RuntimeError: Entries are missing, unexpected (both only if strict) or misshapen.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: state_dict is a {type(state).__name__}, expected a dict")
    arrays = {k: as_ndarray(_array(v), f"load_state_dict: {k}") for k, v in state.items()}
    problems = []
    if strict:
        missing = [k for k in targets if k not in arrays]
        unexpected = sorted(k for k in arrays if k not in targets)
        if missing:
            problems.append(f"missing: {', '.join(missing)}")
        if unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
    misshapen = [
        f"{k} has shape {arrays[k].shape}, expected {t.shape}"
        for k, t in targets.items()
        if k in arrays and arrays[k].shape != t.shape
    ]
    if misshapen:
        problems.append("misshapen: " + "; ".join(misshapen))
    if problems:
        raise RuntimeError(f"load_state_dict: {name}: " + "\n  ".join(["", *problems]).lstrip())
    for k, target in targets.items():
        if k in arrays:
            target.copy_(arrays[k])


def _array(value: Any) -> Array:
    if isinstance(value, (Tensor, *ARRAYS)):
        return value._array if isinstance(value, Tensor) else value
    if hasattr(value, "detach"):  # a PyTorch tensor
        return np.asarray(value.detach())
    return np.asarray(value)
