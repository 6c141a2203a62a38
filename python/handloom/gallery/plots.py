"""The gallery's figures: one hand for all, legible in black on white and to the colour-blind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .._arrays import Array

# Okabe and Ito's palette, from dark to light, without its yellow.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
_INK, _FAINT, _GRID = "#222B33", "#7A8691", "#E6E9EC"

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def available() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG and returns its path."""
    figure.savefig(path, format="png", metadata={"Software": "handloom"})
    return path


def learning(
    losses: Mapping[str, Sequence[float]],
    scores: Mapping[str, Sequence[float]] | None,
    title: str,
    score: str = "accuracy",
) -> Figure:
    """Draws losses, and scores beside them, by epoch.

    Args:
        losses, scores: A line for each name, one number an epoch.
        title: Of the figure.
        score: What the scores are.
    """
    with _figure(title, 1 if scores is None else 2) as (figure, axes):
        _lines(axes[0], losses, "loss")
        axes[0].set_ylim(bottom=0)
        if scores is not None:
            _lines(axes[1], scores, score)
    return figure


def curves(lines: Mapping[str, Sequence[float]], title: str, label: str) -> Figure:
    """Draws one line for each name, by epoch."""
    with _figure(title) as (figure, axes):
        _lines(axes[0], lines, label)
        axes[0].set_ylim(bottom=0)
    return figure


