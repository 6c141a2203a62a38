"""Tensors at the edges: no axes, one element, empty axes, odd shapes, integers."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl


def scalar() -> hl.Tensor:
    return hl.tensor(np.asarray(3.0, np.float32), requires_grad=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.flip(),
        lambda x: x.flip(0),
        lambda x: x.cumsum(0),
        lambda x: x.sort(-1).values,
        lambda x: x.topk(1).values,
        lambda x: x.gather(0, np.asarray(0)),
        lambda x: x.index_select(0, np.asarray([0])),
        lambda x: x.squeeze(0),
        lambda x: x[...],
    ],
)
def test_a_number_is_a_tensor_without_axes(call):
    """As in PyTorch, the axis 0 of a single number is the number itself."""
    x = scalar()
    y = call(x)
    assert isinstance(y.numpy(), np.ndarray)
    assert y.shape == ()
    assert y.item() == 3.0
    y.backward(np.asarray(2.0, np.float32))
    assert x.grad.item() == 2.0


def test_cumsum_of_an_integer_without_axes_has_none():
    assert hl.tensor(4).cumsum(0).shape == ()


def test_topk_of_integers_is_that_of_floats():
    a = np.array([[3, 1, 2], [5, 9, 7]])
    values, indices = hl.tensor(a).topk(2, dim=1)
    assert values.dtype == np.int64
    np.testing.assert_array_equal(values.numpy(), [[3, 2], [9, 7]])
    np.testing.assert_array_equal(indices.numpy(), [[0, 2], [1, 2]])


@pytest.mark.parametrize("shape", [(2, 5), (5, 2), (3, 3), (4, 2, 3), (2, 0), (1, 4)])
@pytest.mark.parametrize(("i", "j"), [(0, 1), (-1, -2)])
def test_the_diagonal_of_any_shape_has_a_gradient(shape, i, j):
    rng = np.random.default_rng(0)
    x = hl.tensor(rng.standard_normal(shape), requires_grad=True)
    y = x.diagonal(i, j)
    dy = rng.standard_normal(y.shape)
    y.backward(dy)
    mask = np.zeros(shape)
    view = np.moveaxis(mask, (i, j), (-2, -1))
    for k in range(y.shape[-1]):
        view[..., k, k] = dy[..., k]
    np.testing.assert_array_equal(x.grad.numpy(), mask)


def test_clamp_keeps_integers():
    x = hl.tensor([-3, 0, 5])
    assert x.clamp(-1, 2).tolist() == [-1, 0, 2]
    assert x.clamp(min=1).dtype == np.int64
    assert x.clamp(max=1.5).dtype == np.float32
    assert x.clamp(max=1.5).tolist() == [-3.0, 0.0, 1.5]
    with pytest.raises(ValueError, match="clamp: min = 2 is not at most max = 1"):
        x.clamp(2, 1)


def test_one_element_is_written_from_an_array_of_one():
    x = hl.zeros(3)
    x[-1] = np.ones(1, np.float32)
    x[0] = hl.full((1,), 7.0)
    assert x.tolist() == [7, 0, 1]


def test_true_as_an_index_adds_an_axis():
    x = hl.tensor([1.0, 2.0], requires_grad=True)
    y = x[True]
    assert y.shape == (1, 2)
    y.backward(np.array([[3, 4]], np.float32))
    assert x.grad.tolist() == [3, 4]
    assert x[False].shape == (0, 2)


def test_parts_of_an_empty_axis():
    x = hl.zeros(0, 3)
    assert [p.shape for p in x.split(2)] == [(0, 3)]
    assert [p.shape for p in x.chunk(3)] == [(0, 3)] * 3
    for call in (lambda: hl.tensor(1.0).split(1), lambda: hl.tensor(1.0).chunk(2)):
        with pytest.raises(ValueError, match="without axes cannot be split"):
            call()


@pytest.mark.parametrize("p", [0.5, 1.5, 3, 4.0, -1.0, 0, float("inf"), -float("inf")])
@pytest.mark.parametrize("dim", [None, 1, (0, 2)])
def test_norms_of_any_order(p, dim):
    x = hl.tensor(np.random.default_rng(0).standard_normal((3, 4, 2)), requires_grad=True)
    a = np.abs(x.numpy())
    axes = dim
    if p == 0:
        expected = (a != 0).sum(axis=axes)
    elif np.isinf(p):
        expected = (a.max if p > 0 else a.min)(axis=axes)
    else:
        expected = (a**p).sum(axis=axes) ** (1 / p)
    y = x.norm(p, dim)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    if p != 0:
        hl.gradcheck(lambda x: x.norm(p, dim), [x])


@pytest.mark.parametrize("p", [0.5, 1.5, 3.0])
def test_a_norm_of_zeros_has_gradient_zero(p):
    x = hl.tensor(np.array([[0.0, 0.0], [0.0, 2.0]]), requires_grad=True)
    x.norm(p, 1).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [0, 1]], rtol=1e-14)
    with pytest.raises(ValueError, match="norm: the order is nan"):
        x.norm(float("nan"))
