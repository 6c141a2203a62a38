"""Translation, there and back again: names of places and languages, letter by letter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import data, text
from ..models import RNNSeq2Seq, generate
from ..train import metrics
from .task import Context, Task
from .writing import learn

LETTERS = 30
Pairs = list[tuple[str, str]]


class Translator(NamedTuple):
    """A model with the letters that it reads and writes."""

    model: RNNSeq2Seq
    source: text.Tokenizer
    target: text.Tokenizer

    def __call__(self, names: list[str]) -> list[str]:
        """Returns the translations."""
        self.model.eval()
        tokens, lengths = text.pad([self.source.encode(name) for name in names])
        state = self.model.start(tokens, lengths)
        begin = np.full((len(names), 1), self.target.begin)
        said = generate(
            self.model, begin, state, length=LETTERS + LETTERS // 2, end=self.target.end
        )
        return [self.target.decode(row) for row in said]


def translator(pairs: Pairs, context: Context, label: str) -> Translator:
    """Trains a translator on pairs of strings."""
    source = text.CharTokenizer.train(a for a, _ in pairs)
    target = text.CharTokenizer.train(b for _, b in pairs)
    read, lengths = text.pad([source.encode(a) for a, _ in pairs])
    write, _ = text.pad([target.encode(b, begin=True, end=True) for _, b in pairs])
    model = RNNSeq2Seq(len(source), len(target), 128, "additive", dropout=0.2)
    epochs = context.epochs(14, 2)
    learn(context, label, model, (read, lengths), write, epochs=epochs, peak=4e-3, progress=label)
    return Translator(model, source, target)


def _run(context: Context) -> None:
    pairs = [p for p in data.load_pairs("names_fr") if max(map(len, p)) <= LETTERS]
    order = np.random.default_rng(0).permutation(len(pairs))
    held_out, learnt = ([pairs[i] for i in part] for part in (order[:500], order[500:]))
    if context.quick:
        held_out, learnt = held_out[:60], learnt[:500]
    english, french = [a for a, _ in held_out], [b for _, b in held_out]
    there = translator(learnt, context, "English to French")
    back = translator([(b, a) for a, b in learnt], context, "French to English")
    for label, true, said, copied in (
        ("English to French", french, there(english), english),
        ("French to English", english, back(french), french),
    ):
        context.check(
            f"names, {label}: character error rate",
            metrics.character_error_rate(true, said),
            at_most=min(0.40, metrics.character_error_rate(true, copied)),
            baseline=metrics.character_error_rate(true, copied),  # leave it as it is
        )
    again = back(there(english))
    context.table(
        "There and back again: names that they have not seen",
        ("English", "French", "said", "and back"),
        [tuple(row) for row in zip(english, french, there(english), again)][:8],
    )
    context.save("translation-there", there.model)
    context.save("translation-back", back.model)


TASK = Task(
    "translation",
    ("N24", "F2", "U13", "Q1"),
    "Translation and back: English names in French",
    _run,
)
