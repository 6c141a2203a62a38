"""The 1-D convolutional network: is a day of the dark or of the bright half of the year?"""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..tensor import Array
from ..train import fit, metrics, predict
from .task import Context, Task

CHANNELS, KERNELS = (16, 32, 16), (9, 7, 5)


def build(classes: int = 2) -> nn.Sequential:
    """Returns three convolutions along time, the mean over time, one layer.

    Wang, Yan and Oates, "Time series classification from scratch with deep neural networks"
    (2017), with fewer channels: there are 67 days to learn from.
    """
    layers: list[nn.Module] = []
    channels = 1
    for out_channels, kernel in zip(CHANNELS, KERNELS):
        layers += [
            nn.Conv1d(channels, out_channels, kernel, padding="same", bias=False),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(),
        ]
        channels = out_channels
    return nn.Sequential(*layers, nn.GlobalAvgPool(), nn.Linear(channels, classes))


def evidence(model: nn.Sequential, x: Array) -> Array:
    """Returns for every hour how much it speaks for class 1 and against class 0: (N, T).

    The class activation map of Zhou and others, "Learning deep features for discriminative
    localization" (2016). Mean and layer exchange places: its mean over time, and the difference of
    the biases, are the difference of the logits.
    """
    model.eval()
    *features, _, last = model
    w = next(last.parameters()).numpy()
    found: Array = nn.Sequential(*features)(x).numpy()
    return found @ (w[1] - w[0])


def nearest(x: Array, y: Array, x_test: Array) -> Array:
    """Returns the label of the training row that is nearest to each test row."""
    squares = ((x_test[:, None] - x[None]) ** 2).sum(axis=(2, 3))
    return y[squares.argmin(axis=1)]


def _run(context: Context) -> None:
    days = data.load("italy_power_demand")
    x, x_test = days.x[: days.train_size], days.x[days.train_size :]
    y, y_test = days.y[: days.train_size], days.y[days.train_size :]
    epochs = context.epochs(200, 10)
    model = build()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=16,
        metrics="accuracy",
        validation=(x_test, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("italy_power_demand", history["loss"])
    logits = predict(model, x_test)
    accuracy = metrics.accuracy(y_test, logits)
    majority = np.bincount(y_test).max() / len(y_test)
    context.check("italy_power_demand: test accuracy", accuracy, at_least=0.94, baseline=majority)
    context.table(
        f"Two classes from {len(x)} days",
        ("", "test accuracy"),
        [
            ("the larger class", f"{majority:.4f}"),
            ("the nearest of the training days", f"{np.mean(nearest(x, y, x_test) == y_test):.4f}"),
            ("convolutional network", f"{accuracy:.4f}"),
        ],
    )
    from . import pictures, plots

    context.draw(
        "cnn_1d-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        "1-D convolutional network on italy_power_demand",
        low=0.8,
    )
    context.draw(
        "cnn_1d-confusion",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        days.target_names,
        f"{len(y_test)} days that it has not seen",
    )
    context.draw(
        "cnn_1d-filters",
        pictures.kernels,
        next(model.parameters()).numpy()[..., 0],
        "what the first layer's filters look for, hour by hour",
    )
    context.draw(
        "cnn_1d-evidence",
        pictures.evidence,
        x_test[..., 0],
        y_test,
        evidence(model, x_test),
        days.target_names,
        "which hours give the half of the year away",
        "hour of the day",
    )
    context.save("cnn_1d", model)


TASK = Task(
    "cnn_1d",
    ("N7", "P7", "J6"),
    "1-D convolutional network: a day's demand for power tells the half of the year",
    _run,
)
