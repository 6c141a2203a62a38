"""The U-Net: nuclei under the microscope, pixel by pixel."""

from __future__ import annotations

import numpy as np

from .. import nn
from ..models.vision import UNet
from ..train import metrics
from . import nuclei
from .task import Context, Task

F = nn.functional


def _run(context: Context) -> None:
    from . import found, plots

    model = UNet(1, 2, width=16, depth=3)
    history, scores = nuclei.outlined(context, "U-Net", model, 0.84)
    _, _, x_test, y_test = nuclei.parts()
    truth, guess = y_test > 0, scores.argmax(-1) == 1
    dice = metrics.dice_score(truth, guess, 2)[1]
    context.table(
        "The right half of the nuclei",
        ("measure", "U-Net"),
        [
            ("pixel accuracy", f"{metrics.pixel_accuracy(truth, guess):.4f}"),
            ("IoU of nuclei", f"{metrics.class_iou(truth, guess, 2)[1]:.4f}"),
            ("mean IoU", f"{metrics.mean_iou(truth, guess, 2):.4f}"),
            ("Dice of nuclei", f"{dice:.4f}"),
        ],
    )
    context.draw("unet-curves", plots.learning, {"training": history["loss"]}, None, "U-Net")
    part = np.s_[128:384]
    context.draw(
        "unet-nuclei",
        found.outlines,
        x_test[0, part, :, 0],
        {"by hand": truth[0, part], "U-Net": guess[0, part]},
        "nuclei of the half that was not trained on",
    )
    context.save("unet", model)


TASK = Task("unet", ("N27", "S2", "S6", "U18", "C11"), "U-Net: nuclei, pixel by pixel", _run)
