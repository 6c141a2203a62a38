"""Takes what bench/gpu_check.py found into the project.

    python bench/gpu_ingest.py gpu_check.jsonl   # validated.json and the page anew
    python bench/gpu_ingest.py --check           # fails if the page is not what it would write

python/handloom/cuda/validated.json says of each kernel and layer which source text was right on
which card; docs/cuda-status.md is the same to read. A kernel is ok where every check of it is.
Rows of the emulator, and of sources that have changed since, count for nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "csrc" / "cuda"))

import source_hash  # noqa: E402

VALIDATED = ROOT / "python" / "handloom" / "cuda" / "validated.json"
PAGE = ROOT / "docs" / "cuda-status.md"
MEASURES = {"fma_peak/simt"}
FACTS = ("hash", "capability", "nvcc", "date", "device")

HEAD = """# CUDA kernels: what has run where

`bench/gpu_ingest.py` writes this page of the rows that `bench/gpu_check.py` takes on a card; how
they are taken is in [cuda.md](cuda.md).

- **none**: there is no CUDA kernel, arrays on a GPU raise NotImplementedError.
- **emulated**: its source passes the tests on the CPU's emulator; no card has run this text.
- **compiled**: it measures a card, and would take the emulator hours.
- **dark**: emulated, for a faster layer, which is not used until a card has run it.
- **ok**: a card has run this very text, and it was right, twice with the same bits.
- **timed**: ok, and timed. The ratio is PyTorch's time divided by ours on the row that is named.

"""


def fold(
    rows: list[dict[str, Any]], known: dict[str, Any], hashes: dict[str, str]
) -> dict[str, Any]:
    """`known` with the kernels of `rows`; only rows of the present sources count."""
    checks: dict[str, list[dict[str, Any]]] = {}
    speed: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        key = row["id"]
        if row.get("nvcc") == "emulator" or hashes.get(key) != row.get("hash") or not row["hash"]:
            continue
        kinds = {"check": checks, "speed": speed}
        if row["kind"] in kinds:
            kinds[row["kind"]].setdefault(key, []).append(row)
    found = dict(known)
    for key, own in checks.items():
        bad = [r for r in own if r["status"] != "ok"]
        last = own[-1]
        found[key] = {name: last[name] for name in FACTS}
        found[key]["status"] = bad[-1]["status"] if bad else "ok"
        if bad:
            found[key]["err"] = bad[-1].get("err", "")
    for key, own in speed.items():
        entry = found.get(key)
        if entry is None or entry["hash"] != own[-1]["hash"]:
            continue
        wrong = [r for r in own if r["status"] not in ("ok", "missing")]
        if wrong and entry["status"] == "ok":
            entry["status"], entry["err"] = wrong[-1]["status"], wrong[-1].get("err", "")
        fine = [r for r in own if r["status"] == "ok"]
        if fine:
            best = max(fine, key=lambda r: r["us_med"])  # the largest work: least overhead
            names = ("shape", "us_med", "frac_floor", "ref", "ratio")
            entry["timed"] = {n: best[n] for n in names if best.get(n) is not None}
    return dict(sorted(found.items()))


def defined() -> list[str]:
    """The kernels of kernels.def, in its order."""
    text = (source_hash.CSRC / "kernels.def").read_text()
    return re.findall(r"^HL_KERNEL\((\w+),", text, re.MULTILINE)


def line(key: str, entry: dict[str, Any] | None, digest: str) -> str:
    kernel, _, layer = key.partition("/")
    state = "emulated" if layer == "simt" else "dark"
    if key in MEASURES:
        state = "compiled"
    rest = ["", "", "", ""]
    if entry is not None and entry["hash"] == digest:
        state = entry["status"]
        timed = entry.get("timed", {})
        if state == "ok" and timed:
            state = "timed"
            share = f"{timed['frac_floor']:.0%}" if "frac_floor" in timed else ""
            ratio = f"{timed['ratio']:.2f} ({timed['shape']})" if "ratio" in timed else ""
            rest[2:] = [share, ratio]
        rest[:2] = [entry["date"], f"{entry['device']} ({entry['capability']})"]
    return "| " + " | ".join([kernel, layer, state, *rest]) + " |"


def page(validated: dict[str, Any], sources: dict[str, tuple[str, str]]) -> str:
    """docs/cuda-status.md."""
    lines = []
    written: dict[str, list[str]] = {}
    for key in sources:
        written.setdefault(key.partition("/")[0], []).append(key)
    names = defined()
    names += [name for name in written if name not in names]  # that are no op
    for name in names:
        keys = written.get(name, [])
        lines += [line(key, validated.get(key), sources[key][1]) for key in keys]
        if not keys:
            lines.append(f"| {name} | | none | | | | |")
    with_one = sum(name in written for name in names)
    current = [
        k for k, (_, digest) in sources.items() if validated.get(k, {}).get("hash") == digest
    ]
    ok = sum(validated[k]["status"] == "ok" for k in current)
    text = HEAD
    text += f"{with_one} of {len(names)} kernels have a CUDA source; "
    text += f"{ok} of {len(sources)} kernels and layers are right on a card.\n\n"
    text += "| kernel | layer | state | date | card | share of the limit | ratio |\n"
    text += "|---|---|---|---|---|---|---|\n"
    return text + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="*", help="JSON lines of gpu_check.py")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    args = parser.parse_args()
    sources = source_hash.kernels()
    hashes = {key: digest for key, (_, digest) in sources.items()}
    known = json.loads(VALIDATED.read_text()) if VALIDATED.exists() else {}
    if args.check:
        if not PAGE.exists() or PAGE.read_text() != page(known, sources):
            print(f"{PAGE.relative_to(ROOT)} is stale: run python bench/gpu_ingest.py")
            return 1
        return 0
    rows = [json.loads(r) for path in args.rows for r in path.read_text().splitlines() if r]
    found = fold(rows, known, hashes)
    VALIDATED.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(found, sources))
    fresh = sum(found.get(k, {}).get("hash") == d for k, d in hashes.items())
    print(f"{len(rows)} rows; {fresh} of {len(hashes)} kernels and layers have run as they stand")
    return 0


if __name__ == "__main__":
    sys.exit(main())
