"""One benchmark session, and its report.

The report is plain JSON:

* ``schema, created, command, quick, threads, rounds, seed, subject, seconds``: how it was run;
* ``machine`` (processor, caches, memory, system, Python), ``environment`` (variables removed and
  set for every contender), ``busy_elsewhere`` (share of processor time that went to others);
* ``roofline.limits``: FLOP/s per dtype and bytes/s, medians over the rows, or ``missing``: why not;
* ``contenders``: by name ``status`` (ready, n/a, failed), versions and settings, or the reason;
* ``rows``: every case with its ``kind`` (timing, scaling, memory, import, size) and ``status`` (ok,
  disagree, no subject, n/a). A timing row has ``results`` by contender (seconds with quartiles,
  all samples, ``gflops``, ``gbs``, ``share`` of the roofline), ``ratios`` (the peer's time by the
  subject's, over rounds), ``best_peer``, ``roof``, ``agreement``, ``target`` and ``met``.

Every figure with a spread is ``{"median", "q1", "q3"}``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from . import footprint, machine, memory
from .cases import Case, all_cases
from .contenders import PEERS, SPECS, installed
from .figures import roofline
from .rows import Plan, row
from .runner import Entry, Ring, entry
from .scaling import scaling_row

SCHEMA = "handloom-bench/1"
ROUNDS, QUICK_ROUNDS = 7, 3

Progress = Callable[[str], None]


def families(cases: Iterable[Case] | None = None) -> list[str]:
    """Names of all families, in the order of the report."""
    found = all_cases() if cases is None else cases
    named = dict.fromkeys(case.family for case in found if case.bench)
    return [*named, memory.FAMILY, footprint.FAMILY]


def run(
    chosen: Iterable[str] = (),
    *,
    quick: bool = False,
    peers: Iterable[str] | None = None,
    subject: str = "handloom",
    threads: int | None = None,
    rounds: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """See :func:`handloom.bench.run`."""
    wanted = _known("families", chosen, families()) or families()
    named = _known("peers", PEERS if peers is None else peers, SPECS)
    named = [name for name in named if name not in (subject, "machine")]
    _known("subject", [subject], SPECS)
    threads = len(machine.usable_cpus()) if threads is None else threads
    rounds = (QUICK_ROUNDS if quick else ROUNDS) if rounds is None else rounds
    for name, value in (("threads", threads), ("rounds", rounds)):
        if value < 1:
            raise ValueError(f"bench: {name} expects a number of at least 1, got {value}")
    entries = [entry(subject, threads), *(entry(p, threads) for p in named if installed(p))]
    missing = {p: {"status": "n/a", "reason": "not installed"} for p in named if not installed(p)}
    plan = Plan(quick, rounds, threads, seed, subject)
    cases = [
        case
        for case in all_cases()
        if case.bench and case.family in wanted and (case.quick or not quick)
    ]
    start = time.perf_counter()
    report = measure(cases, entries, plan, progress or (lambda line: None), quick=quick)
    report["contenders"].update(missing)
    if memory.FAMILY in wanted and not quick:
        report["rows"] += memory.measure(named, threads)
    if footprint.FAMILY in wanted:
        # Importing the big frameworks a few times takes longer than the rest of --quick.
        packages = [subject] if quick else [subject, *named]
        report["rows"] += footprint.measure(packages, rounds=3 if quick else 9)
    report["seconds"] = time.perf_counter() - start
    return report


def measure(
    cases: Sequence[Case],
    entries: Sequence[Entry],
    plan: Plan,
    progress: Progress,
    *,
    quick: bool = False,
    meter: Entry | None = None,
) -> dict[str, Any]:
    """Measure cases with contenders and return the report.

    Args:
        cases: What to measure; the ``scaling`` family compares threads, the others peers.
        entries: The contenders; the one named ``plan.subject`` is whom ratios are about.
        plan: Rounds, block length, seed, threads.
        progress: Called with one line per finished row.
        quick: Recorded in the report.
        meter: Measures the roofline; None means handloom's own.
    """
    meter = meter or entry("machine", plan.threads)
    rows: list[dict[str, Any]] = []
    status: dict[str, Any] = {}
    load = machine.Load()
    plain = [case for case in cases if case.family != "scaling"]
    scaling = [case for case in cases if case.family == "scaling"]
    if plain:
        with Ring([*entries, meter]) as ring:
            names = [e.name for e in entries]
            for case in plain:
                rows.append(row(ring, case, names, meter.name, plan))
                progress(_line(rows[-1], plan.subject))
            status.update(ring.status)
    if scaling and plan.threads > 1:
        over = {name for case in scaling if case.target for name in case.target.over}
        entries = [e for e in entries if e.name in {plan.subject, *over}]
        single = [e._replace(name=f"{e.name}@1", threads=1) for e in (*entries, meter)]
        with Ring([*entries, meter, *single]) as ring:
            for case in scaling:
                rows.append(scaling_row(ring, case, entries, meter, plan))
                progress(_line(rows[-1], plan.subject))
            status = {**{n: s for n, s in ring.status.items() if "@" not in n}, **status}
    roof_status = status.pop(meter.name, None)
    return {
        "schema": SCHEMA,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "threads": plan.threads,
        "rounds": plan.rounds,
        "seed": plan.seed,
        "subject": plan.subject,
        "machine": machine.describe(),
        "environment": {
            "removed": list(machine.REMOVED),
            "threads": dict.fromkeys(machine.THREADS, str(plan.threads)),
        },
        "busy_elsewhere": load.elsewhere(),
        "roofline": roofline(rows, roof_status),
        "contenders": status,
        "rows": rows,
    }


def _line(data: Mapping[str, Any], subject: str) -> str:
    result = data["results"].get(subject, {})
    if data["status"] == "disagree":
        return f"{data['id']}: DISAGREE {'; '.join(data['agreement']['complaints'])}"
    if result.get("status") != "ok":
        return f"{data['id']}: {subject} {result.get('status')}: {result.get('reason')}"
    best = data["best_peer"]
    beside = f", {data['ratios'][best]['median']:.2f}× {best}" if best else ""
    return f"{data['id']}: {result['seconds']['median'] * 1e6:.1f} µs{beside}"


def _known(what: str, given: Iterable[str], valid: Iterable[str]) -> list[str]:
    names, valid = list(given), list(valid)
    for name in names:
        if name not in valid:
            raise ValueError(f"bench: {what} expects {', '.join(valid)}; got {name!r}")
    return names
