"""Where the time goes: every run of a kernel, by kernel, by layer, and over time.

Nothing of this is there while no profile is: the bindings look at one flag, and layers, tape and
optimisers are their plain selves.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

from handloom import _C
from handloom._runtime import table
from handloom._tape import Function, watchers

if TYPE_CHECKING:
    from handloom.nn import Module

_active: profile | None = None


class ProfileRow(NamedTuple):
    """One kernel with one of its algorithms.

    Attributes:
        kernel, algorithm: As in `kernels.explain`.
        calls: How often it ran.
        seconds: All together.
        gflops: GFLOP/s.
        gbytes: GB/s of the data that has to move at least.
        flops, bytes: All together.
    """

    kernel: str
    algorithm: str
    calls: int
    seconds: float
    gflops: float
    gbytes: float
    flops: float = 0.0
    bytes: float = 0.0


class LayerRow(NamedTuple):
    """One layer, forward or backward.

    Attributes:
        layer: Its name in the outermost module that ran, "(model)" for that itself, "(optimizer)"
            for an optimiser's step, "(other)" for what belongs to none, such as the loss.
        kind: Its type.
        phase: `"forward"`, `"backward"`, or `""`.
        calls: Kernels that ran.
        seconds, flops, bytes: Of these kernels, without those of the layers below it.
    """

    layer: str
    kind: str
    phase: str
    calls: int
    seconds: float
    flops: float
    bytes: float


class Event(NamedTuple):
    """One run of a kernel; `begin` in seconds from the profile's."""

    kernel: str
    algorithm: str
    begin: float
    seconds: float
    flops: float
    bytes: float
    scope: int
    thread: int


class _Scope(NamedTuple):
    layer: str
    kind: str
    phase: str


class profile:
    """Collects what the kernels do within a `with` block; one profile at a time.

    Backward runs are put down to the layer whose forward they belong to.

    Example:
        >>> with hl.profile() as p:
        ...     loss = F.cross_entropy(model(x), y)
        ...     loss.backward()
        ...     optimizer.step()
        >>> print(p)                      # by kernel
        >>> print(p.by_layer())           # by layer
        >>> p.save_trace("trace.json")    # for chrome://tracing or ui.perfetto.dev

    Attributes:
        events: Every run of a kernel, in order.
        rows: By kernel and algorithm, the longest first.
        layers: By layer and phase, the longest first.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.rows: list[ProfileRow] = []
        self.layers: list[LayerRow] = []
        self._scopes: list[_Scope] = [_Scope("(other)", "", "")]
        self._numbers: dict[_Scope, int] = {self._scopes[0]: 0}

    def __enter__(self) -> profile:
        global _active
        if _active is not None:
            raise RuntimeError("profile: another profile is under way")
        _active = self
        self._watch = _Watch(self)
        self._watch.start()
        _C.profile_start()
        return self

    def __exit__(self, *error: object) -> None:
        global _active
        self.events = [Event(*event) for event in _C.profile_stop()]
        self._watch.stop()
        _active = None
        self.rows = sorted(_by_kernel(self.events), key=lambda row: -row.seconds)
        self.layers = sorted(
            (
                _layer_row(self._scopes[scope], own)
                for scope, own in _grouped(self.events, lambda e: e.scope).items()
            ),
            key=lambda row: -row.seconds,
        )

    def __iter__(self) -> Iterator[ProfileRow]:
        return iter(self.rows)

    def number(self, layer: str, kind: str, phase: str) -> int:
        """The number that kernels of a scope are marked with."""
        scope = _Scope(layer, kind, phase)
        found = self._numbers.get(scope)
        if found is None:
            found = self._numbers[scope] = len(self._scopes)
            self._scopes.append(scope)
        return found

    def __str__(self) -> str:
        head = ("kernel", "algorithm", "calls", "ms", "GFLOP/s", "GB/s", "% of roofline")
        body = [
            (
                *(r.kernel, r.algorithm, str(r.calls)),
                *(f"{v:.3g}" for v in (r.seconds * 1e3, r.gflops, r.gbytes)),
                f"{100 * share(r.flops, r.bytes, r.seconds):.0f}",
            )
            for r in self.rows
        ]
        return table(head, body, numbers=5)

    def by_layer(self) -> str:
        """A table of the layers: time, its share, FLOPs, bytes and share of the roofline."""
        total = sum(r.seconds for r in self.layers) or 1.0
        head = ("layer", "", "phase", "kernels", "ms", "%", "MFLOP", "MB", "% of roofline")
        body = [
            (
                *(r.layer, r.kind, r.phase, str(r.calls), f"{r.seconds * 1e3:.3g}"),
                *(f"{100 * r.seconds / total:.0f}", f"{r.flops / 1e6:.3g}", f"{r.bytes / 1e6:.3g}"),
                f"{100 * share(r.flops, r.bytes, r.seconds):.0f}",
            )
            for r in self.layers
        ]
        return table(head, body, numbers=6)

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the runs as a Chrome trace: open it in chrome://tracing or ui.perfetto.dev.

        Raises:
            OSError: The file cannot be written.
        """
        import json

        from handloom._files import write_atomically

        process = os.getpid()
        events = [
            {
                "name": e.kernel,
                "cat": self._scopes[e.scope].phase or "other",
                "ph": "X",
                "ts": 1e6 * e.begin,
                "dur": 1e6 * e.seconds,
                "pid": process,
                "tid": e.thread,
                "args": {
                    "algorithm": e.algorithm,
                    "layer": self._scopes[e.scope].layer,
                    "phase": self._scopes[e.scope].phase,
                    "flops": e.flops,
                    "bytes": e.bytes,
                },
            }
            for e in self.events
        ]
        trace = {"traceEvents": events, "displayTimeUnit": "ms"}
        write_atomically(path, json.dumps(trace).encode())


