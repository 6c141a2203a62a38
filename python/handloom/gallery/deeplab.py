"""DeepLab: which texture a pixel belongs to, and nuclei."""

from __future__ import annotations

import numpy as np

from .. import data, kernels, nn, optim
from ..data.scenes import Mosaics, texture_mosaics
from ..models.vision import DeepLab
from ..tensor import Array
from ..train import fit, metrics, predict
from . import nuclei
from .task import Context, Task

F = nn.functional


def _run(context: Context) -> None:
    from . import found

    count = 64 if context.quick else 480
    train = texture_mosaics(count, seed=context.seed)
    test = texture_mosaics(16 if context.quick else 100, train=False)
    model = DeepLab(1, 3)
    epochs = context.epochs(12, 2)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    history = fit(
        model,
        data.DataLoader(
            data.TensorDataset(train.x, train.y),
            16,
            shuffle=True,
            seed=context.seed,
            transform=data.augment.WithLabels(
                [data.augment.RandomHorizontalFlip(), data.augment.RandomVerticalFlip()],
                seed=context.seed,
            ),
        ),
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress("mosaics"),
        seed=context.seed,
    )
    context.losses("mosaics", history["loss"])
    scores = predict(model, test.x, batch_size=20)
    context.check(
        "mosaics: mean IoU of brick, grass and gravel",
        metrics.mean_iou(test.y, scores),
        at_least=0.80,
        baseline=local_rule(train, test),
    )
    iou = metrics.class_iou(test.y, scores)
    context.table(
        "Textures, pixel by pixel",
        ("texture", "IoU"),
        [(name, f"{v:.3f}") for name, v in zip(test.names, iou)],
    )
    context.draw(
        "deeplab-mosaics",
        found.classes,
        test.x[:5, ..., 0],
        {"truth": test.y[:5], "DeepLab": scores[:5].argmax(-1)},
        test.names,
        "mosaics cut from the halves that were not trained on",
    )
    context.save("deeplab-mosaics", model)
    model = DeepLab(1, 2, width=24)
    _, scores = nuclei.outlined(context, "DeepLab", model, 0.81)
    _, _, x_test, y_test = nuclei.parts()
    part = np.s_[128:384]
    context.draw(
        "deeplab-nuclei",
        found.outlines,
        x_test[0, part, :, 0],
        {"by hand": y_test[0, part] > 0, "DeepLab": scores[0, part].argmax(-1) == 1},
        "nuclei of the half that was not trained on",
    )


def local_rule(train: Mosaics, test: Mosaics) -> float:
    """Mean IoU of the nearest class mean of local mean and deviation, over 9 by 9 pixels."""

    def features(x: Array) -> Array:
        mean, square = (
            kernels.avg_pool2d(v, 9, stride=1, padding=4, count_include_pad=False)
            for v in (x, x * x)
        )
        return np.concatenate([mean, np.sqrt(np.maximum(square - mean * mean, 0))], -1)

    own, seen = features(train.x), features(test.x)
    spread = own.reshape(-1, 2).std(0)
    means = np.stack([own[train.y == c].mean(0) for c in range(3)])
    far = (((seen[..., None, :] - means) / spread) ** 2).sum(-1)
    return metrics.mean_iou(test.y, far.argmin(-1), 3)


TASK = Task("deeplab", ("N27", "S3", "S6"), "DeepLab: mosaics of textures, and nuclei", _run)
