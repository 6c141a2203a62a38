"""Searches find what there is to find; estimators are scikit-learn's."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import handloom as hl
from handloom import data, nn, optim, train, tune

F = nn.functional


def hill(trial: tune.Trial) -> float:
    """Highest, with 0, at a = 3 and b = 0.01."""
    return -((trial["a"] - 3) ** 2) - (math.log10(trial["b"]) + 2) ** 2


SPACE = {"a": [1, 2, 3, 4], "b": [0.1, 0.01]}
RANGES = {"a": tune.Uniform(0, 5), "b": tune.Uniform(1e-4, 1, log=True)}


# searches


def test_a_grid_is_tried_once_each():
    seen: list[tuple[float, ...]] = []
    found = tune.grid_search(lambda t: seen.append(tuple(t.values())) or hill(t), SPACE)
    assert seen == [(a, b) for a in SPACE["a"] for b in SPACE["b"]]
    assert found.best_params == {"a": 3, "b": 0.01}
    assert found.best_value == 0
    assert [t.number for t in found.trials] == list(range(8))
    worst = tune.grid_search(hill, SPACE, direction="minimize").best_params
    assert worst == {"a": 1, "b": 0.1}


def test_random_trials_depend_on_seed_and_number_alone():
    few, many = (tune.random_search(hill, RANGES, n, seed=4) for n in (5, 50))
    assert [t.params for t in few.trials] == [t.params for t in many.trials[:5]]
    other = tune.random_search(hill, RANGES, 5, seed=5)
    assert few.trials[0].params != other.trials[0].params
    a, b = (np.array([t.params[n] for t in many.trials]) for n in "ab")
    assert 0 <= a.min() < 1 < 4 < a.max() < 5
    assert 0.25 < np.mean(b < 1e-2) < 0.75  # half of the powers of ten
    assert many.best_value >= few.best_value


def test_integers_take_both_ends_equally_often():
    for log in (False, True):
        numbers = tune.Integers(1, 4, log=log)
        drawn = [numbers.draw(u) for u in np.linspace(0, 1, 4000, endpoint=False)]
        counts = np.bincount(drawn)[1:]
        assert len(counts) == 4
        assert counts.min() > 0
        assert log or counts.max() - counts.min() <= 1


def test_a_trial_without_a_value_is_never_the_best():
    values = iter([math.nan, 1.0, math.nan])
    found = tune.random_search(lambda t: next(values), SPACE, 3)
    assert found.best.number == 1
    assert "2 without a value" in str(found)
    none = tune.random_search(lambda t: math.nan, SPACE, 2)
    with pytest.raises(ValueError, match="none of the 2 trials has a value"):
        _ = none.best
    assert "2 without a value" in str(none)


def test_a_search_prints_the_best_first():
    lines = str(tune.grid_search(hill, SPACE)).splitlines()
    assert lines[0].split() == ["a", "b", "trial", "seconds", "value"]
    assert lines[2].split()[:3] == ["3", "0.01", "5"]
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("space", "error", "text"),
    [
        ({}, ValueError, "space is empty"),
        ({"a": []}, ValueError, "'a' has no value"),
        ({"a": "abc"}, TypeError, "'a' expects a list of values, Uniform or Integers, got str"),
        ({"a": 3}, TypeError, "got int"),
        ([1], TypeError, "space expects a dict of names to values, got list"),
    ],
)
@pytest.mark.parametrize("search", [tune.grid_search, tune.random_search, tune.bayesian_search])
def test_spaces_are_checked(search, space, error, text):
    with pytest.raises(error, match=text):
        search(hill, space)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="'a' is a range, a grid expects a list"):
        tune.grid_search(hill, RANGES)
    with pytest.raises(ValueError, match="direction expects one of maximize, minimize, got 'up'"):
        tune.random_search(hill, RANGES, direction="up")
    with pytest.raises(ValueError, match="trials expects at least 1, got 0"):
        tune.random_search(hill, RANGES, 0)
    with pytest.raises(TypeError, match="trials expects an integer, got float"):
        tune.random_search(hill, RANGES, 2.5)
    with pytest.raises(TypeError, match="objective expects a function, got int"):
        tune.random_search(3, RANGES)
    with pytest.raises(TypeError, match="objective expects to return a number, got NoneType"):
        tune.random_search(lambda t: None, RANGES)
    for low, high in ((1, 1), (2, 1), (0, math.inf), (math.nan, 1)):
        with pytest.raises(ValueError, match="expected low < high"):
            tune.Uniform(low, high)
    with pytest.raises(ValueError, match="log expects low above 0"):
        tune.Uniform(0, 1, log=True)
    with pytest.raises(TypeError, match="expected whole numbers"):
        tune.Integers(0.5, 3)


# Optuna


def test_bayesian_search_comes_nearer_than_chance():
    pytest.importorskip("optuna")
    found = tune.bayesian_search(hill, RANGES, 40, seed=0)
    chance = tune.random_search(hill, RANGES, 40, seed=0)
    assert found.best_value > -0.1
    assert found.best_value > chance.best_value
    late = np.mean([t.value for t in found.trials[20:]])
    assert late > np.mean([t.value for t in found.trials[:10]])
    again = tune.bayesian_search(hill, RANGES, 5, seed=0)
    assert [t.params for t in again.trials] == [t.params for t in found.trials[:5]]


def test_choices_of_any_kind():
    pytest.importorskip("optuna")
    kinds = {"layers": [(16,), (16, 16)], "none": [None, True], "n": tune.Integers(1, 3)}
    seen = []
    found = tune.bayesian_search(lambda t: seen.append(dict(t)) or len(t["layers"]), kinds, 6)
    assert [t.params for t in found.trials] == seen
    assert found.best_params["layers"] == (16, 16)


def test_hopeless_trials_are_given_up():
    pytest.importorskip("optuna")

    def objective(trial: tune.Trial) -> float:
        for step in range(10):
            trial.report(step, trial["a"])
        return trial["a"]

    found = tune.bayesian_search(objective, {"a": tune.Uniform(0, 1)}, 30, prune=True)
    pruned = [t for t in found.trials if t.pruned]
    assert pruned
    assert all(math.isnan(t.value) and len(t.reports) < 10 for t in pruned)
    assert not found.best.pruned
    assert f"{len(pruned)} given up" in str(found)


def test_pruning_reports_each_epoch():
    pytest.importorskip("optuna")
    x = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)

    def objective(trial: tune.Trial) -> float:
        hl.manual_seed(0)
        model = nn.Linear(2, 1)
        history = train.fit(
            model, (x, x[:, :1]), loss=F.mse_loss, epochs=4, progress=False, seed=0,
            optimizer=optim.SGD(model.parameters(), lr=trial["lr"]),
            callbacks=[tune.Pruning(trial, "loss")],
        )  # fmt: skip
        return history["loss"][-1]

    rates = {"lr": tune.Uniform(1e-4, 0.3, log=True)}
    found = tune.bayesian_search(objective, rates, 12, direction="minimize", prune=True)
    assert any(t.pruned for t in found.trials)
    assert len(found.best.reports) == 4
    with pytest.raises(ValueError, match="no figure 'val_loss'"):
        train.fit(
            nn.Linear(2, 1), (x, x[:, :1]), loss=F.mse_loss, epochs=1, progress=False,
            optimizer=optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1),
            callbacks=[tune.Pruning(tune.Trial(0, {}, None))],
        )  # fmt: skip


def test_processes_share_a_study(tmp_path):
    pytest.importorskip("optuna")
    code = (
        "import sys; from handloom import tune\n"
        "tune.bayesian_search(lambda t: -t['a'] ** 2, {'a': tune.Uniform(-1, 1)}, 6,"
        " storage=sys.argv[1])"
    )
    path = str(tmp_path / "study.log")
    environment = {"PYTHONPATH": str(Path(hl.__file__).parents[1]), "PATH": "/usr/bin"}
    command = [sys.executable, "-W", "error", "-c", code, path]
    both = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [p.wait(120) for p in both] == [0, 0]
    found = tune.bayesian_search(
        lambda t: -(t["a"] ** 2), {"a": tune.Uniform(-1, 1)}, 1, storage=path
    )
    assert len(found.trials) == 13
    assert len({t.params["a"] for t in found.trials}) == 13
    with pytest.raises(ValueError, match="is to maximize, not minimize"):
        tune.bayesian_search(lambda t: 0.0, {"a": [1]}, 1, storage=path, direction="minimize")


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("optuna", lambda: tune.bayesian_search(hill, RANGES)),
        ("sklearn.base", lambda: tune.NetworkClassifier),
    ],
)
def test_what_is_missing_is_named(module, use, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "handloom.tune.estimators", raising=False)
    monkeypatch.delattr(tune, "estimators", raising=False)
    with pytest.raises(ImportError, match=r'pip install "handloom\[tune\]"'):
        use()


# cross-validation


def test_every_row_is_held_out_once():
    x, y = np.arange(23), np.arange(23) % 2
    seen: list[int] = []

    def learn(rows, held_out):
        assert not set(rows[0].tolist()) & set(held_out[0].tolist())
        assert len(rows[0]) + len(held_out[0]) == 23
        seen.extend(held_out[0].tolist())
        return {"size": len(held_out[0]), "ones": held_out[1].mean()}

    found = tune.cross_validate(learn, (x, y), 5, stratify=True)
    assert sorted(seen) == list(range(23))
    assert found.mean("size") == 23 / 5
    assert found.scores["ones"].max() - found.scores["ones"].min() < 0.25
    assert str(found).startswith("size: 4.6 ± 0.55 (5, ")
    assert tune.cross_validate(lambda a, b: 1.0, (x, y)).std() == 0


def test_cross_validation_checks_what_it_gets():
    rows = (np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ValueError, match=r"k expects 2 to 4 \(the rows\), got 5"):
        tune.cross_validate(lambda a, b: 0.0, rows, 5)
    with pytest.raises(TypeError, match=r"learn expects to return a number .* got NoneType"):
        tune.cross_validate(lambda a, b: None, rows, 2)
    with pytest.raises(TypeError, match="data expects arrays"):
        tune.cross_validate(lambda a, b: 0.0, np.zeros(4), 2)
    with pytest.raises(ValueError, match="array 1 has 3 rows"):
        tune.cross_validate(lambda a, b: 0.0, (np.zeros(4), np.zeros(3)), 2)
    names = iter(("a", "b"))
    with pytest.raises(ValueError, match="fold 1 has the figures b, fold 0 a"):
        tune.cross_validate(lambda a, b: {next(names): 0.0}, rows, 2)


# estimators


def estimators():
    pytest.importorskip("sklearn", minversion="1.6")
    return tune.NetworkClassifier, tune.NetworkRegressor


@pytest.mark.parametrize("which", [0, 1])
def test_scikit_learns_own_checks_pass(which):
    estimator = estimators()[which]
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's own, of what it checks
        results = check_estimator(
            estimator(epochs=40, batch_size=16), on_skip=None, on_fail="raise"
        )
    assert len(results) > 40
    assert {r["status"] for r in results} <= {"passed", "skipped"}


def test_estimators_learn_in_pipelines_and_grids():
    classifier, regressor = estimators()
    from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    iris = data.load("iris")
    names = np.array(["setosa", "versicolor", "virginica"])[iris.y]
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), classifier(epochs=30, random_state=0)),
        {"networkclassifier__hidden": [(), (16,)], "networkclassifier__lr": [1e-2]},
        cv=3,
    ).fit(iris.x, names)
    assert search.best_score_ > 0.93
    assert set(search.predict(iris.x)) <= set(names)
    np.testing.assert_allclose(search.predict_proba(iris.x).sum(axis=1), 1, rtol=1e-5)
    cars = data.load("auto_mpg")
    folds = KFold(4, shuffle=True, random_state=0)  # they are sorted by year
    scores = cross_val_score(regressor(epochs=60, random_state=0), cars.x, cars.y, cv=folds)
    assert scores.mean() > 0.8


def test_the_same_seed_gives_the_same_network_and_leaves_ours_alone():
    classifier, _ = estimators()
    iris = data.load("iris")
    hl.manual_seed(9)
    before = hl.get_rng_state()
    one, two = (classifier(epochs=3, random_state=1).fit(iris.x, iris.y) for _ in range(2))
    assert hl.get_rng_state() == before
    np.testing.assert_array_equal(one.predict_proba(iris.x), two.predict_proba(iris.x))
    other = classifier(epochs=3, random_state=2).fit(iris.x, iris.y)
    assert not np.array_equal(one.predict_proba(iris.x), other.predict_proba(iris.x))
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.predict_proba(iris.x), one.predict_proba(iris.x))


def small(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs))


def test_a_network_of_ones_own_and_early_stopping():
    classifier, regressor = estimators()
    iris = data.load("iris")
    one = classifier(small, epochs=200, patience=3, random_state=0).fit(iris.x, iris.y)
    assert one.module_[0].weight.shape == (5, 4)
    assert len(one.history_) < 200
    assert one.history_.stopped
    assert one.score(iris.x, iris.y) > 0.9
    two = regressor(epochs=20, random_state=0).fit(iris.x[:, :2], iris.x[:, 2:])
    assert two.predict(iris.x[:7, :2]).shape == (7, 2)
    with pytest.raises(ValueError, match="activation expects one of relu, tanh, gelu, silu"):
        classifier(activation="sin").fit(iris.x, iris.y)
    with pytest.raises(ValueError, match="optimizer expects one of adam"):
        classifier(optimizer=3).fit(iris.x, iris.y)
    for options, text in (
        ({"hidden": 5}, "hidden expects a list of widths, got 5"),
        ({"hidden": ("a",)}, "hidden expects an integer, got str"),
        ({"batch_size": None}, "batch_size expects an integer, got NoneType"),
        ({"dropout": "x"}, "dropout expects a number, got str"),
        ({"patience": ""}, "patience expects an integer, got str"),
        ({"module": 3}, "module expects a function, got 3"),
    ):
        with pytest.raises(TypeError, match=text):
            classifier(**options).fit(iris.x, iris.y)
