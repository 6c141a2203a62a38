"""What the gallery says: lines on a terminal, JSON, and a page with all figures."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .task import Check, Result, Table

_METRIC, _NUMBER = 62, 10
_MARKS = {True: "ok", False: "MISSED", None: ""}
_STYLES = {True: "bold green", False: "bold red", None: ""}


class Printer:
    """Prints to the standard output, in colour where it is a terminal and rich is installed."""

    def __init__(self) -> None:
        from importlib.util import find_spec

        self._console: Any = None
        if sys.stdout.isatty() and find_spec("rich") is not None:
            from rich.console import Console

            self._console = Console(highlight=False)

    def line(self, *parts: tuple[str, str] | str) -> None:
        """Prints parts of text, each alone or with its style, as one line."""
        pairs = [part if isinstance(part, tuple) else (part, "") for part in parts]
        if self._console is None:
            print("".join(text for text, _ in pairs).rstrip(), flush=True)
            return
        from rich.text import Text

        self._console.print(Text.assemble(*pairs), soft_wrap=True)

    def head(self) -> None:
        """Prints the names of the columns of `result`."""
        names = ("figure", "target", "baseline")
        self.line(
            ("  " + "promise".ljust(_METRIC) + "".join(n.rjust(_NUMBER + 2) for n in names), "dim")
        )

    def result(self, result: Result) -> None:
        """Prints a task's name and seconds, its promises, and what went wrong."""
        task = result.task
        seeds = f", {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
        self.line((task.name, "bold"), (f"  {result.seconds:.1f} s{seeds}", "dim"))
        for check in result.checks:
            passed = check.passed if result.judged else None
            self.line(
                "  " + check.metric.ljust(_METRIC),
                (number(check.value).rjust(_NUMBER + 2), "bold"),
                bound(check).rjust(_NUMBER + 2),
                (number(check.baseline).rjust(_NUMBER + 2), "dim"),
                ("  " + _MARKS[passed], _STYLES[passed]),
            )
        for problem in result.problems:
            self.line(("  " + problem, "bold red"))

    def table(self, table: Table) -> None:
        """Prints a comparison in columns, the first to the left."""
        widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
        self.line("  ", (table.title, "italic"))
        for i, row in enumerate((table.columns, *table.rows)):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            self.line(("    " + "  ".join(cells), "dim" if i == 0 else ""))

    def summary(self, results: Sequence[Result], seconds: float) -> None:
        """Prints how many tasks have kept their promises."""
        failed = [r.task.name for r in results if r.failed]
        judged = any(r.judged for r in results)
        good = "kept every promise" if judged else "learn (short runs: no figure is judged)"
        text = f"{len(results) - len(failed)} of {len(results)} tasks {good}, {seconds:.0f} s"
        self.line("")
        self.line((text, "bold"), (f"; not: {', '.join(failed)}" if failed else "", "bold red"))


def number(value: float | None) -> str:
    """Returns four digits of a figure, an exponent where it is tiny."""
    if value is None:
        return ""
    if value == int(value) if math.isfinite(value) else False:
        return str(int(value))
    if 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.4g}"


def bound(check: Check) -> str:
    """Returns a check's target with its direction."""
    return ("≥ " if check.at_least else "≤ ") + number(check.target)


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Returns one object for each task; its headline is the first of its checks.

    `value` is the worst of all seeds. `passed` is null for a run that was too short to tell. A
    figure that is not finite is null.
    """
    return [
        {
            "name": r.task.name,
            "title": r.task.title,
            "rows": list(r.task.rows),
            **_check(r.checks[0], r.judged),
            "passed": r.passed,
            "seconds": round(r.seconds, 3),
            "seeds": list(r.seeds),
            "checks": [_check(check, r.judged) for check in r.checks],
            "problems": r.problems,
            "files": [os.fspath(path) for path in r.files],
        }
        for r in results
    ]


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Writes `as_json` as a file, whole or not at all."""
    from .._files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(results), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def write_html(directory: Path, results: Sequence[Result]) -> Path:
    """Writes `index.html`, a page of its own with every figure in it, and returns its path.

    An index comes first: each task with its headline, and whether it has kept its promises.
    """
    from .._files import write_atomically

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "index.html"
    body = "\n".join([_index(results), *(_section(result) for result in results)])
    write_atomically(path, _PAGE.replace("@BODY@", body).encode())
    return path


def _check(check: Check, judged: bool) -> dict[str, Any]:
    return {
        "metric": check.metric,
        "value": _finite(check.value),
        "target": check.target,
        "direction": ">=" if check.at_least else "<=",
        "baseline": _finite(check.baseline),
        "passed": check.passed if judged else None,
        "values": [_finite(value) for value in check.values],
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


_BADGES = {True: '<b class="good">ok</b>', False: '<b class="bad">missed</b>', None: ""}
_KINDS = {".png": "png", ".gif": "gif"}


def _index(results: Sequence[Result]) -> str:
    from html import escape

    rows = []
    for r in results:
        head = r.checks[0] if r.checks else None
        rows.append(
            [
                f'<a href="#{r.task.name}">{escape(r.task.title)}</a>',
                escape(head.metric) if head else "",
                number(head.value) if head else "",
                bound(head) if head else "",
                f"{r.seconds:.1f} s",
                _BADGES[r.passed],
            ]
        )
    return f"<nav>{_grid(('task', 'headline', 'figure', 'target', 'time', ''), rows)}</nav>"


def _section(result: Result) -> str:
    from base64 import b64encode
    from html import escape

    rows = [
        [
            escape(c.metric),
            number(c.value),
            bound(c),
            number(c.baseline),
            _BADGES[c.passed if result.judged else None],
        ]
        for c in result.checks
    ]
    parts = [
        f"<h2 id={result.task.name}>{escape(result.task.title)}</h2>",
        f"<p><code>handloom gallery {result.task.name}</code> · {result.seconds:.1f} s a run · "
        f"seeds {', '.join(map(str, result.seeds))}</p>",
        _grid(("promise", "figure", "target", "baseline", ""), rows),
    ]
    parts += [f'<p class="bad">{escape(problem)}</p>' for problem in result.problems]
    for path in result.files:
        if path.suffix in _KINDS:
            image = b64encode(path.read_bytes()).decode()
            source = f"data:image/{_KINDS[path.suffix]};base64,{image}"
            parts.append(f'<img alt="{escape(path.stem)}" loading="lazy" src="{source}">')
    for table in result.tables:
        body = [[escape(cell) for cell in row] for row in table.rows]
        parts += [f"<h3>{escape(table.title)}</h3>", _grid(table.columns, body)]
    return "\n".join(parts)


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The handloom gallery</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222b33; background: #fff;
       max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 3rem 0 0; border-top: 1px solid #e6e9ec; padding-top: 1.5rem; }
p { color: #56616b; margin: .25rem 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th { text-align: left; font-weight: 600; color: #56616b; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #e6e9ec; }
td + td, th + th { text-align: right; font-variant-numeric: tabular-nums; }
nav td:nth-child(2), nav th:nth-child(2) { text-align: left; color: #56616b; font-size: .85em; }
a { color: #0072b2; text-decoration: none; } a:hover { text-decoration: underline; }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
.good { color: #009e73; } .bad { color: #b00020; }
</style>
<h1>The handloom gallery</h1>
<p>Networks trained on real data by hand-written kernels; each figure beside the bound that it has
to keep and what it has to be compared with.</p>
@BODY@
</html>
"""
