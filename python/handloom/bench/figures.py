"""From samples to figures: the limit of each round, shares, ratios, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cases import Case
from .stats import Summary, ratio, summarise

Round = Sequence[float | None]
Samples = dict[str, list[float | None]]


def _limit(
    case: Case, rates: Mapping[str, Sequence[float | None]]
) -> Sequence[float | None] | None:
    """Least possible seconds per call, round by round: the higher of the roofs that apply."""
    if not case.roofs or any(roof not in rates for roof in case.roofs):
        return None
    work = {"peak": case.flops}
    limits: list[float | None] = []
    for values in zip(*(rates[roof] for roof in case.roofs)):
        if any(value is None for value in values):
            limits.append(None)
        else:
            least = (work.get(r, case.bytes) / v for r, v in zip(case.roofs, values) if v)
            limits.append(max(least, default=None))
    return limits


def fill_in(
    data: dict[str, Any],
    case: Case,
    times: Samples,
    rates: Mapping[str, Sequence[float | None]],
    subject: str,
) -> None:
    """Turn samples into figures."""
    limit = _limit(case, rates)
    for name, samples in times.items():
        seconds = summarise(value for value in samples if value is not None)
        result = data["results"][name]
        result.update(
            status="ok",
            seconds=seconds._asdict(),
            samples=samples,
            gflops=case.flops / seconds.median / 1e9 if case.flops else None,
            gbs=case.bytes / seconds.median / 1e9 if case.bytes else None,
            share=as_dict(ratio(limit, samples)) if limit else None,
        )
    measured = {roof: [v for v in values if v is not None] for roof, values in rates.items()}
    data["roof"] = {roof: summarise(v)._asdict() for roof, v in measured.items() if v}
    ours = times.get(subject)
    if ours is None:
        return
    data["share"] = data["results"][subject]["share"]
    peers = [name for name in times if name != subject]
    data["ratios"] = {name: ratio(times[name], ours) for name in peers}
    if peers:
        data["best_peer"] = min(peers, key=lambda name: data["ratios"][name].median)
    data["ratios"] = {name: summary._asdict() for name, summary in data["ratios"].items()}
    data["met"] = _met(case, data)


def _met(case: Case, data: Mapping[str, Any]) -> bool | None:
    """Whether the promise holds; None where there is none or it could not be measured."""
    if case.target is None:
        return None
    verdicts = []
    if case.target.roof is not None:
        verdicts.append(data["share"] and data["share"]["median"] >= case.target.roof)
    if case.target.ratio is not None:
        known = [data["ratios"][p]["median"] for p in case.target.over if data["ratios"].get(p)]
        verdicts.append(min(known) >= case.target.ratio if known else None)
    if any(verdict is False for verdict in verdicts):
        return False
    return None if any(verdict is None for verdict in verdicts) else bool(verdicts)


def quotient(
    above: Sequence[float | None] | None, below: Sequence[float | None] | None
) -> list[float | None] | None:
    if not above or not below:
        return None
    return [a / b if a is not None and b else None for a, b in zip(above, below)]


def middle(values: Sequence[float | None] | None) -> Summary | None:
    known = [value for value in values or () if value is not None]
    return summarise(known) if known else None


def as_dict(summary: Summary | None) -> dict[str, float] | None:
    return None if summary is None else summary._asdict()


def roofline(rows: Sequence[Mapping[str, Any]], status: Any) -> dict[str, Any]:
    """Medians of the measured limits over all rows, and why there are none if so."""
    found: dict[str, list[float]] = {}
    for data in rows:
        if data["kind"] == "scaling" and data["peaks"]:
            alone = f"{data['dtype']} peak of one thread"
            found.setdefault(alone, []).append(data["peaks"]["1"]["median"])
        if data["kind"] != "timing":
            continue
        for roof, summary in data["roof"].items():
            name = f"{data['dtype']} peak" if roof == "peak" else roof
            found.setdefault(name, []).append(summary["median"])
    limits = {name: summarise(values)._asdict() for name, values in sorted(found.items())}
    reason = None if status is None or status["status"] == "ready" else status["reason"]
    return {"limits": limits, "unit": "FLOP/s and bytes/s", "missing": reason}
