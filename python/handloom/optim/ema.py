"""A moving average of weights, which often tests better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from handloom._device_array import index_of, place
from handloom._replay import each_replay, refuse
from handloom.ops.multi import lerp_
from handloom.optim.optimizer import require
from handloom.tensor import Array, Tensor


class EMA:
    """average = decay·average + (1 − decay)·weight after every step.

    PyTorch: `swa_utils.AveragedModel`.

    Example:
        >>> ema = optim.EMA(model, decay=0.999)
        >>> opt.step(); ema.update()
        >>> with ema.applied():
        ...     evaluate(model)

    Args:
        model: A module, or its parameters.
        decay: Weight of the past, 0 ≤ decay < 1.
        warmup: Use min(decay, (1 + n)/(10 + n)) at update n, so that the start is soon forgotten.
    """

    def __init__(self, model: Any, decay: float = 0.999, warmup: bool = False) -> None:
        require("EMA", "decay", decay, at_least=0.0, below=1.0)
        params: Iterable[Tensor] = model.parameters() if hasattr(model, "parameters") else model
        self.params = list(params)
        if not self.params:
            raise ValueError("EMA: the model has no parameters")
        self.decay = decay
        self.warmup = warmup
        self.updates = 0
        self.averages: list[Array] = [p._array.copy(order="C") for p in self.params]

    def update(self) -> None:
        """Takes the present weights in."""
        decay = self.decay
        if self.warmup:
            refuse("EMA.update", "with warmup its weight changes at each step")
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        if not each_replay((self, "updates"), self._count):
            self._count()
        groups: dict[Any, tuple[list[Array], list[Array]]] = {}
        for average, p in zip(self.averages, self.params):
            targets, sources = groups.setdefault(average.dtype, ([], []))
            targets.append(average)
            sources.append(p._array)
        for targets, sources in groups.values():
            lerp_(targets, sources, 1.0 - decay)

    def _count(self) -> None:
        self.updates += 1

    def copy_to(self, params: Iterable[Tensor] | None = None) -> None:
        """Writes the averages into the parameters (by default those that were followed)."""
        for average, p in zip(self.averages, self.params if params is None else params):
            p.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the parameters are the averages; afterwards they are as before."""
        kept = [p._array.copy() for p in self.params]
        self.copy_to()
        try:
            yield
        finally:
            for before, p in zip(kept, self.params):
                p.copy_(before)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"decay": self.decay, "updates": self.updates, "averages": list(self.averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned.

        Raises:
            ValueError: Other numbers or shapes of arrays.
        """
        arrays = [np.asarray(place(a, -1)) for a in state["averages"]]
        shapes = [a.shape for a in self.averages]
        if [a.shape for a in arrays] != shapes:
            raise ValueError(f"EMA: the saved averages have shapes other than {shapes}")
        self.averages = [
            place(np.array(a, p.dtype, order="C"), index_of(p._array))
            for a, p in zip(arrays, self.params)
        ]
        self.decay, self.updates = float(state["decay"]), int(state["updates"])
