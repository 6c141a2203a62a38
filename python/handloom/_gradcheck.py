"""`gradcheck`: gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from handloom.autograd import grad, no_grad
from handloom.tensor import FLOATS, Array, Tensor, wrap


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-4,
    raise_exception: bool = True,
) -> bool:
    """Compares every element of the Jacobian with (fn(x + eps) − fn(x − eps))/(2 eps).

    Args:
        fn: A deterministic function of the inputs; returns a tensor or several.
        inputs: Tensors, of which those with `requires_grad` are checked: float64, since float32
            has too few digits for a difference. Anything else is passed on.
        eps: Half the step of the difference.
        atol: Absolute tolerance.
        rtol: Tolerance relative to the difference quotient.
        raise_exception: False returns False instead of raising.

    Returns:
        True if all agree.

    Raises:
        TypeError: A checked input is not float64.
        ValueError: No input requires a gradient, or no output has one.
        AssertionError: A gradient is wrong; the text names the output, the input, the element and
            both values.
    """
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for i in checked:
        if args[i].dtype != FLOATS[1]:
            raise TypeError(f"gradcheck: inputs[{i}] is {args[i].dtype}, expected float64")
    outputs = _outputs(fn(*args))
    if not any(y.requires_grad for y in outputs):
        raise ValueError("gradcheck: no output has a gradient")
    for k, y in enumerate(outputs):
        if not y.requires_grad:
            continue
        ours = _jacobians(y, [args[i] for i in checked])
        for i, analytic in zip(checked, ours):
            numeric = _differences(fn, args, i, k, eps)
            problem = _compare(analytic, numeric, args[i].shape, y.shape, atol, rtol)
            if problem:
                if not raise_exception:
                    return False
                raise AssertionError(f"gradcheck: output {k}, input {i}: {problem}")
    return True


def _outputs(result: Any) -> list[Tensor]:
    found = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in found if isinstance(y, Tensor)]


def _jacobians(y: Tensor, inputs: list[Tensor]) -> list[Array]:
    """(elements of y, elements of x) for each input, a row for each walk."""
    rows = [np.zeros((y.numel(), x.numel())) for x in inputs]
    for j in range(y.numel()):
        seed = np.zeros(y.shape)
        seed.flat[j] = 1.0
        grads = grad(y, inputs, wrap(seed), retain_graph=True, allow_unused=True)
        for row, g in zip(rows, grads):
            if g is not None:
                row[j] = g._array.ravel()
    return rows


def _differences(fn: Callable[..., Any], args: list[Any], i: int, k: int, eps: float) -> Array:
    base = args[i]._array

    def at(offset: float, n: int) -> Array:
        moved = base.copy(order="C")
        moved.flat[n] += offset
        with no_grad():
            y = _outputs(fn(*args[:i], wrap(moved), *args[i + 1 :]))[k]
        flat: Array = y._array.ravel().copy()
        return flat

    columns = [(at(eps, n) - at(-eps, n)) / (2 * eps) for n in range(base.size)]
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _compare(
    ours: Array,
    numeric: Array,
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    atol: float,
    rtol: float,
) -> str:
    """What is wrong, or an empty string."""
    if numeric.size == 0:
        return ""
    error = np.abs(ours - numeric)
    bad = ~(error <= atol + rtol * np.abs(numeric))
    if not bad.any():
        return ""
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    j, n = divmod(worst, numeric.shape[1])
    at_y = tuple(int(v) for v in np.unravel_index(j, y_shape))
    at_x = tuple(int(v) for v in np.unravel_index(n, x_shape))
    return (
        f"d y{list(at_y)} / d x{list(at_x)} is {ours[j, n]:.8g}, finite differences give "
        f"{numeric[j, n]:.8g}; {int(bad.sum())} of {bad.size} elements differ"
    )
