"""What `kernels.explain` says of a call, and how it prints."""

from __future__ import annotations

import pytest

from handloom import kernels


def test_explanations_are_a_tuple_that_prints_as_a_table():
    found = kernels.explain("matmul", (512, 512), (512, 512))
    assert isinstance(found, tuple)
    assert [(row.kernel, row.bound, row.flops) for row in found] == [
        ("matmul", "compute", 2.0 * 512**3)
    ]
    head, _, line, reason = str(found).splitlines()
    assert head.split() == ["kernel", "algorithm", "bound", "tile", "scratch", "MFLOP", "MB"]
    assert line.split()[:3] == ["matmul", found[0].algorithm, "compute"]
    assert line.split()[-2:] == ["268.435", "3.146"]
    assert reason == f"{found[0].algorithm}: {found[0].why}"


@pytest.mark.parametrize(
    ("x", "w", "options", "algorithm", "reason"),
    [
        ((2, 9, 9, 32), (64, 5, 5, 32), {}, "direct", "where it is"),
        ((2, 9, 9, 32), (64, 5, 5, 32), {"padding": 2}, "direct", "window"),
        ((2, 9, 9, 32), (64, 3, 3, 32), {"padding": 1}, "winograd F(2, 3)", "multiplications"),
        ((2, 9, 9, 32), (1, 3, 3, 32), {}, "direct", "few channels"),
        ((2, 9, 9, 32), (64, 1, 1, 32), {}, "matmul", "one tap"),
        ((2, 9, 9, 32), (32, 3, 3, 1), {"groups": 32}, "depthwise", "one channel a group"),
    ],
)
def test_a_convolution_says_what_was_chosen_and_why(x, w, options, algorithm, reason):
    (plan,) = kernels.explain("conv2d", x, w, **options)
    assert plan.algorithm.startswith(algorithm)
    assert reason in plan.why


def test_a_kernel_without_tiles_says_so():
    assert " - " in str(kernels.explain("linear", (1, 4096), (4096, 4096)))


def test_explain_refuses_what_the_op_refuses():
    with pytest.raises(ValueError, match="unknown op 'weave'; choose from abs"):
        kernels.explain("weave")
    with pytest.raises(ValueError, match="do not match"):
        kernels.explain("matmul", (2, 3), (4, 5))
