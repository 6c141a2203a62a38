"""The deep belief network: pretrained without labels, then fine-tuned with few or with all."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from .._arrays import Array
from ..models import DBN
from ..train import History, fit, metrics, predict
from .task import Context, Task

SIZES = (256, 128)


def scratch(visible: int, classes: int) -> nn.Sequential:
    """The network that `DBN.unroll` returns, with weights of chance."""
    layers: list[nn.Module] = []
    for width in SIZES:
        layers += [nn.Linear(visible, width), nn.Sigmoid()]
        visible = width
    return nn.Sequential(*layers, nn.Linear(visible, classes))


def _tune(
    context: Context, name: str, model: nn.Module, x: Array, y: Array, epochs: int, lr: float
) -> History:
    optimizer = optim.Adam(model.parameters(), lr=lr)
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=min(32, len(x) // 5),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(name),
        seed=context.seed,
    )
    context.losses(name, history["loss"])
    return history


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.2, stratify=digits.y
    )
    dbn = DBN(
        SIZES,
        learning_rate=0.05,
        n_iter=context.epochs(100, 8),
        persistent=False,
        random_state=10 * context.seed,
    ).fit(x)
    for level, machine in enumerate(dbn.machines):
        context.losses(f"machine {level + 1}", [-score for score in machine.history_])

    model = dbn.unroll(10)
    history = _tune(context, "fine-tuning", model, x, y, context.epochs(60, 8), 1e-3)
    accuracy = metrics.accuracy(y_test, predict(model, x_test))
    context.check("digits: test accuracy, all labels", accuracy, at_least=0.965)

    rng = np.random.default_rng(context.seed)
    few = np.concatenate([rng.choice(np.flatnonzero(y == c), 5, False) for c in range(10)])
    found = {}
    for name, network, lr in (
        ("pretrained, 5 labels a class", dbn.unroll(10), 1e-3),
        ("scratch, 5 labels a class", scratch(64, 10), 3e-3),
    ):
        _tune(context, name, network, x[few], y[few], context.epochs(200, 30), lr)
        found[name] = metrics.accuracy(y_test, predict(network, x_test))
    by_dbn, by_chance = found.values()
    context.check(
        "5 labels a class: pretrained less from scratch, test accuracy",
        by_dbn - by_chance,
        at_least=0.0,
    )
    context.table(
        "test accuracy with labels of",
        ("network", "50 digits", f"{len(y)} digits"),
        [
            ("pretrained", f"{by_dbn:.3f}", f"{accuracy:.3f}"),
            ("from scratch", f"{by_chance:.3f}", ""),
        ],
    )

    from . import pictures, plots

    context.draw(
        "dbn-curves",
        plots.learning,
        {"training": history["loss"]},
        None,
        "fine-tuning 64-256-128-10, pretrained",
    )
    context.draw(
        "dbn-pretraining",
        plots.learning,
        {f"machine {i + 1}": [-s for s in m.history_] for i, m in enumerate(dbn.machines)},
        None,
        "pretraining: minus the pseudo-likelihood of each machine, in nats",
    )
    columns = 10
    start = np.stack([x_test[y_test == c][0] for c in range(columns)])
    rows = {"data": start, "up and down": dbn.reconstruct(start)}
    for steps in (1, 10, 100):
        rows[f"{steps} steps"] = dbn.generate(columns, steps, start)
    context.draw(
        "dbn-dreams",
        pictures.strips,
        {name: images.reshape(-1, 8, 8) for name, images in rows.items()},
        "dreams: Gibbs sampling at the top, begun with test digits",
    )
    context.save("dbn", model)


TASK = Task("dbn", ("N20", "K3", "K4"), "Deep belief network: digits with few labels", _run)
