"""The encoder-only Transformer: which characters are hidden here?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import nn, optim
from ..models import Encoder, MaskedLM
from ..tensor import Array
from ..train import fit, predict
from .char_lm import LENGTH, corpus, windows
from .task import Context, Task

SHARE = 0.15
IGNORED = -100  # what cross_entropy passes over


def masked(rows: Array, mask: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Hides characters, and returns what is left and the hidden ones, `IGNORED` elsewhere.

    Devlin et al., "BERT" (2019): of 15 % of the characters 8 in 10 become the mask, one in 10 any
    character, and one stays, so that the network must not trust what it sees.
    """
    lot = random.random(rows.shape)
    seen = np.where(lot < 0.8 * SHARE, mask, rows)
    other = (lot >= 0.8 * SHARE) & (lot < 0.9 * SHARE)
    seen = np.where(other, random.integers(4, mask, rows.shape), seen)
    return seen, np.where(lot < SHARE, rows, IGNORED)


class Batches:
    """Batches of 32 rows in an order, and with masks, that are new in each epoch."""

    def __init__(self, rows: Array, mask: int, seed: int) -> None:
        self.rows, self.mask = rows, mask
        self._random = np.random.Generator(np.random.Philox(seed))

    def __len__(self) -> int:
        return -(-len(self.rows) // 32)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        order = self._random.permutation(len(self.rows))
        for i in range(0, len(order), 32):
            yield masked(self.rows[order[i : i + 32]], self.mask, self._random)


def _run(context: Context) -> None:
    tokens, learnt, held_out = corpus()
    if context.quick:
        learnt = learnt[:20_000]
    rows, _ = windows(learnt, LENGTH // 2)
    mask = len(tokens)  # one more than there are characters
    batches = Batches(rows, mask, context.seed)
    epochs = context.epochs(4, 2)
    model = MaskedLM(
        Encoder(mask + 1, 128, 4, 3, LENGTH, norm_first=True, eps=1e-5),
    )
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    history = fit(
        model,
        batches,
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(batches)),
        clip_norm=1.0,
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("pydoc", history["loss"])
    x, target = masked(windows(held_out, LENGTH)[0], mask, np.random.default_rng(0))
    said = predict(model, x).argmax(-1)
    hidden = target != IGNORED
    true = target[hidden]
    frequent = np.bincount(learnt).argmax()
    context.check(
        "pydoc: share of hidden characters that it tells",
        float((said[hidden] == true).mean()),
        at_least=0.5,
        baseline=float((true == frequent).mean()),
    )
    names = (*tokens.tokens, "·")

    def text(numbers: Array) -> str:
        return "".join(names[i].replace("\n", " ") for i in numbers)

    context.table(
        "What it reads (· is hidden) and what it makes of it",
        ("", ""),
        [
            (text(x[i]), text(np.where(hidden[i], said[i], x[i])))
            for i in range(0, len(x), max(1, len(x) // 4))
        ],
    )
    context.save("masked_lm", model)


TASK = Task(
    "masked_lm",
    ("N17", "F6"),
    "Transformer, encoder only: characters that are hidden in Python's help",
    _run,
)
