"""Writes reports of `handloom bench --json` as Markdown: docs/benchmarks.md, or rows of them.

python bench/table.py dense.json images.json > docs/benchmarks.md
python bench/table.py dense.json --rows "512³" "1×4096→4096"
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from handloom.bench.report import duration

PEERS = {"torch": "PyTorch", "numpy": "NumPy", "jax": "JAX", "onnxruntime": "onnxruntime"}
HEAD = """# Measured

{processor} ({architecture}, {isa}), {cpus} cores, Python {python}; {contenders}.
{threads} threads for everyone, {rounds} interleaved rounds; {busy} of the processors' time went to
others.

`handloom bench` prints these tables for your machine (`pip install ".[peers]"`, then
`handloom bench FAMILY …`); `bench/table.py` makes this page of its JSON. A ratio is the peer's time
divided by handloom's, the median over rounds of the ratio within a round: above 1, handloom is
ahead. *Share* is the part of the measured limit (multiply-add peak, or bandwidth of a copy) that
was reached: above 100 % where data stay in a cache, or where Winograd's algorithm needs fewer
multiplications than the definition.
How it measures, and what the peers are given: [bench/README.md](../bench/README.md).
"""


def line(row: dict[str, Any], peers: list[str], family: bool) -> str:
    """One row of a table."""
    own = row["results"]["handloom"]
    share = (own.get("share") or {}).get("median")
    cells = [f"{row['family']} {row['name']}" if family else row["name"]]
    cells += [row["dtype"], duration(own["seconds"]["median"])]
    if not row["roofs"]:
        cells.append("")
    else:
        peak = "peak" in row["roofs"]
        cells.append(f"{own['gflops']:.0f}" if peak else f"{own['gbs']:.1f} GB/s")
    cells.append("" if share is None else f"{share:.0%}")
    for peer in peers:
        ratio = row["ratios"].get(peer)
        cells.append("" if ratio is None else f"{ratio['median']:.2f}")
    return "| " + " | ".join(cells) + " |"


def header(peers: list[str]) -> str:
    """The head of a table."""
    names = ["", "", "time", "GFLOP/s", "share", *(PEERS.get(p, p) for p in peers)]
    return "| " + " | ".join(names) + " |\n" + "|---|---" + "|---:" * (len(names) - 2) + "|"


def timed(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that were measured."""
    return [r for r in report["rows"] if r["kind"] == "timing" and r["status"] == "ok"]


def page(reports: list[dict[str, Any]]) -> str:
    """The whole page."""
    found = {name: c for report in reports for name, c in report["contenders"].items()}
    versions = ", ".join(f"{PEERS[p]} {found[p]['versions'][p]}" for p in PEERS if p in found)
    busy = max(report["busy_elsewhere"] for report in reports)
    first = reports[0]
    parts = [
        HEAD.format(
            **{
                key: first["machine"][key]
                for key in ("processor", "architecture", "cpus", "python")
            },
            contenders=versions,
            threads=first["threads"],
            rounds=" or ".join(sorted({str(r["rounds"]) for r in reports})),
            busy=f"{busy:.0%}",
            isa=found["handloom"]["settings"]["isa"],
        )
    ]
    for report in reports:
        rows = timed(report)
        for family in dict.fromkeys(row["family"] for row in rows):
            mine = [row for row in rows if row["family"] == family]
            peers = [p for p in PEERS if any(p in row["ratios"] for row in mine)]
            lines = [line(row, peers, False) for row in mine]
            parts.append("\n".join([f"## {family}\n", header(peers), *lines]) + "\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--rows", nargs="*", help="these rows only, by name")
    options = parser.parse_args()
    reports = [json.loads(path.read_text()) for path in options.reports]
    if options.rows is None:
        sys.stdout.write(page(reports))
        return
    peers = list(PEERS)
    print(header(peers))
    for name in options.rows:
        for report in reports:
            for row in timed(report):
                if name == row["name"] and row["dtype"] == "float32":
                    print(line(row, peers, True))


if __name__ == "__main__":
    main()
