"""Gradients of an answer by the input: alone, averaged over noise, integrated along a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Array, as_array
from .._numbers import real, whole
from ..autograd import grad
from ..tensor import tensor
from ._scores import checked, chosen, evaluating, targets

if TYPE_CHECKING:
    from ..nn import Module


def saliency(model: Module, x: Any, target: Any = None, *, signed: bool = False) -> Array:
    """Returns how strongly the answer depends on each input value: |∂score/∂x|.

    Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks" (2014). Captum: Saliency.

    Args:
        model: Returns scores `(N, outputs)`, or `(N,)`; logits rather than probabilities, whose
            gradient vanishes where the model is sure.
        x: `(N, ...)`, float32 or float64.
        target: The output to be explained, an integer or one for each row; None for the largest.
        signed: The gradient itself, not its magnitude.

    Raises:
        TypeError: x is of another type.
        ValueError: x has no row, or there is no such output.
    """
    array = checked(x, "saliency")
    with evaluating(model):
        found = _gradient(model, array, target, "saliency")
    return found if signed else np.abs(found)


def smooth_grad(
    model: Module,
    x: Any,
    target: Any = None,
    *,
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    signed: bool = False,
) -> Array:
    """Returns the mean saliency of noisy copies of the input, which is less ragged.

    Smilkov and others, "SmoothGrad: removing noise by adding noise" (2017). Captum: NoiseTunnel.

    Args:
        model, x, target, signed: As for `saliency`; the answer is chosen without noise.
        samples: Copies, at least 1.
        sigma: Standard deviation of the noise, as a share of each row's range.
        seed: Of the noise.
    """
    op = "smooth_grad"
    array = checked(x, op)
    samples = whole(samples, op, "samples")
    if not real(sigma, op, "sigma") >= 0:
        raise ValueError(f"{op}: sigma expects at least 0, got {sigma}")
    rng = np.random.default_rng(whole(seed, op, "seed", 0))
    flat = array.reshape(len(array), -1)
    deviation = sigma * (flat.max(axis=1) - flat.min(axis=1))
    deviation = deviation.reshape(-1, *[1] * (array.ndim - 1))
    total = np.zeros(array.shape)
    with evaluating(model):
        numbers = _answers(model, array, target, op)
        for _ in range(samples):
            noisy = (array + deviation * rng.standard_normal(array.shape)).astype(array.dtype)
            found = _gradient(model, noisy, numbers, op)
            total += found if signed else np.abs(found)
    return (total / samples).astype(array.dtype)


def integrated_gradients(
    model: Module, x: Any, target: Any = None, *, baseline: Any = 0.0, steps: int = 32
) -> Array:
    """Returns what each input value adds to the answer, against that for a baseline.

    The gradient is averaged along the line from the baseline to the input, by the midpoint rule,
    and multiplied with their difference. The parts add up to score(x) − score(baseline).
    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks" (2017).

    Args:
        model, x, target: As for `saliency`.
        baseline: What says nothing: a number or an array that broadcasts to x; black by default.
        steps: Points on the line, at least 1.
    """
    op = "integrated_gradients"
    array = checked(x, op)
    steps = whole(steps, op, "steps")
    try:
        start = np.broadcast_to(as_array(np.asarray(baseline), f"{op}: baseline"), array.shape)
    except ValueError:
        raise ValueError(
            f"{op}: baseline {np.shape(baseline)} does not broadcast to x {array.shape}"
        ) from None
    way = array - start.astype(array.dtype)
    total = np.zeros(array.shape)
    with evaluating(model):
        numbers = _answers(model, array, target, op)
        for step in range(steps):
            at = (array - way * ((step + 0.5) / steps)).astype(array.dtype)
            total += _gradient(model, at, numbers, op)
    return (way * total / steps).astype(array.dtype)


def _gradient(model: Module, x: Array, target: Any, op: str) -> Array:
    leaf = tensor(x, requires_grad=True)
    score, _ = chosen(model(leaf), target, op)
    (found,) = grad(score, [leaf], allow_unused=True)
    return np.zeros_like(x) if found is None else found.numpy()


def _answers(model: Module, x: Array, target: Any, op: str) -> Array:
    from ..train import predict

    return targets(predict(model, x), target, op)
