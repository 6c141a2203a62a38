"""Differentiation as the user calls it: `backward`, `grad`, hooks, `no_grad`.

The tape itself, `Function` and the walk, is in `handloom._tape`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any, ClassVar, TypeVar

import numpy as np

from handloom._deposit import own
from handloom._tape import Function, Hook, Output, View, recording, walk
from handloom.tensor import Array, Leaf, Tensor, as_ndarray, wrap

__all__ = [
    "Function",
    "Output",
    "RemovableHandle",
    "View",
    "Wanted",
    "backward",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "one",
    "register_hook",
    "retain_grad",
    "walk",
]

Call = TypeVar("Call", bound=Callable[..., Any])
_GENERATOR = 0x20  # inspect.CO_GENERATOR, without loading inspect


class Wanted:
    """The gradients that `grad()` was asked for, and the nodes that lie on the way to them."""

    def __init__(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self.found: dict[Any, Array | None] = {t._node: None for t in inputs}
        self.path: set[Any] = set(self.found)
        seen: set[Any] = set()
        stack = [t._node for t in outputs if isinstance(t._node, Function)]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            stack.extend(s for s in node.inputs or () if isinstance(s, Function))
        for node in sorted(seen, key=lambda n: -n.order):  # oldest first
            if any(s in self.path for s in node.inputs or () if s is not None):
                self.path.add(node)

    def __contains__(self, target: object) -> bool:
        return target in self.found

    def put(self, target: Any, g: Array) -> None:
        if target in self.found:
            self.found[target] = own(g)

    def backward(self, node: Any, dy: Any) -> Any:
        """Runs a node's backward, asking only for what leads to an input."""
        need = node.need
        node.need = sum(
            1 << i for i, s in enumerate(node.inputs) if s is not None and s in self.path
        )
        try:
            if node.need == 0:
                return ()
            return node.backward(*dy) if dy.__class__ is list else node.backward(dy)
        finally:
            node.need = need


_ones: dict[Any, Array] = {}


def one(like: Array) -> Array:
    """d(x)/d(x) of a single element: a constant, never written to."""
    if like.ndim or not isinstance(like, np.ndarray):
        return np.ones_like(like)
    found = _ones.get(like.dtype)
    if found is None:
        found = np.ones((), like.dtype)
        found.flags.writeable = False
        _ones[like.dtype] = found
    return found


def _seed(tensor: Tensor, gradient: object, op: str) -> Array:
    if tensor._node is None:
        raise RuntimeError(f"{op}: the tensor needs no gradient and has no history")
    if gradient is None:
        if tensor._array.size != 1:
            raise RuntimeError(
                f"{op}: the tensor has shape {tensor.shape}; only a single element has a gradient "
                "of its own, pass gradient="
            )
        return one(tensor._array)
    g = as_ndarray(gradient, op)
    if g.shape != tensor.shape or g.dtype != tensor.dtype:
        raise ValueError(
            f"{op}: gradient has shape {g.shape} and {g.dtype}, "
            f"expected {tensor.shape} and {tensor.dtype}"
        )
    return g


def _no_second_derivative(create_graph: bool, op: str) -> None:
    if create_graph:
        raise NotImplementedError(
            f"{op}: create_graph=True: handloom has no second derivatives; where a penalty on a "
            "gradient is wanted, write its closed form or use spectral normalisation"
        )


