"""The vanilla autoencoder: digits through eight numbers and through two, beside PCA."""

from __future__ import annotations

from .. import data
from ..models import dense_autoencoder
from .coding import Principal, error, images, latent_walk, train
from .task import Context, Task


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, _, y_test = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.2, stratify=digits.y
    )
    from . import pictures, plots

    shown = {"data": images(x_test)}
    curves: dict[str, list[float]] = {}
    for code, target in ((8, 0.020), (2, 0.042)):
        model = dense_autoencoder((64, 256, 128, code))
        history = train(
            context, f"code of {code}", model, (x, x), context.epochs(150, 8), 2e-3, decay=1e-3,
            validation=(x_test, x_test),
        )  # fmt: skip
        linear = Principal(x, code)
        back = model.reconstruct(x_test)
        context.check(
            f"digits, code of {code}: test MSE",
            error(back, x_test),
            at_most=target,
            baseline=error(linear.reconstruct(x_test), x_test),
        )
        shown[f"{code} numbers"] = images(back)
        shown[f"PCA, {code}"] = images(linear.reconstruct(x_test))
        curves |= {f"{code}, training": history["loss"], f"{code}, test": history["val_loss"]}
        if code == 2:
            context.draw(
                "autoencoder-map",
                pictures.maps,
                {"autoencoder": model.encode(x_test), "PCA": linear.encode(x_test)},
                y_test,
                "test digits by a code of two numbers",
            )
        else:
            walk = [
                images(latent_walk(model, x_test[y_test == a][0], x_test[y_test == b][0]))
                for a, b in ((0, 6), (1, 7), (3, 8))
            ]
            context.draw(
                "autoencoder-between",
                pictures.strips,
                dict(zip(("0 to 6", "1 to 7", "3 to 8"), walk)),
                "from the code of one digit to that of another",
            )
            context.save("autoencoder", model)
    context.draw("autoencoder-digits", pictures.strips, shown, "test digits and what comes back")
    context.draw("autoencoder-curves", plots.learning, curves, None, "autoencoders of digits")


TASK = Task("autoencoder", ("B1", "B7"), "Autoencoder: digits in few numbers, beside PCA", _run)