def share(flops: float, size: float, seconds: float) -> float:
    """Which share of the machine's limit was reached: arithmetic or memory, whichever is nearer.

    The limits are measured once, with the present number of threads; what stays in the caches may
    move faster than the memory allows, and have a share above 1.
    """
    if seconds <= 0:
        return 0.0
    peak, bandwidth = _limits(_C.num_threads())
    return max(flops / peak, size / bandwidth) / seconds


_measured: dict[int, tuple[float, float]] = {}


def _limits(threads: int) -> tuple[float, float]:
    """FLOP/s in float32 and bytes/s of a copy."""
    found = _measured.get(threads)
    if found is None:
        copied = _C.bench_bandwidth("copy", 64 << 20, 0.05)
        found = _measured[threads] = (_C.bench_peak("float32", 0.05), copied)
    return found


def _by_kernel(events: list[Event]) -> Iterator[ProfileRow]:
    groups = _grouped(events, lambda e: (e.kernel, e.algorithm))
    for (kernel, algorithm), own in groups.items():
        seconds, flops, size = _sums(own)
        rate = 1e-9 / seconds if seconds > 0 else 0.0
        row = (kernel, algorithm, len(own), seconds, flops * rate, size * rate, flops, size)
        yield ProfileRow(*row)


def _layer_row(scope: _Scope, own: list[Event]) -> LayerRow:
    seconds, flops, size = _sums(own)
    return LayerRow(scope.layer, scope.kind, scope.phase, len(own), seconds, flops, size)


def _grouped(events: Iterable[Event], key: Callable[[Event], Any]) -> dict[Any, list[Event]]:
    groups: dict[Any, list[Event]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return groups


def _sums(events: list[Event]) -> tuple[float, float, float]:
    return (
        sum(e.seconds for e in events),
        sum(e.flops for e in events),
        sum(e.bytes for e in events),
    )


class _Watch:
    """Tells the bindings which layer is at work, on the thread that began the profile.

    Layers are watched by standing in for their `__call__`, as a class, the tape by its watchers.
    """

    def __init__(self, owner: profile) -> None:
        self.owner = owner
        self.thread = threading.get_ident()
        self.stack: list[int] = [0]
        self.of_node: dict[int, int] = {}  # by the node's number: scope of its backward
        self.names: dict[int, str] = {}  # by id: in the outermost module that is running
        self.replaced: list[tuple[type, str, Any]] = []
        self.before_us: Any = None

    def start(self) -> None:
        from handloom.nn import Module
        from handloom.optim import Optimizer

        for kind in _and_below(Module):
            for method in ("__call__", "_forward_fused"):
                own = kind.__dict__.get(method)
                if callable(own):
                    self._replace(kind, method, self._layer(own))
        for kind in _and_below(Optimizer):
            if "step" in kind.__dict__:
                self._replace(kind, "step", self._step(kind.__dict__["step"]))
        self.before_us = watchers.get(self.thread)
        watchers[self.thread] = self

    def stop(self) -> None:
        for kind, name, own in self.replaced:
            setattr(kind, name, own)
        if self.before_us is None:
            watchers.pop(self.thread, None)
        else:
            watchers[self.thread] = self.before_us
        _C.profile_scope(0)

    def _replace(self, kind: type, name: str, new: Any) -> None:
        self.replaced.append((kind, name, kind.__dict__[name]))
        setattr(kind, name, new)

    def _layer(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(own)
        def called(module: Module, *args: Any, **options: Any) -> Any:
            if threading.get_ident() != self.thread:
                return own(module, *args, **options)
            outermost = len(self.stack) == 1
            if outermost:
                self.names = {id(m): n or "(model)" for n, m in module.named_modules()}
            name = self.names.get(id(module), "(unnamed)")
            self._enter(self.owner.number(name, type(module).__name__, "forward"))
            try:
                return own(module, *args, **options)
            finally:
                self._leave()

        return called

    def _step(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(own)
        def step(optimizer: Any, *args: Any, **options: Any) -> Any:
            if threading.get_ident() != self.thread:
                return own(optimizer, *args, **options)
            self._enter(self.owner.number("(optimizer)", type(optimizer).__name__, ""))
            try:
                return own(optimizer, *args, **options)
            finally:
                self._leave()

        return step

    def _enter(self, scope: int) -> None:
        self.stack.append(scope)
        _C.profile_scope(scope)

    def _leave(self) -> None:
        self.stack.pop()
        _C.profile_scope(self.stack[-1])

    # what the tape tells

    def recorded(self, node: Function, y: Any) -> None:
        """The tape has a new node."""
        if self.before_us is not None:
            self.before_us.recorded(node, y)
        layer, kind, _ = self.owner._scopes[self.stack[-1]]
        self.of_node[node.order] = self.owner.number(layer, kind, "backward")

    def before(self, node: Function) -> None:
        """The tape is about to run a node's backward."""
        if self.before_us is not None:
            self.before_us.before(node)
        _C.profile_scope(self.of_node.get(node.order, 0))

    def walked(self, node: Function, grads: tuple[Any, ...]) -> None:
        """A node's backward is done."""
        _C.profile_scope(self.stack[-1])
        if self.before_us is not None:
            self.before_us.walked(node, grads)


def _and_below(kind: type) -> list[type]:
    """A class and every class derived from it, each once."""
    found = [kind]
    for one in found:  # which grows while it is gone through
        below: list[type] = one.__subclasses__()
        found += [derived for derived in below if derived not in found]
    return found
