"""How good samples are, in the eyes of a classifier that has only ever seen real data.

The classifier is trained in the same run. Two figures: which classes appear among the samples (a
generator that has collapsed shows few), and the Fréchet distance between samples and held-out data
in the classifier's features (Heusel et al. 2017, with its own small network in place of Inception).
"""

from __future__ import annotations

import numpy as np

from .. import data, kernels, nn, optim
from .._arrays import Array
from ..train import fit, metrics, predict

SHARE = 0.02  # a class counts as covered when so many of the samples are of it


def smaller(x: Array) -> Array:
    """Images of 28 by 28 at 16 by 16: with a margin they are 32, and a mean of four is one."""
    return kernels.avg_pool2d(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), 2)


def digits(size: int = 8) -> tuple[Array, Array, Array, Array]:
    """Returns images in [−1, 1] and labels: 8 by 8, or MNIST at 16 by 16."""
    if size == 8:
        found = data.load("digits")
        x = found.x
    else:
        found = data.load("mnist_5k")
        x = smaller(found.x)
    x = np.ascontiguousarray(2 * x - 1)
    return data.train_test_split(x, found.y, test_size=0.2, stratify=found.y)  # type: ignore[return-value]


class Judge:
    """A classifier of real images, and what it thinks of others.

    Args:
        x, y: Real images for training, `(N, H, W, 1)` in [−1, 1], and their classes.
        x_test, y_test: Real images that samples are compared with.
        epochs: Of its training.
        seed: Of its training.

    Attributes:
        accuracy: On the real test images.
    """

    def __init__(
        self, x: Array, y: Array, x_test: Array, y_test: Array, epochs: int, seed: int
    ) -> None:
        side = x.shape[1]
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(32 * (side // 2) ** 2, 64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)
        model = nn.Sequential(self.body, nn.Dropout(0.3), self.head)
        optimizer = optim.Adam(model.parameters(), lr=2e-3)
        fit(
            model,
            (x, y),
            loss=nn.functional.cross_entropy,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=64,
            scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
            progress=False,
            seed=seed,
        )
        self.real = self.features(x_test)
        self.accuracy = metrics.accuracy(y_test, self.called(x_test))

    def features(self, x: Array) -> Array:
        """Returns the 64 features of each image."""
        return predict(self.body, x)

    def called(self, x: Array) -> Array:
        """Returns the class of each image."""
        return np.asarray(predict(self.head, self.features(x)).argmax(axis=1))

    def shares(self, x: Array) -> Array:
        """Returns the share of each class among images `(10,)`."""
        return np.asarray(np.bincount(self.called(x), minlength=10) / len(x))

    def covered(self, x: Array) -> int:
        """Returns how many classes have `SHARE` of the images."""
        return int((self.shares(x) >= SHARE).sum())

    def distance(self, x: Array) -> float:
        """Returns the Fréchet distance of images from the real test images."""
        return metrics.frechet_distance(self.real, self.features(x))


def gaussian_samples(x: Array, n: int, seed: int) -> Array:
    """Returns samples of one normal distribution with the data's mean and covariance."""
    rng = np.random.default_rng(seed)
    rows = x.reshape(len(x), -1).astype(np.float64)
    root, scale, _ = np.linalg.svd(np.cov(rows.T))
    z = rng.standard_normal((n, len(scale))) * np.sqrt(scale)
    made = rows.mean(axis=0) + z @ root.T
    return made.clip(-1, 1).reshape(n, *x.shape[1:]).astype(x.dtype)
