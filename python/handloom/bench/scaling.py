"""Threads against one thread, as a share of what the machine's peaks allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import agree
from .cases import Case
from .figures import as_dict, middle, quotient
from .rows import Plan, blank, prepare, take_rounds
from .runner import Entry, Ring
from .stats import summarise


def scaling_row(
    ring: Ring, case: Case, entries: Sequence[Entry], meter: Entry, plan: Plan
) -> dict[str, Any]:
    """All threads against one, relative to the same ratio of the measured peaks."""
    data = blank(case, "scaling")
    data["name"] = f"{case.name}, {plan.threads} threads / 1"
    both = [name for e in entries for name in (e.name, f"{e.name}@1")]
    scratch: dict[str, Any] = {}
    prepared, outputs = prepare(ring, case, both, plan, scratch)
    times, rates = take_rounds(ring, case, prepared, [meter.name, f"{meter.name}@1"], plan, scratch)
    several, one = rates.get(meter.name, {}), rates.get(f"{meter.name}@1", {})
    peak = quotient(several.get("peak"), one.get("peak"))
    data["agreement"] = {"complaints": list(agree.compare(case, outputs).complaints)}
    data["roof"] = {"peak": as_dict(middle(peak))} if peak else {}
    data["peaks"] = {"1": as_dict(middle(one.get("peak")))} if peak else {}
    for e in entries:
        name, alone = e.name, f"{e.name}@1"
        if name not in times or alone not in times:
            data["results"][name] = scratch.get(name, {"status": "n/a", "reason": "not measured"})
            continue
        speedup = quotient(times[alone], times[name])
        relative = quotient(speedup, peak) if peak else None
        data["results"][name] = {
            "status": "ok",
            "seconds": summarise(v for v in times[name] if v is not None)._asdict(),
            "speedup": as_dict(middle(speedup)),
            "relative": as_dict(middle(relative)) if relative else None,
        }
    ours = data["results"].get(plan.subject, {})
    data["status"] = "disagree" if data["agreement"]["complaints"] else (
        "ok" if ours.get("status") == "ok" else "no subject"
    )  # fmt: skip
    if case.target and ours.get("relative"):
        data["met"] = ours["relative"]["median"] >= case.target.ratio
    return data
