"""The one case list is sound: unique, portable, reproducible, with its work counted right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handloom.bench import cases
from handloom.bench.inputs import copy_inputs, make_inputs


def test_case_ids_are_unique_and_cases_survive_json():
    every = cases.all_cases()
    assert len({case.id for case in every}) == len(every)
    assert all(cases.from_json(json.loads(json.dumps(cases.to_json(c)))) == c for c in every)
    assert {case.op for case in every if case.quick} <= {case.op for case in every if case.bench}


def test_work_of_a_case_is_counted_right():
    by_id = {case.id: case for case in cases.all_cases()}
    cube = by_id["matmul/128³/float64"]
    assert (cube.flops, cube.bytes) == (2 * 128**3, 3 * 128 * 128 * 8)
    row = by_id["elementwise/add 4 M + row/float32"]
    assert row.bytes == (2 * 2048 * 2048 + 2048) * 4
    step = by_id["step/MLP 64-64-10 B32 sgd/float32"]
    assert step.flops == 2 * 32 * (2 * 64 * 64 + 3 * 64 * 10)


@pytest.mark.parametrize("op", sorted({c.op for c in cases.all_cases() if c.op != "step"}))
def test_inputs_depend_on_the_seed_alone(op):
    case = min((c for c in cases.all_cases() if c.op == op), key=lambda c: c.bytes)

    def arrays(seed: int) -> list[np.ndarray]:
        return [a for a in make_inputs(case, seed).values() if isinstance(a, np.ndarray)]

    first, again, other = arrays(3), arrays(3), arrays(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    floats = [(a, b) for a, b in zip(first, other) if a.size and a.dtype.kind == "f"]
    assert all(not np.array_equal(a, b) for a, b in floats)
    assert all(a.dtype == case.dtype for a in first if a.dtype.kind == "f")


def test_transposed_operands_are_views_and_copies_keep_the_strides():
    case = next(c for c in cases.all_cases() if c.option("trans") == "nt")
    inputs = make_inputs(case)
    assert inputs["b"].T.flags.c_contiguous
    assert not inputs["b"].flags.c_contiguous
    copied = copy_inputs(inputs)
    assert copied["b"].strides == inputs["b"].strides
    assert not np.shares_memory(copied["b"], inputs["b"])


def test_tail_sizes_straddle_every_power_of_two():
    assert cases.tail_sizes(17) == (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17)
