"""What is done with all parameters or gradients at once, and weights that are normalised."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from handloom.nn._reparametrize import remove_spectral_norm as remove_spectral_norm
from handloom.nn._reparametrize import remove_weight_norm as remove_weight_norm
from handloom.nn._reparametrize import spectral_norm as spectral_norm
from handloom.nn._reparametrize import weight_norm as weight_norm
from handloom.nn.receptive import receptive_field as receptive_field
from handloom.ops.assemble import cat
from handloom.ops.layout import reshape
from handloom.ops.multi import clamp_, scale_, total_norm
from handloom.tensor import Array, Tensor, wrap

Parameters = Iterable[Tensor] | Tensor


def _gradients(parameters: Parameters) -> list[Tensor]:
    params = [parameters] if isinstance(parameters, Tensor) else parameters
    return [g for p in params if (g := p.grad) is not None]


def _by_dtype(tensors: list[Tensor]) -> list[list[Array]]:
    groups: dict[Any, list[Array]] = {}
    for t in tensors:
        groups.setdefault(t._array.dtype, []).append(t._array)
    return list(groups.values())


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scales all gradients together, in place, so that their norm is at most max_norm.

    Call it between `backward` and `step`. Keras: the optimiser's global_clipnorm.

    Args:
        parameters: Those whose gradients count; without a gradient they are skipped.
        max_norm: The largest norm allowed.
        norm_type: The p of the norm, above 0; inf is the largest magnitude.
        error_if_nonfinite: Raise RuntimeError on NaN or infinity, and change nothing.

    Returns:
        The norm before.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm is {max_norm}, expected at least 0")
    grads = _gradients(parameters)
    norm_type = float(norm_type)  # "inf" too, as in PyTorch
    norms = [total_norm(arrays, norm_type) for arrays in _by_dtype(grads)]
    norm = norms[0] if len(norms) == 1 else _joined(norms, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:
        for arrays in _by_dtype(grads):
            scale_(arrays, factor)
        _written(grads)
    return norm


def _joined(norms: list[float], p: float) -> float:
    if not norms:
        return 0.0
    return max(norms) if math.isinf(p) else float(sum(n**p for n in norms) ** (1 / p))


def _written(tensors: list[Tensor]) -> None:
    for t in tensors:
        t._version[0] += 1


def clip_grad_value_(parameters: Parameters, clip_value: float) -> None:
    """Limits every element of every gradient to ±clip_value, in place. Keras: clipvalue."""
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value is {clip_value}, expected at least 0")
    grads = _gradients(parameters)
    for arrays in _by_dtype(grads):
        clamp_(arrays, -clip_value, clip_value)
    _written(grads)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one vector; gradients flow through it."""
    return cat([reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vector: Tensor | Array, parameters: Iterable[Tensor]) -> None:
    """Writes a vector's consecutive parts into the parameters.

    Raises:
        ValueError: The vector has another number of elements.
    """
    flat = vector if isinstance(vector, Tensor) else wrap(np.asarray(vector))
    params = list(parameters)
    total = sum(p.numel() for p in params)
    if flat.ndim != 1 or flat.numel() != total:
        raise ValueError(
            f"vector_to_parameters: the vector has shape {flat.shape}, expected ({total},)"
        )
    at = 0
    for p in params:
        n = p.numel()
        p.copy_(flat._array[at : at + n].reshape(p.shape))
        at += n
