"""The convolutional network: digits of 8 by 8 pixels, and of 28 by 28, also with augmentation."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..data import augment
from ..tensor import Array
from ..train import History, fit, metrics, predict
from .task import Context, Task


def build(size: int, channels: tuple[int, int] = (24, 48), classes: int = 10) -> nn.Sequential:
    """Returns a network of LeNet's class: two convolutions, each with a pool, then two layers.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition"
    (1998), with ReLU, max pooling, batch norm and dropout.
    """
    kernel = 3 if size < 16 else 5
    first, second = channels
    return nn.Sequential(
        nn.Conv2d(1, first, kernel, padding="same", bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, kernel, padding="same", bias=False),
        nn.BatchNorm2d(second),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (size // 4) ** 2, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, classes),
    )


def shaken(seed: int) -> augment.Compose:
    """Returns what a hand might have done: a little turned, moved, sized and slanted."""
    return augment.Compose(
        [augment.RandomAffine(degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1), shear=8)],
        seed=seed,
    )


def _run(context: Context) -> None:
    _train(context, "digits", context.epochs(30, 3), 0.98)
    plain = _train(context, "mnist_5k", context.epochs(12, 1), 0.97)
    augmented = _train(context, "mnist_5k", context.epochs(30, 1), 0.98, augmented=True)
    context.table(
        "Augmentation on mnist_5k",
        ("training images", "test accuracy"),
        [
            ("as they are", f"{plain:.4f}"),
            ("turned, moved, sized and slanted anew in every epoch", f"{augmented:.4f}"),
        ],
    )


def _train(
    context: Context, name: str, epochs: int, target: float, augmented: bool = False
) -> float:
    digits = data.load(name)
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    model = build(x.shape[1])
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    label = f"{name}, augmented" if augmented else name
    transform = shaken(context.seed) if augmented else None
    loader = data.DataLoader(
        data.TensorDataset(x, y), 32, shuffle=True, seed=context.seed, transform=transform
    )
    history = fit(
        model,
        loader,
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        metrics="accuracy",
        validation=(x_test, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(label),
        seed=context.seed,
    )
    context.losses(label, history["loss"])
    logits = predict(model, x_test)
    accuracy = metrics.accuracy(y_test, logits)
    context.check(
        f"{label}: test accuracy",
        accuracy,
        at_least=target,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    if transform is not None:
        from . import pictures

        context.draw(
            "cnn-augmentation",
            pictures.tiles,
            _seen(transform, x[:3]),
            "on the left a training image, beside it what seven epochs see of it",
        )
    _draw(context, label, model, x_test, y_test, logits, history, digits)
    return float(accuracy)


def _seen(transform: augment.Compose, images: Array, epochs: int = 7) -> Array:
    """Each image, and what so many epochs make of it, one after the other: (count, H, W)."""
    index = np.arange(len(images))
    seen = [images, *(transform(images, index=index, epoch=e) for e in range(epochs))]
    return np.stack(seen, axis=1).reshape(-1, *images.shape[1:3])


def _draw(
    context: Context,
    label: str,
    model: nn.Sequential,
    x_test: Array,
    y_test: Array,
    logits: Array,
    history: History,
    digits: data.Data,
) -> None:
    from . import pictures, plots

    name = f"cnn-{label.replace(', ', '-')}"
    context.draw(
        f"{name}-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        f"convolutional network on {label}",
        low=0.9,
    )
    context.draw(
        f"{name}-confusion",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        digits.target_names,
        f"{label}: {len(y_test)} test images",
    )
    context.draw(
        f"{name}-mistakes",
        pictures.mistakes,
        x_test,
        y_test,
        logits,
        f"{label}: the mistakes it was surest of",
    )
    model.eval()
    convolve, norm, clip, *_ = model
    context.draw(
        f"{name}-filters",
        pictures.filters,
        x_test[0, ..., 0],
        next(convolve.parameters()).numpy()[..., 0],
        np.moveaxis(clip(norm(convolve(x_test[:1]))).numpy()[0], -1, 0),
        "a test image, the first layer's filters, and what each finds in it",
    )
    context.save(name, model)


TASK = Task(
    "cnn",
    ("N6", "L5", "L6", "V1", "P1", "J6"),
    "Convolutional network: digits and mnist_5k, with and without augmentation",
    _run,
)
