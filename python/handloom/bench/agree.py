"""Do contenders agree on the result? Asked before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .cases import Case

Array = npt.NDArray[Any]

SAMPLE = 1 << 20
# In units of eps and of the largest result: a transcendental function of each library's making,
# and for a sum of n terms a random walk of sqrt(n) steps. Correct libraries stay below a third.
ONE_RESULT, PER_ROOT_TERM = 8.0, 2.0
# A trajectory of training steps amplifies rounding (Adam divides by small second moments).
STEP_TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


class Agreement(NamedTuple):
    """Largest difference between any two contenders, what is allowed, and who is out of it."""

    max_error: float
    tolerance: float
    complaints: tuple[str, ...]
    outliers: tuple[str, ...]


def sample(array: Array) -> Array:
    """Return at most ``SAMPLE`` elements, chosen by the shape alone: both ends and a stride."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size <= SAMPLE:
        return flat
    edge = SAMPLE // 4
    # An odd stride visits every column of a matrix whose width is a power of two.
    stride = (flat.size // (2 * edge)) | 1
    return np.concatenate([flat[:edge], flat[::stride], flat[-edge:]])


def tolerance(case: Case) -> float:
    """Allowed difference, as a share of the largest magnitude in the result."""
    if case.op == "step":
        return STEP_TOLERANCE[case.dtype]
    steps = ONE_RESULT + PER_ROOT_TERM * np.sqrt(case.depth)
    return float(steps * np.finfo(case.dtype).eps)


def compare(case: Case, results: Mapping[str, Sequence[tuple[str, str, Array]]]) -> Agreement:
    """Compare every pair of contenders.

    Args:
        case: Gives the tolerance.
        results: For each contender its outputs as ``(shape, dtype, sampled values)``.

    Returns:
        The agreement. With three or more contenders the outliers are those who differ from most
        of the others; with two, both.
    """
    worst = 0.0
    allowed = tolerance(case)
    complaints = []
    against = dict.fromkeys(results, 0)
    for left, right in combinations(results, 2):
        difference, error = _difference(results[left], results[right], allowed)
        worst = max(worst, error)
        if difference:
            complaints.append(f"{left} and {right}: {difference}")
            against[left] += 1
            against[right] += 1
    most = max(against.values(), default=0)
    outliers = tuple(name for name, count in against.items() if count and count == most)
    return Agreement(worst, allowed, tuple(complaints), outliers)


def _difference(
    left: Sequence[tuple[str, str, Array]], right: Sequence[tuple[str, str, Array]], allowed: float
) -> tuple[str, float]:
    """What differs, in words ("" for nothing), and the error as a share of the scale."""
    if len(left) != len(right):
        return f"{len(left)} outputs against {len(right)}", np.inf
    worst = 0.0
    for index, ((shape_l, type_l, l), (shape_r, type_r, r)) in enumerate(zip(left, right)):
        if shape_l != shape_r or type_l != type_r:
            return f"output {index} is {type_l}{shape_l} against {type_r}{shape_r}", np.inf
        if l.size == 0:
            continue
        if not np.array_equal(np.isfinite(l), np.isfinite(r)):
            return f"output {index} is finite in different places", np.inf
        l64, r64 = (np.where(np.isfinite(v), v, 0).astype(np.float64) for v in (l, r))
        scale = max(np.abs(l64).max(), np.abs(r64).max()) or 1.0
        error = np.abs(l64 - r64).max() / scale
        worst = max(worst, float(error))
        if error > allowed:
            return (
                f"output {index} differs by {error:.1e} of its scale, {allowed:.1e} allowed",
                worst,
            )
    return "", worst
