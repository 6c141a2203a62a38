"""Grad-CAM: where a convolutional network looks, from the last maps that still have a place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from .._arrays import Array
from ..autograd import grad
from ..tensor import Tensor, tensor
from ._scores import checked, chosen, evaluating

if TYPE_CHECKING:
    from ..nn import Module


def grad_cam(
    model: Module, x: Any, layer: Module | str, target: Any = None, *, resize: bool = True
) -> Array:
    """Returns maps of what speaks for an answer, in the places of a layer's output.

    The channels of the layer are weighted by the mean gradient of the score, summed, and what
    speaks against it is cut off. Selvaraju and others, "Grad-CAM" (2017). Captum: LayerGradCam.

    Args:
        model, target: As for `saliency`.
        x: `(N, H, W, C)` or `(N, T, C)`.
        layer: A module of the model, or its name, that returns `(N, h, w, K)` or `(N, t, K)`; by
            custom the last convolution, or the activation behind it.
        resize: Whether to stretch the maps to the size of x.

    Returns:
        Not negative, `(N, H, W)` or `(N, T)`.

    Raises:
        AttributeError: The model has no layer of that name.
        ValueError: The layer is not run, or its output has no places.
    """
    op = "grad_cam"
    array = checked(x, op, 3)
    module = model.get_submodule(layer) if isinstance(layer, str) else layer
    seen: list[Any] = []
    hook = module.register_forward_hook(lambda m, args, output: seen.append(output))
    try:
        with evaluating(model):
            output = model(tensor(array, requires_grad=True))
    finally:
        hook.remove()
    if not seen or not isinstance(seen[-1], Tensor):
        raise ValueError(
            f"{op}: the layer {type(module).__name__} returned no tensor in this model"
        )
    maps = seen[-1]
    if maps.ndim != array.ndim:
        raise ValueError(
            f"{op}: the layer {type(module).__name__} returns {maps.shape}, which has not the axes "
            f"of x {array.shape}"
        )
    score, _ = chosen(output, target, op)
    (found,) = grad(score, [maps], allow_unused=True)
    values = maps.detach().numpy()
    slopes = np.zeros_like(values) if found is None else found.numpy()
    places = tuple(range(1, values.ndim - 1))
    cam = np.maximum((values * slopes.mean(axis=places, keepdims=True)).sum(axis=-1), 0)
    if not resize or cam.shape[1:] == array.shape[1:-1]:
        return cam
    mode = "bilinear" if cam.ndim == 3 else "linear"
    large: Array = kernels.interpolate(cam[..., None], array.shape[1:-1], mode=mode)
    return large[..., 0]
