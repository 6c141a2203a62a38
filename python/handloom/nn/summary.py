"""A table of a model's layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from handloom._runtime import table
from handloom.autograd import no_grad
from handloom.nn.module import Module
from handloom.tensor import DTypeLike, Tensor, wrap


class Row(NamedTuple):
    """One layer: dotted name and type, shape of what it returns, parameters of its own."""

    name: str
    kind: str
    output_shape: tuple[Any, ...]
    parameters: int


class Summary:
    """The rows, and the totals; prints as a table.

    Attributes:
        rows: Layers in the order in which they ran.
        parameters: All parameters, each counted once.
        trainable: Those that require a gradient.
    """

    def __init__(self, rows: list[Row], parameters: int, trainable: int) -> None:
        self.rows = rows
        self.parameters = parameters
        self.trainable = trainable

    def __str__(self) -> str:
        body = [
            (f"{r.kind} ({r.name})" if r.name else r.kind, str(r.output_shape), f"{r.parameters:,}")
            for r in self.rows
        ]
        text = table(("layer", "output shape", "parameters"), body, numbers=1)
        frozen = self.parameters - self.trainable
        return (
            f"{text}\n\nparameters: {self.parameters:,}, trainable: {self.trainable:,}, "
            f"frozen: {frozen:,}"
        )

    __repr__ = __str__


def summary(
    model: Module, input_shape: Sequence[int] | Sequence[Sequence[int]], dtype: DTypeLike = None
) -> Summary:
    """Runs the model once on zeros, and tells what each layer returned.

    Args:
        model: Any module.
        input_shape: With the batch axis, or one such shape for each argument of `forward`.
        dtype: That of the input; by default that of the first parameter, else float32.

    Returns:
        An object whose `str` is the table.
    """
    nested = bool(input_shape) and not isinstance(input_shape[0], (int, np.integer))
    shapes: Any = input_shape if nested else [input_shape]
    if dtype is None:
        dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    rows: list[Row] = []
    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is not None:
            continue

        def note(m: Module, args: Any, output: Any, name: str = name) -> None:
            own = sum(p.numel() for p in m.parameters(recurse=False))
            rows.append(Row(name, type(m).__name__, _shape(output), own))

        handles.append(module.register_forward_hook(note))
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        with no_grad():
            model(*[wrap(np.zeros(tuple(s), dtype)) for s in shapes])
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    params = list(model.parameters())
    return Summary(
        rows,
        sum(p.numel() for p in params),
        sum(p.numel() for p in params if p.requires_grad),
    )


def _shape(output: Any) -> tuple[Any, ...]:
    if isinstance(output, Tensor):
        return output.shape
    return tuple(_shape(o) for o in output) if isinstance(output, (tuple, list)) else ()
