"""One case, every promise: the checks that each kernel goes through.

A family describes its kernels in ``tests/reference/<family>.py`` with :class:`Op` and lists sizes
as ``handloom.bench.cases.Case``. ``tests/test_kernels.py`` then runs each case forward against the
float64 oracle, its gradient against finite differences, on every instruction set and for several
thread counts, in float32 and float64.

Tolerance, per element: ``|y - y64| <= 2 max(e, 4 eps S)`` (three times that for gradients), where
``e`` is the error of the oracle itself when run in the tested dtype and ``S`` the sum of the
absolute values of all terms. So a kernel may be twice as wrong as NumPy's straightforward formula,
no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

import handloom as hl
from handloom.bench.cases import Case

Arrays = tuple[Any, ...]


def normal_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Standard normal float64 arrays of the case's shapes."""
    return tuple(rng.standard_normal(shape) for shape in case.shapes)


class Op(NamedTuple):
    """A kernel and its oracle.

    Attributes:
        forward: The public function, ``forward(*inputs, **options)`` → array or tuple of arrays.
        reference: The same in plain NumPy, computing in the dtype of its inputs.
        inputs: Makes the inputs of a case: float arrays in float64 (cast later), others as is.
        magnitude: ``S`` of the tolerance: like ``reference``, on the inputs. Default: the reference
            on absolute values.
        backward: ``backward(dy, inputs, y, options)`` → gradients of the inputs listed in ``wrt``,
            from the public backward function; ``y`` is what forward returned.
        wrt: Positions of the inputs that have a gradient.
        reference_backward: ``(dy, inputs, options)`` → the same gradients in plain NumPy; without
            it float32 gradients are compared with our own float64 ones.
    """

    forward: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: Callable[[Case, np.random.Generator], Arrays] = normal_inputs
    magnitude: Callable[..., Any] | None = None
    backward: Callable[..., Arrays] | None = None
    wrt: tuple[int, ...] = (0,)
    reference_backward: Callable[..., Arrays] | None = None


def make(op: Op, case: Case, seed: int = 0) -> Arrays:
    """Inputs of a case: the same for every dtype, up to rounding."""
    words = f"{case.op} {case.shapes} {case.options}"
    rng = np.random.default_rng(crc32(words.encode()) + seed)
    return op.inputs(case, rng)


def _copy(x: Any, dtype: str, shift: int) -> Any:
    """The numbers of a contiguous array, ``shift`` elements behind the start of their memory."""
    memory = np.empty(shift + x.size, dtype)
    memory[shift:] = x.reshape(-1)
    return memory[shift:].reshape(x.shape)


def _cast(x: Any, dtype: str, shift: int) -> Any:
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        return x
    if x.flags.c_contiguous:
        return _copy(x, dtype, shift)
    # A view stays a view of the same shape of memory, so that strides are tested in every dtype.
    root = x
    while isinstance(root.base, np.ndarray):
        root = root.base
    wide = np.dtype(dtype).itemsize
    start = (x.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // x.itemsize
    strides = tuple(stride // x.itemsize * wide for stride in x.strides)
    memory = _copy(root, dtype, shift).reshape(-1)
    return np.lib.stride_tricks.as_strided(memory[start:], x.shape, strides)


def cast(inputs: Arrays, dtype: str, shift: int = 0) -> Arrays:
    """Float arrays in ``dtype`` with their strides, the rest untouched.

    They begin ``shift`` elements behind the start of their memory, off any vector's alignment.
    """
    return tuple(_cast(x, dtype, shift) for x in inputs)


def widen(inputs: Arrays) -> Arrays:
    """The same numbers in float64, for the oracle."""
    return tuple(
        x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
        for x in inputs
    )


def host(x: Any) -> Any:
    """An array in the CPU's memory, wherever it was."""
    return x.numpy() if isinstance(x, hl.cuda.Array) else x


def outputs(result: Any) -> Arrays:
    return result if isinstance(result, tuple) else (result,)


def bound(reference: Any, exact: Any, magnitude: Any, dtype: str, factor: float) -> Any:
    """Largest error that an element may have."""
    eps = np.finfo(dtype).eps
    own = np.abs(np.asarray(reference, np.float64) - exact)
    return factor * np.maximum(own, 4 * eps * np.abs(magnitude)) + np.finfo(dtype).tiny


def assert_within(actual: Any, exact: Any, allowed: Any, what: str) -> None:
    actual, exact = np.asarray(actual), np.asarray(exact)
    assert actual.shape == exact.shape, f"{what}: shape {actual.shape}, expected {exact.shape}"
    if actual.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, exact, err_msg=what)
        return
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - exact)
        wrong = ~((error <= allowed) | (actual == exact) | (np.isnan(actual) & np.isnan(exact)))
    if wrong.any():
        at = np.unravel_index(np.argmax(wrong), wrong.shape)
        limit = np.broadcast_to(allowed, wrong.shape)[at]
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} elements; at {tuple(map(int, at))} got "
            f"{actual[at]!r}, exact {exact[at]!r}, error {error[at]:.3g}, allowed {limit:.3g}"
        )


