"""Every kernel on every case: right, proved, and the same bits whatever runs it."""

from __future__ import annotations

import pytest

import handloom as hl
from handloom.bench.cases import Case
from harness import (
    assert_same_bits,
    check_forward,
    check_gradient,
    check_gradient_dtype,
    run,
)
from reference import CASES, OPS

DTYPES = ("float32", "float64")
DIFFERENTIABLE = tuple(case for case in CASES if OPS[case.op].backward is not None)


def name(case: Case) -> str:
    sizes = ",".join("x".join(map(str, shape)) for shape in case.shapes)
    options = ",".join(f"{key}={value}" for key, value in case.options)
    return f"{case.op}-{sizes}" + (f"-{options}" if options else "")


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


@pytest.fixture
def threads():
    before = hl.get_num_threads()
    yield hl.set_num_threads
    hl.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_forward(case, dtype, isa):
    check_forward(OPS[case.op], case, dtype)


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=name)
def test_gradient(case, isa):
    check_gradient(OPS[case.op], case)
    check_gradient_dtype(OPS[case.op], case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_threads_and_alignment_do_not_change_bits(case, dtype, threads):
    op = OPS[case.op]
    threads(1)
    once = run(op, case, dtype, shift=0)
    for n, shift in ((2, 0), (4, 1)):
        threads(n)
        what = f"{case.op} on {n} threads, {shift} elements off"
        assert_same_bits(once, run(op, case, dtype, shift), what)
