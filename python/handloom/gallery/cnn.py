"""The convolutional network: digits of 8 by 8 pixels, and of 28 by 28, also with augmentation."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..data import augment
from ..tensor import Array
from ..train import History, fit, metrics, predict
from .task import Context, Task


def build(size: int, channels: tuple[int, int] = (16, 32), classes: int = 10) -> nn.Module:
    """Returns a network of LeNet's class: two convolutions, each with a pool, then two layers.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition"
    (1998), with ReLU, max pooling and dropout.
    """
    kernel = 3 if size < 16 else 5
    first, second = channels
    features = second * (size // 4) ** 2
    return nn.Sequential(
        nn.Conv2d(1, first, kernel, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, kernel, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(features, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


def shaken(seed: int) -> augment.Compose:
    """Returns what a hand might have done differently: a little turned, moved and sized."""
    return augment.Compose(
        [augment.RandomAffine(degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1))], seed=seed
    )


def _run(context: Context) -> None:
    _train(context, "digits", context.epochs(40, 3), 0.98)
    plain = _train(context, "mnist_5k", context.epochs(12, 1), 0.97)
    augmented = _train(context, "mnist_5k", context.epochs(30, 1), 0.98, augmented=True)
    context.table(
        "Augmentation on mnist_5k",
        ("training images", "test accuracy"),
        [("as they are", f"{plain:.4f}"), ("turned, moved, sized anew", f"{augmented:.4f}")],
    )


def _train(
    context: Context, name: str, epochs: int, target: float, augmented: bool = False
) -> float:
    digits = data.load(name)
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    model = build(x.shape[1])
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    label = f"{name} augmented" if augmented else name
    loader = data.DataLoader(
        data.TensorDataset(x, y),
        32,
        shuffle=True,
        seed=context.seed,
        transform=shaken(context.seed) if augmented else None,
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
    _draw(context, label.replace(" ", "-"), model, x_test, y_test, logits, history, digits)
    return float(accuracy)


def _draw(
    context: Context,
    label: str,
    model: nn.Module,
    x_test: Array,
    y_test: Array,
    logits: Array,
    history: History,
    digits: data.Data,
) -> None:
    from . import plots

    context.draw(
        f"cnn-{label}-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        f"convolutional network on {label}",
    )
    context.draw(
        f"cnn-{label}-confusion",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        digits.target_names,
        f"{label}: {len(y_test)} test images",
    )
    layers = tuple(model.children())
    context.draw(
        f"cnn-{label}-filters",
        plots.tiles,
        next(model.parameters()).numpy()[..., 0],
        "what the first layer's filters look for",
    )
    first = layers[1](layers[0](x_test[:1])).numpy()[0]
    context.draw(
        f"cnn-{label}-features",
        plots.tiles,
        np.concatenate([x_test[:1, :, :, 0], np.moveaxis(first, -1, 0)]),
        "a test image and what each filter found in it",
    )
    context.save(f"cnn-{label}", model)


TASK = Task(
    "cnn",
    ("N6", "L5", "L6", "V1", "P1"),
    "Convolutional network: digits and mnist_5k, with and without augmentation",
    _run,
)
