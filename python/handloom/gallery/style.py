"""One hand for all figures: legible in black on white and to the colour-blind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, from dark to light, without its yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
INK, FAINT, GRID = "#222B33", "#7A8691", "#E6E9EC"

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@contextmanager
def figure_of(
    title: str,
    columns: int = 1,
    rows: int = 1,
    *,
    width: float | None = None,
    height: float = 3.3,
    share_y: bool = False,
    **grid: Any,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yields a titled figure and its axes, with the house style while it is drawn.

    `grid` goes to `Figure.subplots`, such as `width_ratios`.
    """
    # Not pyplot: its figures live on until they are closed, and it chooses a screen.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width or 0.6 + 4.3 * columns, height), dpi=144)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y, **grid)
        text = figure.suptitle(title, x=0.02, ha="left", fontsize=11.5, weight="bold")
        yield figure, list(axes.flat)
        _fit(figure, text)


def _fit(figure: Figure, title: Any) -> None:
    """Shrinks the title until it is inside the figure."""
    figure.draw_without_rendering()
    room = 0.96 * figure.bbox.width / max(1.0, title.get_window_extent().width)
    if room < 1:
        title.set_fontsize(title.get_fontsize() * room)


def colours(count: int) -> list[Any]:
    """Returns colours for so many lines: the palette, or a rainbow where it is too short."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps

    return [colormaps["turbo"](share) for share in np.linspace(0.05, 0.95, count)]


def blues() -> Any:
    """Returns the colour map from white to dark blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("loom", ["#FFFFFF", "#CFE3F1", "#0072B2", "#003F63"])


def two_classes() -> Any:
    """Returns the colour map from blue, below, to orange, above, with white between."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("two", [COLOURS[0], "#FFFFFF", COLOURS[1]])
