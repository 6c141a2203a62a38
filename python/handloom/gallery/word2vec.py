"""word2vec: what stands beside a word says what it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from .. import data, nn, optim
from .._arrays import Array
from ..autograd import no_grad
from ..models import SkipGram
from ..models.word2vec import negative_sampling_loss, noise, windows
from ..nn import functional as F
from .prose import split_topics
from .task import Context, Task

FEATURES, NEIGHBOURS, DRAWN = 48, 3, 5
ASKED = ("list", "class", "exception", "integer", "true", "returns")


def _run(context: Context) -> None:
    learnt, held_out = (
        re.findall(r"[a-z_]+", " ".join(part).lower())
        for part in split_topics(data.python_topics())
    )
    counts = Counter(learnt)
    words = sorted((w for w, n in counts.items() if n >= 5), key=lambda w: (-counts[w], w))
    numbers = {word: i for i, word in enumerate(words)}
    texts = [np.array([numbers[w] for w in part if w in numbers]) for part in (learnt, held_out)]
    share = np.bincount(texts[0], minlength=len(words)) / len(texts[0])
    known, unknown = (_thinned(part, share, seed) for seed, part in enumerate(texts))
    frequent = np.bincount(known, minlength=len(words))
    model = SkipGram(len(words), FEATURES)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for epoch in range(context.epochs(3, 2)):
        total = rows = 0.0
        for inputs, candidates in _batches(known, frequent, epoch, context):
            loss = negative_sampling_loss(model(inputs, candidates))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total, rows = total + loss.item() * len(inputs), rows + len(inputs)
        losses.append(total / rows)
    context.losses("skip-gram", losses)
    model.eval()
    asked = _held_out(unknown, frequent)
    with no_grad():
        achieved = negative_sampling_loss(model(*asked)).item()
    unigram = _loss_of_counts(frequent, asked[1])
    context.check("manual: loss of held-out pairs", achieved, at_most=unigram, baseline=unigram)
    table = model.words.weight.detach()
    there = [word for word in ASKED if word in numbers]
    _, near = F.nearest_neighbours(table[[numbers[w] for w in there]], table, 7)
    context.table(
        "What stands in the same places",
        ("word", "nearest"),
        [
            (word, ", ".join(words[i] for i in row if words[i] != word))
            for word, row in zip(there, near.tolist(), strict=True)
        ],
    )
    context.save("word2vec", model)


def _thinned(text: Array, share: Array, seed: int) -> Array:
    """Leaves out words that are everywhere: they say little of their neighbours.

    Mikolov et al., "Distributed representations of words and phrases and their compositionality"
    (2013), section 2.3.
    """
    keep = np.sqrt(1e-3 / np.maximum(share, 1e-3))
    return text[np.random.default_rng(seed).random(len(text)) < keep[text]]


def _pairs(text: Array) -> tuple[Array, Array]:
    """Every word with each of its neighbours: (M,) and (M,)."""
    middle, around = windows(text, NEIGHBOURS)
    return np.repeat(middle, around.shape[1]), around.reshape(-1)


def _batches(
    text: Array, frequent: Array, epoch: int, context: Context
) -> Iterator[tuple[Array, Array]]:
    random = np.random.default_rng((context.seed, epoch))
    middle, beside = _pairs(text)
    order = random.permutation(len(middle))[: 20_000 if context.quick else None]
    for at in range(0, len(order), 512):
        rows = order[at : at + 512]
        drawn = noise(frequent, (len(rows), DRAWN), random)
        yield middle[rows], np.concatenate([beside[rows, None], drawn], 1)


def _held_out(text: Array, frequent: Array) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    middle, beside = _pairs(text)
    drawn = noise(frequent, (len(middle), DRAWN), random)
    return middle, np.concatenate([beside[:, None], drawn], 1)


def _loss_of_counts(frequent: Array, candidates: Array) -> float:
    """The loss of who knows how frequent words are, and not which one is asked about.

    The best score of a word that does not see the other is log p(word) / (k p_noise(word)).
    """
    p = (frequent + 1) / (frequent + 1).sum()
    drawn = frequent**0.75 / (frequent**0.75).sum()
    scores = np.log(p / (DRAWN * drawn))[candidates].astype(np.float32)
    return negative_sampling_loss(nn.Parameter(scores)).item()


TASK = Task("word2vec", ("E10",), "word2vec: words by the company that they keep", _run)
