"""The report as PNG plots: the roofline, ratios beside peers, matmul over size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import atan, degrees
from pathlib import Path
from typing import Any

# Okabe and Ito's palette, readable without colour vision; the subject is the blue one.
SUBJECT = "#0072B2"
COLOURS = {
    "handloom": SUBJECT,
    "numpy": "#E69F00",
    "torch": "#D55E00",
    "jax": "#009E73",
    "onnxruntime": "#CC79A7",
}
FAMILIES = {
    "matmul": "o",
    "linear": "s",
    "elementwise": "^",
    "reduce": "v",
    "softmax": "D",
    "step": "P",
}
# A light plate keeps text legible above points.
PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
# Taller pages would be shrunk until nobody reads them.
ROWS_PER_PAGE = 12
INK, FAINT, GRID = "#222222", "#777777", "#E4E4E4"
DPI = 160
# Bars past this are cut and marked; one 200-fold win must not flatten the rest.
WIDEST = 16.0


def draw(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what the report has data for; return the files written.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError('plots: matplotlib is missing: pip install "handloom[gallery]"') from None
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    style: Any = {
        "font.size": 10, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
        "xtick.color": FAINT, "ytick.color": FAINT, "axes.spines.top": False,
        "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
        "axes.axisbelow": True, "axes.titleweight": "bold", "axes.titlelocation": "left",
    }  # fmt: skip
    written = []
    with matplotlib.rc_context(style):
        timing = [r for r in report["rows"] if r["kind"] == "timing" and r["status"] == "ok"]
        if report["roofline"]["limits"] and timing:
            written.append(_roofline(report, timing, folder / "roofline.png"))
        for dtype in ("float32", "float64"):
            cubes = [r for r in timing if r["name"].endswith("³") and r["dtype"] == dtype]
            cubes = [r for r in cubes if r["name"][:-1].isdigit()]
            if len(cubes) > 1:
                path = folder / f"matmul-{dtype}.png"
                written.append(_over_size(report, cubes, dtype, path))
        memory = [r for r in report["rows"] if r["kind"] == "memory"]
        if len(memory) > 1:
            written.append(_memory(report, memory, folder / "memory-attention.png"))
        for family in dict.fromkeys(r["family"] for r in timing):
            rows = [r for r in timing if r["family"] == family and r["best_peer"]]
            pages = -(-len(rows) // ROWS_PER_PAGE)
            for page in range(pages):
                suffix = f"-{page + 1}" if pages > 1 else ""
                path = folder / f"ratios-{family}{suffix}.png"
                written.append(_ratios(report, family, _page(rows, page, pages), path))
    return written


def _roofline(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Arithmetic intensity against GFLOP/s, under the limits measured in the same run."""
    from matplotlib import pyplot

    subject, limits = report["subject"], report["roofline"]["limits"]
    figure, axes = pyplot.subplots(figsize=(9, 5.6), layout="constrained")
    # Without a roof of its own (a 16-float call) a point would only measure Python.
    points = [r for r in rows if r["flops"] and r["bytes"] and r["roofs"] and r["share"]]
    xs = [r["flops"] / r["bytes"] for r in points] or [1.0]
    left, right, highest = min(xs) / 2, max(xs) * 2, 1.0
    for dtype, dashes in (("float32", "-"), ("float64", "--")):
        peak = limits.get(f"{dtype} peak")
        bandwidth = limits.get("copy") or limits.get("read")
        if peak is None:
            continue
        top = peak["median"] / 1e9
        label = f"{dtype} peak {top:.0f} GFLOP/s"
        axes.text(right / 1.1, top * 1.1, label, ha="right", bbox=PLATE, zorder=4)
        highest = max(highest, top * 1.8)
        start = left
        if bandwidth is not None:
            slope = bandwidth["median"] / 1e9
            start = top / slope
            if dtype == "float32":
                axes.plot([left, start], [left * slope, top], "-", color=INK, lw=1.5)
                name = "copy" if "copy" in limits else "read"
                axes.text(
                    left * 1.5, left * 1.5 * slope * 1.1, f"{name} {slope:.0f} GB/s",
                    rotation=degrees(atan(slope)), rotation_mode="anchor",
                    transform_rotates_text=True, va="bottom",
                )  # fmt: skip
        axes.plot([start, right], [top, top], dashes, color=INK, lw=1.5)
    for family, marker in FAMILIES.items():
        ours = [r for r in points if r["family"] == family]
        for filled, dtype in ((True, "float32"), (False, "float64")):
            chosen = [r for r in ours if r["dtype"] == dtype]
            if not chosen:
                continue
            axes.scatter(
                [r["flops"] / r["bytes"] for r in chosen],
                [r["results"][subject]["gflops"] for r in chosen],
                marker=marker, s=44, lw=1.2, alpha=0.9, zorder=3,
                facecolors=SUBJECT if filled else "white", edgecolors=SUBJECT,
                label=family + ("" if filled else ", float64"),
            )  # fmt: skip
            best = [(r, r["results"][r["best_peer"]]) for r in chosen if r["best_peer"]]
            axes.scatter(
                [r["flops"] / r["bytes"] for r, _ in best],
                [result["gflops"] for _, result in best],
                marker=marker, s=18, color="#BBBBBB", zorder=2,
            )  # fmt: skip
    axes.scatter([], [], s=18, color="#BBBBBB", label="best peer")
    lowest = min((r["results"][subject]["gflops"] for r in points), default=0.1)
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(lowest / 2, highest))
    axes.set_xlabel("FLOP per byte of compulsory traffic")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{subject} under the measured roofline, {report['threads']} threads")
    axes.legend(frameon=False, fontsize=9, loc="lower right", ncols=2)
    return _save(figure, report, path)


