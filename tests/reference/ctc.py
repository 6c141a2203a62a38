"""Connectionist temporal classification, sample by sample and place by place."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op

from .loss import reduced
from .softmax import log_softmax


def inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Log-probabilities, targets with repeats, and lengths into which they fit."""
    options = dict(case.options)
    ((n, t, c),) = case.shapes
    blank = options.get("blank", 0)
    sizes = rng.integers(0, options["labels"] + 1, n)
    lengths = np.maximum(rng.integers(0, t + 1, n), np.minimum(2 * sizes, t))
    sizes = np.minimum(sizes, lengths // 2)
    labels = rng.integers(0, c - 1, (n, options["labels"]))
    return (
        log_softmax(2 * rng.standard_normal((n, t, c))),
        labels + (labels >= blank),
        lengths,
        sizes,
    )


def one(logp: Any, target: Any, blank: int) -> Any:
    """-log of the sum over all readings of one sample."""
    places = [blank]
    for label in target:
        places += [label, blank]
    if len(logp) == 0:
        return logp.dtype.type(0 if len(target) == 0 else np.inf)
    alpha = np.full(len(places), -np.inf, logp.dtype)
    alpha[:2] = logp[0, places[:2]]
    for row in logp[1:]:
        before = alpha.copy()
        for s, label in enumerate(places):
            ways = before[max(s - 1, 0) : s + 1]
            if s >= 2 and label not in (blank, places[s - 2]):
                ways = before[s - 2 : s + 1]
            alpha[s] = np.logaddexp.reduce(ways) + row[label]
    return -np.logaddexp.reduce(alpha[-2:])


def ctc_loss(
    logp: Any,
    targets: Any,
    lengths: Any,
    sizes: Any,
    labels: int,
    blank: int = 0,
    reduction: str = "mean",
) -> Any:
    rows = zip(logp, targets, lengths, sizes)
    each = np.array([one(x[:n], t[:s], blank) for x, t, n, s in rows], logp.dtype)
    return reduced(each / np.maximum(sizes, 1) if reduction == "mean" else each, reduction).astype(
        logp.dtype
    )


def forward(*args: Any, labels: int, **options: Any) -> Any:
    return kernels.ctc_loss(*args, **options)


def backward(dy: Any, args: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
    options = {k: v for k, v in options.items() if k != "labels"}
    _, saved = kernels.ctc_loss(*args, **options, return_saved=True)
    return (kernels.ctc_loss_backward(dy, *args, saved, **options),)


OPS = {
    "ctc_loss": Op(
        forward,
        ctc_loss,
        inputs=inputs,
        magnitude=lambda *args, **options: np.abs(ctc_loss(*args, **options)),
        backward=backward,
    )
}

CASES = tuple(
    Case("loss", "ctc_loss", "ctc_loss", (shape,), options=tuple(sorted(options.items())))
    for shape, labels in (((1, 1, 2), 1), ((5, 9, 4), 3), ((4, 21, 6), 9), ((3, 40, 30), 17))
    for reduction in ("none", "mean", "sum")
    for options in (
        {"labels": labels, "reduction": reduction},
        {"labels": labels, "reduction": reduction, "blank": shape[-1] - 1},
    )
)
