"""Batches of a dataset, in a seeded order, loaded ahead where that pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._numbers import whole
from ._order import checked_seed, permutation
from .dataset import Dataset, Subset, TensorDataset, collate

Batch = Any


class DataLoader:
    """Iterates over a dataset in batches; each `for` over it is one epoch.

    A batch is a tuple of tensors `(batch, ...)`, one for each field of a sample (for a
    `TensorDataset`: for each array). The batches depend on the dataset, `batch_size`, `seed` and
    `epoch` only: not on `num_workers`, nor on `prefetch`. (A dataset that draws random numbers of
    its own keeps that promise if it draws them from the index.)

    PyTorch's names; its `num_workers` are processes, these are threads. Keras: `fit(batch_size=)`.

    Args:
        dataset: A `TensorDataset`, whose batches are gathered by one indexing per array, or
            anything with `__len__` and `__getitem__`, whose samples are stacked one by one.
        batch_size: Samples in a batch, at least 1.
        shuffle: Whether each epoch takes the samples in a new random order.
        drop_last: Whether to leave out a last batch that is smaller than `batch_size`.
        seed: Fixes the orders. None draws one if there is something to shuffle, so that
            `hl.manual_seed` fixes it; `loader.seed` tells it.
        num_workers: Threads that load batches ahead; 0 stands for one, where `prefetch` asks for
            any. More than one calls the dataset from several threads at once.
        prefetch: Batches to keep ready in the background; 0 loads in the calling thread. None
            chooses: 0 for a `TensorDataset` (handing a small batch from thread to thread takes
            longer than gathering it), else 2 per thread.
        collate_fn: Makes a batch from a list of samples instead of the stacking; arrays inside
            the tuples, lists and dicts that it returns become tensors.
        transform: Called on each batch of arrays, `transform(*batch, index=…, epoch=…)` with the
            samples' numbers in the dataset, int64 `(batch,)`; what it returns is the batch. A
            `data.augment.Compose` of (x, y) draws its random numbers from these, so that they too
            do not depend on `num_workers`.

    Attributes:
        epoch: Number of the epoch that the next `for` begins, from 0; set it to resume a run.
        seed: The seed in use.

    Raises:
        TypeError: The dataset has no length or index, or an argument is not of its type.
        ValueError: A size is out of range, or `drop_last` leaves no batch at all.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        num_workers: int = 0,
        prefetch: int | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                "DataLoader: dataset expects __len__ and __getitem__ (wrap arrays in "
                f"TensorDataset), got {type(dataset).__name__}"
            )
        self.dataset = dataset
        self.batch_size = whole(batch_size, "DataLoader", "batch_size", 1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        # An order that is not shuffled takes no draw: to evaluate changes no later random number.
        self.seed = checked_seed(seed if seed is not None or shuffle else 0, "DataLoader")
        self.num_workers = whole(num_workers, "DataLoader", "num_workers", 0)
        self.collate_fn = collate_fn
        self.transform = transform
        self.epoch = 0
        if prefetch is None:
            inline = self.num_workers == 0 and collate_fn is None and _is_made_of_arrays(dataset)
            prefetch = 0 if inline else 2 * max(self.num_workers, 1)
        self.prefetch = whole(prefetch, "DataLoader", "prefetch", 0)
        if self.prefetch == 0 and self.num_workers > 0:
            raise ValueError(
                f"DataLoader: prefetch=0 loads in the calling thread, expected num_workers=0 "
                f"with it, got {self.num_workers}"
            )
        if len(dataset) > 0 and len(self) == 0:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch of {self.batch_size} from "
                f"{len(dataset)} samples"
            )

    def __repr__(self) -> str:
        batches = f"{len(self)} batches of {self.batch_size}"
        return f"DataLoader({self.dataset!r}, {batches}, seed={self.seed}, shuffle={self.shuffle})"

    def __len__(self) -> int:
        """Returns the number of batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        n = len(self.dataset)
        order = permutation(n, self.seed, epoch) if self.shuffle else np.arange(n)
        return self._batches(order, len(self), epoch)

    def _batches(self, order: NDArray[np.int64], count: int, epoch: int) -> Iterator[Batch]:
        make = self._maker(order)
        if self.transform is not None:
            make = self._transformer(make, order, epoch)
        to_tensor = _tensor_maker()
        if self.prefetch == 0:
            for batch in range(count):
                yield _to_tensors(make(batch), to_tensor)
            return

        from ._prefetch import Prefetcher

        with Prefetcher(make, count, max(self.num_workers, 1), self.prefetch) as ready:
            for batch in range(count):
                yield _to_tensors(ready.take(batch), to_tensor)

    def _transformer(
        self, make: Callable[[int], Any], order: NDArray[np.int64], epoch: int
    ) -> Callable[[int], Any]:
        """Returns the function that loads batch number i and transforms it."""
        size, transform = self.batch_size, self.transform
        assert transform is not None

        def transformed(i: int) -> Any:
            batch = make(i)
            fields = batch if isinstance(batch, (tuple, list)) else (batch,)
            made = transform(*fields, index=order[i * size : (i + 1) * size], epoch=epoch)
            return made if isinstance(made, (tuple, list, dict)) else (made,)

        return transformed

    def _maker(self, order: NDArray[np.int64]) -> Callable[[int], Any]:
        """Returns the function that loads batch number i of an epoch."""
        size, dataset, collate_fn = self.batch_size, self.dataset, self.collate_fn
        if collate_fn is not None or not _is_made_of_arrays(dataset):
            combine: Callable[[list[Any]], Any] = collate_fn or collate
            return lambda i: combine(
                [dataset[row] for row in order[i * size : (i + 1) * size].tolist()]
            )
        rows = order
        while isinstance(dataset, Subset):
            rows, dataset = dataset.indices[rows], dataset.dataset
        assert isinstance(dataset, TensorDataset)
        arrays = dataset.arrays

        def gather(i: int) -> tuple[Array, ...]:
            chosen = rows[i * size : (i + 1) * size]
            return tuple([array.take(chosen, axis=0) for array in arrays])

        return gather


def _is_made_of_arrays(dataset: Dataset[Any]) -> bool:
    """Whether batches can be cut from whole arrays: not where a subclass makes its own samples."""
    while isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__:
        dataset = dataset.dataset
    return (
        isinstance(dataset, TensorDataset)
        and type(dataset).__getitem__ is TensorDataset.__getitem__
    )


def _to_tensors(value: Any, to_tensor: Callable[[Array], Any]) -> Any:
    """Turns the numeric arrays in a batch into tensors, through tuples, lists and dicts."""
    if isinstance(value, np.ndarray):
        return to_tensor(value) if value.dtype.kind in "biuf" else value
    if isinstance(value, (tuple, list)):
        items = [_to_tensors(item, to_tensor) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: _to_tensors(item, to_tensor) for key, item in value.items()}
    return value


def _tensor_maker() -> Callable[[Array], Any]:
    """Returns what wraps an array in a tensor that shares its memory.

    Where the package has no tensor module the arrays stay as they are.
    """
    from importlib import import_module

    try:
        module = import_module("handloom.tensor")
    except ModuleNotFoundError as error:
        if error.name != "handloom.tensor":
            raise
        return lambda array: array
    return cast(Callable[[Array], Any], module.from_numpy)
