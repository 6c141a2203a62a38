"""Cell nuclei under the microscope, for the tasks that outline or find them.

The left half of the one image is for training, the right half for testing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import data, kernels, nn, optim
from ..data import augment
from ..tensor import Array
from ..train import History, fit, metrics, predict

if TYPE_CHECKING:
    from ..vision import Objects
    from .task import Context

HALF = 256  # columns of either part
F = nn.functional


def parts() -> tuple[Array, Array, Array, Array]:
    """Image (1, 512, 256, 1) and object numbers (1, 512, 256) for training, then for testing."""
    nuclei = data.load("nuclei")
    left, right = np.s_[:, :, :HALF], np.s_[:, :, HALF:]
    x, y, x_test, y_test = (
        np.ascontiguousarray(v[half]) for half in (left, right) for v in (nuclei.x, nuclei.y)
    )
    return x, y, x_test, y_test


def outlined(context: Context, name: str, model: nn.Module, target: float) -> tuple[History, Array]:
    """Trains a network to tell nuclei from what is between them; (history, scores of the test).

    Sees crops of the left half, turned, flipped and a little zoomed, new ones in every epoch.
    Records the intersection over union of the right half.
    """
    x, y, x_test, y_test = parts()
    epochs, count = context.epochs(14, 2), 96 if not context.quick else 16
    shaken = augment.WithLabels(
        [
            augment.RandomAffine(degrees=180, translate=(0.4, 0.4), scale=(0.85, 1.2)),
            augment.CenterCrop(128),
            augment.RandomHorizontalFlip(),
            augment.ColorJitter(brightness=0.3, contrast=0.2),
        ],
        seed=context.seed,
    )
    loader = data.DataLoader(
        data.TensorDataset(np.repeat(x, count, 0), np.repeat((y > 0).astype(np.int64), count, 0)),
        8,
        shuffle=True,
        seed=context.seed,
        transform=shaken,
    )
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    history = fit(
        model,
        loader,
        loss=lambda scores, labels: F.cross_entropy(scores, labels, ignore_index=-100),
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(name),
        seed=context.seed,
    )
    context.losses(f"{name} on nuclei", history["loss"])
    scores = predict(model, x_test)
    truth = (y_test > 0).astype(np.int64)
    context.check(
        f"{name} on nuclei: IoU of the right half",
        metrics.class_iou(truth, scores)[1],
        at_least=target,
        baseline=best_threshold(x, y, x_test, y_test),
    )
    return history, scores


def best_threshold(x: Array, y: Array, x_test: Array, y_test: Array) -> float:
    """IoU of the brightness, smoothed, that separates best in the left half."""
    blurred, blurred_test = (kernels.blur(v, kernel=(1, 4, 6, 4, 1)) for v in (x, x_test))

    def iou(image: Array, masks: Array, level: float) -> float:
        return float(metrics.class_iou(masks > 0, image[..., 0] > level, 2)[1])

    levels = np.linspace(0.02, 0.5, 49)
    best = max(levels, key=lambda level: iou(blurred, y, level))
    return iou(blurred_test, y_test, best)


def detected(
    context: Context, name: str, model: Any, target: float, epochs: int, lr: float = 3e-3
) -> tuple[Array, list[Objects], list[Objects]]:
    """Trains a detector to find nuclei; (image, true objects, found objects) of the right half.

    Sees crops as `outlined` does, with the boxes of the nuclei in them. Records AP50.
    """
    from ..vision import ObjectLoader, Objects

    x, y, x_test, y_test = parts()
    count = 16 if context.quick else 128
    own, there = Objects.from_masks(y[0]), Objects.from_masks(y_test[0])
    shaken = augment.WithObjects(
        [
            augment.RandomAffine(degrees=180, translate=(0.4, 0.4), scale=(0.9, 1.15)),
            augment.CenterCrop(128),
            augment.RandomHorizontalFlip(),
            augment.ColorJitter(brightness=0.3, contrast=0.2),
        ],
        seed=context.seed,
        visible=0.5,
    )
    loader = ObjectLoader(
        np.repeat(x, count, 0), [own] * count, 8, transform=shaken, seed=context.seed
    )
    history = trained(context, f"{name} on nuclei", model, loader, context.epochs(epochs, 2), lr)
    context.losses(f"{name} on nuclei", history["loss"])
    found = model.detect(x_test, most=200, iou_threshold=0.4)
    context.check(
        f"{name} on nuclei: AP50 of the right half",
        metrics.average_precision([there], found, 0.5),
        at_least=target,
    )
    return x_test, [there], found


def trained(
    context: Context, name: str, model: Any, loader: Any, epochs: int, lr: float
) -> History:
    """Trains a detector by its own loss, the rate rising and falling once."""
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
    return fit(
        model,
        loader,
        loss=model.loss,
        optimizer=optimizer,
        epochs=epochs,
        clip_norm=10.0,
        scheduler=optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=lr, total_steps=epochs * len(loader)
        ),
        progress=context.progress(name),
        seed=context.seed,
    )
