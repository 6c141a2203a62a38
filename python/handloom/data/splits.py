"""Parts of a dataset: training and test rows, folds for cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import Array, as_array
from ._order import checked_seed, permutation
from .dataset import Dataset, Subset, TensorDataset

Rows = NDArray[np.int64]


def split(
    data: Any,
    fractions: Sequence[float],
    *,
    seed: int | None = 0,
    stratify: ArrayLike | None = None,
    shuffle: bool = True,
) -> tuple[Any, ...]:
    """Cuts data into parts that share no row and together hold every row.

    PyTorch: `random_split`. Keras: `split_dataset`.

    Args:
        data: A tuple of arrays `(N, ...)` (each part is then a tuple of arrays), one array, a
            `TensorDataset` (each part is one), or any other dataset (each part is a `Subset`).
        fractions: Shares of the parts that add up to 1, or whole numbers of rows that add up to N.
            Shares are rounded so that each is within one row of what it should be.
        seed: Fixes which rows go where; the default gives the same parts in every run, None
            other ones each time.
        stratify: Class labels `(N,)`: each part then has the classes in the proportions of the
            whole, to within a row a class for two parts.
        shuffle: False cuts the rows in the order that they have (for series in time).

    Returns:
        The parts, in the order of `fractions`.

    Raises:
        ValueError: Fractions that do not add up, a part without a row, lengths that differ, or
            `stratify` with `shuffle=False`.
    """
    whole = _Whole(data, "split")
    sizes = _sizes(fractions, whole.length, "split")
    parts = _parts(whole.length, sizes, seed, stratify, shuffle, "split")
    return tuple(whole.rows(part) for part in parts)


def train_test_split(
    *arrays: ArrayLike,
    test_size: float = 0.25,
    seed: int | None = 0,
    stratify: ArrayLike | None = None,
    shuffle: bool = True,
) -> list[Array]:
    """Cuts arrays into training and test rows, in scikit-learn's order of results.

    `x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y)`

    Args:
        *arrays: Arrays `(N, ...)`, at least one.
        test_size: Share of the test rows in (0, 1), or their whole number.
        seed, stratify, shuffle: As for `split`; without shuffling the test rows are the last.

    Returns:
        For each array in turn its training rows and its test rows.

    Raises:
        ValueError: As `split`.
    """
    op = "train_test_split"
    whole = _Whole(arrays, op)
    n = whole.length
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        sizes = _sizes([n - int(test_size), int(test_size)], n, op)
    elif 0 < test_size < 1:
        sizes = _sizes([1 - test_size, test_size], n, op)
    else:
        raise ValueError(f"{op}: test_size expects a share in (0, 1) or rows, got {test_size}")
    train, test = _parts(n, sizes, seed, stratify, shuffle, op)
    return [array.take(rows, axis=0) for array in whole.arrays for rows in (train, test)]


def k_fold(
    data: Any,
    k: int = 5,
    *,
    seed: int | None = 0,
    stratify: ArrayLike | None = None,
    shuffle: bool = True,
) -> list[tuple[Rows, Rows]]:
    """Returns the row numbers of k-fold cross-validation.

    Args:
        data: The number of rows N, or anything that `split` takes.
        k: Number of folds, 2 to N.
        seed: As for `split`.
        stratify: Class labels `(N,)`: the folds then have equal numbers of each class, to within
            one.
        shuffle: False makes the folds of consecutive rows.

    Returns:
        k pairs `(training rows, validation rows)`, int64, each ascending. Every row is in exactly
        one validation part; the parts' sizes differ by one at most.

    Raises:
        ValueError: k is out of range, or `stratify` with `shuffle=False`.
    """
    is_count = isinstance(data, (int, np.integer)) and not isinstance(data, bool)
    n = int(data) if is_count else _Whole(data, "k_fold").length
    if not 2 <= k <= n:
        raise ValueError(f"k_fold: k expects 2 to {n} (the rows), got {k}")
    labels = _labels(stratify, n, shuffle, "k_fold")
    if not shuffle:
        fold = np.arange(n) * k // max(n, 1)
    else:
        order = permutation(n, checked_seed(seed, "k_fold"))
        if labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
        fold = np.empty(n, np.int64)
        # Dealt like cards, class after class: counts are even within each class and over all.
        fold[order] = np.arange(n) % k
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]


class _Whole:
    """What is to be cut: one array, a tuple of arrays, or a dataset."""

    def __init__(self, data: Any, op: str) -> None:
        self.data: Any = data
        self.arrays: tuple[Array, ...] = ()
        if isinstance(data, tuple):
            if not data:
                raise ValueError(f"{op}: expected at least one array")
            self.arrays = tuple(as_array(a, f"{op}: array {i}") for i, a in enumerate(data))
        elif isinstance(data, np.ndarray) or callable(getattr(data, "numpy", None)):
            self.arrays = (as_array(data, f"{op}: data"),)
        elif not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise TypeError(
                f"{op}: data expects arrays or a dataset with __len__ and __getitem__, "
                f"got {type(data).__name__}"
            )
        for i, array in enumerate(self.arrays):
            if array.ndim == 0:
                raise ValueError(f"{op}: array {i} is 0-dimensional, expected rows (N, …)")
            if len(array) != len(self.arrays[0]):
                raise ValueError(
                    f"{op}: array {i} has {len(array)} rows, array 0 has {len(self.arrays[0])}"
                )
        self.length = len(self.arrays[0]) if self.arrays else len(data)

    def rows(self, rows: Rows) -> Any:
        if self.arrays:
            taken = tuple(array.take(rows, axis=0) for array in self.arrays)
            return taken if isinstance(self.data, tuple) else taken[0]
        if type(self.data) is TensorDataset:
            return self.data.subset(rows)
        dataset: Dataset[Any] = self.data
        return Subset(dataset, rows)


def _sizes(fractions: Sequence[float], n: int, op: str) -> list[int]:
    """Turns shares or counts into counts that add up to n, none of them zero."""
    parts = [float(part) for part in fractions]
    if not parts or not all(np.isfinite(parts)) or min(parts) <= 0:
        raise ValueError(f"{op}: each part expects a positive share, got {list(fractions)}")
    if all(isinstance(part, (int, np.integer)) for part in fractions) and sum(parts) == n:
        return [int(part) for part in fractions]
    if abs(sum(parts) - 1) > 1e-6:
        raise ValueError(
            f"{op}: the parts expect shares that add up to 1 or counts that add up to {n} rows, "
            f"got {list(fractions)}"
        )
    exact = np.asarray(parts) / sum(parts) * n
    sizes = np.floor(exact).astype(np.int64)
    largest_remainders = np.argsort(sizes - exact, kind="stable")
    sizes[largest_remainders[: n - sizes.sum()]] += 1
    if sizes.min() == 0:
        raise ValueError(f"{op}: {n} rows leave a part of {list(fractions)} without any")
    return [int(size) for size in sizes]


def _parts(
    n: int,
    sizes: list[int],
    seed: int | None,
    stratify: ArrayLike | None,
    shuffle: bool,
    op: str,
) -> list[Rows]:
    labels = _labels(stratify, n, shuffle, op)
    rest = permutation(n, checked_seed(seed, op)) if shuffle else np.arange(n)
    parts = []
    for size in sizes:
        chosen = np.zeros(len(rest), bool)
        if labels is None:
            chosen[:size] = True
        else:
            # Even steps through the rows sorted by class: exactly `size` of them, and from a
            # class of m rows m · size / n, rounded up or down.
            by_class = np.argsort(labels[rest], kind="stable")
            quota = np.arange(len(rest) + 1) * size // max(len(rest), 1)
            chosen[by_class[np.diff(quota) == 1]] = True
        parts.append(rest[chosen])
        rest = rest[~chosen]
    return parts


def _labels(stratify: ArrayLike | None, n: int, shuffle: bool, op: str) -> NDArray[np.int64] | None:
    if stratify is None:
        return None
    if not shuffle:
        raise ValueError(f"{op}: stratify chooses rows from each class, expected shuffle=True")
    labels = np.asarray(stratify)
    if labels.shape != (n,):
        raise ValueError(f"{op}: stratify expects the shape ({n},), got {labels.shape}")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64).reshape(n)
