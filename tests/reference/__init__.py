"""The oracle: every kernel once more in plain NumPy, a file per family, and its test sizes."""

from __future__ import annotations

from handloom.bench.cases import Case
from harness import Op

from . import (
    attention,
    boxes,
    conv,
    ctc,
    dense,
    elementwise,
    layout,
    loss,
    norm,
    pool,
    random,
    reduce,
    resize,
    rnn,
    softmax,
    text,
)

_FAMILIES = (
    attention,
    boxes,
    conv,
    ctc,
    dense,
    elementwise,
    layout,
    loss,
    norm,
    pool,
    random,
    reduce,
    resize,
    rnn,
    softmax,
    text,
)

OPS: dict[str, Op] = {name: op for family in _FAMILIES for name, op in family.OPS.items()}
CASES: tuple[Case, ...] = tuple(case for family in _FAMILIES for case in family.CASES)
