"""What a case is: plain data that drives the correctness tests and the benchmark alike.

A case names an op, its shapes, dtype and options; ``inputs.make_inputs(case, seed)`` makes its
arrays with NumPy alone. ``tests/reference`` lists the small awkward sizes that only tests want.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Shape = tuple[int, ...]


class Target(NamedTuple):
    """What the project promises for a case; shown beside the figure, never asserted.

    ``roof`` is the least share of the roofline, ``ratio`` the least ratio of a peer's time to
    ours. The ratio holds against the fastest of ``over``.
    """

    roof: float | None = None
    ratio: float | None = None
    over: tuple[str, ...] = ("numpy", "torch")


class Case(NamedTuple):
    """One op on one shape.

    Attributes:
        family: The room it belongs to, as ``handloom bench FAMILY`` takes it.
        name: Unique within family and dtype.
        op: What contenders look up, for example ``"matmul"``.
        shapes: Shapes of the inputs, in the op's order.
        dtype: ``"float32"`` or ``"float64"``.
        options: ``(name, value)`` pairs; a tuple, so that a case can be a dictionary key.
        flops: Arithmetic of one call (a transcendental function counts as one).
        bytes: Compulsory traffic of one call: inputs read once, outputs written once.
        depth: Terms summed into one element of the result; scales the tolerance.
        roofs: Measured limits that apply: ``"peak"``, ``"copy"``, ``"read"``, ``"write"``.
        cold: Inputs rotate through more memory than the last cache holds.
        quick: Part of ``--quick``.
        bench: Measured by the benchmark; otherwise for tests only.
        target: The promise, if there is one.
    """

    family: str
    name: str
    op: str
    shapes: tuple[Shape, ...]
    dtype: str = "float32"
    options: tuple[tuple[str, Any], ...] = ()
    flops: float = 0.0
    bytes: float = 0.0
    depth: int = 1
    roofs: tuple[str, ...] = ()
    cold: bool = False
    quick: bool = False
    bench: bool = True
    target: Target | None = None

    @property
    def id(self) -> str:
        """``family/name/dtype``, unique in the whole list."""
        return f"{self.family}/{self.name}/{self.dtype}"

    def option(self, name: str, default: Any = None) -> Any:
        """Value of an option, or the default."""
        return dict(self.options).get(name, default)


def to_json(case: Case) -> dict[str, Any]:
    """Return the case as JSON-ready data."""
    data = case._asdict()
    data["target"] = None if case.target is None else case.target._asdict()
    return data


def from_json(data: dict[str, Any]) -> Case:
    """Invert :func:`to_json` (JSON turned the tuples into lists)."""
    fields = dict(data)
    fields["shapes"] = tuple(tuple(shape) for shape in data["shapes"])
    fields["options"] = tuple((name, _hashable(value)) for name, value in data["options"])
    fields["roofs"] = tuple(data["roofs"])
    if data["target"] is not None:
        fields["target"] = Target(**{**data["target"], "over": tuple(data["target"]["over"])})
    return Case(**fields)


def _hashable(value: Any) -> Any:
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def tail_sizes(limit: int) -> tuple[int, ...]:
    """Sizes that hit every vector tail: 2^k, 3·2^(k-1) and their neighbours, up to ``limit``."""
    sizes = {1, limit}
    k = 1
    while k <= limit:
        sizes.update(size for m in (k, k + k // 2) for size in (m - 1, m, m + 1))
        k *= 2
    return tuple(sorted(size for size in sizes if 0 < size <= limit))


def all_cases() -> tuple[Case, ...]:
    """Every measured case of every family; ``tests/reference`` adds sizes that only tests want."""
    from . import (
        attention,
        cnn,
        conv,
        dense,
        generative,
        language,
        norm,
        pool,
        resize,
        rnn,
        sentences,
        vision,
    )

    kernels = (dense, conv, pool, norm, resize, attention)
    rooms = (*kernels, cnn, rnn, language, sentences, generative, vision)
    return tuple(c for room in rooms for c in room.CASES)