def backward(tensor: Tensor, gradient: object, retain_graph: bool, create_graph: bool) -> None:
    """`Tensor.backward`, with every check."""
    _no_second_derivative(create_graph, "backward")
    walk([(tensor, _seed(tensor, gradient, "backward"))], retain_graph, None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: object = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs with respect to inputs, without touching any `.grad`.

    Only what lies between the inputs and the outputs is computed.

    Args:
        outputs: A tensor or several, whose gradients are summed.
        inputs: Tensors to differentiate by; they may lie inside the graph.
        grad_outputs: A gradient for each output; single elements need none.
        retain_graph: Keep the graph for another walk.
        create_graph: Not available.
        allow_unused: Return None for an input that played no part, instead of raising.

    Returns:
        One tensor for each input.
    """
    _no_second_derivative(create_graph, "grad")
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given: list[Any]
    if grad_outputs is None:
        given = [None] * len(outs)
    elif isinstance(grad_outputs, (list, tuple)):
        given = list(grad_outputs)
    else:
        given = [grad_outputs]
    if len(given) != len(outs):
        raise ValueError(f"grad: {len(given)} grad_outputs for {len(outs)} outputs")
    for i, t in enumerate(ins):
        if t._node is None:
            raise RuntimeError(f"grad: inputs[{i}] does not require a gradient")
    roots = [(t, _seed(t, g, "grad")) for t, g in zip(outs, given)]
    wanted = Wanted(ins, outs)
    walk(roots, retain_graph, wanted)
    found = [wanted.found[t._node] for t in ins]
    if not allow_unused:
        for i, g in enumerate(found):
            if g is None:
                raise RuntimeError(
                    f"grad: inputs[{i}] plays no part in the outputs; allow_unused=True gives None"
                )
    return tuple([None if g is None else wrap(g) for g in found])


class RemovableHandle:
    """What `register_*_hook` returns: `remove()` takes the hook away again."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks = hooks
        self._hook = hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def register_hook(tensor: Tensor, hook: Hook) -> RemovableHandle:
    """`Tensor.register_hook`."""
    if tensor._node is None:
        raise RuntimeError("register_hook: the tensor does not require a gradient")
    owner = tensor._node
    if owner.hooks is None:
        owner.hooks = []
    owner.hooks.append(hook)
    return RemovableHandle(owner.hooks, hook)


def retain_grad(tensor: Tensor) -> None:
    """`Tensor.retain_grad`."""
    if tensor._node is None:
        raise RuntimeError("retain_grad: the tensor does not require a gradient")
    if isinstance(tensor._node, Leaf):
        return
    reference = weakref.ref(tensor)  # the node must not hold its own result

    def keep(g: Tensor) -> None:
        held = reference()
        if held is not None:
            before = held.grad
            held._grad = wrap(own(g._array)) if before is None else before + g.detach()

    register_hook(tensor, keep)


class _Recording:
    """Switches recording for the calling thread; a context manager and a decorator."""

    __slots__ = ("_before",)

    _record: ClassVar[bool]

    def __new__(cls, function: Any = None) -> Any:
        """`@no_grad` is `@no_grad()`."""
        return object.__new__(cls) if function is None else cls()(function)

    def __init__(self, function: Any = None) -> None:
        self._before: list[bool | None] = []

    def __enter__(self) -> None:
        ident = get_ident()
        self._before.append(recording.get(ident))
        recording[ident] = self._record

    def __exit__(self, *error: object) -> None:
        ident = get_ident()
        before = self._before.pop()
        if before is None:
            del recording[ident]
        else:
            recording[ident] = before

    def __call__(self, function: Call) -> Call:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            with type(self)():
                return function(*args, **options)

        @functools.wraps(function)
        def generate(*args: Any, **options: Any) -> Any:
            values = function(*args, **options)
            while True:
                with type(self)():  # what runs between two values is the caller's
                    try:
                        value = next(values)
                    except StopIteration as end:
                        return end.value
                yield value

        code = getattr(function, "__code__", None)
        generator = code is not None and code.co_flags & _GENERATOR
        return generate if generator else call  # type: ignore[return-value]


class no_grad(_Recording):
    """Inside, nothing that this thread computes is recorded. `with no_grad():` or `@no_grad()`."""

    __slots__ = ()
    _record = False


class enable_grad(_Recording):
    """Inside, operations are recorded again, even within `no_grad`."""

    __slots__ = ()
    _record = True


def is_grad_enabled() -> bool:
    """Whether this thread records."""
    return recording.get(get_ident(), True)
