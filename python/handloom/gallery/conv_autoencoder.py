"""The convolutional autoencoder: handwritten digits in 32 numbers."""

from __future__ import annotations

from .. import data
from ..models import ConvAutoencoder
from .coding import Principal, error, images, latent_walk, train
from .task import Context, Task


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    x, x_test, _, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    if context.quick:
        x = x[:640]
    model = ConvAutoencoder(28, 32)
    history = train(
        context, "convolutional", model, (x, x), context.epochs(25, 3), 2e-3, 64,
        validation=(x_test, x_test),
    )  # fmt: skip
    back = model.reconstruct(x_test)
    rows, rows_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    linear = Principal(rows, 32).reconstruct(rows_test)
    context.check(
        "mnist_5k, code of 32: test MSE",
        error(back, x_test),
        at_most=0.0145,
        baseline=error(linear, rows_test),
    )
    from . import pictures, plots

    context.draw(
        "conv-autoencoder-digits",
        pictures.strips,
        {"data": images(x_test), "32 numbers": images(back), "PCA, 32": images(linear)},
        "test digits and what comes back",
    )
    walk = [
        images(latent_walk(model, x_test[y_test == a][0], x_test[y_test == b][0]))
        for a, b in ((0, 6), (4, 9), (3, 8))
    ]
    context.draw(
        "conv-autoencoder-between",
        pictures.strips,
        dict(zip(("0 to 6", "4 to 9", "3 to 8"), walk)),
        "from the code of one digit to that of another",
    )
    context.draw(
        "conv-autoencoder-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        None,
        "convolutional autoencoder",
    )
    context.save("conv-autoencoder", model)


TASK = Task("conv_autoencoder", ("B5",), "Convolutional autoencoder: mnist_5k in 32 numbers", _run)
