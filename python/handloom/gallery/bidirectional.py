"""Networks that read from both ends: what a character of a program is, and who speaks."""

from __future__ import annotations

import numpy as np

from .. import data, manual_seed, nn, optim
from ..data.corpus import TOKEN_CLASSES, one_run, token_classes
from ..nn import functional as F
from ..tensor import Array, Tensor
from ..train import fit, metrics, predict
from .sequence import Reader, learn_vowels
from .task import Context, Task

WINDOW = 256
CALL = TOKEN_CLASSES.index("CALL")


class Tagger(nn.Module):
    """Many to many: letters as vectors, an LSTM, and a class for each letter."""

    def __init__(self, letters: int, bidirectional: bool, hidden: int = 64) -> None:
        super().__init__()
        self.letters = nn.Parameter(np.zeros((letters, 32), np.float32))
        nn.init.normal_(self.letters, std=0.3)
        self.cell = nn.LSTM(32, hidden, bidirectional=bidirectional, forget_bias=1.0)
        self.last = nn.Linear(hidden * self.cell.directions, len(TOKEN_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, T, classes) for codes (N, T)."""
        y, _ = self.cell(self.letters[x])
        found: Tensor = self.last(y)
        return found


def windows(sources: list[str], alphabet: str) -> tuple[Array, Array]:
    """Returns codes and classes (N, WINDOW) of the whole windows of programs.

    A letter that is not in the alphabet is read as its last one.
    """
    place = {letter: i for i, letter in enumerate(alphabet)}
    x, y = [], []
    for source in sources:
        n = len(source) // WINDOW * WINDOW
        codes = [place.get(letter, len(alphabet) - 1) for letter in source[:n]]
        x.append(np.array(codes, np.int64).reshape(-1, WINDOW))
        y.append(token_classes(source)[:n].reshape(-1, WINDOW))
    return np.concatenate(x), np.concatenate(y)


def _tokens(context: Context) -> None:
    sources = data.python_sources(6 if context.quick else 60)
    tests = sources[4::5]
    kept = [source for i, source in enumerate(sources) if i % 5 != 4]
    _, alphabet = one_run(kept)
    x, y = windows(kept, alphabet)
    x_test, y_test = windows(tests, alphabet)
    if context.quick:
        x, y, x_test, y_test = (v[:200] for v in (x, y, x_test, y_test))
    scores: dict[str, Array] = {}
    curves: dict[str, list[float]] = {}
    for name, both in (("LSTM", False), ("BiLSTM", True)):
        manual_seed(context.seed)
        model = Tagger(len(alphabet), both)
        epochs = context.epochs(2, 2)
        optimizer = optim.Adam(model.parameters(), lr=5e-3)
        steps = epochs * -(-len(x) // 32)
        history = fit(
            model,
            (x, y),
            loss=F.cross_entropy,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=32,
            scheduler=optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=steps),
            clip_norm=1.0,
            progress=context.progress(name),
            seed=context.seed,
        )
        curves[name] = history["loss"]
        context.losses(f"tokens, {name}", history["loss"])
        called = predict(model, x_test).argmax(axis=-1)
        scores[name] = metrics.f1_score(
            y_test.ravel(), called.ravel(), average=None, num_classes=len(TOKEN_CLASSES)
        )
        context.save(f"bidirectional-{name.lower()}", model)
    one, two = scores["LSTM"], scores["BiLSTM"]
    context.check(
        "tokens of unseen programs, BiLSTM: macro F1",
        two.mean(),
        at_least=0.90,
        baseline=one.mean(),
    )
    context.check(
        "tokens: F1 of CALL, BiLSTM beyond LSTM", two[CALL] - one[CALL], at_least=0.05, baseline=0
    )
    shares = np.bincount(y_test.ravel(), minlength=len(TOKEN_CLASSES)) / y_test.size
    context.table(
        "F1 of each class of characters",
        ("class", "share", *scores),
        [
            (name, f"{shares[i]:.3f}", *(f"{f1[i]:.3f}" for f1 in scores.values()))
            for i, name in enumerate(TOKEN_CLASSES)
        ],
    )
    from . import plots

    context.draw(
        "bidirectional-tokens",
        plots.bars,
        {f"{name}, {kind}": f1[TOKEN_CLASSES.index(kind)]
         for kind in ("CALL", "NAME", "STRING") for name, f1 in scores.items()},
        "Which characters need what comes after them",
        "F1 on unseen programs",
    )  # fmt: skip


def _vowels(context: Context) -> None:
    manual_seed(context.seed)
    _, _, logits, y_test, names = learn_vowels(
        context,
        "japanese_vowels, BiRNN",
        lambda speakers: Reader(nn.RNN(12, 64, bidirectional=True), speakers),
        lr=2e-3,
        at_least=0.95,
        progress="BiRNN",
    )
    from . import plots

    context.draw(
        "bidirectional-vowels",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        names,
        f"{len(y_test)} utterances of nine speakers",
    )


def _run(context: Context) -> None:
    _tokens(context)
    _vowels(context)


TASK = Task("bidirectional", ("N12", "N13"), "Both directions: tokens of programs, speakers", _run)
