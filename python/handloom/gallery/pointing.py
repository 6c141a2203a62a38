"""Pointing: a network that names the digit of a scene is asked where it has seen it.

It was never told where the digits are. J. Zhang and others, "Top-down neural attention by
excitation backprop" (2016) count how often the highest place of a map lies on the object.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .. import data, explain, nn, optim
from ..data import augment
from ..data.scenes import Scenes, digit_scenes
from ..nn import functional as F
from ..tensor import Array
from ..train import fit, metrics, predict
from ..vision import Objects
from .task import Context, Task

LAYER = "features.3"  # the last maps of 16 × 16 places


class Namer(nn.Module):
    """Four convolutions, the largest value of each map, a layer: (N, 64, 64, 1) → (N, 10)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = (1, width, 2 * width, 3 * width, 4 * width)
        self.features = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding="same", bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                    *([nn.MaxPool2d(2)] if i < 2 else []),
                )
                for i, (before, after) in enumerate(pairwise(sizes))
            )
        )
        self.name = nn.Linear(sizes[-1], 10)

    def forward(self, x: Array) -> Array:
        """Returns logits `(N, 10)`."""
        return self.name(F.adaptive_max_pool2d(self.features(x), 1).flatten(1))


def _run(context: Context) -> None:
    train, test = scenes(context)
    model = Namer()
    epochs = context.epochs(14, 2)
    loader = data.DataLoader(
        data.TensorDataset(train.x, _digits(train.objects)),
        32,
        shuffle=True,
        seed=context.seed,
        transform=augment.Compose([augment.RandomCrop(64, padding=4)], seed=context.seed),
    )
    history = fit(
        model,
        loader,
        loss=F.cross_entropy,
        optimizer=optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2),
        epochs=epochs,
        scheduler="one_cycle",
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("the network", history["loss"])
    y = _digits(test.objects)
    accuracy = metrics.accuracy(y, predict(model, test.x, 50))
    boxes = np.stack([o.boxes[0] for o in test.objects])
    share = float(np.mean((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))) / 64**2
    maps = {
        "saliency": _pieces(lambda x, t: explain.saliency(model, x, t), test.x, y),
        "SmoothGrad": _pieces(lambda x, t: explain.smooth_grad(model, x, t, samples=8), test.x, y),
        "integrated gradients": _pieces(
            lambda x, t: explain.integrated_gradients(model, x, t, baseline=x.mean(), steps=8),
            test.x,
            y,
        ),
        "Grad-CAM": _pieces(lambda x, t: explain.grad_cam(model, x, LAYER, t), test.x, y),
        "occlusion": explain.occlusion(model, test.x, y, window=12, stride=6, batch_size=50),
    }
    found = {name: explain.pointing_game(m, boxes) for name, m in maps.items()}
    for name, bound in (("Grad-CAM", 0.8), ("occlusion", 0.8), ("saliency", 0.7)):
        context.check(
            f"scenes: peak of {name} inside the digit's box",
            found[name],
            at_least=bound,
            baseline=share,
        )
    context.check("scenes: test accuracy", accuracy, at_least=0.8, baseline=0.1)
    context.table(
        f"The pointing game on {len(y)} scenes of one digit, boxes of {share:.0%} of the image",
        ("map", "peak inside the box"),
        [(name, f"{hits:.1%}") for name, hits in found.items()],
    )
    from . import pictures

    context.draw(
        "pointing-maps",
        pictures.heat,
        test.x[:8, ..., 0],
        {name: m[:8] if m.ndim == 3 else np.abs(m[:8]).sum(-1) for name, m in maps.items()},
        boxes[:8],
        "Where the network has seen the digit that it names: maps, and the true box",
    )


def scenes(context: Context) -> tuple[Scenes, Scenes]:
    """Scenes of one digit, for training and for testing; the latter the same for every seed."""
    count, seen = (48, 8) if context.quick else (2500, 200)
    one = (1, 1)
    return digit_scenes(count, digits=one, seed=context.seed), digit_scenes(
        seen, train=False, digits=one
    )


def _digits(objects: list[Objects]) -> Array:
    return np.array([int(o.labels[0]) for o in objects])


def _pieces(look: Callable[[Array, Array], Array], x: Array, y: Array, size: int = 50) -> Array:
    """Explains so many images at a time."""
    return np.concatenate([look(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)])


TASK = Task(
    "pointing",
    ("J1", "J2", "J3", "J4"),
    "Pointing: saliency, Grad-CAM and occlusion find the digit that was named",
    _run,
)
