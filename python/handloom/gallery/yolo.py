"""YOLO: digits on textures, and cell nuclei, each found in one look."""

from __future__ import annotations

from ..models.vision import YOLO
from . import digit_scenes, nuclei
from .task import Context, Task


def _run(context: Context) -> None:
    from . import found

    digit_scenes.detected(context, "YOLO", YOLO(1, 10), 0.70, epochs=7, count=1600)
    model = YOLO(1, 1, sizes=(18.0, 26.0), widths=(16, 32, 64, 64))
    image, true, guess = nuclei.detected(context, "YOLO", model, 0.60, epochs=8)
    context.draw(
        "yolo-nuclei",
        found.boxes,
        image[..., 0],
        true,
        guess,
        "nuclei: found (orange), true (dashed)",
        columns=1,
        side=6.0,
    )


TASK = Task("yolo", ("N26", "Z4", "Z7", "Z9", "Z10", "C19"), "YOLO: digits and nuclei", _run)
