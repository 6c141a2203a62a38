"""The tape: forward records nodes, `backward` walks them from the newest to the oldest.

One operation is one small class with `forward` above `backward`::

    class Cube(Function):
        def forward(ctx, x):
            ctx.saved = (x,)
            return kernels.pow(x, 3)

        def backward(ctx, dy):
            (x,) = ctx.saved
            return 3 * dy * x * x

    y = Cube.apply(x)

The instance is both the context and the node of the tape. A node knows its inputs' nodes, never its
outputs, so a graph has no reference cycles: it is freed when the last tensor that leads to it goes,
and, node by node, while it is walked. Nodes are numbered as they are made; an input is always older
than the result, so that walking by number is a topological order, without recursion.

A saved array that belongs to an input or to the output is remembered with the version of its
memory; a write in between is an error that names the operation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from handloom._deposit import deposit, summed
from handloom._device_array import ARRAYS
from handloom._precision import casting, ever, set_precision
from handloom.tensor import FLOATS, Array, Leaf, Tensor, as_ndarray, wrap

if TYPE_CHECKING:
    from handloom.autograd import Wanted

Hook = Callable[[Tensor], "Tensor | None"]

_new = object.__new__

# Newer nodes have smaller numbers: a heap of numbers gives the newest first.
_order = itertools.count(0, -1)

# Threads that are inside no_grad() or enable_grad(), and whether they record. Empty almost always,
# which is all that an operation has to look at.
recording: dict[int, bool] = {}

# Set by detect_anomaly(): threads whose operations are watched, and who watches.
watchers: dict[int, Any] = {}


class Function:
    """One operation and its derivative; see the module's example.

    `forward(ctx, *args)` gets arrays where `apply` got tensors, everything else as it came, and
    returns an array, or a tuple of arrays. `backward(ctx, dy)` gets the gradient of each output
    (None for one that played no part, if there are several) and returns that of each argument, in
    order: an array if there is one argument to differentiate, else a tuple with None where nothing
    is wanted. What `backward` needs is put into `ctx.saved` (arrays) or into attributes.

    Attributes:
        need: Bit i is set where the gradient of argument i is wanted.
        saved: Arrays kept for backward; freed with the graph.
    """

    __slots__ = (
        "__weakref__", "hooks", "inputs", "need", "order", "precision", "saved", "versions",
    )  # fmt: skip

    # True: every array that backward returns is new, contiguous, and held by nobody else.
    fresh: ClassVar[bool] = False

    need: int
    saved: tuple[Any, ...]
    inputs: list[Any] | None
    versions: list[tuple[list[int], int]]
    order: int
    hooks: list[Hook] | None
    precision: int  # of autocast when it ran; not there outside of one

    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @property
    def name(self) -> str:
        """How errors call the operation."""
        return type(self).__name__.lower()

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Runs forward on tensors, arrays and options, and records the node where it matters."""
        return cls().run(args)

    def run(self, tensors: tuple[Any, ...], *options: Any) -> Any:
        """As `apply`, on an instance that the caller goes on to use.

        Only `tensors` (among them arrays, numbers and None) are looked at; options are passed on.
        """
        need = 0
        bit = 1
        arrays = []
        sinks = []
        for t in tensors:
            if isinstance(t, Tensor):
                node = t._node
                if node is not None:
                    need += bit
                sinks.append(node)
                arrays.append(t._array)
            else:
                sinks.append(None)
                arrays.append(t)
            bit += bit
        if need and recording and not recording.get(get_ident(), True):
            need = 0
        self.need = need
        self.saved = ()
        y = self.forward(*arrays, *options)
        if y.__class__ is tuple:
            return self._record_many(tensors, sinks, y)
        out = _new(Tensor)
        out._array = y
        out._version = version = [0]
        if not need:
            out._node = None
            return out
        out._node = self
        self.inputs = sinks
        self.order = next(_order)
        self.hooks = None
        self.versions = versions = []
        saved: tuple[Any, ...] = self.saved
        for s in saved:
            if s is y:
                versions.append((version, 0))
            else:
                for t, a in zip(tensors, arrays):
                    if a is s and t is not a:
                        versions.append((t._version, t._version[0]))
                        break
        if casting:
            self.precision = casting.get(get_ident(), 0)
        if watchers:
            self._watched(y)
        return out

    def run1(self, x: Any, *options: Any) -> Any:
        """`run((x,), *options)` for one argument and one result, shorter."""
        if isinstance(x, Tensor):
            a = x._array
            sink = x._node
        else:
            a = x
            sink = None
        need = 1
        if sink is None or (recording and not recording.get(get_ident(), True)):
            need = 0
        self.need = need
        self.saved = ()
        y = self.forward(a, *options)
        out = _new(Tensor)
        out._array = y
        out._version = version = [0]
        if not need:
            out._node = None
            return out
        out._node = self
        self.inputs = [sink]
        self.order = next(_order)
        self.hooks = None
        self.versions = versions = []
        saved: tuple[Any, ...] = self.saved
        for s in saved:
            if s is y:
                versions.append((version, 0))
            elif s is a and x is not a:
                versions.append((x._version, x._version[0]))
        if casting:
            self.precision = casting.get(get_ident(), 0)
        if watchers:
            self._watched(y)
        return out

    def _watched(self, y: Any) -> None:
        watcher = watchers.get(get_ident())
        if watcher is not None:
            watcher.recorded(self, y)

    def _record_many(
        self, tensors: tuple[Any, ...], sinks: list[Any], arrays: tuple[Array, ...]
    ) -> tuple[Tensor, ...]:
        outs = tuple([wrap(y) for y in arrays])
        if not self.need:
            return outs
        self.inputs = sinks
        self.order = next(_order)
        self.hooks = None
        self.versions = [
            (t._version, t._version[0])
            for s in self.saved
            for t in (*outs, *tensors)
            if isinstance(t, Tensor) and t._array is s
        ]
        for i, out in enumerate(outs):
            if out._array.dtype in FLOATS:
                node = Output()
                node.inputs = [self]
                node.saved, node.versions, node.hooks = (), [], None
                node.index, node.count = i, len(arrays)
                node.order = next(_order)
                out._node = node
        if casting:
            self.precision = casting.get(get_ident(), 0)
        if watchers:
            self._watched(arrays)
        return outs


