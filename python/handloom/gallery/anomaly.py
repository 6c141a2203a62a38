"""Anomaly detection: an autoencoder that has seen benign tumours only, and reads both kinds."""

from __future__ import annotations

import numpy as np

from .. import data
from ..models import dense_autoencoder
from ..train import metrics
from .coding import train
from .task import Context, Task


def _run(context: Context) -> None:
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


TASK = Task("anomaly", ("B8",), "Anomaly detection by what an autoencoder cannot say", _run)
