"""R-CNN: a face in a photograph, and digits on textures, among the regions that are proposed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .. import data, kernels, nn, optim
from ..data import augment
from ..models.vision import RCNN, conv_block
from ..tensor import Array
from ..train import fit, metrics, predict
from ..vision import Objects
from . import digit_scenes
from .task import Context, Task

F = nn.functional
# Forehead to chin, ear to ear.
FACE = np.array([[176, 62, 272, 176]], np.float32)


def _run(context: Context) -> None:
    _faces(context)
    _scenes(context)


def _faces(context: Context) -> None:
    """Patches with and without a face, and then the regions of a photograph."""
    from . import found

    faces = data.load("faces")
    x, x_test, y, y_test = data.train_test_split(faces.x, faces.y, test_size=0.2, stratify=faces.y)
    model = nn.Sequential(
        conv_block(1, 16),
        nn.MaxPool2d(2),
        conv_block(16, 32),
        nn.MaxPool2d(2),
        conv_block(32, 32),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(9 * 32, 2),
    )
    x, y = _with_grounds(x, y, np.random.default_rng(context.seed), 40 if context.quick else 400)
    shaken = augment.Compose(
        [
            augment.RandomHorizontalFlip(),
            augment.RandomAffine(12, (0.06, 0.06), (0.9, 1.15), 5, padding_mode="border"),
            augment.ColorJitter(brightness=0.25, contrast=0.25, value_range=None),
        ],
        seed=context.seed,
    )
    epochs = context.epochs(20, 3)
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    history = fit(
        model,
        data.DataLoader(
            data.TensorDataset(contrasted(x), y),
            16,
            shuffle=True,
            seed=context.seed,
            transform=shaken,
        ),
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress("faces"),
        seed=context.seed,
    )
    context.losses("faces", history["loss"])
    context.check(
        "patches with and without a face: test accuracy",
        metrics.accuracy(y_test, predict(model, contrasted(x_test))),
        at_least=0.94,
        baseline=0.5,
    )
    photo = data.load("astronaut").x
    regions = proposals(photo[0])
    grey = np.ascontiguousarray(photo.mean(-1, keepdims=True, dtype=np.float32))
    crops = kernels.crop_and_resize(grey, [regions], 25)
    likely = F.softmax(predict(model, contrasted(crops)), dim=-1).numpy()[:, 1]
    # Regions around the same thing vote for each other: one alone may be mistaken.
    votes = (kernels.box_iou(regions, regions) > 0.4) @ likely
    best = regions[[votes.argmax()]]
    context.check(
        "face of the astronaut: IoU of the best region",
        float(kernels.box_iou(best, FACE)[0, 0]),
        at_least=0.4,
        baseline=float(kernels.box_iou(regions, FACE).mean()),
    )
    face = np.zeros(1, np.int64)
    context.draw(
        "rcnn-face",
        found.boxes,
        photo,
        [Objects(FACE, face)],
        [Objects(best, face, np.ones(1))],
        f"the region most like a face, of {len(regions)}",
        columns=1,
        side=4.5,
    )


def contrasted(patches: Array) -> Array:
    """Patches of mean 0 and deviation 1: light and shade of a room play no part."""
    mean = patches.mean((1, 2, 3), keepdims=True)
    spread = patches.std((1, 2, 3), keepdims=True)
    return (patches - mean) / (spread + np.float32(0.05))


def _with_grounds(x: Array, y: Array, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """More patches without a face: pieces of textures and of a micrograph, of all sizes."""
    grounds = [*data.load("textures").x, data.load("nuclei").x[0]]
    patches = []
    for _ in range(count):
        ground = grounds[rng.integers(len(grounds))]
        side = int(rng.integers(25, 160))
        left, top = rng.integers(0, 512 - side, 2)
        box = np.array([[left, top, left + side, top + side]], np.float32)
        patches.append(kernels.crop_and_resize(ground[None], [box], 25))
    none = np.zeros(count, np.int64)
    return np.concatenate([x, *patches]), np.concatenate([y, none])


def proposals(photo: Array) -> Array:
    """Regions of a photograph that could be a face: neither small nor much longer than wide."""
    half = kernels.avg_pool2d(photo[None], 2)[0]
    boxes = 2 * kernels.selective_search(half, scale=(0.5, 1.0, 2.0), min_size=60)
    sides = boxes[:, 2:] - boxes[:, :2]
    ratio = sides[:, 1] / sides[:, 0]
    kept: Array = boxes[(sides.min(1) >= 40) & (ratio > 0.7) & (ratio < 1.8)]
    return kept


def _scenes(context: Context) -> None:
    from . import found

    train, test = digit_scenes.parts(context, 1200, 200)
    propose = partial(kernels.selective_search, scale=(0.3, 0.8), sigma=0.5, min_size=15)
    model = RCNN(1, 10, propose=propose)
    rng = np.random.default_rng(context.seed)
    samples = [model.samples(x, own, rng) for x, own in zip(train.x, train.objects)]
    crops, targets = (np.concatenate(part) for part in zip(*samples))
    epochs = context.epochs(6, 2)
    loader = data.DataLoader(
        data.TensorDataset(crops, targets), 64, shuffle=True, seed=context.seed
    )
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    history = fit(
        model,
        loader,
        loss=model.loss,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=3e-3, total_steps=epochs * len(loader)
        ),
        progress=context.progress("regions"),
        seed=context.seed,
    )
    context.losses("R-CNN on scenes", history["loss"])
    guess = digit_scenes.detect(model, test)
    result: dict[str, Any] = metrics.mean_average_precision(test.objects, guess)
    context.check("R-CNN on scenes: AP50", result["ap50"], at_least=0.50)
    near = [
        kernels.box_iou(own.boxes, propose(x)).max(1)
        for x, own in zip(test.x, test.objects)
        if len(own)
    ]
    reached = np.mean(np.concatenate(near) >= 0.5)
    context.table(
        f"R-CNN on {len(test.x)} scenes",
        ("", "value"),
        [
            ("digits that a region overlaps by half", f"{reached:.3f}"),
            ("AP50", f"{result['ap50']:.3f}"),
            ("AP75", f"{result['ap75']:.3f}"),
            ("AP", f"{result['map']:.3f}"),
        ],
    )  # fmt: skip
    context.draw(
        "rcnn-scenes",
        found.boxes,
        test.x[:18, ..., 0],
        test.objects[:18],
        guess[:18],
        "found (orange, named) and true (dashed) boxes of scenes that were not trained on",
        names=digit_scenes.NAMES,
    )
    context.save("rcnn", model)


TASK = Task("rcnn", ("N26", "Z1", "Z11"), "R-CNN: a face, and digits among proposed regions", _run)
