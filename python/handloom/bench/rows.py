"""One row of the benchmark: prepare everywhere, compare the results, time in rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import agree, machine
from .cases import Case, to_json
from .figures import Samples, fill_in
from .runner import Ring

# Long enough that a timer tick is noise, short enough that a round sees one state of the machine.
BLOCK, QUICK_BLOCK = 0.04, 0.02
WARM = 0.005
METER = 0.02
MAX_CALLS = 200_000
# Streams rotate through this many times the last cache; the meter's buffers are as large.
BEYOND_CACHE = 4
PREPARE_TIMEOUT, BLOCK_TIMEOUT = 120.0, 60.0


class Plan:
    """What is the same for every row of a session."""

    def __init__(self, quick: bool, rounds: int, threads: int, seed: int, subject: str) -> None:
        self.rounds, self.threads, self.seed, self.subject = rounds, threads, seed, subject
        self.block = QUICK_BLOCK if quick else BLOCK
        self.beyond_cache = BEYOND_CACHE * machine.last_cache()


def row(ring: Ring, case: Case, names: Sequence[str], meter: str, plan: Plan) -> dict[str, Any]:
    """Prepare a case everywhere, compare the results, time it in rounds."""
    data = blank(case, "timing")
    prepared, outputs = prepare(ring, case, names, plan, data["results"])
    agreement = agree.compare(case, outputs)
    data["agreement"] = {
        "max_error": agreement.max_error if np.isfinite(agreement.max_error) else None,
        "tolerance": agreement.tolerance,
        "compared": list(outputs),
        "complaints": list(agreement.complaints),
        "outliers": list(agreement.outliers),
    }
    if agreement.complaints:
        # A fast wrong kernel must not look fast.
        data["status"] = "disagree"
    elif prepared:
        times, rates = take_rounds(ring, case, prepared, [meter], plan, data["results"])
        fill_in(data, case, times, rates.get(meter, {}), plan.subject)
        data["status"] = "ok" if plan.subject in times else "no subject"
    for name in names:
        if name in ring.children and name in prepared:
            ring.ask(name, BLOCK_TIMEOUT, do="drop")
    return data


def blank(case: Case, kind: str) -> dict[str, Any]:
    description = to_json(case)
    for key in ("quick", "bench"):
        del description[key]
    return {
        **description,
        "id": case.id,
        "kind": kind,
        "status": "n/a",
        "results": {},
        "ratios": {},
        "best_peer": None,
        "roof": {},
        "share": None,
    }


def prepare(
    ring: Ring, case: Case, names: Sequence[str], plan: Plan, results: dict[str, Any]
) -> tuple[dict[str, int], dict[str, list[tuple[str, str, agree.Array]]]]:
    """Calls per block of everyone who can do the case, and what they computed."""
    prepared: dict[str, int] = {}
    outputs = {}
    rotate = plan.beyond_cache if case.cold else 0
    for name in names:
        if name not in ring.children:
            gone = ring.status[name]
            results[name] = {"status": gone["status"], "reason": gone["reason"]}
            continue
        path = ring.folder / f"{name}.npz"
        path.unlink(missing_ok=True)
        request = {"case": to_json(case), "seed": plan.seed, "rotate": rotate, "save": str(path)}
        reply = ring.ask(name, PREPARE_TIMEOUT, do="prepare", **request)
        if "ok" not in reply:
            kind = "n/a" if "unsupported" in reply else "failed"
            results[name] = {"status": kind, "reason": reply.get("unsupported") or reply["error"]}
            continue
        outputs[name] = _load(path)
        seconds = max(float(reply["seconds"]), 1e-9)
        prepared[name] = min(max(1, round(plan.block / seconds)), MAX_CALLS)
        results[name] = {"status": "ready", "sets": reply["sets"], "note": reply["note"]}
    return prepared, outputs


def _load(path: Any) -> list[tuple[str, str, agree.Array]]:
    with np.load(path) as saved:
        count = len(saved.files) // 3
        return [
            (str(saved[f"shape{i}"]), str(saved[f"dtype{i}"]), saved[f"value{i}"])
            for i in range(count)
        ]


def take_rounds(
    ring: Ring,
    case: Case,
    prepared: Mapping[str, int],
    meters: Sequence[str],
    plan: Plan,
    results: dict[str, Any],
) -> tuple[Samples, dict[str, dict[str, list[float | None]]]]:
    """Seconds per call of each contender, and rates of each meter, round by round."""
    times: Samples = {name: [] for name in prepared}
    rates: dict[str, dict[str, list[float | None]]] = {
        name: {roof: [] for roof in case.roofs} for name in meters if name in ring.children
    }
    turns = [*prepared, *rates]
    for index in range(plan.rounds):
        # Rotating the order gives nobody the same neighbour's warm or cold caches every time.
        shift = index % len(turns)
        for name in turns[shift:] + turns[:shift]:
            if name in rates:
                for roof, values in rates[name].items():
                    values.append(_meter(ring, name, roof, case.dtype, plan))
            elif name in times:
                request = {"calls": prepared[name], "warm": WARM}
                reply = ring.ask(name, BLOCK_TIMEOUT, do="block", **request)
                if "ok" in reply:
                    times[name].append(float(reply["seconds"]))
                else:
                    results[name] = {"status": "failed", "reason": reply["error"]}
                    del times[name]
    return times, rates


def _meter(ring: Ring, name: str, roof: str, dtype: str, plan: Plan) -> float | None:
    if name not in ring.children:
        return None
    request = {"kind": roof, "dtype": dtype, "nbytes": plan.beyond_cache, "seconds": METER}
    reply = ring.ask(name, BLOCK_TIMEOUT, do="meter", **request)
    return float(reply["rate"]) if "ok" in reply else None
