"""Families that keep their inputs and their part of every contender in a module of their own."""

from __future__ import annotations

import importlib
from typing import Any

from .cases import Case

_NAMES = (
    "attention",
    "cnn",
    "conv",
    "generative",
    "language",
    "norm",
    "pool",
    "resize",
    "rnn",
    "sentences",
    "vision",
)
ROOMS = {name: f"handloom.bench.{name}" for name in _NAMES}


def room_of(case: Case) -> Any:
    """The module of the case's family, or None.

    It has ``make_inputs(rng, case)`` and, for each contender that takes part, a function so named:
    ``(contender, case, inputs) -> Prepared``.
    """
    name = ROOMS.get(case.family)
    return importlib.import_module(name) if name else None
