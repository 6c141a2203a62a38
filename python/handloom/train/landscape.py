"""A slice of the loss around the weights: along one random direction, or over a plane of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._numbers import real, whole
from ..autograd import no_grad
from .batches import inputs_and_target
from .measures import Loss
from .untouched import Untouched

if TYPE_CHECKING:
    from .._arrays import Array
    from ..io.weights import Path
    from ..nn import Module


class Landscape(NamedTuple):
    """Losses around the weights.

    Attributes:
        steps: `(points,)`: how far along a direction; 0 is where the weights are.
        losses: `(points,)`, or `(points, points)` for two directions; the first axis is the first.
    """

    steps: Array
    losses: Array

    def plot(self, path: Path) -> None:
        """Draws it as a PNG: a line, or a map with contours; needs matplotlib."""
        from pathlib import Path

        from ..gallery import plots

        plots.require("Landscape.plot")
        plots.save(plots.landscape(self.steps, self.losses, "Loss landscape"), Path(path))


def loss_landscape(
    model: Module,
    batch: Any,
    loss: Loss,
    *,
    directions: int = 1,
    span: float = 1.0,
    points: int = 25,
    seed: int = 0,
) -> Landscape:
    """Measures the loss of a batch along random directions from the model's weights.

    Li and others, "Visualizing the loss landscape of neural nets" (2018): a direction is normal
    noise, scaled row by row (filter by filter) to the norm of the weights there, so that networks
    whose weights differ in size can be compared; biases and scales stay as they are.

    Args:
        model: Runs in evaluation mode; it is as before afterwards, to the bit.
        batch: `(inputs..., target)`, tensors or arrays.
        loss: Function of (prediction, target).
        directions: 1 or 2.
        span: Farthest step either way; 1 is as far as the weights are long.
        points: Steps along a direction, odd so that 0 is one; at least 3.
        seed: Of the directions.

    Raises:
        ValueError: A number is out of range, or no parameter with two axes.
    """
    op = "loss_landscape"
    if whole(directions, op, "directions", 0) not in (1, 2):
        raise ValueError(f"{op}: directions expects 1 or 2, got {directions}")
    if whole(points, op, "points", 0) < 3 or points % 2 == 0:
        raise ValueError(f"{op}: points expects an odd number from 3 on, got {points}")
    if not 0 < real(span, op, "span") < np.inf:
        raise ValueError(f"{op}: span expects more than 0, got {span}")
    inputs, target = inputs_and_target(batch, op)
    moved = [p for p in model.parameters() if p.ndim >= 2]
    if not moved:
        raise ValueError(f"{op}: the model has no matrix or kernel")
    start = [p.numpy().copy() for p in moved]
    rng = np.random.default_rng(whole(seed, op, "seed", 0))
    ways = [[_direction(rng, w) for w in start] for _ in range(directions)]
    steps = np.linspace(-span, span, points)
    steps[points // 2] = 0.0
    losses = np.empty((points,) * directions)
    with Untouched(model), no_grad():
        model.eval()
        try:
            for at in np.ndindex(losses.shape):
                for i, (p, w) in enumerate(zip(moved, start)):
                    shift = sum(steps[k] * way[i] for k, way in zip(at, ways))
                    p.copy_((w + shift).astype(w.dtype))
                losses[at] = float(loss(model(*inputs), target).item())
        finally:
            for p, w in zip(moved, start):
                p.copy_(w)
    return Landscape(steps, losses)


def _direction(rng: np.random.Generator, weight: Array) -> Array:
    """Noise whose rows are as long as those of the weight, float64."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    noise = rng.standard_normal(rows.shape)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    noise *= lengths / np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
    return noise.reshape(weight.shape)
