"""The process of one contender: reads JSON lines, prepares cases, times blocks.

Run as ``python -m handloom.bench.worker MODULE:CLASS THREADS``. Requests carry ``do``; replies
carry ``ok``, or ``unsupported`` (it has no such op), or ``error`` (a traceback).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np

from .agree import Array, sample
from .cases import from_json
from .contenders import Call, Contender, Prepared, Unsupported, load
from .inputs import copy_inputs, make_inputs, nbytes
from .machine import usable_cpus

# No set of rotated inputs takes more than this, whatever cache the machine claims.
ROTATION_LIMIT = 1 << 30
CALIBRATION = 2e-3


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies.

    A stopped process never sees that its pipe was closed; it would stay behind for ever.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal

    set_death_signal = 1  # PR_SET_PDEATHSIG, sys/prctl.h
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def use_cpus(threads: int) -> None:
    """Leave as many processors as threads, for peers that take no thread count."""
    cpus = usable_cpus()
    if threads < len(cpus) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus[:threads])


class Worker:
    """Answers requests about one contender."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.prepared: Prepared | None = None
        self.meters: dict[str, Any] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; whatever goes wrong in a contender becomes part of the reply."""
        try:
            method = getattr(self, f"do_{request.pop('do')}")
            return {"ok": True, **method(**request)}
        except Unsupported as reason:
            return {"unsupported": str(reason)}
        except Exception:
            return {"error": traceback.format_exc()}

    def do_prepare(self, case: dict[str, Any], seed: int, rotate: int, save: str) -> dict[str, Any]:
        """Prepare a case, save its result to ``save`` (.npz) and estimate the time of a call.

        ``rotate`` is how many bytes of inputs and outputs the calls must cycle through.
        """
        self.do_drop()
        plan = from_json(case)
        first = make_inputs(plan, seed)
        sets = 1
        if rotate:
            per_set = max(nbytes(first), int(plan.bytes), 1)
            sets = max(2, min(-(-rotate // per_set), ROTATION_LIMIT // per_set))
        inputs = [first, *(copy_inputs(first) for _ in range(sets - 1))]
        prepared = self.contender.prepare(plan, inputs)
        with prepared.within():
            results = prepared.check()
            seconds = _calibrate(prepared.calls)
        np.savez(save, **_outputs(results))
        self.prepared = prepared
        return {"seconds": seconds, "sets": sets, "note": prepared.note}

    def do_block(self, calls: int, warm: float) -> dict[str, Any]:
        """Time a block of calls, after untimed ones that wake threads and fill caches."""
        if self.prepared is None:
            raise RuntimeError("block: no case is prepared")
        rotation = cycle(self.prepared.calls)
        gc.collect()
        gc.disable()
        try:
            with self.prepared.within():
                deadline = time.perf_counter() + warm
                while True:
                    next(rotation)()
                    if time.perf_counter() >= deadline:
                        break
                # The rotation goes on where warming stopped: what comes next is cold.
                order = list(islice(rotation, len(self.prepared.calls)))
                return {"seconds": _loop(order, calls)}
        finally:
            gc.enable()

    def do_meter(self, kind: str, dtype: str, nbytes: int, seconds: float) -> dict[str, Any]:
        """Measure one limit of the machine; rate in FLOP/s or bytes/s."""
        measure: Any = self.contender
        return {"rate": measure.meter(kind, dtype, nbytes, seconds)()}

    def do_drop(self) -> dict[str, Any]:
        """Forget the case and its memory."""
        self.prepared = None
        gc.collect()
        return {}


def _outputs(results: Sequence[Array]) -> dict[str, Any]:
    """Shape, dtype and sampled values of every output, as one flat archive."""
    arrays: dict[str, Any] = {}
    for index, result in enumerate(results):
        arrays[f"shape{index}"] = np.array(str(result.shape))
        arrays[f"dtype{index}"] = np.array(str(result.dtype))
        arrays[f"value{index}"] = sample(result)
    return arrays


def _loop(calls: Sequence[Call], count: int) -> float:
    """Seconds per call. One callable needs no rotation, and tiny calls feel its cost."""
    if len(calls) == 1:
        call = calls[0]
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count
    start = time.perf_counter()
    for call in islice(cycle(calls), count):
        call()
    return (time.perf_counter() - start) / count


def _calibrate(calls: Sequence[Call]) -> float:
    """Rough seconds per call, from the first run long enough to trust."""
    count = 1
    _loop(calls, len(calls))
    while True:
        seconds = _loop(calls, count)
        if seconds * count >= CALIBRATION:
            return seconds
        count *= 4


def main(argv: list[str]) -> int:
    """Serve requests from standard input until it closes."""
    spec, threads, parent = argv[0], int(argv[1]), int(argv[2])
    die_with_parent(parent)
    use_cpus(threads)
    # Libraries print to standard output as they please; the protocol keeps its own copy.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        worker = Worker(load(spec)(threads))
        hello = {
            "ok": True,
            "versions": worker.contender.versions(),
            "settings": worker.contender.settings(),
        }
    except Unsupported as reason:
        hello = {"unsupported": str(reason)}
    except Exception:
        hello = {"error": traceback.format_exc()}
    # A framework's modules are a million objects that no collection needs to walk again.
    gc.collect()
    gc.freeze()
    reply(hello)
    if "ok" in hello:
        for line in sys.stdin:
            reply(worker.answer(json.loads(line)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
