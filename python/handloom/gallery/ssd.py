"""SSD: digits on textures, found with default boxes on two scales."""

from __future__ import annotations

from ..models.vision import SSD
from . import digit_scenes
from .task import Context, Task


def _run(context: Context) -> None:
    digit_scenes.detected(context, "SSD", SSD(1, 10), 0.65, epochs=7)


TASK = Task("ssd", ("N26", "Z3", "Z6", "C7"), "SSD: digits on two scales", _run)
