"""What machine is this: cores, caches, memory. Read from the system, without extra packages."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

DEFAULT_CACHE = 32 << 20

# Variables that make a peer pick kernels for another processor, or stop it from threading.
REMOVED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_DEBUG_CPU_TYPE", "ATEN_CPU_CAPABILITY")
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HANDLOOM_NUM_THREADS",
)  # fmt: skip


def usable_cpus() -> list[int]:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def child_environment(threads: int) -> dict[str, str]:
    """Environment of every contender: no processor overrides, one thread count for all."""
    environment = {k: v for k, v in os.environ.items() if k not in REMOVED}
    environment.update(dict.fromkeys(THREADS, str(threads)))
    # A byte-code cache is part of how people run Python; import times are measured with it.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    root = Path(__file__).resolve().parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else str(root)
    return environment


def last_cache() -> int:
    """Bytes of the largest cache of processor 0; 32 MB where the system does not say."""
    sizes = [DEFAULT_CACHE] if not _caches() else [size for _, size in _caches()]
    return max(sizes)


def _caches() -> list[tuple[str, int]]:
    """``(name, bytes)`` of the data and unified caches of processor 0."""
    found = []
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / field).read_text().strip() for field in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction" and size[-1:] in units and size[:-1].isdigit():
            found.append((f"L{level}", int(size[:-1]) * units[size[-1]]))
    return found


def describe() -> dict[str, Any]:
    """Processor, caches, memory, system and Python."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cpus": len(usable_cpus()),
        "cpus_in_machine": os.cpu_count() or 1,
        "caches": dict(_caches()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "executable": Path(sys.executable).name,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


class Load:
    """How much of the processors went to anyone but this process and its children.

    Figures from a busy machine are worth little; the report says how busy it was.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._before = self._now()

    def elsewhere(self) -> float | None:
        """Share of all processor time since the start, with what the host took away.

        Call it after the children have ended; None where the system does not tell.
        """
        now = self._now()
        if now is None or self._before is None:
            return None
        everyone, ours = (late - early for late, early in zip(now, self._before))
        total = (time.perf_counter() - self._start) * (os.cpu_count() or 1)
        return max(0.0, (everyone - ours) / total)

    @staticmethod
    def _now() -> tuple[float, float] | None:
        """Processor seconds of everyone (idle left out, stolen included), and of us."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        user, nice, system, _, _, irq, soft, steal = (int(f) for f in fields[:8])
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return busy, sum(os.times()[:4])