def highlights(
    lines: Mapping[str, Sequence[float]], title: str, label: str, *, columns: int = 4
) -> Figure:
    """Draws a small panel for each name: its line by epoch before all others in grey."""
    rows = -(-len(lines) // columns)
    with _figure(
        title, columns, rows, width=2.1 * columns, height=0.6 + 1.6 * rows, share_y=True
    ) as (figure, axes):
        for axis, name in zip(axes, lines):
            for values in lines.values():
                axis.plot(range(1, len(values) + 1), values, color="#C9CED3", lw=0.8)
            axis.plot(range(1, len(lines[name]) + 1), lines[name], color=_COLOURS[1])
            axis.set_title(name)
            axis.set_yscale("log")
            _whole(axis)
        for axis in axes[len(lines) :]:
            axis.set_axis_off()
        for axis in axes[-columns:]:
            axis.set_xlabel("epoch")
        for axis in axes[::columns]:
            axis.set_ylabel(label)
    return figure


def paths(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    title: str,
    label: str,
) -> Figure:
    """Draws panels of lines `(x, y)`, both axes logarithmic; a panel's name is its x axis."""
    with _figure(title, len(panels), share_y=True) as (figure, axes):
        for axis, (name, lines) in zip(axes, panels.items()):
            for (line, (x, y)), colour in zip(lines.items(), _colours(len(lines))):
                axis.plot(x, y, color=colour, label=line)
            axis.set_xlabel(name)
            axis.set_xscale("log")
            axis.set_yscale("log")
        axes[0].set_ylabel(label)
        axes[-1].legend()
    return figure


def layers(norms: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Draws the norm of the gradient of each layer, one line for each network, logarithmic."""
    with _figure(title) as (figure, axes):
        for (name, values), colour in zip(norms.items(), _colours(len(norms))):
            # A norm of exactly 0 has underflown: below the axis, not on it.
            shown = np.where(np.asarray(values) > 0, values, np.nan)
            axes[0].plot(
                np.arange(1, len(values) + 1), shown, "o-", ms=3.5, color=colour, label=name
            )
        axes[0].set_yscale("log")
        axes[0].set_xlabel("layer, from the input to the output")
        axes[0].set_ylabel("norm of the weight's gradient")
        axes[0].legend(loc="lower right")
    return figure


def bars(
    values: Mapping[str, float],
    title: str,
    label: str,
    *,
    target: float | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Figure:
    """Draws a horizontal bar for each name, in the order given, and the target as a line.

    A scale that does not begin at 0 gets points instead, whose length does not mislead.
    """
    with _figure(title, height=1.2 + 0.28 * len(values)) as (figure, axes):
        names = list(values)
        places = np.arange(len(names))[::-1]
        numbers = np.array([values[name] for name in names])
        missed = np.zeros(len(names), bool) if target is None else numbers < target
        colours = [_COLOURS[1] if miss else _COLOURS[0] for miss in missed]
        if low == 0:
            axes[0].barh(places, numbers, color=colours, height=0.66)
        else:
            axes[0].scatter(np.maximum(numbers, low), places, s=46, color=colours, zorder=3)
        for place, number in zip(places, numbers):
            axes[0].annotate(
                f"{number:.3f}",
                (max(number, low), place),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        if target is not None:
            axes[0].axvline(target, color=_INK, lw=1, ls=(0, (4, 3)))
        axes[0].set_yticks(places, names)
        axes[0].set_xlim(low, high)
        axes[0].set_xlabel(label)
        axes[0].grid(axis="y", visible=low > 0)
        axes[0].tick_params(axis="y", length=0)
    return figure


def confusion(matrix: Array, names: Sequence[str], title: str) -> Figure:
    """Draws a confusion matrix: shade is the share of the true class, numbers are counts."""
    classes = len(names)
    side = 2.2 + 0.36 * max(classes, 5)
    right = np.trace(matrix) / max(matrix.sum(), 1)
    with _figure(title, height=side, width=side) as (figure, axes):
        axis = axes[0]
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        # The root lifts rare mistakes out of the white.
        axis.imshow(np.sqrt(shares), cmap=_blues(), vmin=0, vmax=1)
        for i, j in np.ndindex(matrix.shape):
            if matrix[i, j]:
                dark = np.sqrt(shares[i, j]) > 0.6
                wrong = i != j
                axis.text(
                    j,
                    i,
                    f"{matrix[i, j]}",
                    ha="center",
                    va="center",
                    color="white" if dark else _COLOURS[1] if wrong else _INK,
                    weight="bold" if wrong else "normal",
                )
        axis.set_xticks(range(classes), names)
        axis.set_yticks(range(classes), names)
        if max(map(len, names)) > 3:
            axis.tick_params(axis="y", labelrotation=90)
            for text in axis.get_yticklabels():
                text.set_verticalalignment("center")
        axis.set_xlabel(f"called ({right:.1%} right)")
        axis.set_ylabel("true")
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure


def predictions(true: Array, predicted: Array, unit: str, title: str) -> Figure:
    """Draws predicted over true values, with the line where they are equal."""
    with _figure(title, width=4.6, height=4.4) as (figure, axes):
        both = np.concatenate([true, predicted])
        ends = [both.min() - 1, both.max() + 1]
        axes[0].plot(ends, ends, color=_FAINT, lw=1, ls=(0, (4, 3)), zorder=1)
        axes[0].scatter(true, predicted, s=26, color=_COLOURS[0], alpha=0.75, lw=0, zorder=2)
        axes[0].set(xlim=ends, ylim=ends, aspect="equal")
        axes[0].set_xlabel(f"true {unit}")
        axes[0].set_ylabel(f"predicted {unit}")
    return figure


def mistakes(images: Array, true: Array, logits: Array, title: str, count: int = 12) -> Figure:
    """Draws the wrongly called images with the largest margin, and what they were called."""
    called = logits.argmax(axis=1)
    margin = logits.max(axis=1) - np.take_along_axis(logits, true[:, None], 1)[:, 0]
    worst = np.argsort(-margin, kind="stable")[:count]
    worst = worst[margin[worst] > 0]
    columns = 6
    rows = max(1, -(-len(worst) // columns))
    with _figure(title, columns, rows, width=1.05 * columns, height=0.4 + 1.3 * rows) as (
        figure,
        axes,
    ):
        for axis in axes:
            axis.set_axis_off()
        for axis, i in zip(axes, worst):
            axis.imshow(images[i, ..., 0], cmap="gray_r", vmin=0, vmax=1)
            axis.set_title(
                f"{true[i]}, called {called[i]}", fontsize=8.5, loc="center", color=_COLOURS[1]
            )
    return figure


def tiles(images: Array, title: str, columns: int = 8) -> Figure:
    """Draws small images (count, H, W) beside each other, each with its own range of greys."""
    rows = -(-len(images) // columns)
    with _figure(title, columns, rows, width=1.0 * columns, height=0.4 + 1.05 * rows) as (
        figure,
        axes,
    ):
        for axis in axes:
            axis.set_axis_off()
        for axis, image in zip(axes, images):
            axis.imshow(image, cmap="gray")
    return figure


def decisions(
    models: Mapping[str, Callable[[Array], Array]], x: Array, y: Array, title: str
) -> Figure:
    """Draws, for points of the plane, where each model calls class 1, and the points `x`, `y`."""
    low, high = x.min() - 0.5, x.max() + 0.5
    ticks = np.linspace(low, high, 161, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    with _figure(title, len(models), share_y=True, height=3.6, width=3.3 * len(models)) as (
        figure,
        axes,
    ):
        for axis, (name, model) in zip(axes, models.items()):
            share = np.asarray(model(grid)).reshape(len(ticks), len(ticks))
            axis.contourf(
                ticks, ticks, share, levels=np.linspace(0, 1, 11), cmap=_two_classes(), alpha=0.55
            )
            for c, marker in ((0, "s"), (1, "o")):
                first, second = x[y == c].T
                axis.scatter(
                    first,
                    second,
                    marker=marker,
                    s=70,
                    color=_COLOURS[c],
                    edgecolor="white",
                    lw=1.5,
                    zorder=3,
                )
            axis.set(aspect="equal", xticks=(0, 1), yticks=(0, 1), xlabel="first input")
            axis.set_title(name)
            axis.grid(visible=False)
        axes[0].set_ylabel("second input")
    return figure


@contextmanager
def _figure(
    title: str,
    columns: int = 1,
    rows: int = 1,
    *,
    width: float | None = None,
    height: float = 3.3,
    share_y: bool = False,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yields a titled figure and its axes, with the house style while it is drawn."""
    # Not pyplot: its figures live on until they are closed, and it chooses a screen.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width or 0.6 + 4.3 * columns, height), dpi=144)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
        text = figure.suptitle(title, x=0.02, ha="left", fontsize=11.5, weight="bold")
        yield figure, list(axes.flat)
        _fit(figure, text)


def _fit(figure: Figure, title: Any) -> None:
    """Shrinks the title until it is inside the figure."""
    figure.draw_without_rendering()
    room = 0.96 * figure.bbox.width / max(1.0, title.get_window_extent().width)
    if room < 1:
        title.set_fontsize(title.get_fontsize() * room)


def _lines(axis: Axes, lines: Mapping[str, Sequence[float]], label: str) -> None:
    for (name, values), colour in zip(lines.items(), _colours(len(lines))):
        few = "o" if len(values) < 4 else None
        axis.plot(
            range(1, len(values) + 1), values, color=colour, marker=few, clip_on=False, label=name
        )
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    _whole(axis)
    axis.legend()


def _whole(axis: Axes) -> None:
    """Marks whole numbers of epochs only."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def _colours(count: int) -> list[Any]:
    if count <= len(_COLOURS):
        return list(_COLOURS[:count])
    from matplotlib import colormaps

    return [colormaps["turbo"](share) for share in np.linspace(0.05, 0.95, count)]


def _blues() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("loom", ["#FFFFFF", "#CFE3F1", "#0072B2", "#003F63"])


def _two_classes() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("two", [_COLOURS[0], "#FFFFFF", _COLOURS[1]])
