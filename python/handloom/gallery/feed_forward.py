"""A feed-forward network that predicts a number: the fuel consumption of cars."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..train import fit, metrics, predict
from .task import Context, Task


def build(features: int = 9, width: int = 64) -> nn.Module:
    """Returns the network: two hidden layers and one linear output, for regression."""
    return nn.Sequential(
        nn.Linear(features, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 1),
    )


def _run(context: Context) -> None:
    cars = data.load("auto_mpg")
    # The origin is a code, 1 to 3, not a quantity.
    origin = data.one_hot(cars.x[:, -1].astype(np.int64) - 1, 3)
    features = np.concatenate([cars.x[:, :-1], origin], axis=1).astype(np.float32)
    x, x_test, y, y_test = data.train_test_split(features, cars.y[:, None], test_size=0.2)
    x, x_test = data.standardize(x, x_test)
    scaler = data.Standardizer().fit(y)
    y_scaled, y_test_scaled = scaler.transform(y), scaler.transform(y_test)

    model = build(x.shape[1])
    epochs = context.epochs(60, 10)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    history = fit(
        model,
        (x, y_scaled),
        loss=nn.functional.mse_loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        validation=(x_test, y_test_scaled),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("mean squared error", history["loss"])
    predicted = scaler.inverse(predict(model, x_test))
    context.check(
        "auto-mpg: test R²",
        metrics.r2_score(y_test, predicted),
        at_least=0.83,
        baseline=0.0,
    )
    from . import plots

    context.draw(
        "feed_forward-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        None,
        "Miles per gallon: mean squared error, in variances of the target",
    )
    context.draw(
        "feed_forward-predictions",
        plots.predictions,
        y_test[:, 0],
        predicted[:, 0],
        "miles per gallon",
        f"Test cars: R² {metrics.r2_score(y_test, predicted):.3f}, "
        f"mean error {metrics.mae(y_test, predicted):.1f}",
    )
    context.save("feed_forward", model)


TASK = Task(
    "feed_forward",
    ("N2", "N3", "C4"),
    "Feed-forward network for regression: miles per gallon of 392 cars",
    _run,
)
