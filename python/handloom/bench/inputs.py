"""Arrays of a case, made from a seed with NumPy alone: every process makes the same ones."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from .cases import Case
from .rooms import room_of

Array = npt.NDArray[Any]
Inputs = dict[str, Any]

_PAIRS = ("add", "sub", "mul", "div", "maximum", "minimum", "pow")


def make_inputs(case: Case, seed: int = 0) -> Inputs:
    """Return the named inputs of a case.

    ``matmul`` a, b (views of transposed storage where asked) · ``linear`` x, w, b ·
    ``linear_backward`` dy, x, w, y · two-input elementwise a, b · ``cross_entropy*`` x, target ·
    ``step`` params [w, b, …], batches [(x, target), …] · everything else x.
    """
    rng = np.random.default_rng([seed, crc32(case.id.encode())])
    room = room_of(case)
    if room is not None:
        made: Inputs = room.make_inputs(rng, case)
        return made
    if case.op == "matmul":
        trans = case.option("trans", "nn")
        pairs = zip("ab", case.shapes, trans)
        return {
            name: _operand(rng, shape, letter == "t", case.dtype) for name, shape, letter in pairs
        }
    if case.op == "linear":
        names = ("x", "w", "b")
        arrays = {n: _normal(rng, s, case.dtype) for n, s in zip(names, case.shapes)}
        arrays["w"] *= _fan(case.shapes[1])
        return arrays
    if case.op == "linear_backward":
        return _linear_backward(rng, case)
    if case.op in _PAIRS:
        a, b = (_normal(rng, shape, case.dtype) for shape in case.shapes)
        return {"a": a, "b": b}
    if case.op in ("sum", "mean", "max", "min", "norm"):
        # Positive terms: a sum that cancels to nearly nothing would compare rounding errors.
        return {"x": rng.random(case.shapes[0]).astype(case.dtype)}
    if case.op.startswith("cross_entropy"):
        rows, classes = case.shapes[0]
        return {
            "x": _normal(rng, (rows, classes), case.dtype),
            "target": rng.integers(0, classes, rows),
        }
    if case.op == "step":
        return _step(rng, case)
    return {"x": _normal(rng, case.shapes[0], case.dtype)}


def copy_inputs(inputs: Inputs) -> Inputs:
    """Return the same values in other memory, strides kept."""
    return {name: _copy(value) for name, value in inputs.items()}


def nbytes(inputs: Inputs) -> int:
    """Return the bytes of all arrays."""
    return sum(value.nbytes for value in inputs.values() if isinstance(value, np.ndarray))


def _copy(value: Any) -> Any:
    return value.copy(order="K") if isinstance(value, np.ndarray) else value


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    # The stubs know float32 and float64 only by their classes, not by name.
    kind: Any = np.dtype(dtype).type
    return np.asarray(rng.standard_normal(shape, dtype=kind))


def _operand(rng: np.random.Generator, shape: tuple[int, ...], trans: bool, dtype: str) -> Array:
    if not trans:
        return _normal(rng, shape, dtype)
    stored = _normal(rng, (*shape[:-2], shape[-1], shape[-2]), dtype)
    return np.swapaxes(stored, -1, -2)


def _fan(shape: tuple[int, ...]) -> float:
    """Scale that keeps activations near one: 1/sqrt(inputs)."""
    return float(1.0 / np.sqrt(max(shape[-1], 1)))


def _linear_backward(rng: np.random.Generator, case: Case) -> Inputs:
    dy, x, w = (_normal(rng, shape, case.dtype) for shape in case.shapes)
    w *= _fan(w.shape)
    y = x @ w.T
    if case.option("activation") == "relu":
        y = np.maximum(y, 0)
    elif case.option("activation") == "tanh":
        y = np.tanh(y)
    return {"dy": dy, "x": x, "w": w, "y": y}


def _step(rng: np.random.Generator, case: Case) -> Inputs:
    """Parameters as PyTorch would draw them, and many small batches.

    Labels are random: a network that could learn them would reach zero loss during the long
    timing, and denormal gradients slow down the libraries that do not flush them.
    """
    params: list[Array] = []
    for i, o in case.shapes:
        bound = _fan((o, i))
        params.append(rng.uniform(-bound, bound, (o, i)).astype(case.dtype))
        params.append(rng.uniform(-bound, bound, o).astype(case.dtype))
    rows, features, outputs = case.option("batch"), case.shapes[0][0], case.shapes[-1][1]
    batches = []
    for _ in range(case.option("batches")):
        x = _normal(rng, (rows, features), case.dtype)
        if case.option("loss") == "bce":
            batches.append((x, rng.integers(0, 2, (rows, 1)).astype(case.dtype)))
        else:
            batches.append((x, rng.integers(0, outputs, rows)))
    return {"params": params, "batches": batches}
