"""How near two sets of samples are as wholes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Fréchet distance of two normal distributions with the sets' means and covariances.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``: on the features of a classifier this is
    the FID of Heusel et al. (2017). 0 for equal sets; few samples raise it.

    Args:
        a, b: `(N, F)` and `(M, F)`, at least two rows each.

    Raises:
        ValueError: Other shapes, or values that are not finite.
    """
    x, y = (np.asarray(rows, np.float64) for rows in (a, b))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < 2:
        raise ValueError(
            f"frechet_distance: a {x.shape} and b {y.shape}, expected (N, F) and (M, F), "
            "two rows or more"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("frechet_distance: a and b expect finite numbers")
    first, second = (np.atleast_2d(np.cov(rows.T)) for rows in (x, y))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    # The trace of the root of C_a C_b, from a symmetric matrix with the same eigenvalues.
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    gap = x.mean(axis=0) - y.mean(axis=0)
    return float(max(0.0, gap @ gap + np.trace(first) + np.trace(second) - 2 * cross))
