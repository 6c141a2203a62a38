"""Modules and functions whose forward and backward are graphs; see `make_graphed_callables`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from handloom import _C
from handloom._device_array import Array, index_of
from handloom._tape import Function
from handloom.autograd import enable_grad, grad
from handloom.cuda._graph import CUDAGraph
from handloom.nn.module import Module
from handloom.tensor import Tensor, wrap

_OP = "make_graphed_callables"


class _Pair:
    """The two graphs of a callable, and the arrays that they read and write."""

    def __init__(
        self, run: Callable[..., Any], parameters: Sequence[Tensor], args: tuple[Tensor, ...]
    ) -> None:
        device = index_of(args[0]._array)
        self.parameters = parameters
        self.arrays = [p._array for p in parameters]
        self.runs = 0  # of the forward graph
        self.inputs = [wrap(a._array.copy()).requires_grad_(a.requires_grad) for a in args]
        self.forward, self.backward = CUDAGraph(device), CUDAGraph(device)
        with enable_grad():
            self._capture(run)

    def _capture(self, run: Callable[..., Any]) -> None:
        self.forward.capture_begin()
        try:
            found = run(*self.inputs)
        except BaseException:
            self.forward._end(False)
            raise
        self.forward.capture_end()
        self.single = isinstance(found, Tensor)
        outputs: list[Tensor] = [found] if self.single else list(found)
        self.outputs = [y._array for y in outputs]
        wanted = [y for y in outputs if y.requires_grad]
        self.gradients = [_like(y._array) if y.requires_grad else None for y in outputs]
        sources = [t for t in (*self.inputs, *self.parameters) if t.requires_grad]
        self.found: list[Any] = []
        if not wanted or not sources:
            return
        self.backward._begin(self.forward)
        try:
            self.found = [
                None if g is None else g._array
                for g in grad(
                    wanted, sources, [g for g in self.gradients if g is not None], allow_unused=True
                )
            ]
        except BaseException:
            self.backward._end(False)
            raise
        self.backward.capture_end()

    def run_forward(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        for held, array in zip(self.inputs, arrays):
            if array is not held._array:
                held.copy_(array)
        if any(p._array is not a for p, a in zip(self.parameters, self.arrays)):
            raise RuntimeError(f"{_OP}: parameters were replaced since the capture; do it again")
        self.forward.replay()
        self.runs += 1
        return tuple(y.copy() for y in self.outputs)

    def run_backward(self, dy: tuple[Any, ...]) -> tuple[Any, ...]:
        for held, g in zip(self.gradients, dy):
            if held is not None:
                _C.assign(held, g) if g is not None else _C.gpu.clear(held)
        self.backward.replay()
        found = iter(self.found)
        return tuple(
            next(found) if t.requires_grad else None for t in (*self.inputs, *self.parameters)
        )


def _like(y: Any) -> Any:
    """Room for a gradient, outside of any graph."""
    return _C.gpu.empty(y.shape, y.dtype, y.index)


class Replayed(Function):
    """A forward graph, and its backward."""

    __slots__ = ("pair", "run_number")

    pair: _Pair
    run_number: int

    def forward(ctx, *arrays: Any) -> Any:
        ys = ctx.pair.run_forward(arrays[: len(ctx.pair.inputs)])
        ctx.run_number = ctx.pair.runs
        return ys[0] if ctx.pair.single else ys

    def backward(ctx, *dy: Any) -> Any:
        if ctx.run_number != ctx.pair.runs:
            raise RuntimeError(
                f"{_OP}: the callable ran again before this backward, over what it needs"
            )
        return ctx.pair.run_backward(dy)


def graphed(function: Any, sample_args: Any, warmups: int) -> Any:
    """One callable of `make_graphed_callables`."""
    args = sample_args if isinstance(sample_args, (tuple, list)) else (sample_args,)
    for i, a in enumerate(args):
        if not isinstance(a, Tensor) or not isinstance(a._array, Array):
            raise TypeError(f"{_OP}: sample_args[{i}] expects a tensor on a GPU")
    module = function if isinstance(function, Module) else None
    run = function if module is None else module.forward
    parameters = [] if module is None else list(module.parameters())
    for _ in range(warmups):
        _warm_up(run, parameters, tuple(args))
    pair = _Pair(run, parameters, tuple(args))

    def replayed(*given: Any) -> Any:
        _check(pair, given)
        node = Replayed()
        node.pair = pair
        return node.run((*given, *parameters))

    if module is None:
        return replayed
    training = module.training

    def forward(*given: Any) -> Any:
        return replayed(*given) if module.training == training else run(*given)

    module.forward = forward  # type: ignore[method-assign]
    module._forward_fused = None  # Sequential would go around it
    return module


def _warm_up(run: Any, parameters: Sequence[Tensor], args: tuple[Tensor, ...]) -> None:
    inputs = [wrap(a._array).requires_grad_(a.requires_grad) for a in args]
    found = run(*inputs)
    outputs = [y for y in ([found] if isinstance(found, Tensor) else found) if y.requires_grad]
    sources = [t for t in (*inputs, *parameters) if t.requires_grad]
    if outputs and sources:
        dy = [wrap(_zeros(y._array)) for y in outputs]
        grad(outputs, sources, dy, allow_unused=True)


def _zeros(y: Any) -> Any:
    made = _like(y)
    _C.gpu.clear(made)
    return made


def _check(pair: _Pair, given: tuple[Any, ...]) -> None:
    if len(given) != len(pair.inputs):
        raise TypeError(
            f"{_OP}: captured with {len(pair.inputs)} arguments, called with {len(given)}"
        )
    for i, (t, held) in enumerate(zip(given, pair.inputs)):
        if not isinstance(t, Tensor) or t.shape != held.shape or t.dtype != held.dtype:
            came = f"{t.shape} and {t.dtype}" if isinstance(t, Tensor) else type(t).__name__
            raise ValueError(
                f"{_OP}: argument {i} has {came}, captured were {held.shape} and {held.dtype}"
            )
        if t.requires_grad and not held.requires_grad:
            raise ValueError(f"{_OP}: argument {i} requires a gradient, the captured one did not")
