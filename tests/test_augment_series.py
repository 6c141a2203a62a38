"""Augmentation of time series: what each transform does, and that samples keep their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from handloom.data import augment
from handloom.data.augment import (
    Compose,
    GaussianNoise,
    Jitter,
    Permutation,
    RandomHorizontalFlip,
    Scaling,
    Shift,
    TimeWarp,
    WindowSlice,
)

N, T, C = 40, 24, 3
ALL = [
    GaussianNoise(0.1, 0.2, value_range=None),
    Jitter(0.1),
    Scaling(0.2, 0.1),
    Shift(3),
    WindowSlice(0.7),
    TimeWarp(5, 0.4),
    Permutation(4),
]


def series(dtype=np.float32, n=N, t=T):
    return np.random.default_rng(0).standard_normal((n, t, C)).astype(dtype)


def ids(t):
    return type(t).__name__


def run(transform, x, epoch=0):
    return Compose([transform], seed=5)(x, index=np.arange(len(x)), epoch=epoch)


@pytest.mark.parametrize("transform", [*ALL, Compose(ALL, seed=3)], ids=ids)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sample_is_augmented_alike_in_any_batch(transform, dtype):
    x = series(dtype)
    before = x.copy()
    compose = Compose([transform], seed=5)
    index = np.random.default_rng(1).permutation(1000)[:N]
    whole = compose(x, index=index, epoch=2)
    assert (whole.shape, whole.dtype) == (x.shape, dtype)
    np.testing.assert_array_equal(x, before)
    for part in (slice(0, 1), slice(1, 17), slice(17, N)):
        np.testing.assert_array_equal(compose(x[part], index=index[part], epoch=2), whole[part])
    assert not np.array_equal(compose(x, index=index, epoch=3), whole)
    assert not np.array_equal(Compose([transform], seed=6)(x, index=index, epoch=2), whole)


@pytest.mark.parametrize(
    "make", [Jitter, Scaling, lambda p: Shift(3, p=p), WindowSlice, TimeWarp, Permutation]
)
def test_p_is_the_share_that_is_transformed(make):
    x = series()
    np.testing.assert_array_equal(run(make(p=0.0), x), x)
    changed = (run(make(p=0.5), x) != x).any(axis=(1, 2))
    assert 0.2 * N < changed.sum() < 0.8 * N


def test_jitter_adds_noise_of_its_deviation():
    x = np.zeros((200, 50, 2))
    y = run(Jitter(0.3), x)
    assert abs(y.mean()) < 0.01
    assert abs(y.std() - 0.3) < 0.01


def test_scaling_has_one_factor_for_each_sample_and_channel():
    x = np.stack([np.ones((N, C)), 2 * np.ones((N, C))], 1)
    y = run(Scaling(0.2), x)
    np.testing.assert_allclose(y[:, 1], 2 * y[:, 0])
    assert len(np.unique(y[:, 0])) == N * C
    assert abs(y[:, 0].std() - 0.2) < 0.05
    moved = run(Scaling(0.0, 0.5), x) - x
    np.testing.assert_allclose(moved[:, 0], moved[:, 1])
    assert abs(moved.std() - 0.5) < 0.15


def test_shift_repeats_the_ends_and_reaches_every_step():
    x = np.broadcast_to(np.arange(T, dtype=np.float64)[:, None], (200, T, 1))
    y = run(Shift(2), x)
    by = (x - y)[:, T // 2, 0]
    assert set(by) == {-2, -1, 0, 1, 2}
    for row, moved in zip(y[..., 0], by):
        np.testing.assert_array_equal(row, np.clip(np.arange(T) - moved, 0, T - 1))


def test_a_window_is_a_stretched_part():
    x = np.broadcast_to(np.arange(T, dtype=np.float64)[:, None], (N, T, 1))
    y = run(WindowSlice(0.5), x)[..., 0]
    np.testing.assert_allclose(np.diff(y, axis=1), 0.5)
    assert y.min() >= 0
    assert y.max() <= T - 1
    assert np.ptp(y[:, 0]) > 0.3 * T
    np.testing.assert_array_equal(run(WindowSlice(1.0), x), x)


def test_warped_time_keeps_its_ends_and_its_order():
    x = np.broadcast_to(np.arange(T, dtype=np.float64)[:, None], (N, T, 1))
    y = run(TimeWarp(4, 0.5), x)[..., 0]
    np.testing.assert_allclose(y[:, 0], 0)
    np.testing.assert_allclose(y[:, -1], T - 1)
    assert (np.diff(y, axis=1) > 0).all()
    assert np.abs(np.diff(y, axis=1) - 1).max() > 0.2
    np.testing.assert_allclose(run(TimeWarp(4, 0.0), x), x)


@pytest.mark.parametrize("steps", [24, 23, 4])
def test_a_permutation_moves_whole_pieces(steps):
    x = np.broadcast_to(np.arange(steps, dtype=np.float64)[:, None], (N, steps, 1))
    y = run(Permutation(4), x)[..., 0].astype(int)
    np.testing.assert_array_equal(np.sort(y, axis=1), np.tile(np.arange(steps), (N, 1)))
    piece = np.arange(steps) * 4 // steps
    assert (np.count_nonzero(np.diff(piece[y], axis=1), axis=1) == 3).all()
    assert (y != np.arange(steps)).any(axis=1).mean() > 0.8


def test_what_is_not_a_number_stays_where_it_was():
    x = series()
    x[0, 5] = np.nan
    y = run(Shift(2), x)
    assert np.isnan(y[0]).sum() == C
    assert np.isfinite(y[1:]).all()


def test_no_samples_and_single_steps():
    for transform in ALL:
        assert run(transform, series(n=0)).shape == (0, T, C)
        assert run(transform, series(t=1)).shape == (N, 1, C)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jitter(-1.0), r"Jitter: sigma is \(-1.0, -1.0\)"),
        (lambda: Scaling(-0.1), "Scaling: sigma is -0.1, expected at least 0"),
        (lambda: Scaling(offset=-0.1), "Scaling: offset is -0.1, expected at least 0"),
        (lambda: Shift(0), "Shift: steps is 0, expected at least 1"),
        (lambda: WindowSlice(0.0), "WindowSlice: share is 0.0, expected above 0 and up to 1"),
        (lambda: TimeWarp(1), "TimeWarp: knots is 1, expected at least 2"),
        (lambda: Permutation(1), "Permutation: pieces is 1, expected at least 2"),
        (lambda: Shift(2, p=1.5), "Shift: p is 1.5, expected 0 to 1"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_images_and_series_are_told_apart():
    with pytest.raises(ValueError, match=r"TimeWarp: x has shape \(2, 4, 4, 1\), expected \(N, T"):
        TimeWarp()(np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"Flip: x has shape .* expected \(N, H, W"):
        RandomHorizontalFlip()(series())
    with pytest.raises(ValueError, match=r"expected \(N, H, W, C\) or \(N, T, C\)"):
        augment.Compose([])(np.zeros((2, 3)))
