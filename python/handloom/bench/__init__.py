"""The benchmark behind ``handloom bench``: roofline, peers and ratios, measured in one run.

Everything here ships in the wheel and needs nothing but NumPy. A peer that is not installed is
left out; rich and matplotlib make the output prettier and are imported only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

__all__ = ["add_arguments", "main", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``handloom bench`` to a parser."""
    from .command import add_arguments as add

    add(parser)


def main(args: argparse.Namespace) -> int:
    """Run the benchmark that the command line asks for; return the exit status.

    0: measured; 1: contenders disagreed on a result, failed or died; 2: nothing to measure.
    """
    from .command import main as command

    return command(args)


def run(
    families: Iterable[str] = (),
    *,
    quick: bool = False,
    peers: Iterable[str] | None = None,
    subject: str = "handloom",
    threads: int | None = None,
    rounds: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure and return the report (the object that ``--json`` writes; see :mod:`.session`).

    Args:
        families: Names from ``handloom bench --list``; none means all.
        quick: A few representative rows, under a minute in total.
        peers: Names of the peers to compare with; None means every one that is installed.
        subject: Whose speed the ratios are about.
        threads: Threads for every contender; None means the cores that this process may use.
        rounds: Rounds per row; None means 7, or 3 with ``quick``.
        seed: Seed of the inputs.
        progress: Called with one line per finished row.

    Raises:
        ValueError: A family or peer that does not exist, or fewer than one thread or round.
    """
    from .session import run as session

    return session(
        families,
        quick=quick,
        peers=peers,
        subject=subject,
        threads=threads,
        rounds=rounds,
        seed=seed,
        progress=progress,
    )
