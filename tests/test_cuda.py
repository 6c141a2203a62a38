"""The CUDA kernels: the same cases, oracle and tolerances as on the CPU.

On a machine with a card the card computes; elsewhere HANDLOOM_CUDA_LIBRARY names the library that
the `emulator` preset builds (CONTRIBUTING.md), and the kernels' own source runs on the CPU, a fiber
per CUDA thread, in a random order.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom.bench.cases import Case
from harness import Op, assert_same_bits, check_forward, check_gradient, check_gradient_dtype, run
from reference import CASES, OPS
from test_kernels import DIFFERENTIABLE, DTYPES, name

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)


def to_device(value: Any) -> Any:
    """Arrays to the GPU, with their strides where these are more than a shape."""
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(map(to_device, value))
    if isinstance(value, dict):
        return {k: to_device(v) for k, v in value.items()}
    return hl.cuda.array(value) if isinstance(value, np.ndarray) else value


def to_host(value: Any) -> Any:
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(map(to_host, value))
    if isinstance(value, dict):
        return {k: to_host(v) for k, v in value.items()}
    return value.numpy() if isinstance(value, hl.cuda.Array) else value


def on_device(op: Op) -> Op:
    """The op with its public functions called on device arrays."""

    def forward(*inputs: Any, **options: Any) -> Any:
        try:
            return to_host(op.forward(*to_device(inputs), **to_device(options)))
        except NotImplementedError as missing:
            pytest.skip(str(missing))

    def backward(dy: Any, inputs: Any, y: Any, options: Any) -> Any:
        assert op.backward is not None
        try:
            return to_host(op.backward(*to_device((dy, inputs, y, options))))
        except NotImplementedError as missing:
            pytest.skip(str(missing))

    return op._replace(forward=forward, backward=backward if op.backward else None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_forward(case: Case, dtype: str) -> None:
    check_forward(on_device(OPS[case.op]), case, dtype)


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=name)
def test_gradient(case: Case) -> None:
    op = on_device(OPS[case.op])
    check_gradient(op, case)
    check_gradient_dtype(op, case)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_schedule_does_not_change_bits(case: Case) -> None:
    op = on_device(OPS[case.op])
    once = run(op, case, "float32", shift=0)
    before = os.environ.get("HANDLOOM_EMULATOR_SEED", "1")
    try:
        os.environ["HANDLOOM_EMULATOR_SEED"] = "0"
        assert_same_bits(once, run(op, case, "float32", shift=0), case.op)
    finally:
        os.environ["HANDLOOM_EMULATOR_SEED"] = before
