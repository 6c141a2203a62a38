"""What all methods share: the model's answer to be explained, and the model left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Array, as_array
from ..tensor import FLOATS, Tensor

if TYPE_CHECKING:
    from ..nn import Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Within the block a model is in evaluation mode."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def checked(x: Any, op: str, least: int = 2) -> Array:
    """Returns inputs (N, ...) of a float type."""
    array = as_array(x, f"{op}: x")
    if array.dtype not in FLOATS:
        raise TypeError(f"{op}: x is {array.dtype}, expected float32 or float64")
    if array.ndim < least or array.size == 0:
        axes = "(N, ..., C)" if least > 2 else "(N, ...)"
        raise ValueError(f"{op}: x has shape {array.shape}, expected {axes} with at least one row")
    return array


def targets(outputs: Array, target: Any, op: str) -> Array:
    """Returns for each row the number of the output to be explained, int64 (N,).

    None takes the largest of several.
    """
    rows = len(outputs)
    if outputs.ndim > 2:
        raise ValueError(f"{op}: the model returns {outputs.shape}, expected (N, outputs) or (N,)")
    count = 1 if outputs.ndim == 1 else outputs.shape[1]
    if target is None:
        return outputs.reshape(rows, count).argmax(axis=1)
    chosen = np.asarray(target)
    if chosen.dtype.kind not in "iu" or chosen.shape not in ((), (rows,)):
        raise ValueError(f"{op}: target expects an integer or {rows} of them, got {target!r}")
    chosen = np.broadcast_to(chosen, (rows,)).astype(np.int64)
    if chosen.min() < 0 or chosen.max() >= count:
        bad = chosen[(chosen < 0) | (chosen >= count)][0]
        raise ValueError(f"{op}: target {bad}, the model has the outputs 0 to {count - 1}")
    return chosen


def chosen(output: Any, target: Any, op: str) -> tuple[Tensor, Array]:
    """The outputs to be explained summed over the rows, a tensor; and their numbers."""
    if not isinstance(output, Tensor):
        raise TypeError(f"{op}: the model returns a {type(output).__name__}, expected a tensor")
    numbers = targets(output.detach().numpy(), target, op)
    if output.ndim == 1:
        return output.sum(), numbers
    mask = np.zeros(output.shape, output.dtype)
    mask[np.arange(len(numbers)), numbers] = 1
    return (output * mask).sum(), numbers


def scores(model: Module, x: Array, target: Array, batch_size: int) -> Array:
    """The chosen output of each row, float64 (N,)."""
    from ..train import predict

    outputs = predict(model, x, batch_size)
    if outputs.ndim == 1:
        return outputs.astype(np.float64)
    return np.take_along_axis(outputs, target[:, None], 1)[:, 0].astype(np.float64)
