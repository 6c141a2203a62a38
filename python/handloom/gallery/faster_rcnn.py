"""Faster R-CNN: digits on textures, and cell nuclei, proposed and then looked at again."""

from __future__ import annotations

from ..models.vision import FasterRCNN
from . import digit_scenes, nuclei
from .task import Context, Task


def _run(context: Context) -> None:
    from . import found

    model = FasterRCNN(1, 10, seed=context.seed)
    digit_scenes.detected(context, "Faster R-CNN", model, 0.65, epochs=7, lr=2e-3)
    model = FasterRCNN(1, 1, sizes=(16.0, 24.0, 34.0), seed=context.seed)
    image, true, guess = nuclei.detected(context, "Faster R-CNN", model, 0.55, epochs=10, lr=2e-3)
    context.draw(
        "faster_rcnn-nuclei",
        found.boxes,
        image[..., 0],
        true,
        guess,
        "nuclei: found (orange), true (dashed)",
        columns=1,
        side=6.0,
    )


TASK = Task("faster_rcnn", ("N26", "Z2", "Z8"), "Faster R-CNN: digits and nuclei", _run)
