"""What `fit`, `evaluate` and `predict` take as data, turned into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._arrays import as_array
from .._device_array import index_of
from ..data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from ..nn import Module

Batch = tuple[tuple[Any, ...], Any]  # the model's inputs, the target


def is_arrays(data: object) -> bool:
    """Whether `data` is a tuple of arrays, not an iterable of batches."""
    return isinstance(data, (tuple, list)) and len(data) > 0 and hasattr(data[0], "shape")


def batches(data: Any, batch_size: int, op: str, *, shuffle: bool, seed: int | None) -> Any:
    """Returns an iterable of batches: `data` itself, or a loader over its arrays."""
    if is_arrays(data):
        if len(data) < 2:
            raise ValueError(f"{op}: data expects arrays (x, ..., y), got {len(data)} array")
        return DataLoader(TensorDataset(*data), batch_size, shuffle=shuffle, seed=seed)
    if isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Iterable):
        raise TypeError(
            f"{op}: data expects arrays (x, y) or a DataLoader, got {type(data).__name__}"
        )
    return data


def inputs_and_target(batch: Any, op: str, index: int = -1) -> Batch:
    """Splits a batch: the last field is the target, those before it are the model's inputs.

    Both are moved to the GPU of that number, if the model is on one.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        got = f"{len(batch)} of them" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise TypeError(f"{op}: a batch expects (inputs..., target), got {got}")
    fields = moved(tuple(batch), index)
    return fields[:-1], fields[-1]


def device_of(model: Module) -> int:
    """The GPU that a model's first parameter is on, −1 for the CPU."""
    return next((index_of(p._array) for p in model.parameters()), -1)


def moved(fields: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    """Arrays or tensors on the device of a model."""
    if index < 0:
        return fields
    from ..ops import to_device

    return tuple(to_device(field, f"cuda:{index}") for field in fields)


def groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yields lists of `size` items, the last of which may be shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def length(data: Any) -> int | None:
    """Returns the number of batches in an epoch, None where the iterable does not tell."""
    try:
        return len(data)
    except TypeError:
        return None


def input_loader(x: Any, batch_size: int) -> DataLoader:
    """Returns a loader over inputs without a target: one array or a tuple of them."""
    fields: Sequence[Any] = x if isinstance(x, tuple) else (x,)
    arrays = [as_array(field, f"predict: input {i}") for i, field in enumerate(fields)]
    return DataLoader(TensorDataset(*arrays), batch_size)
