"""Pools mean what they mean in PyTorch, in the other layout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import handloom as hl
from handloom.nn import functional as F

torch = pytest.importorskip("torch")
T = torch.nn.functional

SHAPES = {1: (2, 13, 5), 2: (2, 11, 9, 5), 3: (2, 7, 6, 5, 3)}
WINDOWS = [
    (2, None, 0, 1),
    (3, 2, 1, 1),
    (3, 1, 1, 1),
    (2, 3, 1, 1),
    (2, 1, 0, 3),
    (3, 2, 1, 2),
    (4, 3, 2, 1),
]


def first(array: np.ndarray) -> np.ndarray:
    """(N, ..., C) with the channels in PyTorch's place."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def last(tensor) -> np.ndarray:
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def same(ours, theirs, x: np.ndarray) -> None:
    """Values, indices and gradients of a pool of both libraries agree."""
    a = hl.tensor(x, requires_grad=True)
    b = torch.tensor(first(x), requires_grad=True)
    y, z = ours(a), theirs(b)
    if isinstance(y, tuple):
        np.testing.assert_array_equal(y[1].numpy(), last(z[1]))
        y, z = y[0], z[0]
    np.testing.assert_allclose(y.numpy(), last(z), rtol=1e-12, atol=1e-14)
    seed = np.random.default_rng(9).standard_normal(y.shape)
    y.backward(seed)
    z.backward(torch.tensor(first(seed)))
    np.testing.assert_allclose(a.grad.numpy(), last(b.grad), rtol=1e-10, atol=1e-12)


def numbers(d: int, seed: int = 0) -> np.ndarray:
    """With ties: halves of small integers."""
    return np.round(np.random.default_rng(seed).standard_normal(SHAPES[d]) * 3) / 2


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_max_pool(d, window, ceil_mode):
    k, s, p, dilation = window
    ours, theirs = getattr(F, f"max_pool{d}d"), getattr(T, f"max_pool{d}d")
    for x in (numbers(d), np.where(numbers(d) > 1.9, np.nan, numbers(d, 1))):
        same(
            lambda t: ours(t, k, s, p, dilation, ceil_mode, True),
            lambda t: theirs(t, k, s, p, dilation, ceil_mode, True),
            x,
        )


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_avg_pool(d, ceil_mode, count_include_pad):
    ours, theirs = getattr(F, f"avg_pool{d}d"), getattr(T, f"avg_pool{d}d")
    for (k, s, p, dilation), divisor in itertools.product(WINDOWS, (None, 5)):
        if dilation != 1 or (d == 1 and divisor):
            continue
        extra = (divisor,) if divisor else ()
        same(
            lambda t: ours(t, k, s, p, ceil_mode, count_include_pad, *extra),  # noqa: B023
            lambda t: theirs(t, k, s, p, ceil_mode, count_include_pad, *extra),  # noqa: B023
            numbers(d),
        )


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("p", [1, 2, 3, 1.5])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_lp_pool(d, p, ceil_mode):
    ours, theirs = getattr(F, f"lp_pool{d}d"), getattr(T, f"lp_pool{d}d")
    x = np.abs(numbers(d)) + (p != 2) * 0.1  # p = 2 with windows of nothing but zeros
    same(lambda t: ours(t, p, 3, 2, ceil_mode), lambda t: theirs(t, p, 3, 2, ceil_mode), x)


def test_an_odd_power_of_negative_numbers_has_no_root():
    x = -np.ones((1, 4, 4, 2))
    assert np.isnan(F.lp_pool2d(x, 3, 2).numpy()).all()
    assert torch.isnan(T.lp_pool2d(torch.tensor(first(x)), 3, 2)).all()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_adaptive_pools(d, size):
    for name in (f"adaptive_avg_pool{d}d", f"adaptive_max_pool{d}d"):
        ours, theirs = getattr(F, name), getattr(T, name)
        extra = (True,) if "max" in name else ()
        same(lambda t: ours(t, size, *extra), lambda t: theirs(t, size, *extra), numbers(d))  # noqa: B023


@pytest.mark.parametrize("d", [1, 2, 3])
def test_max_unpool(d):
    def through(library):
        pool = getattr(library, f"max_pool{d}d")
        unpool = getattr(library, f"max_unpool{d}d")

        def run(x):
            size = x.shape[1:-1] if library is F else x.shape[2:]
            y, indices = pool(x, 2, return_indices=True)
            return unpool(y * 2, indices, 2, output_size=size)

        return run

    same(through(F), through(T), numbers(d))
