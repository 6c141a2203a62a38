"""The contractive autoencoder: a code that hardly moves when the input does."""

from __future__ import annotations

import numpy as np

from .. import data, kernels
from .._arrays import Array
from ..models import ContractiveAutoencoder
from .coding import error, images, train
from .task import Context, Task


def jacobian_norm(model: ContractiveAutoencoder, x: Array) -> float:
    """Mean of ‖∂h/∂x‖² over rows, from the Jacobians themselves."""
    h, w = model.encode(x), model.layer.weight.numpy()
    slopes = kernels.mul(h, 1 - h)
    return float(np.mean([np.square(slope[:, None] * w).sum() for slope in slopes]))


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, _, _ = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.2, stratify=digits.y
    )
    found = {}
    shown = {"data": images(x_test)}
    rng = np.random.default_rng(0)
    moved = x_test + 0.1 * rng.standard_normal(x_test.shape).astype(np.float32)
    rows: list[tuple[str, ...]] = []
    for name, weight in (("vanilla", 0.0), ("contractive", 3e-4)):
        model = ContractiveAutoencoder(64, 32, weight)
        train(context, name, model, (x, x), context.epochs(250, 8), 3e-3, 64)
        mse, norm = error(model.reconstruct(x_test), x_test), jacobian_norm(model, x_test)
        found[name] = mse, norm
        shown[name] = images(model.reconstruct(x_test))
        step = np.linalg.norm(model.encode(moved) - model.encode(x_test), axis=1).mean()
        rows.append((name, f"{mse:.4f}", f"{norm:.3f}", f"{step:.3f}"))
    (mse, norm), (own_mse, own_norm) = found.values()
    context.check(
        "digits: mean ‖∂h/∂x‖² on test rows, in parts of the vanilla one's",
        own_norm / norm,
        at_most=0.5,
        baseline=1.0,
    )
    context.check(
        "digits: test MSE, in parts of the vanilla one's", own_mse / mse, at_most=1.3, baseline=1.0
    )
    context.table(
        "one layer of 32 sigmoids, on test digits",
        ("network", "MSE", "‖∂h/∂x‖²", "how far noise of 0.1 moves the code"),
        rows,
    )
    from . import pictures

    context.draw("contractive-digits", pictures.strips, shown, "test digits and what comes back")
    context.save("contractive", model)


TASK = Task("contractive", ("B6", "C18"), "Contractive autoencoder: a code at rest", _run)
