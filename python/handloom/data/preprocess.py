"""Scaling of features and coding of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import Array, as_array

# Elements converted to double precision at a time: 8 MB, whatever the size of the data.
_BLOCK = 1 << 20


class Standardizer:
    """Shifts and scales each feature to mean 0 and standard deviation 1 over the training data.

    Features are the last axis: columns of `(N, F)`, channels of `(N, H, W, C)`. The deviation is
    that of the population (divisor N). A constant feature becomes 0 and comes back as it was.
    Statistics are summed in float64. scikit-learn: `StandardScaler`; Keras: `Normalization`.

    Attributes:
        mean: float64 `(F,)`, after `fit`.
        scale: float64 `(F,)`, the standard deviation, 1 for a constant feature.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def fit(self, x: ArrayLike) -> Standardizer:
        """Learns mean and scale from `x` `(N, ..., F)` and returns itself.

        Raises:
            ValueError: `x` has fewer than two axes, no row, or a NaN or Inf.
        """
        rows = self._rows(x, "fit")
        if len(rows) == 0:
            raise ValueError(f"Standardizer.fit: x has no row, its shape is {np.shape(x)}")
        # Differences from the first row are exactly 0 for a constant feature, and small numbers
        # for a year or a pressure, where a plain sum of squares would cancel.
        first = rows[0].astype(np.float64)
        total = np.zeros_like(first)
        with np.errstate(invalid="ignore", over="ignore"):
            for block in _blocks(rows):
                total += (block - first).sum(axis=0)
        offset = total / len(rows)
        if not np.isfinite(offset).all():
            column = int(np.flatnonzero(~np.isfinite(offset))[0])
            raise ValueError(f"Standardizer.fit: x has NaN or Inf in feature {column}")
        squares = np.zeros_like(first)
        for block in _blocks(rows):
            squares += np.square(block - first - offset).sum(axis=0)
        deviation = np.sqrt(squares / len(rows))
        self.mean = first + offset
        self.scale = np.where(deviation > 0, deviation, 1.0)
        return self

    def transform(self, x: ArrayLike) -> Array:
        """Returns `(x − mean) / scale`, float64 for float64 input, else float32.

        Raises:
            RuntimeError: `fit` has not been called.
            ValueError: The number of features is not that of `fit`.
        """
        rows = self._checked(x, "transform")
        y = np.empty(rows.shape, _float_type(rows.dtype))
        for block, out in zip(_blocks(rows), _blocks(y, convert=False)):
            out[...] = (block - self.mean) / self.scale
        return y.reshape(np.shape(x))

    def inverse(self, x: ArrayLike) -> Array:
        """Returns `x · scale + mean`, what `transform` made back in the units of the data.

        Raises:
            RuntimeError, ValueError: As `transform`.
        """
        rows = self._checked(x, "inverse")
        y = np.empty(rows.shape, _float_type(rows.dtype))
        for block, out in zip(_blocks(rows), _blocks(y, convert=False)):
            out[...] = block * self.scale + self.mean
        return y.reshape(np.shape(x))

    def _rows(self, x: ArrayLike, method: str) -> Array:
        array = as_array(x, f"Standardizer.{method}: x")
        if array.ndim < 2:
            raise ValueError(
                f"Standardizer.{method}: x expects rows × features, got the shape {array.shape}"
            )
        return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])

    def _checked(self, x: ArrayLike, method: str) -> Array:
        if not hasattr(self, "mean"):
            raise RuntimeError(f"Standardizer.{method}: call fit first")
        rows = self._rows(x, method)
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"Standardizer.{method}: x has {rows.shape[1]} features, fit saw {len(self.mean)}"
            )
        return rows


@overload
def standardize(train: ArrayLike, /) -> Array: ...
@overload
def standardize(train: ArrayLike, other: ArrayLike, /, *others: ArrayLike) -> tuple[Array, ...]: ...
def standardize(train: ArrayLike, /, *others: ArrayLike) -> Array | tuple[Array, ...]:
    """Standardises training data, and other data with the training data's mean and scale.

    `x_train, x_test = standardize(x_train, x_test)`. Use `Standardizer` to undo it later.

    Args:
        train: `(N, ..., F)`, the data whose statistics count.
        *others: Arrays with the same F.

    Returns:
        The standardised array, or a tuple of them where others are given.

    Raises:
        ValueError: As `Standardizer`.
    """
    scaler = Standardizer().fit(train)
    if not others:
        return scaler.transform(train)
    return tuple(scaler.transform(x) for x in (train, *others))


def one_hot(labels: ArrayLike, num_classes: int | None = None) -> NDArray[np.int64]:
    """Returns int64 `(..., C)` with a 1 at each label and 0 elsewhere.

    Args:
        labels: Integers `(...)` in `[0, C)`.
        num_classes: C; None takes the largest label + 1.

    Raises:
        TypeError: `labels` are not integers.
        ValueError: A label is out of range, or there is none to tell C from.
    """
    array = as_array(labels, "one_hot: labels")
    if array.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels expects integers, got {array.dtype}")
    if num_classes is None:
        if array.size == 0:
            raise ValueError("one_hot: no labels, num_classes is needed")
        num_classes = int(array.max()) + 1
    if num_classes < 1:
        raise ValueError(f"one_hot: num_classes expects at least 1, got {num_classes}")
    if array.size and (array.min() < 0 or array.max() >= num_classes):
        bad = int(array.min()) if array.min() < 0 else int(array.max())
        raise ValueError(f"one_hot: label {bad} is outside [0, {num_classes})")
    codes = np.zeros((*array.shape, num_classes), np.int64)
    np.put_along_axis(codes, array.astype(np.int64)[..., None], 1, axis=-1)
    return codes


def _float_type(dtype: np.dtype[Any]) -> type[np.float32] | type[np.float64]:
    return np.float64 if dtype == np.float64 else np.float32


def _blocks(rows: Array, *, convert: bool = True) -> Iterator[Array]:
    """Yields groups of rows that together are `rows`, as float64 copies or as views."""
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        yield block.astype(np.float64) if convert else block
