"""``handloom bench`` on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import report as text
from .contenders import PEERS, SPECS
from .runner import terminable
from .session import families, run

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :func:`handloom.bench.add_arguments`."""
    add = parser.add_argument
    add("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(families())}; default: all")
    add("--quick", action="store_true", help="a few representative rows, under a minute")
    add("--peers", metavar="A,B", help=f"of {','.join(PEERS)}; default: all that are installed")
    add("--json", type=Path, metavar="FILE", help="write the full report")
    add("--plot", type=Path, metavar="DIR", help="write PNG plots (needs matplotlib)")
    add("--threads", type=int, metavar="N", help="threads for everyone; default: usable cores")
    add("--rounds", type=int, metavar="N", help="interleaved rounds per row; default: 7, quick 3")
    add("--seed", type=int, default=0, metavar="N", help="seed of the inputs")
    add("--list", action="store_true", help="list families and cases, measure nothing")
    subjects = [name for name in SPECS if name != "machine"]
    add("--subject", choices=subjects, default="handloom", help="whom the ratios are about")


def main(args: argparse.Namespace) -> int:
    """See :func:`handloom.bench.main`."""
    if args.list:
        _list()
        return OK
    if args.plot is not None and not _can_plot():
        return USAGE
    peers = None if args.peers is None else [name for name in args.peers.split(",") if name]
    try:
        with terminable():
            report = run(
                args.families,
                quick=args.quick,
                peers=peers,
                subject=args.subject,
                threads=args.threads,
                rounds=args.rounds,
                seed=args.seed,
                progress=_progress,
            )
    except ValueError as error:
        print(f"handloom bench: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nhandloom bench: interrupted; every contender has been ended", file=sys.stderr)
        return INTERRUPTED
    report["command"] = sys.argv[1:]
    text.show(report)
    if args.json is not None:
        _write_json(args.json, report)
    if args.plot is not None:
        from .plots import draw

        for path in draw(report, args.plot):
            print(f"wrote {path}")
    return FAILED if text.failures(report) else OK


def _list() -> None:
    from .cases import all_cases

    for case in all_cases():
        if case.bench:
            print(f"{case.family:12} {case.dtype:8} {case.name}{'  (quick)' if case.quick else ''}")


def _can_plot() -> bool:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        print(
            'handloom bench: --plot needs matplotlib: pip install "handloom[gallery]"',
            file=sys.stderr,
        )
        return False
    return True


def _progress(line: str) -> None:
    """On a terminal one line that is overwritten; elsewhere nothing, the table comes anyway."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{line.splitlines()[0][:100]}", end="", file=sys.stderr, flush=True)


def _write_json(path: Path, report: dict[str, Any]) -> None:
    """Write beside the target and rename: a reader never sees half a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
    print(f"wrote {path}")
