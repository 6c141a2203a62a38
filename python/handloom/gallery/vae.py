"""The variational autoencoder: digits from codes of chance, one number at a time or as asked."""

from __future__ import annotations

import numpy as np

from .. import data
from ..models import dense_vae
from .coding import images, train
from .judge import Judge, smaller
from .task import Context, Task

SAMPLES = 1000


def bernoulli_nats(x: np.ndarray, x_test: np.ndarray) -> float:
    """−log p of test rows in nats when every pixel is an independent coin of the training mean."""
    p = x.mean(axis=0).clip(1e-3, 1 - 1e-3).astype(np.float64)
    return float(-(x_test * np.log(p) + (1 - x_test) * np.log1p(-p)).sum(axis=1).mean())


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    grey, grey_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    if context.quick:
        grey, y = grey[:1000], y[:1000]
    x, x_test = (
        np.ascontiguousarray(a > 0.5, np.float32).reshape(len(a), -1) for a in (grey, grey_test)
    )
    epochs = context.epochs(40, 4)
    model = dense_vae(784, 400, 20, dropout=0.2)
    history = train(
        context, "VAE", model, (x, x), epochs, 1e-3, 64, decay=1e-3, validation=(x_test, x_test)
    )
    model.eval()
    bound = -model.elbo(x_test, samples=20).mean()
    context.check(
        "mnist_5k binarised: -ELBO of test digits, nats",
        bound,
        at_most=135.0,
        baseline=bernoulli_nats(x, x_test),
    )
    judge = Judge(
        smaller(grey) * 2 - 1, y, smaller(grey_test) * 2 - 1, y_test,
        context.epochs(12, 2), context.seed,
    )  # fmt: skip

    def seen(p: np.ndarray) -> np.ndarray:
        return smaller(p.reshape(-1, 28, 28, 1)) * 2 - 1

    samples = model.sample(SAMPLES)
    shares = judge.shares(seen(samples))
    context.check(
        f"rarest class among {SAMPLES} samples", shares.min(), at_least=0.03, baseline=0.1
    )
    # Six numbers: with more, they tell the class themselves, and the label goes unread.
    asked = dense_vae(784, 400, 6, classes=10, dropout=0.2)
    train(context, "conditional VAE", asked, (x, y, x), context.epochs(30, 4), 2e-3, 64, decay=1e-3)
    asked.eval()
    wanted = np.arange(SAMPLES) % 10
    drawn = asked.sample(SAMPLES, wanted)
    right = (judge.called(seen(drawn)) == wanted).mean()
    context.check("conditional VAE: samples that are the digit asked for", right, at_least=0.85)

    mu, logvar = (t.detach().numpy() for t in model.encode(x_test))
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    context.table(
        "what the code carries",
        ("", "nats"),
        [
            ("−ELBO", f"{bound:.1f}"),
            ("of it KL", f"{kl.sum():.1f}"),
            ("units of 20 with more than 0.1", f"{(kl > 0.1).sum()}"),
        ],
    )
    from . import film, pictures, plots

    context.draw("vae-samples", film.grid, samples[:60].reshape(-1, 28, 28), "VAE: samples", 12)
    context.draw(
        "vae-asked", film.grid, drawn[:60].reshape(-1, 28, 28), "conditional VAE: 0 to 9", 10
    )
    model.eval()
    back = 1 / (1 + np.exp(-model(x_test[:10]).logits.detach().numpy()))
    ends = mu[[np.flatnonzero(y_test == c)[0] for c in (2, 7)]]
    share = np.linspace(0, 1, 10, dtype=np.float32)[:, None]
    walk = model.sample(10, z=ends[0] + share * (ends[1] - ends[0]))
    context.draw(
        "vae-digits",
        pictures.strips,
        {"data": images(x_test), "back": images(back), "2 to 7": images(walk)},
        "test digits, what comes back, and what lies between",
    )
    context.draw(
        "vae-curves",
        plots.learning,
        {"training": history["loss"], "test, mean code": history["val_loss"]},
        None,
        "VAE: −ELBO in nats",
    )
    context.save("vae", model)


TASK = Task("vae", ("B4", "B9", "C12"), "Variational autoencoder: mnist_5k in 20 numbers", _run)
