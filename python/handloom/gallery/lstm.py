"""The LSTM that writes: the next character of Python's manual, and text of its own."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np

from .. import data, nn, optim
from ..autograd import no_grad
from ..data.corpus import one_run
from ..nn import functional as F
from ..tensor import Array, Tensor
from .prose import n_gram_bits, split_topics
from .task import Context, Task

STREAMS, STEPS = 16, 64  # places at which the text is read at once, letters between two steps
BITS = 1 / math.log(2)


class Writer(nn.Module):
    """Letters as vectors, an LSTM, and a guess at the next letter after each."""

    def __init__(self, letters: int, hidden: int = 256, width: int = 48) -> None:
        super().__init__()
        self.letters = nn.Parameter(np.zeros((letters, width), np.float32))
        nn.init.normal_(self.letters, std=0.3)
        self.cell = nn.LSTM(width, hidden, forget_bias=1.0)
        self.last = nn.Linear(hidden, letters)

    def forward(self, x: Array, state: Any = None) -> tuple[Tensor, Any]:
        """Returns logits (N, T, letters) for codes (N, T), and the state to go on from."""
        y, state = self.cell(self.letters[x], state)
        return self.last(y), state


def train(context: Context, name: str, model: Writer, text: Array, epochs: int) -> list[float]:
    """Reads the text in streams, the state carried over, and returns the loss of each part.

    Backpropagation through time is cut after so many steps (Williams and Peng, 1990).
    """
    length = (len(text) - 1) // STREAMS
    x = text[: STREAMS * length].reshape(STREAMS, length)
    y = text[1 : STREAMS * length + 1].reshape(STREAMS, length)
    optimizer = optim.Adam(model.parameters(), lr=4e-3)
    starts = range(0, length - STEPS + 1, STEPS)
    decay = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(starts))
    losses = []
    for _ in range(epochs):
        state = None
        for start in starts:
            part = slice(start, start + STEPS)
            logits, (h, c) = model(x[:, part], state)
            loss = F.cross_entropy(logits, y[:, part])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            decay.step()
            state = h.detach(), c.detach()
            losses.append(loss.item())
    parts = [float(part.mean()) for part in np.array_split(losses, 10)]
    context.losses(name, parts)
    return parts


def bits(model: Writer, text: Array, steps: int = 256) -> float:
    """Returns the bits that a character of the text costs, read in one go."""
    total, state = 0.0, None
    with no_grad():
        for start in range(0, len(text) - 1, steps):
            y = text[None, start + 1 : start + 1 + steps]
            logits, state = model(text[None, start : start + y.shape[1]], state)
            total += F.cross_entropy(logits, y, reduction="sum").item()
    return total / (len(text) - 1) * BITS


def write(
    model: Writer, alphabet: str, begin: str, count: int, seed: int, temperature: float = 0.6
) -> str:
    """Returns `begin` and `count` characters that the model goes on with.

    The logits are divided by the temperature: 1 writes as the model believes, less is bolder.
    """
    rng = np.random.default_rng(seed)
    codes = [alphabet.index(letter) for letter in begin]
    asked, state = codes, None
    with no_grad():
        for _ in range(count):
            logits, state = model(np.array([asked]), state)
            scores = logits.numpy()[0, -1].astype(np.float64) / temperature
            p = np.exp(scores - scores.max())
            asked = [int(rng.choice(len(alphabet), p=p / p.sum()))]
            codes += asked
    return "".join(alphabet[code] for code in codes)


def _run(context: Context) -> None:
    kept, held_out = split_topics(data.python_topics())
    codes, alphabet = one_run(kept + held_out)
    text, test = np.split(codes, [len(codes) - len("\n\n".join(held_out))])
    if context.quick:
        text, test = text[:20_000], test[:5_000]
    model = Writer(len(alphabet))
    curve = train(context, "manual", model, text, context.epochs(3, 1))
    found = bits(model, test)
    orders = {n: n_gram_bits(text, test, len(alphabet), n) for n in (1, 2, 3, 4)}
    context.check(
        "Python's manual, held-out topics: bits a character",
        found,
        at_most=2.75,
        baseline=orders[3],
    )

    # Without order there is nothing to be learnt but how frequent the letters are.
    rng = np.random.default_rng(context.seed)
    mixed, mixed_test = rng.permutation(text), rng.permutation(test)
    blind = Writer(len(alphabet), hidden=64)
    train(context, "shuffled text", blind, mixed[:150_000], context.epochs(2, 1))
    context.check(
        "shuffled text: bits a character beyond the frequency of letters",
        bits(blind, mixed_test) - n_gram_bits(mixed, mixed_test, len(alphabet), 1),
        at_least=-0.01,
        baseline=found - orders[1],
    )
    names = {
        1: "frequency of letters",
        2: "one letter before",
        3: "two letters",
        4: "three letters",
    }
    context.table(
        f"Bits a character on {len(test)} held-out characters",
        ("", "bits"),
        [*((names[n], f"{value:.3f}") for n, value in orders.items()), ("LSTM", f"{found:.3f}")],
    )
    written = write(model, alphabet, "The ", 60 if context.quick else 600, context.seed)
    lines = [
        piece
        for line in written.splitlines()
        for piece in textwrap.wrap(" ".join(line.split()), 92)
    ]
    context.table("What it writes", ("after 'The '",), [(line,) for line in lines])
    from . import plots

    context.draw(
        "lstm-curve",
        plots.curves,
        {"training": [loss * BITS for loss in curve]},
        "LSTM on Python's manual",
        "bits a character",
        "tenth of the training",
    )
    context.save("lstm", model)


TASK = Task("lstm", ("N10", "X1", "X3", "X5"), "LSTM: a character model that writes", _run)
