"""Edit distance: against the table, on hashable tokens, on wrong input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handloom import kernels
from handloom.train import metrics
from reference.text import distance

WORDS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), max_size=200)


@given(WORDS, WORDS)
def test_any_two_rows(a, b):
    rows = (np.array([row], np.int64).reshape(1, -1) for row in (a, b))
    assert kernels.edit_distance(*rows).tolist() == [distance(a, b)]


@given(st.text(max_size=90), st.text(max_size=90))
def test_text(a, b):
    assert metrics.edit_distance(a, b) == distance(a, b)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("ab" * 500, "ba" * 500, 2),
    ],
)
def test_known_distances(a, b, expected):
    assert metrics.edit_distance(a, b) == expected


def test_tokens_may_be_anything_that_can_be_looked_up():
    assert metrics.edit_distance(["a", 1, None, ("x",)], ["a", None, ("x",), 1.5]) == 2


def test_error_rate_is_edits_per_token_of_all_texts():
    assert metrics.error_rate(["abc", "", "de"], ["abd", "x", "de"]) == pytest.approx(2 / 5)


def test_int32_and_strides():
    a = np.arange(24, dtype=np.int32).reshape(4, 6)[::2, ::-1]
    b = np.asfortranarray(a.astype(np.int64))
    assert kernels.edit_distance(a, b).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            (np.zeros((1, 2)), np.zeros((1, 2), int)),
            TypeError,
            "a has dtype float64",
        ),
        (
            (np.zeros(2, int), np.zeros((1, 2), int)),
            ValueError,
            r"a has shape \(2,\), expected \(N, S\)",
        ),
        ((np.zeros((1, 2), int), np.zeros((2, 2), int)), ValueError, "b has shape"),
        (([1], np.zeros((2, 2), int)), TypeError, "a is a list"),
        (
            (np.zeros((1, 2), int), np.zeros((1, 2), int), np.array([3])),
            ValueError,
            r"a_lengths\[0\] is 3, expected 0 <= index < 3",
        ),
        (
            (np.zeros((1, 2), int), np.zeros((1, 2), int), None, np.array([-1])),
            ValueError,
            r"b_lengths\[0\] is -1",
        ),
        (
            (np.zeros((1, 2), int), np.zeros((1, 2), int), np.array([1, 1])),
            ValueError,
            "a_lengths has shape",
        ),
    ],
)
def test_wrong_input(arguments, error, text):
    with pytest.raises(error, match=text):
        kernels.edit_distance(*arguments)