def check_forward(op: Op, case: Case, dtype: str, seed: int = 0) -> Arrays:
    """The kernel against its oracle; returns the kernel's outputs."""
    options = dict(case.options)
    inputs = cast(make(op, case, seed), dtype)
    wide = widen(inputs)
    with np.errstate(all="ignore"):
        exact = outputs(op.reference(*wide, **options))
        rounded = outputs(op.reference(*inputs, **options))
        if op.magnitude:
            size = outputs(op.magnitude(*wide, **options))
        else:
            positive = tuple(np.abs(x) if isinstance(x, np.ndarray) else x for x in wide)
            size = outputs(op.reference(*positive, **options))
    result = outputs(op.forward(*inputs, **options))
    assert len(result) == len(exact)
    for y, y64, y32, s in zip(result, exact, rounded, size, strict=True):
        if np.asarray(y64).dtype.kind == "f":
            assert np.asarray(y).dtype == dtype, f"{case.op}: result is {np.asarray(y).dtype}"
            allowed = bound(y32, y64, s, dtype, 2.0)
        else:
            allowed = 0
        assert_within(y, y64, allowed, f"{case.op} {case.shapes} {options} {dtype}")
    return result


def gradients(op: Op, case: Case, dtype: str) -> tuple[Arrays, Arrays, Arrays]:
    """(inputs, dy, gradients) of a case in one dtype."""
    assert op.backward is not None
    options = dict(case.options)
    inputs = cast(make(op, case), dtype)
    y = op.forward(*inputs, **options)
    (dy,) = cast((_upstream(y),), dtype)
    grads = outputs(op.backward(dy, inputs, y, options))
    return inputs, (dy,), grads


def _upstream(y: Any) -> Any:
    return np.asarray(np.random.default_rng(7).standard_normal(np.shape(outputs(y)[0])))


def run(op: Op, case: Case, dtype: str, shift: int) -> Arrays:
    """What the kernel gives, forward and backward, without looking at it."""
    options = dict(case.options)
    inputs = cast(make(op, case), dtype, shift)
    y = op.forward(*inputs, **options)
    if op.backward is None:
        return outputs(y)
    (dy,) = cast((_upstream(y),), dtype, shift)
    return (*outputs(y), *outputs(op.backward(dy, inputs, y, options)))


def check_gradient(op: Op, case: Case) -> None:
    """Backward in float64 against central differences along three random directions."""
    options = dict(case.options)
    inputs, (dy,), grads = gradients(op, case, "float64")
    rng = np.random.default_rng(11)
    assert len(grads) == len(op.wrt)
    for at, grad in zip(op.wrt, grads, strict=True):
        x = inputs[at]
        assert grad.shape == x.shape, f"{case.op}: gradient {grad.shape} of an input {x.shape}"
        if x.size == 0 or dy.size == 0:
            continue
        for _ in range(3):
            v = rng.standard_normal(x.shape)
            h = 1e-6 * max(1.0, float(np.abs(x).max()))

            def value(step: float, at: int = at, v: Any = v) -> Any:
                moved = list(inputs)
                moved[at] = inputs[at] + step * v
                return outputs(op.reference(*moved, **options))[0]

            with np.errstate(all="ignore"):
                terms = dy * (value(h) - value(-h)) / (2 * h)
            numeric, analytic = float(np.sum(terms)), float(np.sum(grad * v))
            scale = float(np.sum(np.abs(terms)) + np.sum(np.abs(grad * v)))
            assert abs(numeric - analytic) <= 1e-6 * scale + 1e-8, (
                f"{case.op} {case.shapes} {options}: gradient of input {at} along a random "
                f"direction is {analytic:.10g}, finite differences give {numeric:.10g}"
            )


def check_gradient_dtype(op: Op, case: Case) -> None:
    """Float32 gradients against the oracle, or against our own (proved) float64 ones."""
    options = dict(case.options)
    inputs, (dy,), grads = gradients(op, case, "float32")
    wide = widen(inputs)
    dy64 = dy.astype(np.float64)
    with np.errstate(all="ignore"):
        if op.reference_backward is not None:
            exact = outputs(op.reference_backward(dy64, wide, options))
            rounded = outputs(op.reference_backward(dy, inputs, options))
        else:
            assert op.backward is not None
            y = op.forward(*wide, **options)
            exact = rounded = outputs(op.backward(dy64, wide, y, options))
    for g, g64, g32 in zip(grads, exact, rounded, strict=True):
        assert g.dtype == np.float32
        size = np.maximum(np.abs(g64), np.abs(g64).max(initial=0.0))
        assert_within(
            g, g64, bound(g32, g64, size, "float32", 6.0), f"{case.op} {case.shapes} gradient"
        )


def beside(x: Any, value: Any) -> Any:
    """An array on the device of x."""
    return hl.cuda.array(value, x.index) if isinstance(x, hl.cuda.Array) else value


# ---- the same on a GPU ---------------------------------------------------------------------------
def _each(value: Any, f: Callable[[Any], Any]) -> Any:
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(_each(v, f) for v in value)
    if isinstance(value, dict):
        return {k: _each(v, f) for k, v in value.items()}
    return f(value)


def to_device(value: Any) -> Any:
    """Arrays to the GPU, with their strides where these are more than a shape."""
    return _each(value, lambda v: hl.cuda.array(v) if isinstance(v, np.ndarray) else v)


def on_device(op: Op) -> Op:
    """The op with its public functions called on device arrays."""

    def forward(*inputs: Any, **options: Any) -> Any:
        return _each(op.forward(*to_device(inputs), **to_device(options)), host)

    def backward(dy: Any, inputs: Any, y: Any, options: Any) -> Any:
        assert op.backward is not None
        return _each(op.backward(*to_device((dy, inputs, y, options))), host)

    return op._replace(forward=forward, backward=backward if op.backward else None)


def assert_same_bits(a: Any, b: Any, what: str) -> None:
    for x, y in zip(map(host, outputs(a)), map(host, outputs(b)), strict=True):
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        assert x.tobytes() == y.tobytes(), f"{what}: bits differ"
