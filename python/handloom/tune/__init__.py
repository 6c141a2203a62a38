"""Tuning: cross-validation, searches over hyperparameters, networks as scikit-learn estimators.

`pip install "handloom[tune]"` brings Optuna and scikit-learn; cross-validation, grids and random
search need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bayesian import bayesian_search
from .search import Pruned, Pruning, Search, Trial, TrialResult, grid_search, random_search
from .space import Integers, Uniform
from .validation import CrossValidation, cross_validate

if TYPE_CHECKING:
    from .estimators import NetworkClassifier, NetworkRegressor

__all__ = [
    "CrossValidation",
    "Integers",
    "NetworkClassifier",
    "NetworkRegressor",
    "Pruned",
    "Pruning",
    "Search",
    "Trial",
    "TrialResult",
    "Uniform",
    "bayesian_search",
    "cross_validate",
    "grid_search",
    "random_search",
]


def __getattr__(name: str) -> Any:
    # Their base classes are scikit-learn's.
    if name not in ("NetworkClassifier", "NetworkRegressor"):
        raise AttributeError(f"module 'handloom.tune' has no attribute {name!r}")
    try:
        from . import estimators
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "sklearn":
            raise
        raise ImportError(
            f'tune.{name} needs scikit-learn: pip install "handloom[tune]"'
        ) from error
    return getattr(estimators, name)
