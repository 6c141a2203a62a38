"""The gallery's diagrams: curves, bars, matrices, scatters. Images are in `pictures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .style import COLOURS, FAINT, INK, blues, colours, figure_of, two_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .._arrays import Array


def available() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def require(op: str) -> None:
    """Raises ImportError where matplotlib is not installed."""
    if not available():
        raise ImportError(f'{op} needs matplotlib: pip install "handloom[gallery]"')


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG and returns its path."""
    figure.savefig(path, format="png", metadata={"Software": "handloom"})
    return path


def learning(
    losses: Mapping[str, Sequence[float]],
    scores: Mapping[str, Sequence[float]] | None,
    title: str,
    score: str = "accuracy",
    low: float | None = None,
) -> Figure:
    """Draws losses, and scores beside them, by epoch.

    Args:
        losses, scores: A line for each name, one number an epoch.
        title: Of the figure.
        score: What the scores are.
        low: Where the axis of the scores begins, whose best is 1; None to show them all.
    """
    with figure_of(title, 1 if scores is None else 2) as (figure, axes):
        _lines(axes[0], losses, "loss")
        axes[0].set_ylim(bottom=0)
        if scores is not None:
            _lines(axes[1], scores, score)
            if low is not None:
                axes[1].set_ylim(low, 1 + (1 - low) / 50)  # a line at 1 is drawn whole
                for line in axes[1].get_lines():
                    line.set_clip_on(True)
    return figure