class Output(Function):
    """One of several results of a Function: it hands its gradient over to that one's node."""

    __slots__ = ("count", "index")

    index: int
    count: int


class View(Function):
    """An operation whose result looks at the memory of its only tensor."""

    __slots__ = ()

    def run1(self, x: Any, *options: Any) -> Any:
        out = super().run1(x, *options)
        if isinstance(x, Tensor):
            out._version = x._version
        return out


def walk(roots: Sequence[tuple[Tensor, Array]], retain_graph: bool, wanted: Wanted | None) -> None:
    """Carries gradients from `roots` to the leaves, each node in the precision that it ran in.

    Args:
        roots: Tensors with a history (or leaves) and the gradient of each.
        retain_graph: Whether the nodes keep what they saved.
        wanted: None to add to `.grad` of the leaves, else where to put the gradients instead.
    """
    if not ever.cast:
        return _walk(roots, retain_graph, wanted, False)
    before = set_precision(0)
    try:
        _walk(roots, retain_graph, wanted, True)
    finally:
        set_precision(before)


def _walk(
    roots: Sequence[tuple[Tensor, Array]], retain_graph: bool, wanted: Wanted | None, mixed: bool
) -> None:
    now = 0  # the precision of the node before
    live: dict[int, list[Any]] = {}  # by number: node, gradient so far, is that buffer ours
    late: dict[Leaf, list[Any]] = {}  # leaves that wait for their whole gradient
    heap: list[int] = []
    node: Any = None
    fresh = False
    sinks: Any = [t._node for t, _ in roots]
    grads: Any = [g for _, g in roots]
    while True:
        for sink, g in zip(sinks, grads):
            if sink is None or g is None:
                continue
            if sink.__class__ is Leaf:
                if wanted is None and sink.hooks is None:
                    if fresh and sink.grad is None:
                        sink.grad = wrap(g)
                        sink.made = True
                    else:
                        deposit(sink, g, fresh, node)
                elif wanted is None or sink in wanted:
                    late[sink] = summed(late.get(sink), sink, g, fresh)
                continue
            if wanted is not None and sink not in wanted.path:
                continue
            order = sink.order
            entry = live.get(order)
            if entry is None:
                live[order] = [sink, g, fresh]
                heappush(heap, order)
            else:
                summed(entry, sink, g, fresh)
        if not heap:
            break
        node, dy, _ = live.pop(heappop(heap))
        sinks = node.inputs
        if sinks is None:
            raise RuntimeError(
                f"backward: the graph of {node.name} was walked before and is freed; "
                "pass retain_graph=True to the first backward"
            )
        for version, then in node.versions:
            if version[0] != then:
                raise _changed(node)
        if node.hooks is not None:
            dy = _run_hooks(node.hooks, dy)
        if node.__class__ is Output:
            if wanted is not None:
                wanted.put(node, dy)
            _hand_over(node, dy, live, heap)
            grads = ()
            continue
        watcher = watchers.get(get_ident()) if watchers else None
        if watcher is not None:
            watcher.before(node)
        if mixed and getattr(node, "precision", 0) != now:
            now = getattr(node, "precision", 0)
            set_precision(now)
        if wanted is not None:
            wanted.put(node, dy)
            grads = wanted.backward(node, dy)
        else:
            grads = node.backward(*dy) if dy.__class__ is list else node.backward(dy)
        if grads.__class__ is not tuple:
            grads = (grads,)
        fresh = node.fresh
        if watcher is not None:
            watcher.walked(node, grads)
        if not retain_graph:
            node.inputs = None
            node.saved = ()
    for leaf, (_, g, made) in late.items():
        if leaf.hooks:
            before, g = g, _run_hooks(leaf.hooks, g)
            made = made and g is before
        if wanted is not None:
            wanted.put(leaf, g)
        else:
            deposit(leaf, g, made, None)


def _hand_over(node: Any, dy: Array, live: dict[int, list[Any]], heap: list[int]) -> None:
    """Puts the gradient of one of several outputs in its place at the function's node."""
    parent = node.inputs[0]
    entry = live.get(parent.order)
    if entry is None:
        entry = live[parent.order] = [parent, [None] * node.count, False]
        heappush(heap, parent.order)
    entry[1][node.index] = dy


def _changed(node: Function) -> RuntimeError:
    which = [
        f"{v[0] - then} write(s) after it was saved" for v, then in node.versions if v[0] != then
    ]
    shapes = ", ".join(str(s.shape) for s in node.saved if isinstance(s, ARRAYS))
    return RuntimeError(
        f"backward: {node.name}: an array that it saved was changed in place ({which[0]}; saved "
        f"shapes: {shapes}); write to a copy, x.clone(), or after backward"
    )


def _run_hooks(hooks: list[Hook], g: Array) -> Array:
    for hook in tuple(hooks):
        changed = hook(wrap(g))
        if changed is not None:
            replaced = as_ndarray(changed, "hook")
            if replaced.shape != g.shape or replaced.dtype != g.dtype:
                raise RuntimeError(
                    f"hook: returned shape {replaced.shape} and {replaced.dtype} for a gradient of "
                    f"shape {g.shape} and {g.dtype}"
                )
            g = replaced
    return g
