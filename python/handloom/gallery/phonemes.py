"""From letters to phonemes: six ways to read one sequence and write another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

import numpy as np

from .. import data, text
from ..models import RNNSeq2Seq, TransformerSeq2Seq, generate
from ..train import metrics
from .task import Context, Task
from .writing import learn

LETTERS = 10
SHORT, LONG = 6, 8  # letters at most, letters at least
PHONEMES = 16  # no spoken word of ten letters is longer
Model = Union[RNNSeq2Seq, TransformerSeq2Seq]  # noqa: UP007  evaluated at run time

PLAIN, TRANSFORMER = "GRU, no attention", "Transformer"
MODELS: dict[str, Callable[[int, int], Model]] = {
    PLAIN: lambda s, t: RNNSeq2Seq(s, t, 128),
    "GRU, additive attention": lambda s, t: RNNSeq2Seq(s, t, 128, "additive"),
    "GRU, dot attention": lambda s, t: RNNSeq2Seq(s, t, 128, "dot"),
    "GRU, local attention": lambda s, t: RNNSeq2Seq(s, t, 128, "local"),
    "GRU, hard attention": lambda s, t: RNNSeq2Seq(s, t, 128, "hard"),
    TRANSFORMER: lambda s, t: TransformerSeq2Seq(s, t, 128, 4, 2, 32),
}


@dataclass(frozen=True)
class Errors:
    """Phoneme error rates on words that were held out: all, the short ones, the long ones."""

    all: float
    short: float
    long: float


def _run(context: Context) -> None:
    pairs = [(w, p) for w, p in data.load_pairs("cmudict") if len(w) <= LETTERS]
    letters = text.CharTokenizer.train(w for w, _ in pairs)
    sounds = text.WordTokenizer.train(p for _, p in pairs)
    order = np.random.default_rng(0).permutation(len(pairs))
    held_out, learnt = ([pairs[i] for i in part] for part in (order[:2000], order[2000:]))
    if context.quick:
        held_out, learnt = held_out[:100], learnt[:800]
    source, lengths = text.pad([letters.encode(w) for w, _ in learnt])
    target, _ = text.pad([sounds.encode(p, begin=True, end=True) for _, p in learnt])
    words = [w for w, _ in held_out]
    true = [p.split() for _, p in held_out]
    found: dict[str, Errors] = {}
    rows: list[tuple[str, ...]] = []
    for name, build in MODELS.items():
        model = build(len(letters), len(sounds))
        learn(
            context,
            name,
            model,
            (source, lengths),
            target,
            epochs=context.epochs(2, 2),
            batch_size=128,
            progress=name,
        )
        said = spoken(model, letters, sounds, words)
        errors = found[name] = _errors(words, true, said)
        whole = np.mean([t == s for t, s in zip(true, said)])
        rates = (errors.all, errors.short, errors.long, whole)
        rows.append((name, *(f"{rate:.3f}" for rate in rates), *map(" ".join, said[:2])))
        _draw(context, name, model, letters, sounds)
        context.save(f"phonemes-{name.lower().replace(', ', '-').replace(' ', '-')}", model)
    _check(context, found)
    context.table(
        f"Words of up to {LETTERS} letters that it has not seen: phoneme error rates",
        ("", "all", f"≤ {SHORT} letters", f"≥ {LONG} letters", "words right", *words[:2]),
        rows,
    )


def _errors(words: list[str], true: list[list[str]], said: list[list[str]]) -> Errors:
    def rate(keep: Callable[[int], bool]) -> float:
        rows = [i for i, word in enumerate(words) if keep(len(word))]
        return metrics.error_rate([true[i] for i in rows], [said[i] for i in rows])

    return Errors(rate(lambda n: True), rate(lambda n: n <= SHORT), rate(lambda n: n >= LONG))


def _check(context: Context, found: dict[str, Errors]) -> None:
    plain = found[PLAIN]
    soft = [found[f"GRU, {kind} attention"] for kind in ("additive", "dot")]
    rate = "cmudict, {}: phoneme error rate"
    context.check(rate.format(PLAIN) + f", ≤ {SHORT} letters", plain.short, at_most=0.25)
    for name, errors in found.items():
        if name != PLAIN:
            bound = 0.25 if name == TRANSFORMER else 0.20
            context.check(rate.format(name), errors.all, at_most=bound, baseline=plain.all)
    for kind, errors in zip(("additive", "dot"), soft):
        context.check(
            f"≥ {LONG} letters: errors that {kind} attention spares",
            plain.long - errors.long,
            at_least=0.02,
            baseline=0.0,
        )
    local, hard = found["GRU, local attention"], found["GRU, hard attention"]
    context.check(
        "local attention: errors beyond the better of those two",
        local.all - min(errors.all for errors in soft),
        at_most=0.05,
    )
    context.check("hard attention: errors that it spares", plain.all - hard.all, at_least=0.0)


def spoken(
    model: Model, letters: text.Tokenizer, sounds: text.Tokenizer, words: list[str]
) -> list[list[str]]:
    """Returns the most likely phonemes of words, one after the other."""
    model.eval()
    source, lengths = text.pad([letters.encode(w) for w in words])
    begin = np.full((len(words), 1), sounds.begin)
    state = model.start(source, lengths)
    found = generate(model, begin, state, length=PHONEMES, end=sounds.end)
    return [sounds.decode(row).split() for row in found]


def _draw(
    context: Context, name: str, model: Model, letters: text.Tokenizer, sounds: text.Tokenizer
) -> None:
    if not isinstance(model, RNNSeq2Seq) or model.attention is None:
        return
    from . import pictures

    word = "school"
    said = spoken(model, letters, sounds, [word])[0]
    weights = model.weights(
        np.array([letters.encode(word)]),
        np.array([len(word)]),
        np.array([sounds.encode(" ".join(said), begin=True)[:-1]]),
    )
    assert weights is not None
    context.draw(
        f"phonemes-{model.attention.kind}",
        pictures.alignment,
        weights[0],
        list(word),
        said,
        f"{name}: which letters each sound is made of",
    )


TASK = Task(
    "phonemes",
    ("N16", "N22", "N23", "N24", "F1", "F2", "F3", "F4", "F5", "Q1", "Q2"),
    "Sequence to sequence: how is this word spoken?",
    _run,
)
