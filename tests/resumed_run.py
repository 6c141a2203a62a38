"""A run of `fit` in a process of its own, for the test that kills it: `resumed_run.py FILE`.

Everything that a step can depend on takes part: dropout, batch norm, an order, augmentation, Adam,
a schedule by steps, averaged weights, accumulation, early stopping, metrics.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

import handloom as hl
from handloom import data, nn, optim, train
from handloom.data import augment

EPOCHS = 6


def run(checkpoint: str | None, *extra: train.Callback, every: int = 3) -> tuple[str, object]:
    """Trains, and returns a digest of weights and figures, and the history."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 6, 6, 1)).astype(np.float32)
    y = (x.mean(axis=(1, 2, 3)) > 0).astype(np.int64)
    hl.manual_seed(3)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(16, 2),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    loader = data.DataLoader(
        data.TensorDataset(x, y),
        10,
        shuffle=True,
        transform=augment.Compose([augment.RandomCrop(6, padding=1)], seed=5),
    )
    history = train.fit(
        model,
        loader,
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=EPOCHS,
        metrics="accuracy",
        validation=(x[:40], y[:40]),
        callbacks=[train.EarlyStopping("val_accuracy", patience=EPOCHS), *extra],
        scheduler="one_cycle",
        accumulate=2,
        clip_norm=1.0,
        ema=0.9,
        progress=False,
        checkpoint=checkpoint,
        checkpoint_every=every if checkpoint else None,
    )
    digest = hashlib.sha256()
    for array in model.state_dict().values():
        digest.update(np.ascontiguousarray(array).tobytes())
    for logs in history:
        digest.update(repr({k: v for k, v in logs.items() if k != "seconds"}).encode())
    return digest.hexdigest(), history


if __name__ == "__main__":
    print("begins", flush=True)
    print(run(sys.argv[1])[0], flush=True)
