"""Datasets: anything with a length and an index, and the one made of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import Array, as_array

Sample = TypeVar("Sample")
Sample_co = TypeVar("Sample_co", covariant=True)


class Dataset(Protocol[Sample_co]):
    """What `DataLoader` and `split` need: a length and samples by number.

    A list of samples is a dataset. `__getitem__` may run in a background thread.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample_co: ...


class TensorDataset:
    """Arrays of equal length seen as a dataset: sample i is the tuple of their rows i.

    The arrays are kept, not copied; batches are copies of their rows. PyTorch's name; Keras passes
    the arrays to `fit` directly.

    Args:
        *arrays: Arrays or tensors `(N, ...)` with the same N, of any numeric dtype.

    Raises:
        TypeError: Something is not an array of numbers.
        ValueError: No array, a 0-dimensional one, or lengths that differ.
    """

    arrays: tuple[Array, ...]

    def __init__(self, *arrays: ArrayLike) -> None:
        if not arrays:
            raise ValueError("TensorDataset: expected at least one array")
        self.arrays = tuple(
            as_array(array, f"TensorDataset: array {i}") for i, array in enumerate(arrays)
        )
        for i, array in enumerate(self.arrays):
            if array.ndim == 0:
                raise ValueError(f"TensorDataset: array {i} is 0-dimensional, expected rows (N, …)")
            if len(array) != len(self.arrays[0]):
                raise ValueError(
                    f"TensorDataset: array {i} has {len(array)} rows, "
                    f"array 0 has {len(self.arrays[0])}"
                )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int, /) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{array.shape} {array.dtype}" for array in self.arrays)
        return f"TensorDataset({shapes})"

    def subset(self, indices: ArrayLike) -> TensorDataset:
        """Returns the dataset of the rows `indices` (integers `(n,)`), gathered once, in order."""
        rows = checked_indices(indices, len(self), "TensorDataset.subset")
        return TensorDataset(*(array.take(rows, axis=0) for array in self.arrays))


class Subset(Generic[Sample]):
    """The samples `indices` of another dataset, read from it when they are asked for."""

    def __init__(self, dataset: Dataset[Sample], indices: ArrayLike) -> None:
        self.dataset = dataset
        self.indices = checked_indices(indices, len(dataset), "Subset")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Sample:
        return self.dataset[int(self.indices[index])]


def checked_indices(indices: ArrayLike, length: int, op: str) -> NDArray[np.int64]:
    """Returns `indices` as int64 `(n,)` in `[0, length)`, negative ones counted from the end."""
    array = np.asarray(indices)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices expects integers, got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{op}: indices expects one axis, got the shape {array.shape}")
    rows = array.astype(np.int64)
    outside = (rows < -length) | (rows >= length)
    if outside.any():
        raise IndexError(f"{op}: index {rows[outside][0]} is out of range for {length} samples")
    return np.where(rows < 0, rows + length, rows)


def collate(samples: Sequence[Any]) -> tuple[Array, ...]:
    """Stacks samples into a batch: one array for each field.

    A sample is a tuple or list of fields, or one field alone (the batch is then a 1-tuple). A
    field is a number or an array of the same shape in every sample. Python integers make int64,
    Python floats float32; arrays keep their dtype.

    Args:
        samples: At least one sample.

    Returns:
        A tuple of arrays `(len(samples), ...)`.

    Raises:
        TypeError: A field is not numeric; pass a `collate_fn` to `DataLoader`.
        ValueError: Samples differ in their number of fields or in a field's shape.
    """
    several = isinstance(samples[0], (tuple, list))
    rows = samples if several else [(sample,) for sample in samples]
    counts = {len(row) for row in rows}
    if len(counts) != 1:
        raise ValueError(f"DataLoader: samples have different numbers of fields: {sorted(counts)}")
    return tuple(_stack([row[k] for row in rows], k) for k in range(counts.pop()))


def _stack(values: list[Any], field: int) -> Array:
    arrays = []
    for value in values:
        array = as_array(value, f"DataLoader: field {field} of a sample")
        # A Python float is a double for NumPy; the house rule makes it float32.
        is_python_float = isinstance(value, float) and not isinstance(value, np.generic)
        arrays.append(array.astype(np.float32) if is_python_float else array)
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise ValueError(
            f"DataLoader: field {field} has different shapes in one batch: "
            f"{', '.join(map(str, sorted(shapes)))}; pad them or pass a collate_fn"
        )
    return np.stack(arrays)
