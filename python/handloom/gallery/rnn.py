"""The plain recurrent network: digits read row by row, and next year's sunspots."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..autograd import no_grad
from ..nn import functional as F
from ..tensor import Array, Tensor
from ..train import fit, metrics, predict
from .sequence import Reader
from .task import Context, Task

TEST_YEARS = 88
LAGS = 9  # of the autoregression that is the baseline


class Forecast(nn.Module):
    """Many to many: after each step what the next one brings."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.cell = nn.RNN(1, hidden)
        self.last = nn.Linear(hidden, 1)

    def forward(self, x: Array | Tensor) -> Tensor:
        """Returns (N, T, 1) for series (N, T, 1)."""
        y, _ = self.cell(x)
        # What changes from this year to the next is easier to say than the whole.
        found: Tensor = self.last(y) + x
        return found


def autoregression(series: Array, lags: int, train: int) -> Array:
    """Returns the forecast of each value from those before it by least squares on the first ones.

    The forecasts of the first `lags` values are NaN.
    """
    windows = np.lib.stride_tricks.sliding_window_view(series[:-1].astype(np.float64), lags)
    columns = np.column_stack([windows, np.ones(len(windows))])
    known = series[lags:train]
    weights, *_ = np.linalg.lstsq(columns[: len(known)], known, rcond=None)
    return np.concatenate([np.full(lags, np.nan), columns @ weights])


def _digits(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x[..., 0], digits.y, test_size=0.2, stratify=digits.y
    )
    epochs = context.epochs(30, 3)
    model = Reader(nn.RNN(8, 64), 10)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = fit(
        model,
        (x, y),
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        metrics="accuracy",
        validation=(x_test, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        clip_norm=1.0,
        progress=context.progress("digits"),
        seed=context.seed,
    )
    context.losses("digits by rows", history["loss"])
    context.check(
        "digits, row by row: test accuracy",
        metrics.accuracy(y_test, predict(model, x_test)),
        at_least=0.94,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    from . import plots

    context.draw(
        "rnn-digits-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        "Recurrent network on digits, row by row",
        low=0.8,
    )
    context.save("rnn-digits", model)


def _sunspots(context: Context) -> None:
    sun = data.load("sunspots")
    train = len(sun.y) - TEST_YEARS
    # The scatter of a number of spots grows with it, that of its root does not.
    scale = data.Standardizer().fit(np.sqrt(sun.y[:train, None]))
    series = scale.transform(np.sqrt(sun.y)[:, None])[None]
    model = Forecast(16)
    optimizer = optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-3)
    epochs = context.epochs(300, 30)
    decay = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses: list[float] = []
    for _ in range(epochs):
        loss = F.mse_loss(model(series[:, : train - 1]), series[:, 1:train])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay.step()
        losses.append(loss.item())
    context.losses("sunspots", losses)
    with no_grad():
        roots = scale.inverse(model(series[:, :-1]).numpy()[0])[:, 0]
    found = {
        "recurrent network": np.maximum(roots, 0)[-TEST_YEARS:] ** 2,
        f"autoregression of {LAGS} years": autoregression(sun.y, LAGS, train)[-TEST_YEARS:],
        "as last year": sun.y[-TEST_YEARS - 1 : -1],
    }
    true = sun.y[-TEST_YEARS:]
    errors = {name: metrics.rmse(true, forecast) for name, forecast in found.items()}
    context.check(
        f"sunspots, {TEST_YEARS} years ahead one by one: RMSE",
        errors["recurrent network"],
        at_most=19.2,
        baseline=errors["as last year"],
    )
    context.table(
        f"Next year's sunspot number, {TEST_YEARS} test years",
        ("forecast", "RMSE"),
        [(name, f"{error:.2f}") for name, error in errors.items()],
    )
    from . import plots

    context.draw(
        "rnn-sunspots",
        plots.series,
        sun.x[-TEST_YEARS:, 0],
        {"seen": true, **dict(list(found.items())[:2])},
        "Sunspots: each year forecast from those before it",
        "year",
        "sunspot number",
    )
    context.save("rnn-sunspots", model)


def _run(context: Context) -> None:
    _digits(context)
    _sunspots(context)


TASK = Task("rnn", ("N9",), "Recurrent network: digits by rows, next year's sunspots", _run)
