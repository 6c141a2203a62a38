"""What `kernels` and `ops` share about CTC: targets of all samples in one row, cut into rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import Array
from .._device_array import Array as DeviceArray
from .._device_array import beside, on_host


def index_arrays(
    op: str, targets: Any, input_lengths: Any, target_lengths: Any
) -> tuple[Array, Array, Array]:
    """Returns targets (N, S) and both lengths (N,) as arrays.

    Raises:
        ValueError: Targets in one row whose number is not the sum of `target_lengths`.
    """
    given = (targets, input_lengths, target_lengths)
    if any(isinstance(value, DeviceArray) for value in given):
        if targets.ndim == 1:  # cut on the host, which checks the labels anyway
            rows, _, _ = index_arrays(op, *map(on_host, given))
            targets = beside(rows, targets)
        return targets, input_lengths, target_lengths
    labels, steps, sizes = (np.ascontiguousarray(value) for value in given)
    if (
        labels.ndim == 1
        and sizes.ndim == 1
        and sizes.dtype.kind in "iu"
        and labels.dtype.kind in "iu"
    ):
        total = int(sizes.sum())
        if labels.size != total or (sizes < 0).any():
            raise ValueError(
                f"{op}: targets has {labels.size} labels, expected {total}, the sum of "
                "target_lengths, or the shape (N, S)"
            )
        rows = np.zeros((sizes.size, sizes.max(initial=0)), np.int64)
        rows[np.arange(rows.shape[1]) < sizes[:, None]] = labels
        labels = rows
    return labels, steps, sizes
