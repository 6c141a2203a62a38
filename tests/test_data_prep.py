"""Splits, folds, scaling and label codes: every row once, statistics of the training data only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handloom import data
from handloom.data import Standardizer, Subset, TensorDataset

seeds = st.integers(0, 2**63)


# ---------------------------------------------------------------- splits


@given(st.integers(4, 60), st.sampled_from([(0.8, 0.2), (0.5, 0.25, 0.25), (1,)]), seeds)
def test_split_uses_every_row_once(n, fractions, seed):
    x, y = np.arange(n), np.arange(n) + 0.5
    parts = data.split((x, y), fractions, seed=seed)
    assert sorted(np.concatenate([part[0] for part in parts])) == x.tolist()
    for fraction, (px, py) in zip(fractions, parts):
        np.testing.assert_array_equal(px + 0.5, py)
        assert abs(len(px) - fraction * n) < 1
    again = data.split((x, y), fractions, seed=seed)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(parts, again))


@given(st.integers(2, 6), st.integers(10, 80), st.floats(0.1, 0.9), seeds)
def test_stratified_parts_have_the_classes_in_proportion(classes, n, share, seed):
    labels = np.random.default_rng(seed % 2**32).integers(0, classes, n) ** 2
    first, rest = data.split(labels, (share, 1 - share), seed=seed, stratify=labels)
    plain, _ = data.split(labels, (share, 1 - share), seed=seed)
    assert len(first) == len(plain)
    assert len(first) + len(rest) == n
    for label in np.unique(labels):
        ideal = len(first) / n * (labels == label).sum()
        assert abs((first == label).sum() - ideal) < 1


def test_stratified_parts_are_shuffled():
    labels = np.repeat([0, 1], 50)
    first, _ = data.split(labels, (0.5, 0.5), stratify=labels)
    assert 10 < np.abs(np.diff(first)).sum() < 40


def test_split_gives_back_what_it_was_given():
    x = np.arange(10.0)
    a, b = data.split(x, (0.7, 0.3))
    assert isinstance(a, np.ndarray)
    assert (len(a), len(b)) == (7, 3)
    a, b = data.split(TensorDataset(x, x), [6, 4])
    assert isinstance(a, TensorDataset)
    assert (len(a), len(b)) == (6, 4)
    a, b = data.split([(i, i * i) for i in range(10)], (0.5, 0.5))
    assert isinstance(a, Subset)
    assert sorted(s[0] for s in [*a, *b]) == list(range(10))
    a, b = data.split(["a", "b", "c"], [1, 2], shuffle=False)
    assert [*a, *b] == ["a", "b", "c"]
    assert [len(p) for p in data.split(np.arange(100), (0.29, 0.01, 0.7))] == [29, 1, 70]


def test_split_default_is_the_same_in_every_run_and_none_is_not():
    x = np.arange(100)
    first = data.split(x, (0.5, 0.5))[0]
    assert np.array_equal(first, data.split(x, (0.5, 0.5), seed=0)[0])
    assert not np.array_equal(first, data.split(x, (0.5, 0.5), seed=None)[0])


def test_split_refuses_what_cannot_be_cut():
    x = np.arange(10)
    for fractions, message in (
        ((0.5, 0.6), r"shares that add up to 1 or counts that add up to 10 rows, got \[0.5, 0.6\]"),
        ((5, 6), "counts that add up to 10"),
        ((0.5, 0.5, 0), "positive share"),
        ((), "positive share"),
        ((0.99, 0.01), "without any"),
    ):
        with pytest.raises(ValueError, match=message):
            data.split(x, fractions)
    with pytest.raises(ValueError, match="array 1 has 9 rows, array 0 has 10"):
        data.split((x, x[1:]), (0.5, 0.5))
    with pytest.raises(ValueError, match=r"stratify expects the shape \(10,\), got \(9,\)"):
        data.split(x, (0.5, 0.5), stratify=x[1:])
    with pytest.raises(ValueError, match="expected shuffle=True"):
        data.split(x, (0.5, 0.5), stratify=x, shuffle=False)
    with pytest.raises(TypeError, match="arrays or a dataset"):
        data.split(iter(x), (0.5, 0.5))


def test_train_test_split_returns_in_scikit_learns_order():
    x, y = np.arange(20).reshape(10, 2), np.arange(10) % 2
    x_train, x_test, y_train, y_test = data.train_test_split(x, y, test_size=0.2, stratify=y)
    assert (x_train.shape, x_test.shape) == ((8, 2), (2, 2))
    assert sorted(y_test) == [0, 1]
    np.testing.assert_array_equal(x_train[:, 0] // 2 % 2, y_train)
    assert data.train_test_split(y, test_size=3, shuffle=False)[1].tolist() == [1, 0, 1]
    for size in (0.0, 1.0, 1.5, 0, 10):
        with pytest.raises(ValueError, match="train_test_split"):
            data.train_test_split(y, test_size=size)


@given(st.integers(2, 40), st.integers(2, 8), st.booleans(), seeds)
def test_folds_cover_every_row_once(n, k, shuffle, seed):
    if k > n:
        with pytest.raises(ValueError, match=f"k expects 2 to {n}"):
            data.k_fold(n, k)
        return
    folds = data.k_fold(n, k, seed=seed, shuffle=shuffle)
    assert len(folds) == k
    assert sorted(np.concatenate([validation for _, validation in folds])) == list(range(n))
    sizes = [len(validation) for _, validation in folds]
    assert max(sizes) - min(sizes) <= 1
    for train, validation in folds:
        assert sorted([*train, *validation]) == list(range(n))


def test_stratified_folds_have_equal_classes():
    labels = np.random.default_rng(0).choice(["ant", "bee", "cat"], 100, p=[0.7, 0.2, 0.1])
    folds = data.k_fold(TensorDataset(np.arange(100)), 7, stratify=labels)
    counts = np.array([[(labels[v] == c).sum() for c in np.unique(labels)] for _, v in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(folds, data.k_fold(100, 7)))


# ---------------------------------------------------------------- scaling and labels


@given(st.integers(1, 30), st.integers(1, 4), st.floats(-1e4, 1e4), seeds)
@settings(max_examples=50)
def test_standardised_columns_have_mean_0_and_deviation_1(n, features, shift, seed):
    rng = np.random.default_rng(seed % 2**32)
    x = rng.normal(shift, 2, (n, features))
    y = data.standardize(x)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(y.std(axis=0), 1 if n > 1 else 0, atol=1e-9)
    scaler = Standardizer().fit(x)
    np.testing.assert_allclose(scaler.inverse(scaler.transform(x)), x, rtol=1e-12, atol=1e-12)


def test_test_data_are_scaled_by_the_training_data():
    train, test = np.array([[0.0], [2.0]], np.float32), np.array([[4.0]], np.float32)
    scaled_train, scaled_test = data.standardize(train, test)
    assert scaled_train.ravel().tolist() == [-1, 1]
    assert scaled_test.ravel().tolist() == [3]
    assert scaled_test.dtype == np.float32


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-30, 123456.789])
def test_a_constant_feature_becomes_zero_and_comes_back(constant):
    x = np.stack([np.full(1000, constant), np.arange(1000.0)], axis=1)
    scaler = Standardizer().fit(x)
    assert scaler.scale[0] == 1
    assert not scaler.transform(x)[:, 0].any()
    np.testing.assert_array_equal(scaler.inverse(scaler.transform(x))[:, 0], x[:, 0])


def test_a_large_mean_does_not_cancel():
    x = (1e9 + np.arange(100.0) % 2)[:, None]
    assert Standardizer().fit(x).scale[0] == 0.5


def test_images_are_scaled_by_channel_in_blocks(monkeypatch):
    from handloom.data import preprocess

    images = np.random.default_rng(0).integers(0, 255, (7, 5, 4, 3), dtype=np.uint8)
    expected = data.standardize(images)
    flat = images.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(
        expected.reshape(-1, 3), (flat - flat.mean(0)) / flat.std(0), rtol=1e-6, atol=1e-6
    )
    assert expected.dtype == np.float32
    monkeypatch.setattr(preprocess, "_BLOCK", 10)
    np.testing.assert_allclose(data.standardize(images), expected, rtol=1e-6, atol=1e-6)


def test_standardizer_refuses_bad_data():
    with pytest.raises(RuntimeError, match="transform: call fit first"):
        Standardizer().transform([[1.0]])
    with pytest.raises(ValueError, match=r"rows × features, got the shape \(3,\)"):
        Standardizer().fit([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no row"):
        Standardizer().fit(np.empty((0, 3)))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="NaN or Inf in feature 1"):
            Standardizer().fit([[0.0, 1.0], [0.0, bad]])
    with pytest.raises(ValueError, match="x has 2 features, fit saw 1"):
        data.standardize([[1.0], [2.0]], [[1.0, 2.0]])


def test_one_hot():
    codes = data.one_hot([[2, 0]], 4)
    assert codes.dtype == np.int64
    assert codes.tolist() == [[[0, 0, 1, 0], [1, 0, 0, 0]]]
    assert data.one_hot(np.array([1], np.uint8)).tolist() == [[0, 1]]
    assert data.one_hot(np.empty(0, np.int64), 3).shape == (0, 3)
    with pytest.raises(ValueError, match=r"label 3 is outside \[0, 3\)"):
        data.one_hot([0, 3], 3)
    with pytest.raises(ValueError, match="label -1 is outside"):
        data.one_hot([0, -1])
    with pytest.raises(ValueError, match="num_classes is needed"):
        data.one_hot(np.empty(0, np.int64))
    with pytest.raises(TypeError, match="labels expects integers, got float64"):
        data.one_hot([0.0])
