"""A look at the gradients: where they vanish, where they explode, which units are dead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .batches import inputs_and_target

if TYPE_CHECKING:
    from .._arrays import Array
    from ..nn import Module
    from .measures import Loss


class GradientReport(NamedTuple):
    """What `diagnose` found.

    Attributes:
        loss: Of the batch.
        names: The weights that have a gradient, in the order of the model: matrices and kernels,
            not biases or the scales of a normalisation.
        norms: Euclidean norm of the gradient of each.
        dead: For each ReLU by its name in the model: the share of units (entries of the last
            axis) that are 0 for every sample of the batch, and so pass no gradient.
        finite: Whether the loss and all gradients are finite.
    """

    loss: float
    names: tuple[str, ...]
    norms: tuple[float, ...]
    dead: dict[str, float]
    finite: bool

    @property
    def first_to_last(self) -> float:
        """Norm of the first weight's gradient over that of the last: far below 1, it vanishes."""
        if not self.norms or self.norms[-1] == 0:
            return math.nan
        return self.norms[0] / self.norms[-1]

    def __str__(self) -> str:
        width = max(map(len, (*self.names, *self.dead)), default=0)
        lines = [f"{name:{width}}  |gradient| {n:.3e}" for name, n in zip(self.names, self.norms)]
        lines += [f"{name:{width}}  dead units {share:.0%}" for name, share in self.dead.items()]
        return "\n".join([f"loss {self.loss:.4g}, finite: {self.finite}", *lines])


def diagnose(model: Module, batch: Any, loss: Loss) -> GradientReport:
    """Computes the gradients of one batch and reports their norms, layer by layer.

    The model is neither changed nor stepped: gradients that it had are put back. It runs in the
    mode in which it is; in training mode running statistics move as in any forward pass.

    Args:
        model: A model.
        batch: `(inputs..., target)`, tensors or arrays.
        loss: Function of (prediction, target).

    Raises:
        ValueError: No parameter of the model gets a gradient.
    """
    from ..tensor import from_numpy

    fields, target = inputs_and_target(
        tuple(from_numpy(f) if isinstance(f, np.ndarray) else f for f in batch), "diagnose"
    )
    dead: dict[str, float] = {}
    hooks = []
    for name, module in model.named_modules():
        if type(module).__name__ == "ReLU":
            hooks.append(module.register_forward_hook(_counter(dead, name or "relu")))
    parameters = dict(model.named_parameters())
    kept = {name: p.grad for name, p in parameters.items()}
    for p in parameters.values():
        p.grad = None
    try:
        value = loss(model(*fields), target)
        value.backward()
        gradients = {n: np.asarray(p.grad) for n, p in parameters.items() if p.grad is not None}
    finally:
        for hook in hooks:
            hook.remove()
        for name, p in parameters.items():
            p.grad = kept[name]
    if not gradients:
        raise ValueError("diagnose: no parameter of the model gets a gradient")
    norms = {n: float(np.sqrt(np.square(g, dtype=np.float64).sum())) for n, g in gradients.items()}
    weights = {name: norm for name, norm in norms.items() if gradients[name].ndim >= 2}
    total = float(value.item())
    finite = math.isfinite(total) and all(map(math.isfinite, norms.values()))
    return GradientReport(total, tuple(weights), tuple(weights.values()), dead, finite)


def gradient_by_step(model: Module, batch: Any, loss: Loss) -> Array:
    """Returns how strongly the loss depends on each step of the input: does the gradient get back?

    Args:
        model: A model of sequences; neither changed nor stepped.
        batch: `(x, ..., target)`, x `(N, T, C)`: tensors or arrays.
        loss: Function of (prediction, target).

    Returns:
        float64 `(T,)`: the Euclidean norm of the loss's gradient by x at each step, over batch and
        features together. In a recurrent network it falls towards the beginning where the gradient
        vanishes, and grows where it explodes (Bengio, Simard and Frasconi, 1994).

    Raises:
        ValueError: x has not three axes.
    """
    from ..autograd import grad
    from ..tensor import tensor

    (x, *others), target = inputs_and_target(batch, "gradient_by_step")
    if np.ndim(x) != 3:
        raise ValueError(f"gradient_by_step: x has shape {np.shape(x)}, expected (N, T, C)")
    leaf = tensor(np.asarray(x), requires_grad=True)
    (dx,) = grad(loss(model(leaf, *others), target), [leaf])
    return np.sqrt(np.square(np.asarray(dx), dtype=np.float64).sum(axis=(0, 2)))


def _counter(dead: dict[str, float], name: str) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        values = np.asarray(output.detach())
        rows = values.reshape(-1, values.shape[-1])
        dead[name] = float(np.mean((rows == 0).all(axis=0)))

    return hook
