"""Image captioning: how many digits are there, and which?"""

from __future__ import annotations

import numpy as np

from .. import data, text
from .._arrays import Array
from ..models import Captioner, generate
from ..train import metrics
from .task import Context, Task
from .writing import learn

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST = 3  # digits side by side


def rows_of_digits(images: Array, labels: Array, count: int, seed: int) -> tuple[Array, list[str]]:
    """Puts one to three digits beside each other: (count, H, 3 W, 1), and says them in words."""
    random = np.random.default_rng(seed)
    n, h, w, _ = images.shape
    chosen = random.integers(n, size=(count, MOST))
    numbers = random.integers(1, MOST + 1, count)
    shown = images[chosen] * (np.arange(MOST) < numbers[:, None])[:, :, None, None, None]
    strips = shown.transpose(0, 2, 1, 3, 4).reshape(count, h, MOST * w, 1)
    captions = [
        " ".join(WORDS[label] for label in labels[row[:k]])
        for row, k in zip(chosen, numbers, strict=True)
    ]
    return np.ascontiguousarray(strips, np.float32), captions


def described(model: Captioner, words: text.Tokenizer, images: Array) -> list[str]:
    """Returns the most likely caption of each image."""
    model.eval()
    begin = np.full((len(images), 1), words.begin)
    found = generate(model, begin, model.start(images), length=MOST + 1, end=words.end)
    return [words.decode(row) for row in found]


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    seen, captions = rows_of_digits(x, y, 600 if context.quick else 12000, context.seed)
    unseen, true = rows_of_digits(x_test, y_test, 100 if context.quick else 1000, 1)
    words = text.WordTokenizer.train(WORDS)
    target, _ = text.pad([words.encode(c, begin=True, end=True) for c in captions])
    model = Captioner(28, 1, len(words), dropout=0.25)
    learn(context, "captions", model, (seen,), target, epochs=context.epochs(8, 2))
    said = described(model, words, unseen)
    context.check(
        "mnist_5k in rows: words right (1 - word error rate)",
        1 - metrics.word_error_rate(true, said),
        at_least=0.90,
        baseline=0.1,
    )
    whole = np.mean([t == s for t, s in zip(true, said, strict=True)])
    counted = np.mean([len(t.split()) == len(s.split()) for t, s in zip(true, said, strict=True)])
    context.table(
        "Rows of digits that nobody has seen",
        ("words wrong", "captions right", "counted right", "true", "said"),
        [
            (
                f"{metrics.word_error_rate(true, said):.3f}",
                f"{whole:.3f}",
                f"{counted:.3f}",
                true[0],
                said[0],
            )
        ],
    )
    _draw(context, model, words, unseen, said)
    context.save("caption", model)


def _draw(
    context: Context, model: Captioner, words: text.Tokenizer, images: Array, said: list[str]
) -> None:
    from . import pictures

    longest = [i for i, caption in enumerate(said) if len(caption.split()) == MOST][:4]
    if not longest:
        return
    written = [words.encode(said[i], begin=True) for i in longest]
    weights = model.weights(images[longest], np.array(written)[:, :-1])
    assert weights is not None
    context.draw(
        "caption",
        pictures.looks,
        images[longest][..., 0],
        weights,
        [said[i].split() for i in longest],
        "where it looks as it says a word",
    )


TASK = Task(
    "caption",
    ("N25", "F1", "F2", "Q1"),
    "Image captioning: rows of digits in words",
    _run,
)
