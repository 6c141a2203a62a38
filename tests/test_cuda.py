"""The CUDA kernels: the same cases, oracle and tolerances as on the CPU.

On a machine with a card the card computes; elsewhere HANDLOOM_CUDA_LIBRARY names the library that
the `emulator` preset builds (CONTRIBUTING.md), and the kernels' own source runs on the CPU, a fiber
per CUDA thread, in a random order. There `-m "not slow"` leaves out the large cases, which are
one in nine; every op keeps small ones.
"""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

import handloom as hl
import harness
from handloom.bench.cases import Case
from harness import Op, assert_same_bits, check_forward, check_gradient, check_gradient_dtype, run
from reference import CASES, OPS
from test_kernels import DIFFERENTIABLE, DTYPES, name

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

LARGE = 10_000  # elements of all inputs


def params(cases: tuple[Case, ...]) -> list[Any]:
    def marks(case: Case) -> list[Any]:
        return [pytest.mark.slow] if sum(map(math.prod, case.shapes)) > LARGE else []

    return [pytest.param(case, id=name(case), marks=marks(case)) for case in cases]


def on_device(op: Op) -> Op:
    """As the harness', where a kernel that is not there yet skips the test."""
    there = harness.on_device(op)

    def or_skip(f: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            try:
                return f(*args, **options)
            except NotImplementedError as missing:
                pytest.skip(str(missing))

        return f and call

    return there._replace(forward=or_skip(there.forward), backward=or_skip(there.backward))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", params(CASES))
def test_forward(case: Case, dtype: str) -> None:
    check_forward(on_device(OPS[case.op]), case, dtype)


@pytest.mark.parametrize("case", params(DIFFERENTIABLE))
def test_gradient(case: Case) -> None:
    op = on_device(OPS[case.op])
    check_gradient(op, case)
    check_gradient_dtype(op, case)


@pytest.mark.parametrize("case", params(CASES))
def test_the_schedule_does_not_change_bits(case: Case) -> None:
    op = on_device(OPS[case.op])
    once = run(op, case, "float32", shift=0)
    before = os.environ.get("HANDLOOM_EMULATOR_SEED", "1")
    try:
        os.environ["HANDLOOM_EMULATOR_SEED"] = "0"
        assert_same_bits(once, run(op, case, "float32", shift=0), case.op)
    finally:
        os.environ["HANDLOOM_EMULATOR_SEED"] = before
