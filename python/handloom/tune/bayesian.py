"""Bayesian search with Optuna: each trial is chosen by what the trials before it have found."""

from __future__ import annotations

import math
import os
from typing import Any

from .._numbers import whole
from . import space as spaces
from .search import (
    Objective,
    Pruned,
    Search,
    Trial,
    TrialResult,
    as_value,
    check,
)


def bayesian_search(
    objective: Objective,
    space: spaces.Space,
    trials: int = 20,
    *,
    seed: int | None = 0,
    direction: str = "maximize",
    prune: bool = False,
    storage: str | os.PathLike[str] | None = None,
    study: str = "handloom",
) -> Search:
    """Searches where earlier trials were good: Optuna's tree-structured Parzen estimator.

    Bergstra and others, "Algorithms for hyper-parameter optimization" (2011).

    Args:
        objective: Called with a `Trial`, a dict of the chosen values; returns a number.
        space: Names to lists of values (numbers, text, booleans or None), `Uniform` or `Integers`.
        trials: How many this call makes.
        seed: Fixes the choices of a search in one process; None makes others each time.
        direction: `"maximize"` or `"minimize"`.
        prune: Whether to give up a trial whose report is worse than the median of those before it
            at that step (`Trial.report`, or the callback `Pruning`).
        storage: A file, or the URL of a data base, that keeps the trials. A search that was broken
            off goes on from there, and several processes, or machines that see the file, share
            one study: each knows what the others have found.
        study: Its name in the storage.

    Returns:
        All trials of the study that have ended.

    Raises:
        ImportError: Optuna is not installed.
        TypeError, ValueError: As `grid_search`; a storage whose study has another direction.
    """
    op = "bayesian_search"
    checked, count = spaces.checked(space, op), whole(trials, op, "trials")
    check(objective, direction, op)
    optuna = _optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        # Processes that share a study must not all draw the same first trials.
        sampler = optuna.samplers.TPESampler(seed=seed if storage is None else None)
        found = optuna.create_study(
            storage=_storage(optuna, storage),
            sampler=sampler,
            pruner=optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner(),
            study_name=study,
            direction=direction,
            load_if_exists=True,
        )
        if found.direction.name.lower() != direction:
            raise ValueError(
                f"{op}: the study {study!r} is to {found.direction.name.lower()}, not {direction}"
            )
        found.optimize(lambda trial: _call(objective, trial, checked, op), n_trials=count)
        return Search(_results(found, checked), direction)
    finally:
        optuna.logging.set_verbosity(before)


def _call(objective: Objective, theirs: Any, space: dict[str, Any], op: str) -> float:
    def give_up(step: int, value: float) -> bool:
        theirs.report(value, step)
        return bool(theirs.should_prune())

    values = {name: _suggest(theirs, name, choices) for name, choices in space.items()}
    try:
        return as_value(objective(Trial(theirs.number, values, give_up)), op)
    except Pruned as reason:
        from optuna import TrialPruned

        raise TrialPruned(str(reason)) from reason


def _suggest(trial: Any, name: str, choices: Any) -> Any:
    if isinstance(choices, spaces.Integers):
        return trial.suggest_int(name, choices.low, choices.high, log=choices.log)
    if isinstance(choices, spaces.Uniform):
        return trial.suggest_float(name, choices.low, choices.high, log=choices.log)
    # Optuna stores numbers and text only: what it chooses is the place in the list.
    return choices[trial.suggest_categorical(name, range(len(choices)))]


def _results(study: Any, space: dict[str, Any]) -> list[TrialResult]:
    """The trials that have ended, of all processes."""
    results = []
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished() or trial.duration is None:
            continue
        pruned = trial.state.name == "PRUNED"
        value = trial.value if trial.value is not None and not pruned else math.nan
        results.append(
            TrialResult(
                trial.number,
                {name: _chosen(space.get(name), v) for name, v in trial.params.items()},
                value,
                trial.duration.total_seconds(),
                pruned,
                dict(trial.intermediate_values),
            )
        )
    return results


def _chosen(choices: Any, value: Any) -> Any:
    """The value that Optuna's parameter stands for."""
    return choices[value] if isinstance(choices, list) else value


def _storage(optuna: Any, storage: str | os.PathLike[str] | None) -> Any:
    if storage is None:
        return None
    path = os.fspath(storage)
    if "://" in path:
        return path
    backend = optuna.storages.journal.JournalFileBackend(path)
    return optuna.storages.JournalStorage(backend)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError('bayesian_search needs optuna: pip install "handloom[tune]"') from error
    return optuna
