"""RNN, LSTM and GRU side by side: numbers to learn, time, how far back they remember, accuracy.

A plain network's gradient shrinks or grows by about the same factor in each step that it goes back
(Bengio, Simard and Frasconi, 1994); the LSTM's and the GRU's gates give it a way on which it does
not (Hochreiter and Schmidhuber, 1997; Cho and others, 2014).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import manual_seed, nn, optim
from ..nn import functional as F
from ..tensor import Array
from ..train import fit, gradient_by_step, metrics, predict
from .sequence import Reader, parameters, vowels
from .task import Context, Task

HIDDEN, SYMBOLS = 64, 8
DELAYS = (4, 8, 16, 32, 64)
OPEN = 4.0


def open_gru(inputs: int) -> nn.GRU:
    """Returns a GRU whose update gate begins nearly open to what was: z = sigmoid(OPEN)."""
    cell = nn.GRU(inputs, HIDDEN)
    bias = next(p for name, p in cell.named_parameters() if name == "bias_ih_l0")
    bias.data[HIDDEN : 2 * HIDDEN] += OPEN
    return cell


# Gates that begin open let a state live for some fifty steps from the first (C. Tallec and
# Y. Ollivier, "Can recurrent neural networks warp time?", 2018).
CELLS: dict[str, Callable[[int], nn.RNN | nn.LSTM | nn.GRU]] = {
    "RNN": lambda inputs: nn.RNN(inputs, HIDDEN),
    "LSTM": lambda inputs: nn.LSTM(inputs, HIDDEN, forget_bias=OPEN),
    "GRU": open_gru,
}


def copy_task(rng: np.random.Generator, rows: int, delay: int) -> tuple[Array, Array]:
    """Returns sequences of random symbols (rows, delay + 1, SYMBOLS) and the first symbol of each.

    What is to be remembered is followed by `delay` others that are not.
    """
    symbols = rng.integers(SYMBOLS, size=(rows, delay + 1))
    return np.eye(SYMBOLS, dtype=np.float32)[symbols], symbols[:, 0]


def remembers(context: Context, kind: str, delay: int, steps: int) -> float:
    """Returns the accuracy on the copy task after at most so many steps of training."""
    manual_seed(context.seed)
    rng = np.random.default_rng((context.seed, delay))
    model = Reader(CELLS[kind](SYMBOLS), SYMBOLS)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        x, y = copy_task(rng, 64, delay)
        logits = model(x)
        F.cross_entropy(logits, y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 19 and metrics.accuracy(y, logits.numpy()) == 1:
            break
    x, y = copy_task(rng, 512, delay)
    return metrics.accuracy(y, predict(model, x))


def span(context: Context, kind: str) -> int:
    """Returns the longest delay up to which the copy task is learnt: 95 % right."""
    reached = 0
    for delay in DELAYS[:1] if context.quick else DELAYS:
        if remembers(context, kind, delay, context.epochs(600, 60)) < 0.95:
            break
        reached = delay
    return reached


def _run(context: Context) -> None:
    train, (x_test, lengths, y_test), names = vowels()
    rng = np.random.default_rng(context.seed)
    probe = copy_task(rng, 64, 63)
    spans: dict[str, int] = {}
    norms: dict[str, Array] = {}
    rows: list[tuple[str, ...]] = []
    for kind, cell in CELLS.items():
        manual_seed(context.seed)
        norms[kind] = gradient_by_step(Reader(cell(SYMBOLS), SYMBOLS), probe, F.cross_entropy)
        model = Reader(cell(12), len(names))
        epochs = context.epochs(30, 3)
        optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
        history = fit(
            model,
            train,
            loss=F.cross_entropy,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=16,
            scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
            clip_norm=1.0,
            progress=context.progress(kind),
            seed=context.seed,
        )
        context.losses(f"japanese_vowels, {kind}", history["loss"])
        accuracy = metrics.accuracy(y_test, predict(model, (x_test, lengths)))
        spans[kind] = span(context, kind)
        millis = 1e3 * history.seconds / (epochs * -(-len(train[0]) // 16))
        rows.append(
            (kind, str(parameters(model)), f"{millis:.2f} ms", str(spans[kind]), f"{accuracy:.1%}")
        )
        if kind != "RNN":
            context.check(
                f"copy task, {kind}: steps remembered", spans[kind], at_least=32,
                baseline=spans["RNN"],
            )  # fmt: skip
    faded = {kind: n[0] / n[-1] for kind, n in norms.items()}
    context.check(
        "RNN before training: gradient of step 1 over that of step 64",
        faded["RNN"],
        at_most=1e-9,
        baseline=faded["LSTM"],
    )
    context.table(
        f"{HIDDEN} units each: training step of 16 utterances, copy task, japanese_vowels",
        ("", "parameters", "time per step", "steps remembered", "test accuracy"),
        rows,
    )
    from . import plots

    context.draw(
        "memory-gradients",
        plots.steps,
        norms,
        "How much of the gradient gets back to each step, before training",
        "step of the sequence; the loss is at the last one",
        "norm of the input's gradient",
    )


TASK = Task(
    "memory",
    ("X10", "X2", "G1"),
    "RNN, LSTM and GRU: parameters, time, memory, gradients through time",
    _run,
)
