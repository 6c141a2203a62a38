"""What having the library costs: time to import it, and bytes on disk."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .machine import child_environment
from .stats import ratio, summarise

FAMILY = "footprint"
IMPORT_TIMEOUT = 120.0
# The promises: numpy's import time plus 40 ms, and a wheel of 5 MB.
IMPORT_EXTRA = 0.040
WHEEL = 5_000_000


def measure(names: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Return an import row and a size row for the packages of ``names`` that are installed.

    The first name is the subject; NumPy is always measured beside it.
    """
    packages = [name for name in dict.fromkeys((names[0], "numpy", *names)) if find_spec(name)]
    return [import_row(packages, names[0], rounds), size_row(packages, names[0])]


def import_row(packages: Sequence[str], subject: str, rounds: int) -> dict[str, Any]:
    """Time ``python -c "import …"`` in fresh processes, interleaved; less a bare start-up."""
    commands = {"": "pass", **{name: f"import {name}" for name in packages}}
    environment = child_environment(1)
    failures: dict[str, str] = {}
    for name, code in commands.items():  # fills the page cache, writes byte code
        done = _python(code, environment)
        if done.returncode:
            failures[name] = done.stderr.decode(errors="replace").strip()[-500:]
    times: dict[str, list[float]] = {n: [] for n in commands if n not in failures}
    for index in range(rounds):
        turns = list(times)
        shift = index % len(turns)
        for name in turns[shift:] + turns[:shift]:
            start = time.perf_counter()
            _python(commands[name], environment)
            times[name].append(time.perf_counter() - start)
    bare = times.pop("")
    net = {n: [t - b for t, b in zip(values, bare)] for n, values in times.items()}
    results: dict[str, Any] = {
        name: {"status": "ok", "seconds": summarise(values)._asdict(), "samples": values}
        for name, values in net.items()
    }
    for name, reason in failures.items():
        results[name] = {"status": "failed", "reason": reason}
    row = _blank("import", "import time", results, subject)
    if subject in net:
        extra = [a - b for a, b in zip(net[subject], net["numpy"])]
        row["extra_over_numpy"] = summarise(extra)._asdict()
        row["met"] = row["extra_over_numpy"]["median"] <= IMPORT_EXTRA
        peers = {n: ratio(v, net[subject]) for n, v in net.items() if n != subject}
        row["ratios"] = {n: summary._asdict() for n, summary in peers.items() if summary}
    return row


def size_row(packages: Sequence[str], subject: str) -> dict[str, Any]:
    """Bytes of the installed packages, and of the subject's files when compressed as a wheel."""
    results: dict[str, Any] = {}
    for name in packages:
        files = package_files(name)
        total = sum(path.stat().st_size for path in files)
        results[name] = {"status": "ok", "bytes": total, "files": len(files)}
    row = _blank("size", "installed size", results, subject)
    if subject in results:
        wheel = _compressed(subject, package_files(subject))
        results[subject]["wheel_bytes"] = wheel
        row["met"] = wheel <= WHEEL
    return row


def package_files(name: str) -> list[Path]:
    """Files of a package and of the ``NAME.libs`` folder beside it, byte code left out."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"footprint: name expects an installed package, got {name!r}")
    root = Path(next(iter(spec.submodule_search_locations)))
    # JAX computes in jaxlib, a package of its own that it cannot do without.
    roots = [root, root.with_name(f"{name}.libs"), root.with_name(f"{name}lib")]
    found = [path for folder in roots if folder.is_dir() for path in folder.rglob("*")]
    return [p for p in found if p.is_file() and p.suffix != ".pyc"]


def _compressed(name: str, files: Sequence[Path]) -> int:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for index, path in enumerate(files):
            wheel.write(path, f"{name}/{index}/{path.name}")
    return len(buffer.getvalue())


def _python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=IMPORT_TIMEOUT,
        check=False,
    )


def _blank(kind: str, name: str, results: dict[str, Any], subject: str) -> dict[str, Any]:
    ours = results.get(subject, {})
    return {
        "family": FAMILY,
        "name": name,
        "id": f"{FAMILY}/{name}",
        "kind": kind,
        "status": "ok" if ours.get("status") == "ok" else "no subject",
        "results": results,
        "ratios": {},
        "best_peer": None,
    }
