"""Tiny contenders that agree, lie, die or hang: what the benchmark's own tests run against."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from handloom.bench.cases import Case
from handloom.bench.contenders import Prepared, Unsupported
from handloom.bench.inputs import Inputs


class Sum:
    """Sums its input in well under a microsecond and says so honestly."""

    factor = 1.0

    def __init__(self, threads: int) -> None:
        self.threads = threads
        # A library that chatters on standard output must not disturb the protocol.
        print("hello from a library")

    def versions(self) -> dict[str, str]:
        return {"fake": "1.0", "threads": os.environ["OMP_NUM_THREADS"]}

    def settings(self) -> dict[str, str]:
        return {"coretype": os.environ.get("OPENBLAS_CORETYPE", "unset")}

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        if case.op != "sum":
            raise Unsupported(f"fakes have no {case.op}")
        calls = [lambda x=i["x"]: self.call(x) for i in inputs]
        return Prepared(calls, lambda: [np.asarray(self.value(inputs[0]["x"]))], "a note")

    def value(self, x: np.ndarray) -> np.ndarray:
        return x.sum() * x.dtype.type(self.factor)

    def call(self, x: np.ndarray) -> None:
        pass


class Slow(Sum):
    """Takes half a millisecond for every call."""

    def call(self, x: np.ndarray) -> None:
        end = time.perf_counter() + 5e-4
        while time.perf_counter() < end:
            pass


class Wrong(Sum):
    """Its result is off by far more than rounding."""

    factor = 1.001


class WrongShape(Sum):
    """Its result is right, in another shape."""

    def value(self, x: np.ndarray) -> np.ndarray:
        return x.sum(keepdims=True)


class NotANumber(Sum):
    """Its result is NaN."""

    factor = float("nan")


class Dies(Sum):
    """Ends the process in the middle of a block."""

    def call(self, x: np.ndarray) -> None:
        os.write(2, b"last words\n")
        os._exit(7)


class DiesOnce(Sum):
    """Dies while preparing one case; the replacement does the next one."""

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        if case.name == "first":
            os.abort()
        return super().prepare(case, inputs)


class Hangs(Sum):
    """Never answers a request to prepare."""

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        while True:
            time.sleep(0.01)


class Raises(Sum):
    """Fails with an ordinary exception."""

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        raise ZeroDivisionError("a bug in a peer")


class Absent(Sum):
    """Cannot even start."""

    def __init__(self, threads: int) -> None:
        raise Unsupported("not built")


class Witness(Sum):
    """Writes down, at every call, which of its siblings were not stopped."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.folder = Path(os.environ["HANDLOOM_TEST_WITNESS"])
        (self.folder / f"{os.getpid()}.pid").touch()

    def call(self, x: np.ndarray) -> None:
        for path in self.folder.glob("*.pid"):
            if path.stem == str(os.getpid()):
                continue
            state = Path(f"/proc/{path.stem}/stat").read_text().rpartition(")")[2].split()[0]
            with (self.folder / "states").open("a") as log:
                log.write(state)


class Meter(Sum):
    """A machine with a peak of 2 GFLOP/s for each thread and 1 GB/s each way."""

    def meter(self, kind: str, dtype: str, nbytes: int, seconds: float):
        return lambda: {"peak": 2e9 * self.threads}.get(kind, 1e9)
