"""Images with what was found in them: boxes, outlines, classes of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLOURS, figure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._arrays import Array
    from ..vision import Objects

TRUE, FOUND = "#35C26B", "#FF8A1F"


def outlines(image: Array, masks: Mapping[str, Array], title: str) -> Figure:
    """Draws an image (H, W) once for each mask (H, W), with the mask's outline and a tint."""
    colours = [TRUE, FOUND, *COLOURS]
    tall = image.shape[0] / image.shape[1]
    with figure_of(title, len(masks), width=4.2 * len(masks), height=0.6 + 4.2 * tall) as (
        figure,
        axes,
    ):
        for axis, (name, mask), colour in zip(axes, masks.items(), colours):
            _show(axis, image)
            _tint(axis, mask, colour)
            axis.contour(mask, [0.5], colors=[colour], linewidths=1.1)
            axis.set_title(name, loc="left")
    return figure


def classes(images: Array, labels: Mapping[str, Array], names: Sequence[str], title: str) -> Figure:
    """Draws images (N, H, W), and below each the class of its pixels by every name of `labels`."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    rows, columns = 1 + len(labels), len(images)
    colours = list(COLOURS[: len(names)])
    with figure_of(title, columns, rows, width=1.7 * columns, height=0.9 + 1.75 * rows) as (
        figure,
        axes,
    ):
        for axis, image in zip(axes, images):
            _show(axis, image)
        for r, (name, maps) in enumerate(labels.items(), 1):
            for i, own in enumerate(maps):
                axis = axes[r * columns + i]
                axis.imshow(own, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(names) - 0.5)
                axis.set_axis_off()
            axes[r * columns].set_title(name, loc="left")
        patches = [Patch(color=c, label=n) for c, n in zip(colours, names)]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(names))
    return figure


def boxes(
    images: Array,
    true: Sequence[Objects],
    found: Sequence[Objects],
    title: str,
    *,
    names: Sequence[str] | None = None,
    columns: int = 6,
    least: float = 0.3,
    side: float = 1.7,
) -> Figure:
    """Draws images (N, H, W[, C]) with true boxes in green and found ones in orange.

    Masks are tinted. Found boxes below the score `least` are left out; names stand beside them.
    """
    rows = -(-len(images) // columns)
    tall = images.shape[1] / images.shape[2]
    with figure_of(
        title, columns, rows, width=side * columns, height=0.5 + side * 1.05 * tall * rows
    ) as (figure, axes):
        for axis in axes:
            axis.set_axis_off()
        for axis, image, real, guess in zip(axes, images, true, found):
            _show(axis, image)
            for box in real.boxes:
                _box(axis, box, TRUE, 1.0, "--")
            assert guess.scores is not None
            sure = guess[guess.scores >= least]
            for i, (box, label) in enumerate(zip(sure.boxes, sure.labels)):
                if sure.masks is not None:
                    _tint(axis, sure.masks[i], COLOURS[int(label) % len(COLOURS)], 0.5)
                _box(axis, box, FOUND, 1.3, "-")
                if names is not None:
                    axis.text(
                        box[0] + 0.5, box[1] + 0.5, names[int(label)], color="white", fontsize=7,
                        va="top", bbox={"facecolor": FOUND, "edgecolor": "none", "pad": 0.8},
                    )  # fmt: skip
    return figure


def _show(axis: Any, image: Array) -> None:
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
    axis.set_axis_off()


def _tint(axis: Any, mask: Array, colour: str, alpha: float = 0.25) -> None:
    from matplotlib.colors import to_rgb

    layer = np.zeros((*mask.shape, 4))
    layer[..., :3] = to_rgb(colour)
    layer[..., 3] = alpha * mask
    axis.imshow(layer)


def _box(axis: Any, box: Array, colour: str, width: float, style: str) -> None:
    from matplotlib.patches import Rectangle

    # Pixel i reaches from i - 1/2 to i + 1/2 of the axis.
    corner, size = box[:2] - 0.5, box[2:] - box[:2]
    axis.add_patch(Rectangle(tuple(corner), *size, fill=False, color=colour, lw=width, ls=style))
