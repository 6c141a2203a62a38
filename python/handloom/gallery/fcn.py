"""The fully convolutional network: nuclei under the microscope, pixel by pixel."""

from __future__ import annotations

import numpy as np

from ..models.vision import FCN
from . import nuclei
from .task import Context, Task


def _run(context: Context) -> None:
    from . import found, plots

    model = FCN(1, 2)
    history, scores = nuclei.outlined(context, "FCN", model, 0.80)
    _, _, x_test, y_test = nuclei.parts()
    context.draw("fcn-curves", plots.learning, {"training": history["loss"]}, None, "FCN")
    part = np.s_[128:384]
    context.draw(
        "fcn-nuclei",
        found.outlines,
        x_test[0, part, :, 0],
        {"by hand": y_test[0, part] > 0, "FCN": scores[0, part].argmax(-1) == 1},
        "nuclei of the half that was not trained on",
    )
    context.save("fcn", model)


TASK = Task("fcn", ("N27", "S1", "S6"), "Fully convolutional network: nuclei", _run)
