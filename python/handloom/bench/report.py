"""The report as tables: plain text always, coloured where rich is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

BUSY = 0.05
RULE = (
    "ratio = peer's time / {subject}'s, median over rounds; * = fastest peer, its quartiles beside"
)


class Table(NamedTuple):
    """Cells as text; the first column is aligned left, the others right."""

    title: str
    header: list[str]
    rows: list[list[str]]


def failures(report: Mapping[str, Any]) -> list[str]:
    """What went wrong: contenders that disagreed, failed or died, in words."""
    found = []
    for name, state in report["contenders"].items():
        if state["status"] == "failed":
            found.append(f"{name}: {state['reason']}")
    for row in report["rows"]:
        if row["status"] == "disagree":
            found.append(f"{row['id']}: disagreement: {'; '.join(row['agreement']['complaints'])}")
        for name, result in row["results"].items():
            if result["status"] == "failed":
                found.append(f"{row['id']}: {name}: {result['reason']}")
    return list(dict.fromkeys(found))


def header(report: Mapping[str, Any]) -> list[str]:
    """Machine, limits and versions, one line each."""
    machine = report["machine"]
    caches = ", ".join(f"{name} {_bytes(size)}" for name, size in machine["caches"].items())
    lines = [
        f"{machine['processor']}, {machine['cpus']} of {machine['cpus_in_machine']} cores, "
        f"{caches or 'caches unknown'}, {machine['system']}, Python {machine['python']}",
        f"{report['threads']} threads for everyone, {report['rounds']} rounds, "
        f"seed {report['seed']}{', quick' if report['quick'] else ''}",
    ]
    roofline = report["roofline"]
    if roofline["limits"]:
        measured = (
            f"{name} {_rate(limit['median'], 'peak' in name)}"
            for name, limit in roofline["limits"].items()
        )
        lines.append("measured limits: " + ", ".join(measured))
    elif roofline["missing"]:
        lines.append(roofline["missing"])
    for name, state in report["contenders"].items():
        if state["status"] == "ready":
            versions = ", ".join(f"{k} {v}" for k, v in state["versions"].items())
            lines.append(f"{name}: {versions}")
        else:
            lines.append(f"{name}: {state['status']}: {state['reason'].splitlines()[-1]}")
    busy = report["busy_elsewhere"]
    if busy is not None and busy > BUSY:
        lines.append(
            f"WARNING: {busy:.0%} of the processors' time went to others; trust no figure here"
        )
    return lines


def tables(report: Mapping[str, Any]) -> list[Table]:
    """One table per family."""
    subject = report["subject"]
    made = []
    for family in dict.fromkeys(row["family"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["family"] == family]
        if rows[0]["kind"] == "timing":
            made.append(_timing(family, rows, subject))
        elif rows[0]["kind"] == "scaling":
            made.append(_scaling(rows, subject))
        else:
            made.append(_footprint(family, rows))
    return made


def _timing(family: str, rows: Sequence[Mapping[str, Any]], subject: str) -> Table:
    peers = [n for n in dict.fromkeys(n for r in rows for n in r["results"]) if n != subject]
    head = ["case", "dtype", subject, "rate", "roof", *peers, "quartiles", "goal"]
    body = []
    for row in rows:
        ours = row["results"].get(subject, {"status": "n/a", "reason": "not asked"})
        cells = [row["name"], row["dtype"].replace("float", "f")]
        if row["status"] == "disagree" or ours["status"] != "ok":
            word = "DISAGREE" if row["status"] == "disagree" else ours["status"]
            times = (_time(row["results"].get(peer)) for peer in peers)
            body.append([*cells, word, "", "", *times, "", ""])
            continue
        cells += [duration(ours["seconds"]["median"]), _work(row, ours), _share(ours["share"])]
        for peer in peers:
            ratio = row["ratios"].get(peer)
            star = "*" if peer == row["best_peer"] and len(peers) > 1 else ""
            cells.append(f"{star}{ratio['median']:.2f}×" if ratio else "–")
        best = row["ratios"].get(row["best_peer"])
        cells.append(f"{best['q1']:.2f}–{best['q3']:.2f}" if best else "")
        body.append([*cells, _goal(row)])
    return Table(family, head, body)


def _scaling(rows: Sequence[Mapping[str, Any]], subject: str) -> Table:
    body = []
    for row in rows:
        peak, dtype = row["roof"].get("peak"), row["dtype"].replace("float", "f")
        limit = f"{peak['median']:.2f}×" if peak else "–"
        for name, result in row["results"].items():
            if result["status"] != "ok":
                body.append([row["name"], dtype, name, result["status"], limit, "", ""])
                continue
            relative = result["relative"]
            share = f"{relative['median']:.2f}" if relative else "–"
            goal = _goal(row) if name == subject else ""
            speedup = f"{result['speedup']['median']:.2f}×"
            body.append([row["name"], dtype, name, speedup, limit, share, goal])
    return Table(
        "scaling", ["case", "dtype", "who", "speed-up", "of the peak", "share", "goal"], body
    )


def _footprint(family: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row["results"]))
    body = []
    for row in rows:
        cells = [row["name"]]
        for name in names:
            result = row["results"].get(name, {"status": "n/a"})
            if result["status"] != "ok":
                cells.append(result["status"])
            elif row["kind"] == "import":
                cells.append(duration(result["seconds"]["median"]))
            else:
                wheel = result.get("wheel_bytes")
                packed = f" ({_bytes(wheel)} packed)" if wheel else ""
                cells.append(_bytes(result["bytes"]) + packed)
        extra = row.get("extra_over_numpy")
        note = f"numpy {extra['median'] * 1e3:+.0f} ms" if extra else ""
        body.append([*cells, note, _goal(row)])
    return Table(family, ["what", *names, "", "goal"], body)


def plain(report: Mapping[str, Any]) -> str:
    """The whole report as text."""
    lines = header(report)
    for table in tables(report):
        lines += ["", table.title, *_grid(table)]
    lines += ["", *_legend(report)]
    return "\n".join(lines)


def show(report: Mapping[str, Any]) -> None:
    """Print the report, with rich where it is installed and the output is a terminal."""
    import sys

    try:
        if not sys.stdout.isatty():
            raise ImportError
        from rich.console import Console
        from rich.table import Table as Rich
        from rich.text import Text
    except ImportError:
        print(plain(report))
        return
    console = Console()
    for line in header(report):
        console.print(Text(line, style="bold red" if line.startswith("WARNING") else "dim"))
    for table in tables(report):
        grid = Rich(title=table.title, title_justify="left", title_style="bold", box=None)
        for index, name in enumerate(table.header):
            grid.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
        for row in table.rows:
            grid.add_row(*(Text(cell, style=_style(cell)) for cell in row))
        console.print()
        console.print(grid)
    console.print()
    for line in _legend(report):
        console.print(Text(line, style="red" if line.startswith("FAILED") else "dim"))


def _style(cell: str) -> str:
    if cell in ("missed", "failed", "DISAGREE"):
        return "bold red"
    return "green" if cell == "met" else ""


def _legend(report: Mapping[str, Any]) -> Iterator[str]:
    yield RULE.format(subject=report["subject"])
    yield "roof = share of the measured limit of the same rounds; goal = the project's promise"
    met = [row.get("met") for row in report["rows"]]
    if any(verdict is not None for verdict in met):
        yield f"goals met: {met.count(True)} of {met.count(True) + met.count(False)} measured"
    yield f"{report.get('seconds', 0.0):.0f} s in total"
    for text in failures(report):
        yield f"FAILED {text}"


def _grid(table: Table) -> Iterator[str]:
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    for number, line in enumerate(lines):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("─" * width for width in widths)


def _goal(row: Mapping[str, Any]) -> str:
    return {True: "met", False: "missed", None: ""}[row.get("met")]


def _time(result: Mapping[str, Any] | None) -> str:
    if result is None or result["status"] != "ok":
        return "–"
    return duration(result["seconds"]["median"])


def _work(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """GFLOP/s where arithmetic is the limit, else GB/s, else nothing."""
    if "peak" in row["roofs"] and result["gflops"]:
        return f"{result['gflops']:.0f} GF/s"
    return f"{result['gbs']:.1f} GB/s" if row["roofs"] and result["gbs"] else ""


def _share(summary: Mapping[str, float] | None) -> str:
    return f"{summary['median']:.0%}" if summary else "–"


def duration(value: float) -> str:
    """Seconds in three digits, with the unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= scale:
            return (
                f"{value / scale:.3g} {unit}"
                if value < 100 * scale
                else f"{value / scale:.0f} {unit}"
            )
    return f"{value * 1e9:.0f} ns"


def _rate(value: float, flops: bool) -> str:
    return f"{value / 1e9:.0f} GFLOP/s" if flops else f"{value / 1e9:.1f} GB/s"


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"
