"""The gallery's images: what went in, what a network looks for, what it found, where it erred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLOURS, FAINT, INK, blues, figure_of, two_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._arrays import Array


def mistakes(images: Array, true: Array, logits: Array, title: str, count: int = 12) -> Figure:
    """Draws the wrongly called images with the largest margin, and what they were called."""
    called = logits.argmax(axis=1)
    margin = logits.max(axis=1) - np.take_along_axis(logits, true[:, None], 1)[:, 0]
    worst = np.argsort(-margin, kind="stable")[:count]
    worst = worst[margin[worst] > 0]
    columns = 6
    rows = max(1, -(-len(worst) // columns))
    with figure_of(title, columns, rows, width=1.05 * columns, height=0.4 + 1.3 * rows) as (
        figure,
        axes,
    ):
        for axis in axes:
            axis.set_axis_off()
        for axis, i in zip(axes, worst):
            axis.imshow(images[i, ..., 0], cmap="gray_r", vmin=0, vmax=1)
            axis.set_title(
                f"{true[i]}, called {called[i]}", fontsize=8.5, loc="center", color=COLOURS[1]
            )
    return figure


def tiles(images: Array, title: str, columns: int = 8) -> Figure:
    """Draws images (count, H, W) of [0, 1] beside each other, ink on paper."""
    rows = -(-len(images) // columns)
    with figure_of(title, columns, rows, width=1.0 * columns, height=0.4 + 1.0 * rows) as (
        figure,
        axes,
    ):
        for axis in axes:
            axis.set_axis_off()
        for axis, image in zip(axes, images):
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    return figure


def filters(image: Array, weights: Array, maps: Array, title: str, columns: int = 8) -> Figure:
    """Draws an image, and each filter above what it found there.

    Args:
        image: (H, W) in [0, 1].
        weights: (count, kH, kW): positive in orange, negative in blue, one scale for all.
        maps: (count, H, W), not negative, each on its own scale.
        title: Of the figure.
        columns: Filters in a row.
    """
    rows = -(-len(weights) // columns)
    height = 0.4 + 1.55 * rows
    grid: dict[str, Any] = {
        "width_ratios": [1.55 * rows, *[1.0] * columns],
        "height_ratios": [0.55, 1.0] * rows,
    }
    with figure_of(
        title, columns + 1, 2 * rows, width=columns + 1.55 * rows, height=height, **grid
    ) as (figure, axes):
        for axis in axes:
            axis.set_axis_off()
        layout: Any = axes[0].get_gridspec()
        whole = figure.add_subplot(layout[:, 0])
        whole.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        whole.set_axis_off()
        largest = np.abs(weights).max()
        for i, (w, found) in enumerate(zip(weights, maps)):
            above = axes[2 * (i // columns) * (columns + 1) + 1 + i % columns]
            below = axes[(2 * (i // columns) + 1) * (columns + 1) + 1 + i % columns]
            above.imshow(w, cmap=two_classes(), vmin=-largest, vmax=largest)
            below.imshow(found, cmap=blues(), vmin=0, vmax=max(found.max(), 1e-9))
            below.set_axis_on()
            below.grid(visible=False)
            below.set(xticks=(), yticks=())
            below.spines[:].set(visible=True, color="#CFD5DA", linewidth=0.6)
    return figure


def alignment(weights: Array, read: Sequence[str], written: Sequence[str], title: str) -> Figure:
    """Draws attention weights (len(written), len(read)): the darker, the more it looked there."""
    width = max(4.5, 1.2 + 0.5 * len(read))
    with figure_of(title, width=width, height=1.0 + 0.42 * max(1, len(written))) as (
        figure,
        (axis,),
    ):
        axis.imshow(weights, cmap=blues(), vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(read)), read)
        axis.set_yticks(range(len(written)), written)
        axis.grid(visible=False)
        axis.tick_params(length=0)
    return figure


def looks(images: Array, weights: Array, words: Sequence[Sequence[str]], title: str) -> Figure:
    """Draws images, once for each word that was said of them, dark but for where it looked.

    Args:
        images: (count, H, W) in [0, 1].
        weights: (count, T, S): how much it looked at each of S columns before each word.
        words: T of each image.
        title: Of the figure.
    """
    rows, columns = weights.shape[:2]
    width = 2.3 * columns
    with figure_of(title, columns, rows, width=width, height=0.4 + 1.05 * rows) as (figure, axes):
        for k, axis in enumerate(axes):
            i, t = divmod(k, columns)
            h, w = images[i].shape
            at = (np.arange(w) + 0.5) * weights.shape[2] / w - 0.5
            light = np.interp(at, np.arange(weights.shape[2]), weights[i, t])
            axis.imshow(np.tile(light, (h, 1)), cmap=blues(), vmin=0, vmax=max(light.max(), 1e-9))
            ink = np.zeros((h, w, 4))
            ink[..., 3] = images[i]
            axis.imshow(ink)
            axis.set_title(words[i][t], fontsize=8.5, loc="center")
            axis.set_axis_off()
    return figure


def kernels(weights: Array, title: str, columns: int = 8) -> Figure:
    """Draws filters along time (count, taps) as bars around zero."""
    rows = -(-len(weights) // columns)
    taps = np.arange(weights.shape[1]) - (weights.shape[1] - 1) / 2
    with figure_of(
        title, columns, rows, width=1.15 * columns, height=0.6 + 0.95 * rows, share_y=True
    ) as (figure, axes):
        for axis in axes[len(weights) :]:
            axis.set_axis_off()
        for axis, w in zip(axes, weights):
            axis.bar(taps, w, width=0.8, color=np.where(w > 0, COLOURS[1], COLOURS[0]))
            axis.axhline(0, color=FAINT, lw=0.8)
            axis.set(xticks=(taps[0], 0, taps[-1]), yticks=())
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0, labelbottom=False)
            axis.grid(visible=False)
        for axis in axes[-columns:]:
            axis.tick_params(labelbottom=True)
    return figure


def evidence(
    series: Array,
    y: Array,
    spoken: Array,
    names: Sequence[str],
    title: str,
    label: str,
    shown: int = 40,
) -> Figure:
    """Draws the mean series of each of two classes, coloured by what speaks for which class.

    Args:
        series: (N, T).
        y: (N,), 0 or 1.
        spoken: (N, T), positive where it speaks for class 1.
        names: Of the two classes.
        title: Of the figure.
        label: What time is.
        shown: How many series of each class to draw behind the mean.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import TwoSlopeNorm

    means = [spoken[y == c].mean(axis=0) for c in (0, 1)]
    largest = max(np.abs(m).max() for m in means) or 1.0
    norm = TwoSlopeNorm(0.0, -largest, largest)
    time = np.arange(series.shape[1])
    fine = np.linspace(0, time[-1], 40 * len(time))
    with figure_of(title, 2, share_y=True, width=9.6) as (figure, axes):
        for c, axis in enumerate(axes):
            of_class = series[y == c]
            axis.plot(time, of_class[:shown].T, color="#C9CED3", lw=0.6, alpha=0.7, zorder=1)
            line = np.interp(fine, time, of_class.mean(axis=0))
            points = np.stack([fine, line], axis=1)
            pieces = np.stack([points[:-1], points[1:]], axis=1)
            # A dark line behind keeps the pale hours visible.
            axis.plot(fine, line, color=INK, lw=5.4, zorder=2)
            drawn = LineCollection(
                list(pieces), cmap=two_classes(), norm=norm, lw=4.0, capstyle="round", zorder=3
            )
            drawn.set_array(np.interp(fine[:-1], time, means[c]))
            axis.add_collection(drawn)
            axis.set_title(names[c])
            axis.set(xlabel=label, xlim=(0, time[-1]))
            axis.set_xticks(time[:: max(1, len(time) // 8)])
        bar = figure.colorbar(drawn, ax=axes, aspect=24, pad=0.02, ticks=[-largest, 0, largest])
        bar.ax.set_yticklabels([f"for {names[0]}", "says nothing", f"for {names[1]}"])
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        axes[0].set_ylabel("shifted and scaled")
    return figure
