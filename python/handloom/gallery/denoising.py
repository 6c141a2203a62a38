"""The denoising autoencoder: handwritten digits under noise as strong as they are."""

from __future__ import annotations

import numpy as np

from .. import data, nn
from ..models import DenoisingAutoencoder
from .coding import Principal, error, images, train
from .task import Context, Task

NOISE = 0.5


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    x, x_test, _, _ = data.train_test_split(
        digits.x.reshape(-1, 784), digits.y, test_size=0.2, stratify=digits.y
    )
    if context.quick:
        x = x[:1000]
    model = DenoisingAutoencoder(
        nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU()),
        nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 784), nn.Sigmoid()),
        noise=NOISE,
    )
    history = train(context, "denoising", model, (x, x), context.epochs(50, 3), 1e-3, 64)
    rng = np.random.default_rng(1)  # the same noise for every seed and for PCA

    def noisy(rows: np.ndarray) -> np.ndarray:
        return (rows + NOISE * rng.standard_normal(rows.shape)).astype(np.float32)

    spoilt, learned_from = noisy(x_test), noisy(x)
    back = model.reconstruct(spoilt)
    # The linear filter: components of the noisy images, as a network without layers would find.
    linear = Principal(learned_from, 32).reconstruct(spoilt).clip(0, 1)
    context.check(
        f"mnist_5k with noise of {NOISE}: test MSE from the clean image",
        error(back, x_test),
        at_most=0.022,
        baseline=error(linear, x_test),
    )
    context.table(
        "mean squared error from the clean test images",
        ("by", "MSE"),
        [
            ("nothing: the noisy image", f"{error(spoilt, x_test):.4f}"),
            ("the mean image", f"{error(np.broadcast_to(x.mean(0), x_test.shape), x_test):.4f}"),
            ("32 principal components", f"{error(linear, x_test):.4f}"),
            ("the autoencoder", f"{error(back, x_test):.4f}"),
        ],
    )
    from . import pictures, plots

    context.draw(
        "denoising-digits",
        pictures.strips,
        {
            "clean": images(x_test), "seen": images(spoilt),
            "autoencoder": images(back), "PCA, 32": images(linear),
        },
        "test digits under noise",
    )  # fmt: skip
    context.draw("denoising-curve", plots.learning, {"loss": history["loss"]}, None, "denoising")
    context.save("denoising", model)


TASK = Task("denoising", ("B2", "R12"), "Denoising autoencoder: digits under noise", _run)