def curves_by_epoch(panels: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Draws panels of lines by epoch; a panel's name is its y axis. NaN leaves a gap."""
    with figure_of(title, len(panels)) as (figure, axes):
        for axis, (label, lines) in zip(axes, panels.items()):
            _lines(axis, lines, label)
    return figure


def curves(
    lines: Mapping[str, Sequence[float]], title: str, label: str, x_label: str = "epoch"
) -> Figure:
    """Draws one line for each name, by epoch."""
    with figure_of(title) as (figure, axes):
        _lines(axes[0], lines, label)
        axes[0].set(xlabel=x_label)
        axes[0].set_ylim(bottom=0)
    return figure


def steps(
    lines: Mapping[str, Sequence[float] | Array], title: str, x_label: str, y_label: str
) -> Figure:
    """Draws one line for each name by step, logarithmic; 0 and NaN have no place."""
    with figure_of(title) as (figure, axes):
        for (name, values), colour in zip(lines.items(), colours(len(lines))):
            shown = np.where(np.asarray(values) > 0, values, np.nan)
            axes[0].plot(range(1, len(shown) + 1), shown, lw=1.4, color=colour, label=name)
        axes[0].set_yscale("log")
        axes[0].set(xlabel=x_label, ylabel=y_label)
        axes[0].legend()
    return figure


def series(
    time: Array, lines: Mapping[str, Array], title: str, x_label: str, y_label: str
) -> Figure:
    """Draws values over time: the first line, what was seen, in grey behind the others."""
    with figure_of(title, width=9.6) as (figure, axes):
        seen, *others = lines.items()
        axes[0].plot(time, seen[1], "o-", ms=3, color=FAINT, label=seen[0])
        for (name, values), colour in zip(others, colours(len(others))):
            axes[0].plot(time, values, color=colour, lw=1.4, label=name)
        axes[0].set(xlabel=x_label, ylabel=y_label)
        axes[0].margins(y=0.15)  # room for the legend
        axes[0].legend(ncols=len(lines))
    return figure


def highlights(
    lines: Mapping[str, Sequence[float]], title: str, label: str, *, columns: int = 4
) -> Figure:
    """Draws a small panel for each name: its line by epoch before all others in grey."""
    rows = -(-len(lines) // columns)
    with figure_of(
        title, columns, rows, width=2.1 * columns, height=0.6 + 1.6 * rows, share_y=True
    ) as (figure, axes):
        for axis, name in zip(axes, lines):
            for values in lines.values():
                axis.plot(range(1, len(values) + 1), values, color="#C9CED3", lw=0.8)
            axis.plot(range(1, len(lines[name]) + 1), lines[name], color=COLOURS[1])
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
    with figure_of(title, len(panels), share_y=True) as (figure, axes):
        for axis, (name, lines) in zip(axes, panels.items()):
            for (line, (x, y)), colour in zip(lines.items(), colours(len(lines))):
                axis.plot(x, y, color=colour, label=line)
            axis.set_xlabel(name)
            axis.set_xscale("log")
            axis.set_yscale("log")
        axes[0].set_ylabel(label)
        axes[-1].legend()
    return figure


def points(panels: Mapping[str, Sequence[tuple[float, float]]], title: str, label: str) -> Figure:
    """Draws panels of points `(x, y)`, x logarithmic; a panel's name is its x axis."""
    from matplotlib.ticker import NullFormatter

    with figure_of(title, len(panels), width=3.2 * len(panels), share_y=True) as (figure, axes):
        for axis, (name, found) in zip(axes, panels.items()):
            x, y = zip(*found)
            best = int(np.argmax(y))
            axis.scatter(x, y, s=36, color=COLOURS[0], zorder=2)
            axis.scatter(x[best], y[best], s=36, color=COLOURS[1], zorder=3, label="the best")
            axis.set_xscale("log")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlabel(name)
        axes[0].set_ylabel(label)
        axes[0].legend(loc="lower right")
    return figure


def over_log(
    x: Array, y: Array, marks: Mapping[str, float], title: str, x_label: str, y_label: str
) -> Figure:
    """Draws a line over a logarithmic axis, with some places on it named."""
    with figure_of(title) as (figure, axes):
        axes[0].plot(x, y, color=COLOURS[0])
        for (name, place), colour in zip(marks.items(), COLOURS[1:]):
            axes[0].axvline(
                place, color=colour, lw=1.2, ls=(0, (4, 3)), label=f"{name}: {place:.2g}"
            )
        axes[0].set_xscale("log")
        axes[0].set(xlabel=x_label, ylabel=y_label)
        axes[0].legend()
    return figure


def before_after(
    before: Array, after: Mapping[str, Array], title: str, x_label: str, columns: int = 3
) -> Figure:
    """Draws panels of series (count, T) over the one (T,) that they were made of, in grey."""
    rows = -(-len(after) // columns)
    size = {"width": 3.2 * columns, "height": 0.6 + 1.9 * rows}
    with figure_of(title, columns, rows, share_y=True, **size) as (figure, axes):
        for axis in axes[len(after) :]:
            axis.set_axis_off()
        for axis, (name, series) in zip(axes, after.items()):
            axis.plot(series.T, color=COLOURS[0], lw=1.0, alpha=0.6)
            axis.plot(before, color=FAINT, lw=2.6, zorder=1)
            axis.set_title(name)
        for axis in axes[-columns:]:
            axis.set_xlabel(x_label)
    return figure


def landscape(steps: Array, losses: Array, title: str) -> Figure:
    """Draws losses over one direction as a line, over two as a map with contours."""
    square = losses.ndim == 2
    with figure_of(title, width=5.0, height=4.2 if square else 3.3) as (figure, (axis,)):
        if square:
            shown = axis.contourf(steps, steps, losses.T, levels=24, cmap=blues().reversed())
            axis.contour(steps, steps, losses.T, levels=12, colors=INK, linewidths=0.4)
            figure.colorbar(shown, ax=axis).set_label("loss")
            axis.set(xlabel="first direction", ylabel="second direction", aspect="equal")
        else:
            axis.plot(steps, losses, color=COLOURS[0])
            axis.set(xlabel="step along a random direction", ylabel="loss")
        here = 0.0 if square else losses[len(steps) // 2]
        axis.plot(0, here, "o", color=COLOURS[1], ms=4)
        axis.grid(visible=not square)
    return figure


def layers(norms: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Draws the norm of the gradient of each layer, one line for each network, logarithmic."""
    with figure_of(title) as (figure, axes):
        for (name, values), colour in zip(norms.items(), colours(len(norms))):
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
    with figure_of(title, height=1.2 + 0.28 * len(values)) as (figure, axes):
        names = list(values)
        places = np.arange(len(names))[::-1]
        numbers = np.array([values[name] for name in names])
        missed = np.zeros(len(names), bool) if target is None else numbers < target
        colours = [COLOURS[1] if miss else COLOURS[0] for miss in missed]
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
            axes[0].axvline(target, color=INK, lw=1, ls=(0, (4, 3)))
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
    with figure_of(title, height=side, width=side) as (figure, axes):
        axis = axes[0]
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        # The root lifts rare mistakes out of the white.
        axis.imshow(np.sqrt(shares), cmap=blues(), vmin=0, vmax=1)
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
                    color="white" if dark else COLOURS[1] if wrong else INK,
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
    with figure_of(title, width=4.6, height=4.4) as (figure, axes):
        both = np.concatenate([true, predicted])
        ends = [both.min() - 1, both.max() + 1]
        axes[0].plot(ends, ends, color=FAINT, lw=1, ls=(0, (4, 3)), zorder=1)
        axes[0].scatter(true, predicted, s=26, color=COLOURS[0], alpha=0.75, lw=0, zorder=2)
        axes[0].set(xlim=ends, ylim=ends, aspect="equal")
        axes[0].set_xlabel(f"true {unit}")
        axes[0].set_ylabel(f"predicted {unit}")
    return figure


def decisions(
    models: Mapping[str, Callable[[Array], Array]], x: Array, y: Array, title: str
) -> Figure:
    """Draws, for points of the plane, where each model calls class 1, and the points `x`, `y`."""
    low, high = x.min() - 0.5, x.max() + 0.5
    ticks = np.linspace(low, high, 161, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    with figure_of(title, len(models), share_y=True, height=3.6, width=3.3 * len(models)) as (
        figure,
        axes,
    ):
        for axis, (name, model) in zip(axes, models.items()):
            share = np.asarray(model(grid)).reshape(len(ticks), len(ticks))
            axis.contourf(
                ticks, ticks, share, levels=np.linspace(0, 1, 11), cmap=two_classes(), alpha=0.55
            )
            for c, marker in ((0, "s"), (1, "o")):
                first, second = x[y == c].T
                axis.scatter(
                    first,
                    second,
                    marker=marker,
                    s=70,
                    color=COLOURS[c],
                    edgecolor="white",
                    lw=1.5,
                    zorder=3,
                )
            axis.set(aspect="equal", xticks=(0, 1), yticks=(0, 1), xlabel="first input")
            axis.set_title(name)
            axis.grid(visible=False)
        axes[0].set_ylabel("second input")
    return figure


def _lines(axis: Axes, lines: Mapping[str, Sequence[float]], label: str) -> None:
    for (name, values), colour in zip(lines.items(), colours(len(lines))):
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
