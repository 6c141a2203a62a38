"""A model, and its optimiser, as they were before something was tried out on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import get_rng_state, set_rng_state

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer


class Untouched:
    """Within the block a model may be run forwards and backwards; afterwards it is as it was.

    That holds for its modes, buffers, gradients and the random numbers, not for its weights.
    """

    def __init__(self, model: Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        model = self.model
        self.random = get_rng_state()
        self.modes = [(module, module.training) for module in model.modules()]
        self.buffers = [(b, b._array.copy()) for b in model.buffers()]
        self.grads = [(p, p.grad) for p in model.parameters()]
        for p, _ in self.grads:
            p.grad = None

    def __exit__(self, *error: object) -> None:
        for p, grad in self.grads:
            p.grad = grad
        for buffer, before in self.buffers:
            buffer.copy_(before)
        for module, mode in self.modes:
            module.training = mode
        set_rng_state(self.random)


class Untrained(Untouched):
    """Within the block the model may be trained, too; its weights and the optimiser come back."""

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        super().__init__(model)
        self.optimizer = optimizer

    def __enter__(self) -> None:
        self.weights = [(p, p._array.copy()) for p in self.model.parameters()]
        self.state = _copied(self.optimizer.state_dict())
        super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for p, before in self.weights:
            p.copy_(before)
        self.optimizer.load_state_dict(self.state)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value
