"""Samples of generators: grids, how they came to be, and the same as a moving picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .style import figure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._arrays import Array


def sheet(images: Array, columns: int, gap: int = 1) -> Array:
    """Returns images (count, H, W) of [0, 1] as one, side by side on white; ink is dark."""
    count, h, w = images.shape
    rows = -(-count // columns)
    page = np.ones((rows * (h + gap) + gap, columns * (w + gap) + gap), np.float32)
    for i, image in enumerate(images):
        top, left = (i // columns) * (h + gap) + gap, (i % columns) * (w + gap) + gap
        page[top : top + h, left : left + w] = 1 - image
    return page


def grid(images: Array, title: str, columns: int = 10) -> Figure:
    """Draws images in rows."""
    page = sheet(images, columns)
    width = 0.62 * columns
    with figure_of(title, width=width, height=0.45 + width * page.shape[0] / page.shape[1]) as (
        figure,
        (axis,),
    ):
        axis.imshow(page, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_axis_off()
    return figure


def stages(frames: list[tuple[int, Array]], title: str, shown: int = 6, count: int = 16) -> Figure:
    """Draws the first images of some of the frames (epoch, images), one above the other."""
    picked = sorted({round(i) for i in np.linspace(0, len(frames) - 1, shown)})
    with figure_of(title, len(picked), width=1.45 * len(picked), height=2.0) as (figure, axes):
        for axis, i in zip(axes, picked):
            epoch, images = frames[i]
            page = sheet(images[:count], 4)
            axis.imshow(page, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(f"epoch {epoch}", fontsize=8.5)
            axis.set_axis_off()
    return figure


def animation(path: Path, frames: list[tuple[int, Array]], columns: int) -> None:
    """Writes a GIF that shows each frame for a third of a second, and the last for two."""
    from PIL import Image

    scale = max(1, 320 // (columns * (frames[0][1].shape[1] + 1)))
    pages = []
    for _, images in frames:
        page = (sheet(images, columns) * 255).astype(np.uint8)
        pages.append(Image.fromarray(page.repeat(scale, 0).repeat(scale, 1)))
    pages[0].save(
        path,
        save_all=True,
        append_images=pages[1:],
        duration=[330] * (len(pages) - 1) + [2000],
        loop=0,
        optimize=True,
    )
