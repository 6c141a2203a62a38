"""Median and spread over rounds.

Machines drift while a benchmark runs, so contenders are compared within a round, where they ran
milliseconds apart: the statistic is the median of the rounds' ratios, never the ratio of medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Summary(NamedTuple):
    """Median and quartiles of a sample; ``q3 - q1`` is the spread that reports print."""

    median: float
    q1: float
    q3: float


def summarise(values: Iterable[float]) -> Summary:
    """Median and quartiles (linear interpolation).

    Raises:
        ValueError: An empty sample.
    """
    sample = np.asarray(list(values), dtype=np.float64)
    if sample.size == 0:
        raise ValueError("summarise: values expects at least one round, got none")
    q1, median, q3 = np.percentile(sample, [25, 50, 75])
    return Summary(float(median), float(q1), float(q3))


def ratio(numerator: Sequence[float | None], denominator: Sequence[float | None]) -> Summary | None:
    """Summary of ``numerator / denominator`` round by round; None if no round has both."""
    pairs = [(n, d) for n, d in zip(numerator, denominator) if n is not None and d is not None]
    return summarise(n / d for n, d in pairs) if pairs else None
