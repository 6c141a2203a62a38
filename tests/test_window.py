"""Kernel size, stride, padding and dilation are read as users write them, or refused clearly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handloom._calls.window import Window, output_size, window


def test_numbers_are_written_out_for_each_axis():
    assert window("op", (5, 6), 3) == Window((3, 3), (1, 1), (1, 1), (0, 0), (0, 0))
    assert window("op", (5, 6), (3, 2), None, (1, 0), [2, 1]) == Window(
        (3, 2), (3, 2), (2, 1), (1, 0), (1, 0)
    )
    assert window("op", (4, 5, 6), np.int64(2), 1, ((0, 1), (2, 3), (1, 1))) == Window(
        (2, 2, 2), (1, 1, 1), (1, 1, 1), (0, 2, 1), (1, 3, 1)
    )
    assert window("op", (9,), 3, 2, [[1, 2]]) == Window((3,), (2,), (1,), (1,), (2,))


def test_paddings_by_name():
    assert window("op", (9,), 3, 2, "valid")[3:] == ((0,), (0,))
    assert window("op", (9,), 3, 2, "full", 2)[3:] == ((4,), (4,))
    assert window("op", (9,), 3, 2, "causal", 2)[3:] == ((4,), (0,))
    # TensorFlow's examples: an odd element goes after, and what a stride skips needs no padding.
    assert window("op", (13,), 6, 5, "same")[3:] == ((1,), (2,))
    assert window("op", (8, 9), 2, 2, "same")[3:] == ((0, 0), (0, 1))
    assert window("op", (8,), 2, 4, "same")[3:] == ((0,), (0,))


@given(size=st.integers(1, 40), k=st.integers(1, 6), stride=st.integers(1, 5), d=st.integers(1, 3))
def test_same_gives_one_output_for_each_stride(size, k, stride, d):
    w = window("op", (size,), k, stride, "same", d)
    if size + w.before[0] + w.after[0] > d * (k - 1):
        assert output_size("op", (size,), w) == (-(-size // stride),)
    assert 0 <= w.after[0] - w.before[0] <= 1


@given(
    size=st.integers(1, 30),
    k=st.integers(1, 5),
    stride=st.integers(1, 5),
    d=st.integers(1, 3),
    pad=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    ceil_mode=st.booleans(),
)
def test_output_size_counts_the_places(size, k, stride, d, pad, ceil_mode):
    w = window("op", (size,), k, stride, (pad,), d)
    reach = d * (k - 1)
    places = 0
    for start in range(-pad[0], size + sum(pad) + stride, stride):
        fits = start + reach < size + pad[1]
        if ceil_mode:
            places += start < size and start + reach - stride < size + pad[1] - 1
        else:
            places += fits
    if places == 0:
        with pytest.raises(ValueError, match=rf"op: the kernel spans {reach + 1} along W"):
            output_size("op", (size,), w, ceil_mode)
    else:
        assert output_size("op", (size,), w, ceil_mode) == (places,)


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (ValueError, r"conv2d: kernel_size is 0, expected at least 1", {"kernel_size": 0}),
        (ValueError, r"stride is \(1, 0\), expected at least 1", {"stride": (1, 0)}),
        (ValueError, r"dilation is -1, expected at least 1", {"dilation": -1}),
        (ValueError, r"padding is -2, expected at least 0", {"padding": -2}),
        (ValueError, r"expected at least 0", {"padding": ((0, 1), (0, -1))}),
        (ValueError, r"\(1, 2, 3\), expected an int or 2 of them \(H, W\)", {"stride": (1, 2, 3)}),
        (ValueError, r"2 pairs \(before, after\), for H, W", {"padding": ((1, 1),)}),
        (ValueError, r"expected 2 pairs", {"padding": ((1, 1, 1), (0, 0, 0))}),
        (TypeError, r"padding is \(\(1, 2\), 3\)", {"padding": ((1, 2), 3)}),
        (TypeError, r"kernel_size is 2.5, expected an int", {"kernel_size": 2.5}),
        (TypeError, r"kernel_size is '3'", {"kernel_size": "3"}),
        (TypeError, r"stride is \(1, 'a'\)", {"stride": (1, "a")}),
        (ValueError, r"'some', expected numbers or one of valid, same, full", {"padding": "some"}),
        (ValueError, r"'causal' is for sequences", {"padding": "causal"}),
    ],
)
def test_what_is_refused(error, text, options):
    with pytest.raises(error, match=text):
        window("conv2d", (8, 8), **{"kernel_size": 3, **options})


def test_a_single_pair_is_a_likely_slip():
    with pytest.raises(ValueError, match=r"a \(before, after\) pair is written \(\(1, 2\),\)"):
        window("conv1d", (8,), 3, 1, (1, 2))
