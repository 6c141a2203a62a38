"""The decoder-only Transformer: which character comes next?"""

from __future__ import annotations

import math

import numpy as np

from .. import data, nn, optim, text
from ..models import CausalLM, generate
from ..tensor import Array
from ..train import fit, metrics, predict
from .prose import n_gram_bits, split_topics
from .task import Context, Task

LENGTH = 64


def corpus() -> tuple[text.Tokenizer, Array, Array]:
    """Returns the characters of Python's manual, and the numbers of those to learn from and of
    those that are held out."""
    learnt, held_out = map("".join, split_topics(data.python_topics()))
    tokens = text.CharTokenizer.train([learnt])
    return tokens, *(np.array(tokens.encode(part)) for part in (learnt, held_out))  # type: ignore[return-value]


def windows(characters: Array, stride: int) -> tuple[Array, Array]:
    """Returns runs of characters (N, 64), one every `stride`, and what follows each (N, 64)."""
    rows = np.lib.stride_tricks.sliding_window_view(characters, LENGTH + 1)[::stride]
    return rows[:, :-1].copy(), rows[:, 1:].copy()


def _run(context: Context) -> None:
    tokens, learnt, held_out = corpus()
    if context.quick:
        learnt = learnt[:20_000]
    x, y = windows(learnt, 32)
    epochs = context.epochs(3, 2)
    model = CausalLM(len(tokens), 128, 4, 3, LENGTH, positions="alibi")
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    steps = epochs * math.ceil(len(x) / 32)
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps),
        clip_norm=1.0,
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("pydoc", history["loss"])
    model.eval()
    bits = metrics.bits_per_character(held_out_loss(model, held_out))
    orders = {n: n_gram_bits(learnt, held_out, len(tokens), n) for n in (1, 2, 3)}
    context.check("pydoc: bits per character", bits, at_most=2.8, baseline=orders[3])
    rows: list[tuple[str, ...]] = [(f"counts of {n}-grams", f"{b:.3f}") for n, b in orders.items()]
    context.table(
        "Bits per character of topics that were held out",
        ("", "bits"),
        [*rows, ("Transformer", f"{bits:.3f}")],
    )
    prompt = "The class "
    numbers = np.array([tokens.encode(prompt)])
    samples: list[tuple[str, ...]] = []
    for how, heat in (("most likely", 0.0), ("temperature 0.7", 0.7), ("temperature 1", 1.0)):
        written = generate(
            model, numbers, model.start(), length=120, temperature=heat, seed=context.seed
        )
        samples.append((" ".join((prompt + tokens.decode(written[0])).split()), how))
    context.table(f"What it writes after {prompt!r}", ("", "drawn"), samples)
    from . import plots

    context.draw(
        "char_lm-loss",
        plots.curves,
        {"training": [metrics.bits_per_character(v) for v in history["loss"]]},
        "a Transformer learns to spell",
        "bits per character",
    )
    context.save("char_lm", model)


def held_out_loss(model: nn.Module, characters: Array) -> float:
    """Returns the mean nats of characters that have at least 32 before them."""
    x, y = windows(characters, LENGTH // 2)
    logits = predict(model, x)[:, LENGTH // 2 :]
    return nn.functional.cross_entropy(logits, y[:, LENGTH // 2 :].copy()).item()


TASK = Task(
    "char_lm",
    ("N18", "E5", "Q3", "Q5"),
    "Transformer, decoder only: the next character of Python's help",
    _run,
)
