"""What every kernel promises about its arguments, on one small case of each: design.md's "Arrays".

Bits depend on neither the address nor the strides of an input; read-only inputs are fine; foreign
byte order, misaligned memory and a second float type are refused; inputs are never written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom.bench.cases import Case
from harness import assert_same_bits, cast, gradients, make, outputs
from reference import CASES, OPS

# Kernels that write what they are given: parameters and their state.
IN_PLACE = {"batch_norm"}


def small_cases() -> list[Case]:
    """The two largest cases of each op below 5000 elements."""
    by_op: dict[str, list[Case]] = {}
    for case in CASES:
        size = sum(int(np.prod(shape)) for shape in case.shapes)
        if 0 < size < 5000:
            by_op.setdefault(case.op, []).append(case)
    for cases in by_op.values():
        cases.sort(key=lambda c: -sum(int(np.prod(shape)) for shape in c.shapes))
    return [case for cases in by_op.values() for case in cases[:2]]


ALL = small_cases()
DIFFERENTIABLE = [case for case in ALL if OPS[case.op].backward is not None]


def ident(case: Case) -> str:
    return f"{case.op}-{case.shapes}"


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim > 0 and x.size > 0


def inputs_of(case: Case, dtype: str = "float32") -> tuple[Any, ...]:
    return cast(make(OPS[case.op], case), dtype)


def run(case: Case, inputs: tuple[Any, ...]) -> Any:
    with np.errstate(all="ignore"):
        return OPS[case.op].forward(*inputs, **dict(case.options))


def moved(x: Any, offset: int) -> Any:
    """The same contiguous array, `offset` elements behind a multiple of 64 bytes."""
    if not isinstance(x, np.ndarray) or x.size == 0 or not x.flags.c_contiguous:
        return x
    memory = np.zeros(x.nbytes + 64 + offset * x.itemsize, np.uint8)
    start = -memory.__array_interface__["data"][0] % 64 + offset * x.itemsize
    there = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    there[...] = x
    return there


def is_setting(case, i):
    """Numbers that are read one by one, of any type: the matrices of a warp."""
    return case.op == "warp_affine" and i == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ALL, ids=ident)
def test_bits_do_not_depend_on_the_address(case, dtype):
    results = [
        run(case, tuple(moved(x, offset) for x in inputs_of(case, dtype)))
        for offset in (0, 1, 3, 7)
    ]
    for offset, other in zip((1, 3, 7), results[1:]):
        assert_same_bits(results[0], other, f"{case.op}, {offset} elements further")


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=ident)
def test_bits_of_gradients_do_not_depend_on_the_address(case, monkeypatch):
    import harness

    found = []
    for offset in (0, 1, 5):
        with monkeypatch.context() as patch:

            def moving(op, case, offset=offset):
                return tuple(moved(x, offset) for x in make(op, case))

            patch.setattr(harness, "make", moving)
            patch.setattr(harness, "_cast", lambda x, dtype, offset=offset: moved(
                x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x, offset
            ))  # fmt: skip
            found.append(gradients(OPS[case.op], case, "float32")[2])
    assert_same_bits(found[0], found[1], f"{case.op} backward, 1 element further")
    assert_same_bits(found[0], found[2], f"{case.op} backward, 5 elements further")


@pytest.mark.parametrize("case", ALL, ids=ident)
def test_inputs_are_read_only_to_a_kernel(case):
    inputs = inputs_of(case)
    expected = run(case, tuple(x.copy("K") if isinstance(x, np.ndarray) else x for x in inputs))
    if case.op in IN_PLACE:
        return
    frozen = []
    for x in inputs:
        if isinstance(x, np.ndarray):
            x = x.copy(order="K")
            x.flags.writeable = False
        frozen.append(x)
    before = [x.copy() if isinstance(x, np.ndarray) else x for x in frozen]
    assert_same_bits(expected, run(case, tuple(frozen)), case.op)
    for a, b in zip(frozen, before):
        if isinstance(a, np.ndarray):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("case", ALL, ids=ident)
def test_any_strides_give_the_same_numbers_or_a_clear_error(case):
    inputs = inputs_of(case, "float64")
    expected = outputs(run(case, inputs))
    for i, x in enumerate(inputs):
        if not is_float(x) or x.size < 2 or case.op in IN_PLACE:
            continue
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        for strided in (wide[..., ::2], np.asfortranarray(x), x[::-1].copy()[::-1]):
            if strided.flags.c_contiguous:
                continue
            try:
                result = outputs(run(case, (*inputs[:i], strided, *inputs[i + 1 :])))
            except ValueError as error:
                assert "ascontiguousarray" in str(error), error  # noqa: PT017
                continue
            for a, b in zip(result, expected):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=case.op)


@pytest.mark.parametrize("case", ALL, ids=ident)
def test_foreign_byte_order_and_misaligned_memory_are_refused(case):
    inputs = inputs_of(case)
    for i, x in enumerate(inputs):
        if not isinstance(x, np.ndarray) or x.size == 0 or x.itemsize == 1 or is_setting(case, i):
            continue
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        for bad, text in ((x.astype(x.dtype.newbyteorder()), "byte order"), (raw, "aligned")):
            with pytest.raises(ValueError, match=text):
                run(case, (*inputs[:i], bad, *inputs[i + 1 :]))


@pytest.mark.parametrize("case", ALL, ids=ident)
def test_two_float_types_do_not_meet(case):
    inputs = inputs_of(case)
    floats = [i for i, x in enumerate(inputs) if is_float(x) and not is_setting(case, i)]
    for i in floats if len(floats) > 1 else ():
        mixed = (*inputs[:i], inputs[i].astype(np.float64), *inputs[i + 1 :])
        with pytest.raises(TypeError, match="float64"):
            run(case, mixed)


@pytest.mark.parametrize("case", ALL, ids=ident)
def test_other_types_are_refused_with_the_accepted_ones(case):
    inputs = inputs_of(case)
    if case.family == "layout" or case.op in ("where", "embedding"):
        return  # they move bits of any kind
    for i, x in enumerate(inputs):
        if not is_float(x) or is_setting(case, i):
            continue
        for dtype in (np.float16, np.complex64, np.int32):
            with np.errstate(invalid="ignore"):  # masks hold infinities
                other = x.astype(dtype)
            with pytest.raises(TypeError, match="float32"):
                run(case, (*inputs[:i], other, *inputs[i + 1 :]))


def test_a_tensor_op_copies_strided_inputs_visibly():
    x, w = hl.randn(5, 4).T, hl.randn(3, 5)
    with hl.profile() as rows:
        hl.nn.functional.linear(x, w)
    assert "copy" in str(rows)
    with hl.profile() as rows:
        hl.nn.functional.linear(x.contiguous(), w)
    assert "linear" in str(rows)
