"""The sparse autoencoder: more units than pixels, of which few speak at a time."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from .._arrays import Array
from ..models import SparseAutoencoder
from ..train import fit, metrics, predict
from .coding import Principal, error, images, train
from .task import Context, Task


def build(kind: str = "kl", units: int = 128) -> SparseAutoencoder:
    """Returns the network: one layer of sigmoids (or ReLUs for "l1") and a linear one back."""
    speak: nn.Module = nn.Sigmoid() if kind == "kl" else nn.ReLU()
    return SparseAutoencoder(
        nn.Sequential(nn.Linear(64, units), speak),
        nn.Linear(units, 64),
        kind=kind,
        rho=0.05,
        weight=3e-3 if kind == "kl" else 0.1,
    )


def probe(context: Context, codes: Array, y: Array, test: Array, y_test: Array) -> float:
    """Test accuracy of a linear layer on codes."""
    epochs = context.epochs(60, 5)
    scale = codes.std() or 1.0
    model = nn.Linear(codes.shape[1], 10)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    fit(
        model,
        (codes / scale, y),
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=False,
        seed=context.seed,
    )
    return metrics.accuracy(y_test, predict(model, test / scale))


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.2, stratify=digits.y
    )
    linear = error(Principal(x, 16).reconstruct(x_test), x_test)
    rows: list[tuple[str, ...]] = []
    for kind in ("kl", "l1"):
        model = build(kind)
        train(context, f"sparse, {kind}", model, (x, x), context.epochs(200, 8), 3e-3, 64)
        codes, test = model.encode(x), model.encode(x_test)
        mse, accuracy = (
            error(model.reconstruct(x_test), x_test),
            probe(context, codes, y, test, y_test),
        )
        silent = float((test < 0.1 * codes.max()).mean())
        rows.append((kind, f"{test.mean():.3f}", f"{silent:.2f}", f"{mse:.4f}", f"{accuracy:.3f}"))
        if kind == "kl":
            context.check("digits: mean activation of 128 units, KL", test.mean(), at_most=0.07)
            context.check("digits: test MSE, KL", mse, at_most=0.0116, baseline=linear)
            context.check("digits: linear probe of the code, KL", accuracy, at_least=0.95)
            shown = model
    context.table(
        "two ways to be sparse, on test digits",
        ("penalty", "mean activation", "units below a tenth", "MSE", "linear probe"),
        rows,
    )
    from . import pictures

    weights = shown.decoder.state_dict()["weight"].T
    order = np.argsort(-np.abs(weights).sum(axis=1))[:48]
    context.draw(
        "sparse-parts",
        pictures.fields,
        weights[order].reshape(-1, 8, 8),
        "what its units draw: strokes",
        columns=12,
    )
    context.draw(
        "sparse-digits",
        pictures.strips,
        {"data": images(x_test), "128 sparse": images(shown.reconstruct(x_test))},
        "test digits and what comes back",
    )
    context.save("sparse", shown)


TASK = Task("sparse", ("B3", "C17"), "Sparse autoencoder: few units at a time, KL and L1", _run)
