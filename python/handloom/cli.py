"""The command line: `handloom train | gallery | bench | info`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gallery import Result, Task

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_OUT = Path("runs") / "gallery"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    0: done, every target reached; 1: a task missed its target, in a short run: a loss did not
    fall or is not finite; 2: the command is not understood, or an extra is not installed.

    Args:
        argv: The arguments after the program's name; None takes those of the process.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(words)
    if not words:
        parser.print_help(sys.stderr)
        return USAGE
    args = parser.parse_args(words)
    try:
        if args.command == "info":
            return _info()
        if args.command == "bench":
            from .bench import main as bench

            return bench(args)
        return _gallery(args) if args.command == "gallery" else _train(args)
    except _Refused as error:
        print(f"handloom {args.command}: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        # Data that cannot be fetched, a directory that cannot be written.
        print(f"handloom {args.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"\nhandloom {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED


class _Refused(Exception):
    """The command cannot be carried out as it was given."""


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="handloom",
        description="Hand-written kernels, woven into every classical network type.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    gallery = commands.add_parser(
        "gallery",
        help="train the networks on real data: figures, targets, plots",
        description="Trains the networks of the gallery on real data and prints each figure, its "
        "target and its baseline. Exit status 1 if a task misses its target.",
    )
    add = gallery.add_argument
    add("names", nargs="*", metavar="NAME", help="tasks; default: all")
    add("--list", action="store_true", help="list the tasks, train nothing")
    add("--quick", action="store_true", help="a few epochs: check only that each loss falls")
    add("--seeds", type=_positive, default=1, metavar="N", help="runs of each task; default: 1")
    add("--json", type=Path, metavar="FILE", help="write the figures")
    add("--out", type=Path, default=_OUT, metavar="DIR", help=f"where plots go; default: {_OUT}")
    add("--html", type=Path, metavar="DIR", help="write a page with all figures and plots")
    add("--no-plots", action="store_true", help="draw nothing (needs no matplotlib)")

    train = commands.add_parser(
        "train",
        help="train one network, save its weights and plots",
        description="Trains the networks of one task of the gallery; `handloom gallery --list` "
        "names them.",
    )
    add = train.add_argument
    add("name", metavar="NAME", help="the task")
    add("--epochs", type=_positive, metavar="N", help="instead of the task's own")
    add("--seed", type=_not_negative, default=0, metavar="N", help="default: 0")
    add("--device", default="cpu", help="default: cpu")
    add("--out", type=Path, metavar="DIR", help="where weights and plots go; default: nowhere")

    bench = commands.add_parser("bench", help="measure the kernels beside the machine and peers")
    if "bench" in words:
        from .bench import add_arguments

        add_arguments(bench)
    commands.add_parser("info", help="print version, instruction sets, threads, caches, CUDA")
    return parser


def _info() -> int:
    from . import show_config

    print(show_config())
    return OK


def _gallery(args: argparse.Namespace) -> int:
    from . import gallery
    from .gallery import report

    if args.list:
        for task in gallery.tasks():
            print(f"{task.name:14} {task.title}")
        return OK
    chosen = [_task(name) for name in args.names] or list(gallery.tasks())
    if not args.no_plots:
        _require_matplotlib("--no-plots does without")
    printer = report.Printer()
    printer.head()
    results: list[Result] = []
    begin = time.perf_counter()
    for task in chosen:
        result = gallery.run_task(
            task,
            seeds=range(args.seeds),
            quick=args.quick,
            out=None if args.no_plots else args.out,
            progress=True,
        )
        printer.result(result)
        results.append(result)
    seconds = time.perf_counter() - begin
    for table in (table for result in results for table in result.tables if result.judged):
        printer.line("")
        printer.table(table)
    printer.summary(results, seconds)
    if not args.no_plots:
        print(f"plots: {args.out}")
    if args.json is not None:
        report.write_json(args.json, results)
        print(f"figures: {args.json}")
    if args.html is not None:
        print(f"page: {report.write_html(args.html, results)}")
    return FAILED if any(result.failed for result in results) else OK


def _train(args: argparse.Namespace) -> int:
    from . import gallery
    from .gallery import report

    task = _task(args.name)
    _check_device(args.device)
    if args.out is not None:
        _require_matplotlib("without --out there are none")
    printer = report.Printer()
    result = gallery.run_task(
        task,
        seeds=(args.seed,),
        out=args.out,
        weights=True,
        epochs=args.epochs,
        progress=True,
    )
    printer.head()
    printer.result(result)
    for table in result.tables:
        printer.line("")
        printer.table(table)
    for path in result.files:
        print(f"wrote {path}")
    if args.out is None:
        print(f"nothing saved; for weights and plots: handloom train {task.name} --out DIR")
    return FAILED if result.failed else OK


def _task(name: str) -> Task:
    from . import gallery

    try:
        return gallery.get(name)
    except ValueError as error:
        raise _Refused(error) from None


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    from . import cuda

    if device == "cuda":
        raise _Refused(f"--device cuda: CUDA is {cuda.state()}")
    raise _Refused(f"--device expects cpu or cuda, got {device!r}")


def _require_matplotlib(otherwise: str) -> None:
    from .gallery import plots

    if not plots.available():
        raise _Refused(f'plots need matplotlib: pip install "handloom[gallery]" ({otherwise})')


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected at least 0, got {value}")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
