"""Mask R-CNN: digits on textures, with their outlines."""

from __future__ import annotations

from ..models.vision import MaskRCNN
from . import digit_scenes
from .task import Context, Task


def _run(context: Context) -> None:
    model = MaskRCNN(1, 10, seed=context.seed)
    digit_scenes.detected(context, "Mask R-CNN", model, 0.55, epochs=7, lr=2e-3, masks=True)


TASK = Task("mask_rcnn", ("N27", "S4", "Z8"), "Mask R-CNN: digits and their outlines", _run)
