"""The residual network: three stages with skip connections on 28 by 28 digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import data, nn, optim
from ..nn import functional as F
from ..tensor import Tensor
from ..train import fit, metrics, predict
from .cnn import shaken
from .task import Context, Task


class Block(nn.Module):
    """y = relu(x' + f(x)): two convolutions whose result is added to what came in.

    He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016), figure 2; where
    the shape changes, x' is x through a 1×1 convolution (their option B).
    """

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.skip = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Any) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.skip(x))


def build(classes: int = 10) -> nn.Module:
    """Returns the network: a convolution, three stages of one block, the mean, one layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16, 1),
        Block(16, 32, 2),
        Block(32, 64, 2),
        nn.GlobalAvgPool(),
        nn.Linear(64, classes),
    )


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    epochs = context.epochs(15, 1)
    model = build()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    # 4000 images as they are it learns by heart: no training error is left, but test errors are.
    loader = data.DataLoader(
        data.TensorDataset(x, y),
        64,
        shuffle=True,
        seed=context.seed,
        transform=shaken(context.seed),
    )
    history = fit(
        model,
        loader,
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        metrics="accuracy",
        validation=(x_test, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("mnist_5k, augmented", history["loss"])
    logits = predict(model, x_test)
    context.check(
        "mnist_5k, augmented: test accuracy",
        metrics.accuracy(y_test, logits),
        at_least=0.975,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    from . import pictures, plots

    context.draw(
        "residual-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        "residual network on mnist_5k, augmented",
        low=0.9,
    )
    context.draw(
        "residual-confusion",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        digits.target_names,
        f"mnist_5k, augmented: {len(y_test)} test images",
    )
    context.draw(
        "residual-mistakes",
        pictures.mistakes,
        x_test,
        y_test,
        logits,
        "mnist_5k, augmented: the mistakes it was surest of",
    )
    context.save("residual", model)


TASK = Task("residual", ("N8", "L8"), "Residual network: skip connections on mnist_5k", _run)
