"""Metrics of regression: squared and absolute errors, R²."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ._checks import checked_targets


def r2_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Returns R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)²: 1 is perfect, 0 is as good as the mean.

    Args:
        y_true, y_pred: `(N,)`, or `(N, K)` for the mean over K targets.

    Raises:
        ValueError: As `mse`, or a target is constant and R² undefined.
    """
    true, predicted = checked_targets(y_true, y_pred, "r2_score")
    rows = len(true) if true.ndim else 1
    true, predicted = true.reshape(rows, -1), predicted.reshape(rows, -1)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    # The rounding of the mean can leave a constant with a spread, tiny numbers can lose theirs.
    if ((true == true[0]).all(axis=0) | (spread == 0)).any():
        raise ValueError("r2_score: y_true is constant, R² is undefined")
    return float(np.mean(1 - np.square(true - predicted).sum(axis=0) / spread))


def mse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Returns the mean squared error.

    Args:
        y_true, y_pred: Numbers of any shape, the same for both.

    Raises:
        ValueError: Shapes that differ, no value, NaN or Inf.
    """
    true, predicted = checked_targets(y_true, y_pred, "mse")
    return float(np.mean(np.square(true - predicted)))


def rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Returns the root of the mean squared error; arguments and errors as `mse`."""
    true, predicted = checked_targets(y_true, y_pred, "rmse")
    return math.sqrt(np.mean(np.square(true - predicted)))


def mae(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Returns the mean absolute error; arguments and errors as `mse`."""
    true, predicted = checked_targets(y_true, y_pred, "mae")
    return float(np.mean(np.abs(true - predicted)))
