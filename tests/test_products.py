"""Functions on arrays around products and tables: their gradients, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import kernels
from handloom.nn import functional as F

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (7, 4, 5)),
        ((0, 4), (4, 5)),
    ],
)
def test_gradients_of_a_product_are_those_of_the_tape(a, b):
    a, b = RNG.standard_normal(a), RNG.standard_normal(b)
    ta, tb = (hl.tensor(x, requires_grad=True) for x in (a, b))
    y = ta @ tb
    dy = RNG.standard_normal(y.shape)
    y.backward(hl.tensor(dy))
    da, db = kernels.matmul_backward(dy, a, b)
    np.testing.assert_array_equal(da, ta.grad.numpy())
    np.testing.assert_array_equal(db, tb.grad.numpy())
    assert kernels.matmul_backward(dy, a, b, need=("b",))[0] is None


@pytest.mark.parametrize(
    ("shapes", "error", "text"),
    [
        (((3, 4), (3, 4), (5, 4)), ValueError, "which do not match"),
        (((3, 4), (3, 4), (4, 5)), ValueError, r"dy has shape \(3, 4\), expected \(3, 5\)"),
        (((3, 5), (2, 3, 4), (3, 4, 5)), ValueError, "which do not match"),
        (((), (), (4,)), ValueError, "expected vectors at least"),
    ],
)
def test_products_that_do_not_fit(shapes, error, text):
    with pytest.raises(error, match="matmul_backward: .*" + text):
        kernels.matmul_backward(*map(np.ones, shapes))


def test_an_embedding_is_a_lookup_whose_padding_learns_nothing():
    w = RNG.standard_normal((6, 3))
    indices = np.array([[1, 5, 1], [0, 5, 2]])
    y = kernels.embedding(indices, w, padding_idx=5)
    np.testing.assert_array_equal(y, w[indices])
    dy = RNG.standard_normal(y.shape)
    table = hl.tensor(w, requires_grad=True)
    F.embedding(indices, table, padding_idx=5).backward(hl.tensor(dy))
    dw = kernels.embedding_backward(dy, indices, 6, padding_idx=-1)
    np.testing.assert_array_equal(dw, table.grad.numpy())
    assert (dw[5] == 0).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: kernels.embedding(np.array([6]), np.ones((6, 2))),
            ValueError,
            r"indices\[0\] is 6",
        ),
        (lambda: kernels.embedding(np.array([0]), np.ones(6)), ValueError, r"expected \(V, E\)"),
        (lambda: kernels.embedding([0], np.ones((6, 2))), TypeError, "indices is a list"),
        (
            lambda: kernels.embedding(np.array([0]), np.ones((6, 2)), padding_idx=6),
            ValueError,
            "padding_idx is 6, expected a row of 6",
        ),
        (lambda: kernels.embedding(np.array([0.5]), np.ones((6, 2))), TypeError, "float64"),
    ],
)
def test_tables_refuse(call, error, text):
    with pytest.raises(error, match=text):
        call()