def _over_size(
    report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], dtype: str, path: Path
) -> Path:
    """GFLOP/s of square products over their size, everyone beside the peak."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    sizes = [int(row["name"][:-1]) for row in rows]
    top = 0.0
    names = list(dict.fromkeys(name for row in rows for name in row["results"]))
    labels = []
    for name in reversed(names):  # the subject last, on top
        known = [(s, r["results"].get(name, {})) for s, r in zip(sizes, rows)]
        points = [(s, result) for s, result in known if result.get("status") == "ok"]
        if not points:
            continue
        ours = name == report["subject"]
        work = [2.0 * s**3 / 1e9 for s, _ in points]
        xs = [s for s, _ in points]
        ys = [w / result["seconds"]["median"] for w, (_, result) in zip(work, points)]
        low = [w / result["seconds"]["q3"] for w, (_, result) in zip(work, points)]
        high = [w / result["seconds"]["q1"] for w, (_, result) in zip(work, points)]
        colour = COLOURS.get(name, FAINT)
        axes.plot(xs, ys, "o-", color=colour, lw=2.6 if ours else 1.6, ms=6 if ours else 4)
        axes.fill_between(xs, low, high, color=colour, alpha=0.15, lw=0)
        labels.append((ys[-1], name, colour, ours))
        top = max(top, *high)
    peak = report["roofline"]["limits"].get(f"{dtype} peak")
    if peak is not None:
        line = peak["median"] / 1e9
        axes.axhspan(peak["q1"] / 1e9, peak["q3"] / 1e9, color=INK, alpha=0.08, lw=0)
        axes.axhline(line, color=INK, lw=1.2, ls="--")
        axes.text(sizes[0], line * 1.02, f"measured peak, {line:.0f} GFLOP/s", va="bottom")
        top = max(top, line)
    top *= 1.1
    for y, (_, name, colour, ours) in zip(_spread([l[0] for l in labels], top / 22), labels):
        weight = "bold" if ours else "normal"
        axes.text(sizes[-1] * 1.09, y, name, color=colour, va="center", weight=weight)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, top)
    axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.09 * 1.75)
    axes.set_xlabel("n, of an n × n by n × n product")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"matmul {dtype}, {report['threads']} threads; band: quartiles over rounds")
    return _save(figure, report, path)


def _memory(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Bytes of attention over the length of the sequence; a straight slope of 1 is linear."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.6), layout="constrained")
    names = list(dict.fromkeys(name for row in rows for name in row["results"]))
    for name in names:
        known = [(r["tokens"], r["results"].get(name, {})) for r in rows]
        points = [(t, result["bytes"] / 1e6) for t, result in known if result.get("bytes")]
        if not points:
            continue
        ours = name == report["subject"]
        colour = COLOURS.get(name, FAINT)
        axes.plot(*zip(*points), "o-", color=colour, lw=2.6 if ours else 1.6, ms=6 if ours else 4)
        t, size = points[-1]
        axes.text(
            t * 1.08, size, f"{name}, {size:.0f} MB", color=colour, va="center",
            weight="bold" if ours else "normal", bbox=PLATE,
        )  # fmt: skip
    tokens = [row["tokens"] for row in rows]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(tokens, [str(t) for t in tokens])
    axes.minorticks_off()
    axes.set_xlim(tokens[0] / 1.2, tokens[-1] * 2.6)
    axes.set_xlabel("queries and keys of a sequence")
    axes.set_ylabel("MB beyond the inputs")
    axes.set_title("Attention, forward and backward: memory, 8 heads of 64")
    return _save(figure, report, path)


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Move labels apart until none is closer to its neighbour than ``gap``."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    placed = list(values)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    return placed


def _page(rows: Sequence[Mapping[str, Any]], page: int, pages: int) -> Sequence[Mapping[str, Any]]:
    """Cut rows into pages of nearly equal length."""
    return rows[page * len(rows) // pages : (page + 1) * len(rows) // pages]


def _ratios(
    report: Mapping[str, Any], family: str, rows: Sequence[Mapping[str, Any]], path: Path
) -> Path:
    """How many times faster than each peer, a group of bars per case, log scale around 1."""
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    subject = report["subject"]
    peers = [n for n in COLOURS if any(n in r["ratios"] for r in rows)]
    height = 0.5 + len(rows) * (0.19 * len(peers) + 0.16)
    figure, axes = pyplot.subplots(figsize=(9, 1.3 + height), layout="constrained")
    bar = 0.84 / len(peers)
    lowest = 1.0
    for index, peer in enumerate(peers):
        for place, row in enumerate(rows):
            ratio = row["ratios"].get(peer)
            if ratio is None:
                continue
            y = place + (index - (len(peers) - 1) / 2) * bar
            shown = min(ratio["median"], WIDEST)
            lowest = min(lowest, ratio["q1"])
            best = peer == row["best_peer"]
            axes.barh(
                y, shown - 1, bar * 0.86, left=1, color=COLOURS[peer], alpha=1 if best else 0.5
            )
            if ratio["median"] < WIDEST:
                high = min(ratio["q3"], WIDEST)
                axes.plot([ratio["q1"], high], [y, y], color=INK, lw=1.1, solid_capstyle="butt")
            end = max(shown, min(ratio["q3"], WIDEST), 1.0) * 1.03
            digits = ".2f" if ratio["median"] < 10 else ".0f"
            more = " →" if ratio["median"] > WIDEST else ""
            text = f"{ratio['median']:{digits}}×{more}"
            weight = "bold" if best else "normal"
            axes.text(end, y, text, va="center", fontsize=7.5, weight=weight)
    axes.axvline(1, color=INK, lw=1.2)
    several = len({row["dtype"] for row in rows}) > 1
    names = [r["name"] + (f"  {r['dtype']}" if several else "") for r in rows]
    axes.set_yticks(range(len(rows)), names, color=INK)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(lowest / 1.1, 0.8), WIDEST * 1.35)
    ticks = [t for t in (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16) if t >= lowest / 1.1]
    axes.set_xticks(ticks, [f"{t:g}×" if t >= 1 else f"1/{1 / t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"time of the peer / time of {subject}: right of 1 {subject} is faster")
    axes.set_title(f"{family}: {subject} beside its peers")
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[peer]) for peer in peers]
    axes.legend(
        handles, peers, frameon=False, fontsize=9, ncols=len(peers),
        loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
    )  # fmt: skip
    return _save(figure, report, path)


def _save(figure: Any, report: Mapping[str, Any], path: Path) -> Path:
    from matplotlib import pyplot

    machine = report["machine"]
    note = f"{machine['processor']}, {report['rounds']} rounds, {report['created'][:10]}"
    busy = report["busy_elsewhere"]
    if busy is not None and busy > 0.05:
        note += f"; {busy:.0%} of the processors' time went to others"
    figure.supxlabel(note, x=0.99, ha="right", fontsize=7.5, color=FAINT)
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
    return path
