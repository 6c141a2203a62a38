"""The gallery's images: what went in, what a network looks for, what it found, where it erred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def fields(weights: Array, title: str, columns: int = 8) -> Figure:
    """Draws weights (count, H, W) over an image: positive in orange, negative in blue."""
    rows = -(-len(weights) // columns)
    with figure_of(title, columns, rows, width=0.8 * columns, height=0.4 + 0.8 * rows) as (
        figure,
        axes,
    ):
        largest = np.percentile(np.abs(weights), 99.5)
        for axis in axes:
            axis.set_axis_off()
        for axis, w in zip(axes, weights):
            axis.imshow(w, cmap=two_classes(), vmin=-largest, vmax=largest)
    return figure


def strips(rows: Mapping[str, Array], title: str) -> Figure:
    """Draws rows of images, one below the other: name → (count, H, W) or (count, H, W, 3)."""
    count = max(len(images) for images in rows.values())
    size = (count, len(rows))
    with figure_of(title, *size, width=1.1 + 0.62 * count, height=0.45 + 0.66 * len(rows)) as (
        figure,
        axes,
    ):
        for axis in axes:
            axis.set(xticks=(), yticks=())
            axis.spines[:].set_visible(False)
        for i, (name, images) in enumerate(rows.items()):
            line = axes[i * count : (i + 1) * count]
            label = line[0].set_ylabel(name, rotation=0, ha="right", va="center")
            label.set_fontsize(8.5)
            for axis, image in zip(line, images):
                axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    return figure


def maps(codes: Mapping[str, Array], y: Array, title: str) -> Figure:
    """Draws codes of two numbers (N, 2), a panel for each name, each point as its class."""
    from matplotlib import colormaps

    with figure_of(title, len(codes), width=4.4 * len(codes), height=4.2) as (figure, axes):
        for axis, (name, points) in zip(axes, codes.items()):
            for c in np.unique(y):
                colour = colormaps["tab10"](int(c) % 10)
                first, second = points[y == c].T
                axis.scatter(first, second, s=5, color=colour, alpha=0.35, lw=0)
                for u, v in zip(first[:18], second[:18]):
                    axis.text(u, v, str(c), color=colour, fontsize=8, ha="center", va="center")
            axis.set_title(name)
            axis.set(xticks=(), yticks=())
            axis.grid(visible=False)
    return figure


def histogram(values: Mapping[str, Array], title: str, label: str) -> Figure:
    """Draws how often values occur, for each name; the axis of the values is logarithmic."""
    everything = np.concatenate(list(values.values()))
    edges = np.geomspace(max(everything.min(), 1e-9), everything.max(), 40)
    with figure_of(title) as (figure, (axis,)):
        for (name, found), colour in zip(values.items(), COLOURS):
            axis.hist(found, list(edges), color=colour, alpha=0.6, label=name)
        axis.set_xscale("log")
        axis.set(xlabel=label, ylabel="rows")
        axis.legend()
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


def heat(images: Array, maps: Mapping[str, Array], boxes: Array, title: str) -> Figure:
    """Draws images (count, H, W) in a row, and below them each map (count, H, W) over them.

    `boxes` (count, 4) are drawn as lines; what a map has below 0 is left out.
    """
    from matplotlib.patches import Rectangle

    count, rows = len(images), 1 + len(maps)
    with figure_of(title, count, rows, width=1.3 + 1.1 * count, height=0.5 + 1.13 * rows) as (
        figure,
        axes,
    ):
        for k, axis in enumerate(axes):
            row, i = divmod(k, count)
            axis.imshow(images[i], cmap="gray", vmin=0, vmax=1)
            if row:
                found = np.maximum(list(maps.values())[row - 1][i], 0)
                shade = np.zeros((*found.shape, 4))
                shade[..., :3] = 1.0, 0.45, 0.0
                shade[..., 3] = found / max(found.max(), 1e-12)
                axis.imshow(
                    shade, extent=(-0.5, images.shape[2] - 0.5, images.shape[1] - 0.5, -0.5)
                )
            x0, y0, x1, y1 = boxes[i] - 0.5
            axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=0.9))
            axis.set(xticks=(), yticks=())
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)
            if i == 0:
                name = ("image", *maps)[row]
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8.5)
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
