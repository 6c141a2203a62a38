"""From letters to phonemes: six ways to read one sequence and write another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

import numpy as np

from .. import data, text
from ..models import RNNSeq2Seq, TransformerSeq2Seq, generate
from ..train import metrics
from .task import Context, Task
from .writing import learn

LETTERS = 6
PHONEMES = 12  # no spoken word of six letters is longer
Model = Union[RNNSeq2Seq, TransformerSeq2Seq]  # noqa: UP007  evaluated at run time

MODELS: dict[str, Callable[[int, int], Model]] = {
    "GRU, no attention": lambda s, t: RNNSeq2Seq(s, t, 128),
    "GRU, additive attention": lambda s, t: RNNSeq2Seq(s, t, 128, "additive"),
    "GRU, dot attention": lambda s, t: RNNSeq2Seq(s, t, 128, "dot"),
    "GRU, local attention": lambda s, t: RNNSeq2Seq(s, t, 128, "local"),
    "GRU, hard attention": lambda s, t: RNNSeq2Seq(s, t, 128, "hard"),
    "Transformer": lambda s, t: TransformerSeq2Seq(s, t, 128, 4, 2, 32),
}

BOUNDS = {"GRU, no attention": 0.25, "Transformer": 0.25}  # of the others 0.20


def _run(context: Context) -> None:
    pairs = [(w, p) for w, p in data.load_pairs("cmudict") if len(w) <= LETTERS]
    letters = text.CharTokenizer.train(w for w, _ in pairs)
    sounds = text.WordTokenizer.train(p for _, p in pairs)
    order = np.random.default_rng(0).permutation(len(pairs))
    held_out, learnt = ([pairs[i] for i in part] for part in (order[:1000], order[1000:]))
    if context.quick:
        held_out, learnt = held_out[:100], learnt[:1000]
    source, lengths = text.pad([letters.encode(w) for w, _ in learnt])
    target, _ = text.pad([sounds.encode(p, begin=True, end=True) for _, p in learnt])
    rows: list[tuple[str, ...]] = []
    plain: float | None = None  # without attention
    for name, build in MODELS.items():
        model = build(len(letters), len(sounds))
        learn(
            context,
            name,
            model,
            (source, lengths),
            target,
            epochs=context.epochs(3, 2),
            batch_size=128,
            progress=name,
        )
        said = spoken(model, letters, sounds, [w for w, _ in held_out])
        true = [p.split() for _, p in held_out]
        rate = metrics.error_rate(true, said)
        plain = rate if plain is None else plain
        context.check(
            f"cmudict, {name}: phoneme error rate",
            rate,
            at_most=BOUNDS.get(name, 0.20),
            baseline=plain if rows else None,  # what attention has to beat
        )
        whole = np.mean([t == s for t, s in zip(true, said)])
        rows.append((name, f"{rate:.3f}", f"{whole:.3f}", " ".join(said[0]), " ".join(said[1])))
        _draw(context, name, model, letters, sounds)
        context.save(f"phonemes-{name.lower().replace(', ', '-').replace(' ', '-')}", model)
    context.table(
        "Words of up to six letters that it has not seen",
        ("", "phoneme errors", "words right", *(w for w, _ in held_out[:2])),
        rows,
    )


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
