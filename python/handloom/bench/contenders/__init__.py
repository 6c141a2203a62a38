"""Contenders: handloom, its peers, and the machine itself.

A contender maps a case to callables without arguments, prepared as its own users would to be
fast. The runner knows contenders only through ``prepare``; each lives in a process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..cases import Case
from ..inputs import Inputs
from ..rooms import room_of

Array = npt.NDArray[Any]
Call = Callable[[], Any]

# Steps of a training trajectory that contenders compare before timing.
CHECKED_STEPS = 6

PEERS = ("numpy", "torch", "jax", "onnxruntime")
SPECS = {
    "handloom": "handloom.bench.contenders.handloom:Handloom",
    "numpy": "handloom.bench.contenders.numpy:NumPy",
    "torch": "handloom.bench.contenders.torch:Torch",
    "jax": "handloom.bench.contenders.jax:Jax",
    "onnxruntime": "handloom.bench.contenders.onnxruntime:OnnxRuntime",
    "machine": "handloom.bench.contenders.machine:Machine",
}


def in_room(contender: str, subject: Any, case: Case, inputs: list[Inputs]) -> Prepared | None:
    """The case made ready by its family's module; None if the contender does it itself."""
    room = room_of(case)
    if room is None:
        return None
    prepare: Callable[..., Prepared] | None = getattr(room, contender, None)
    if prepare is None:
        raise Unsupported(f"{contender}'s twin has no {case.op}")
    return prepare(subject, case, inputs)


class Unsupported(Exception):
    """This contender has no such op; the text says why. Shown as "n/a", not an error."""


class Prepared(NamedTuple):
    """A case made ready.

    Attributes:
        calls: One callable per rotated set of inputs; timing cycles through them.
        check: Computes the result for comparison, as NumPy arrays; called once, before timing.
        note: What the peer was told, for example its fastest optimiser variant.
        within: Makes the context in which checks and blocks run, for example one without a tape.
    """

    calls: Sequence[Call]
    check: Callable[[], Sequence[Array]]
    note: str = ""
    within: Callable[[], AbstractContextManager[Any]] = nullcontext


class Contender(Protocol):
    """What a worker process needs to know; the constructor takes the number of threads."""

    def versions(self) -> dict[str, str]:
        """Versions of the library and of what it computes with."""

    def settings(self) -> dict[str, str]:
        """Settings that matter to speed."""

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        """Make a case ready on one or more sets of inputs; raise Unsupported if it cannot."""


def installed(name: str) -> bool:
    """Whether a peer can be imported, without importing it."""
    return find_spec(name) is not None


def load(spec: str) -> Callable[[int], Contender]:
    """Return the class that ``"module:Class"`` names."""
    module, _, attribute = spec.partition(":")
    found: Callable[[int], Contender] = getattr(importlib.import_module(module), attribute)
    return found


def once(call: Call, convert: Callable[[Any], Any] = np.asarray) -> Callable[[], list[Array]]:
    """Return a check that makes one call and converts its result or tuple of results."""

    def check() -> list[Array]:
        result = call()
        results = result if isinstance(result, tuple | list) else (result,)
        return [np.asarray(convert(value)) for value in results]

    return check


def trajectory(step: Callable[[], float]) -> Callable[[], list[Array]]:
    """Return a check that compares the losses of the first training steps."""

    def check() -> list[Array]:
        return [np.array([step() for _ in range(CHECKED_STEPS)], dtype=np.float64)]

    return check
