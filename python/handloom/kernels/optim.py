"""Optimiser steps and gradient norms: one call over all parameters, in place.

The formulas and their sources stand in ``csrc/ops/optim/optim.h``; they are PyTorch's. A training
loop builds a :class:`ParamList` once and calls its ``step(grads)``; what changes between steps is
read through ``hyper``, a small float64 array that the caller keeps and writes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]
States = list[Sequence[Array | None]]
ParamList = _C.ParamList


def _check_kind(op: str, kind: str) -> None:
    if kind not in _C.optim_kinds:
        names = ", ".join(_C.optim_kinds)
        raise ValueError(f"{op}: kind is {kind!r}, expected one of {names}")


def hyper_slots(kind: str) -> dict[str, int]:
    """Where each number stands in the step-state block of this kind: ``{"lr": 0, ...}``."""
    _check_kind("hyper_slots", kind)
    return {name: i for i, name in enumerate(_C.optim_hyper[kind])}


def optim_hyper(kind: str, **values: float) -> Array:
    """A step-state block: ``(8,)`` float64, with the numbers given by name and 0 for the others.

    Raises:
        ValueError: An unknown kind, or a name that the kind does not have.
    """
    slots = hyper_slots(kind)
    block = np.zeros(_C.optim_hyper_size)
    for name, value in values.items():
        if name not in slots:
            names = ", ".join(slots)
            raise ValueError(f"optim_hyper: {kind} has no {name!r}, expected one of {names}")
        block[slots[name]] = value
    return block


def optim_state(kind: str, params: Sequence[Array], hyper: Array) -> tuple[States, Array]:
    """What an optimiser remembers, before its first step.

    Args:
        kind: One of ``sgd adagrad rmsprop adam adamw adadelta adamax nadam radam lion``.
        params: The parameters.
        hyper: The step-state block: it says which options are on.

    Returns:
        ``(states, progress)``: for each parameter its arrays of state (zeros, or None where the
        options need none), and ``(len(params), 2)`` float64 with step number and, for NAdam, the
        product of the momenta.
    """
    slots = hyper_slots(kind)

    def on(name: str) -> bool:
        return bool(hyper[slots[name]])

    wanted = {"momentum_buffer": "momentum", "grad_avg": "centered", "max_exp_avg_sq": "amsgrad"}
    names = [
        name if name not in wanted or on(wanted[name]) else None for name in _C.optim_states[kind]
    ]
    states: States = [[np.zeros_like(w) if name else None for name in names] for w in params]
    progress = np.zeros((len(states), 2))
    progress[:, 1] = 1.0
    return states, progress


def optim_step(
    kind: str,
    params: Sequence[Array],
    grads: Sequence[Array | None],
    states: Sequence[Sequence[Array | None]],
    progress: Array,
    hyper: Array,
) -> None:
    """One step of an optimiser over all parameters, in place.

    The plain function, which looks at all arrays each time; a loop keeps a :class:`ParamList`.

    Args:
        kind: One of ``sgd adagrad rmsprop adam adamw adadelta adamax nadam radam lion``.
        params: Contiguous, all float32 or all float64; changed.
        grads: Like the parameters; None leaves a parameter and its state alone.
        states: As :func:`optim_state` makes them; changed.
        progress: ``(len(params), 2)`` float64, as :func:`optim_state` makes it; changed.
        hyper: ``(8,)`` float64, the block of :func:`optim_hyper`.

    Raises:
        TypeError: Mixed dtypes.
        ValueError: Shapes that do not match, an array that is not contiguous or read-only, a
            missing array of state, or a parameter that is listed twice.
    """
    _C.ParamList(kind, list(params), list(states), progress, hyper).step(list(grads))


def multi_norm(arrays: Sequence[Array], ord: float = 2.0) -> float:
    """Norm of all elements of all arrays together, ``ord`` 1, 2 or ``inf``.

    Summed in float64 in a fixed order; NaN if any element is.
    """
    return _C.multi_norm(list(arrays), ord)


def multi_scale(arrays: Sequence[Array], factor: float) -> None:
    """Multiply every array by ``factor``, in place."""
    _C.multi_scale(list(arrays), factor)


def multi_clamp(arrays: Sequence[Array], low: float, high: float) -> None:
    """Limit every element of every array to ``[low, high]``, in place; NaN stays."""
    _C.multi_clamp(list(arrays), low, high)


def multi_lerp(dst: Sequence[Array], src: Sequence[Array], weight: float) -> None:
    """``dst += weight (src - dst)`` for every pair, in place: a moving average of weights."""
    _C.multi_lerp(list(dst), list(src), weight)
