"""Anomaly detection: what an autoencoder that has seen the normal only cannot say is not normal."""

from __future__ import annotations

import numpy as np

from .. import data
from ..models import dense_autoencoder
from ..train import metrics
from .coding import Principal, train
from .task import Context, Task


def _run(context: Context) -> None:
    _tumours(context)
    _new_digits(context)


def _tumours(context: Context) -> None:
    """Benign is one heap of rows: how far away a row lies says nearly all."""
    cancer = data.load("breast_cancer")
    x, x_test, y, y_test = data.train_test_split(
        cancer.x, cancer.y, test_size=0.4, stratify=cancer.y
    )
    benign = x[y == 1]
    mean, scale = benign.mean(axis=0), benign.std(axis=0)
    seen, read = (benign - mean) / scale, (x_test - mean) / scale
    model = dense_autoencoder((30, 24, 6))
    history = train(context, "anomaly", model, (seen, seen), context.epochs(150, 20), 3e-3, 16)
    score = model.anomaly(read)
    malignant = (y_test == 0).astype(np.int64)
    context.check(
        "breast cancer: test ROC-AUC of the reconstruction error",
        metrics.roc_auc(malignant, score),
        at_least=0.92,
        baseline=metrics.roc_auc(malignant, np.square(read).sum(axis=1)),
    )
    from . import pictures, plots

    context.draw(
        "anomaly-errors",
        pictures.histogram,
        {"benign": score[malignant == 0], "malignant": score[malignant == 1]},
        "how badly it says what it reads",
        "mean squared error of a row",
    )
    context.draw("anomaly-curve", plots.learning, {"loss": history["loss"]}, None, "benign rows")
    context.save("anomaly", model)


def _new_digits(context: Context) -> None:
    """Nine digits are nine heaps: a digit that is none of them may lie in the middle of all."""
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x.reshape(len(digits.x), -1), digits.y, test_size=0.3, stratify=digits.y
    )
    found: list[tuple[float, float, float]] = []
    for new in range(2) if context.quick else range(10):
        seen = x[y != new]
        model = dense_autoencoder((64, 48, 8))
        name = f"digits but {new}"
        train(context, name, model, (seen, seen), context.epochs(40, 4), 3e-3, 32)
        principal = Principal(seen, 8)
        scores = (
            model.anomaly(x_test),
            np.square(principal.reconstruct(x_test) - x_test).sum(axis=1),
            np.square(x_test - seen.mean(axis=0)).sum(axis=1),
        )
        strange = (y_test == new).astype(np.int64)
        a, b, c = (float(metrics.roc_auc(strange, score)) for score in scores)
        found.append((a, b, c))
    ours, linear, distance = np.mean(found, axis=0)
    name = "digits, one that it has not seen: mean test ROC-AUC"
    context.check(name, ours, at_least=0.88, baseline=distance)
    context.check(
        "the same, less that of as many principal components", ours - linear, at_least=0.02
    )
    context.table(
        "Which digit is new? ROC-AUC on test rows",
        ("new", "autoencoder", "principal components", "distance from the mean"),
        [(str(i), *(f"{value:.3f}" for value in row)) for i, row in enumerate(found)],
    )


TASK = Task("anomaly", ("B8",), "Anomaly detection by what an autoencoder cannot say", _run)
