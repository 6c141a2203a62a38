"""Every optimiser on the same network, the same data in the same order, from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import data, manual_seed, nn, optim
from ..train import History, fit, metrics, predict
from .task import Context, Task

# Each with the rate of the lowest training loss after 20 epochs in PyTorch, mean of two seeds:
# of 3 to 0.03 in steps of about 3 for SGD and Adadelta, of 0.3 to 0.0003 for the others.
_OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=1.0),
    "Momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.3),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "Adadelta": lambda p: optim.Adadelta(p, lr=3.0),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "Adamax": lambda p: optim.Adamax(p, lr=0.1),
    "NAdam": lambda p: optim.NAdam(p, lr=0.03),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "Lion": lambda p: optim.Lion(p, lr=0.001),
}


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.2, stratify=digits.y
    )
    histories: dict[str, History] = {}
    accuracy: dict[str, float] = {}
    epochs = context.epochs(20, 2)
    for name, make in _OPTIMIZERS.items():
        manual_seed(context.seed)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = make(model.parameters())
        # At a constant rate the last step decides: now and then one leaves the valley again.
        decay = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        histories[name] = fit(
            model,
            (x, y),
            loss=nn.functional.cross_entropy,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=32,
            scheduler=decay,
            progress=context.progress(name),
            seed=context.seed,
        )
        accuracy[name] = metrics.accuracy(y_test, predict(model, x_test))
        context.losses(name, histories[name]["loss"])
    context.check(
        f"digits, the worst of {len(accuracy)} optimisers: test accuracy",
        min(accuracy.values()),
        at_least=0.95,
        baseline=0.1,
    )
    context.table(
        "Optimisers on digits",
        ("optimiser", "loss after 1 epoch", "loss at the end", "test accuracy"),
        [
            (name, f"{h['loss'][0]:.3f}", f"{h['loss'][-1]:.4f}", f"{accuracy[name]:.1%}")
            for name, h in histories.items()
        ],
    )
    from . import plots

    context.draw(
        "optimizers-loss",
        plots.highlights,
        {name: h["loss"] for name, h in histories.items()},
        "Training loss on digits, all from the same weights",
        "loss",
    )
    context.draw(
        "optimizers-accuracy",
        plots.bars,
        accuracy,
        f"Test accuracy on digits after {len(histories['SGD'])} epochs",
        "test accuracy",
        target=0.95,
        low=0.90,
    )


TASK = Task(
    "optimizers",
    ("O5", "O6", "O7", "O8", "O9", "O10", "O11"),
    "Every optimiser from the same weights: SGD to Lion",
    _run,
)
