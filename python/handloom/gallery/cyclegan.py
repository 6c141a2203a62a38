"""CycleGAN: two collections of digits, each redrawn in the other's hand, learned without pairs.

A are the 8 by 8 digits of UCI, doubled to 16 by 16; B are the middles of MNIST's, at 16 by 16.
"""

from __future__ import annotations

import numpy as np

from .. import data, kernels, manual_seed
from .._arrays import Array
from ..data import augment
from ..models import CycleGAN, Translator, patch_critic
from .judge import Judge, digits
from .task import Context, Task


def enlarged(x: Array) -> Array:
    """8 by 8 to 16 by 16, between the pixels by straight lines."""
    return kernels.interpolate(x, size=(16, 16), mode="bilinear")


def middles() -> tuple[Array, Array, Array, Array]:
    """MNIST's digits without their margin of 4, at 16 by 16 in [−1, 1]."""
    found = data.load("mnist_5k")
    inner = np.ascontiguousarray(found.x[:, 4:24, 4:24])
    x = kernels.interpolate(inner, size=(16, 16), mode="bilinear") * 2 - 1
    return data.train_test_split(x, found.y, test_size=0.2, stratify=found.y)  # type: ignore[return-value]


def shaken(x: Array, y: Array, copies: int, seed: int) -> tuple[Array, Array]:
    """Images and copies of them, turned, moved, sized and slanted: who has learned from these
    recognises a digit in another hand as well.
    """
    move = augment.RandomAffine(degrees=15, translate=0.1, scale=(0.8, 1.2), shear=10)
    ink, rows = (x + 1) / 2, np.arange(len(x))
    moved = [np.asarray(move(ink, index=rows, epoch=i, seed=seed)) for i in range(copies)]
    return np.concatenate([ink, *moved]) * 2 - 1, np.tile(y, copies + 1)


def _run(context: Context) -> None:
    a, a_test, ya, ya_test = digits(8)
    a, a_test = enlarged(a), enlarged(a_test)
    b, b_test, yb, yb_test = middles()
    if context.quick:
        b, yb = b[:1000], yb[:1000]
    copies, learn = (0, 2) if context.quick else (4, 6)
    judge_a = Judge(*shaken(a, ya, copies, 1), a_test, ya_test, learn, context.seed)
    judge_b = Judge(*shaken(b, yb, min(copies, 1), 2), b_test, yb_test, learn, context.seed)
    manual_seed(context.seed)
    gan = CycleGAN(
        Translator(), Translator(), patch_critic(), patch_critic(), lr=1e-3, critic_lr=1e-4,
        identity=0.1,
    )  # fmt: skip
    batch = 16
    epochs, batches = context.epochs(8, 2), 15 if context.quick else len(a) // batch
    rng = np.random.default_rng(context.seed)
    history: dict[str, list[float]] = {}
    frames: list[tuple[int, Array]] = []
    for _ in range(epochs):
        order = rng.permutation(len(a)), rng.permutation(len(b))
        sums: dict[str, float] = {}
        for i in range(batches):
            rows = slice(i * batch, (i + 1) * batch)
            for name, value in gan.step(a[order[0][rows]], b[order[1][rows]]).items():
                sums[name] = sums.get(name, 0.0) + value / batches
        for name, value in sums.items():
            history.setdefault(name, []).append(value)
        frames.append((len(frames) + 1, _show(gan, a_test[:10], b_test[:10])))
    context.losses("cycle", history["cycle"])

    to_b, to_a = gan.translate(a_test, "b"), gan.translate(b_test, "a")
    cycle = [
        float(np.abs(gan.translate(to_b, "a") - a_test).mean()),
        float(np.abs(gan.translate(to_a, "b") - b_test).mean()),
    ]
    # Pixels go from -1 to 1 here; the target is stated for 0 to 1.
    context.check("cyclegan: cycle L1 of test digits, worse way", max(cycle) / 2, at_most=0.10)
    kept = [
        float((judge_b.called(to_b) == ya_test).mean()),
        float((judge_a.called(to_a) == yb_test).mean()),
    ]
    # What the classifier of the other kind makes of digits that are left as they are.
    plain = [
        float((judge_b.called(a_test) == ya_test).mean()),
        float((judge_a.called(b_test) == yb_test).mean()),
    ]
    worse = int(np.argmin(kept))
    context.check(
        "cyclegan: test digits still called the same, worse way",
        kept[worse],
        at_least=0.60,
        baseline=plain[worse],
    )
    near = judge_b.distance(to_b), judge_a.distance(to_a)
    far = judge_b.distance(a_test), judge_a.distance(b_test)
    context.table(
        "translations of test digits; in brackets what the digits are untranslated",
        ("", "called right", "Fréchet distance to the kind", "cycle L1"),
        [
            (way, f"{k:.2f} ({p:.2f})", f"{n:.1f} ({f:.1f})", f"{c / 2:.3f}")
            for way, k, p, n, f, c in zip(("A to B", "B to A"), kept, plain, near, far, cycle)
        ],
    )
    from . import film, pictures, plots

    context.draw(
        "cyclegan-translations",
        pictures.strips,
        {
            "A": _grey(a_test[:12]),
            "as B": _grey(to_b[:12]),
            "back": _grey(gan.translate(to_b[:12], "a")),
            "B": _grey(b_test[:12]),
            "as A": _grey(to_a[:12]),
            "back ": _grey(gan.translate(to_a[:12], "b")),
        },
        "test digits in the other hand, and back",
    )
    context.film("cyclegan-training", film.animation, frames, 10)
    context.draw(
        "cyclegan-losses",
        plots.curves_by_epoch,
        {
            "loss of the translators": {k: history[k] for k in ("game", "cycle", "identity")},
            "loss of the critics": {"both": history["critic"]},
        },
        "CycleGAN",
    )
    context.save("cyclegan", gan.parts)


def _grey(x: Array) -> Array:
    return (x[..., 0] + 1) / 2


def _show(gan: CycleGAN, a: Array, b: Array) -> Array:
    rows = (a, gan.translate(a, "b"), b, gan.translate(b, "a"))
    return np.concatenate([_grey(row) for row in rows])


TASK = Task("cyclegan", ("H8", "C16", "M3"), "CycleGAN: digits in another hand", _run)
