"""The machine as the user sees it: threads, instruction sets, random state, memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from handloom import _C
from handloom._replay import recordings

__version__: str = _C.version

# threads and instruction sets


def set_num_threads(n: int) -> None:
    """Sets how many threads a kernel may use; results do not depend on it.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is below 1.
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n is a {type(n).__name__}, expected an integer")
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}, expected at least 1")
    _C.set_num_threads(int(n))


def get_num_threads() -> int:
    """Returns how many threads a kernel may use."""
    return _C.num_threads()


def available_isas() -> list[str]:
    """Returns the instruction sets that this processor and build can run, best first."""
    return _C.available_isas()


class use_isa:
    """Runs kernels on instruction set `name`, from now on or for a `with` block.

    The choice is for the process, not for the thread.

    Raises:
        ValueError: This processor or build has no such set; the text lists those it has.
    """

    def __init__(self, name: str) -> None:
        self._before = _C.isa()
        if not _C.use_isa(name):
            names = ", ".join(_C.available_isas())
            raise ValueError(f"use_isa: {name!r} is not available here; choose from {names}")

    def __enter__(self) -> use_isa:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _C.use_isa(self._before)


def empty_cache() -> None:
    """Gives the memory that results and scratch left in the pool back to the system."""
    _C.empty_cache()


# random state


class Generator:
    """A stream of random numbers: a seed, and how often it was drawn from.

    Every draw is a pure function of (seed, call number, element index), see `kernels`; so these two
    numbers are the whole state.
    """

    __slots__ = ("call", "seed")

    def __init__(self, seed: int, call: int = 0) -> None:
        self.seed = seed
        self.call = call

    def next_draw(self) -> tuple[int, int]:
        """The seed, and a call number that was not used before."""
        call = self.call
        self.call = call + 1
        if recordings:
            capture = recordings.get(threading.get_ident())
            if capture is not None:
                capture.drawn(self, call)
        return self.seed, call

    def state(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"seed": self.seed, "call": self.call}

    def load_state(self, state: dict[str, int]) -> None:
        """Goes on where `state()` was taken."""
        self.seed, self.call = int(state["seed"]), int(state["call"])


_STREAM = 1 << 40  # calls between the streams of two threads: more than anyone draws
_streams = itertools.count(1)


class _PerThread(threading.local):
    """Each thread's generator. A thread that was never seeded gets a stream of its own."""

    generator: Generator

    def __init__(self) -> None:
        self.generator = Generator(_base_seed(), next(_streams) * _STREAM)


_seed: int | None = None


def _base_seed() -> int:
    global _seed
    if _seed is None:
        import os

        _seed = int.from_bytes(os.urandom(8), "little")
    return _seed


_threads = _PerThread()


def manual_seed(seed: int) -> Generator:
    """Seeds the calling thread's random numbers; threads that start later have streams beside it.

    Raises:
        TypeError: seed is not an integer.
        ValueError: seed is outside 0 … 2⁶⁴ − 1.
    """
    global _seed
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"manual_seed: seed is a {type(seed).__name__}, expected an integer")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"manual_seed: seed is {seed}, expected 0 to 2**64 - 1")
    _seed = int(seed)
    generator = _threads.generator
    generator.seed, generator.call = _seed, 0
    return generator


def default_generator() -> Generator:
    """Returns the calling thread's generator."""
    return _threads.generator


def next_draw() -> tuple[int, int]:
    """Takes the next draw of the calling thread's generator."""
    return _threads.generator.next_draw()


def get_rng_state() -> dict[str, int]:
    """Returns the state of the calling thread's generator, for a checkpoint."""
    return _threads.generator.state()


def set_rng_state(state: dict[str, int]) -> None:
    """Sets the state of the calling thread's generator."""
    _threads.generator.load_state(state)


def table(head: tuple[str, ...], body: Sequence[tuple[str, ...]], numbers: int) -> str:
    """Columns under a head, the last `numbers` of them to the right."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    left = len(head) - numbers

    def line(row: tuple[str, ...]) -> str:
        pairs = list(zip(row, widths))
        cells = [c.ljust(w) for c, w in pairs[:left]] + [c.rjust(w) for c, w in pairs[left:]]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join("-" * w for w in widths), *map(line, body)])


# configuration


class Config(dict[str, Any]):
    """What `show_config` found; prints as a list."""

    def __str__(self) -> str:
        width = max(map(len, self)) + 2
        return "\n".join(f"{name.ljust(width)}{_plain(value)}" for name, value in self.items())


def show_config() -> Config:
    """Returns version, instruction sets, threads, caches and the state of CUDA; print it."""
    from handloom import cuda

    return Config(
        version=_C.version,
        build=_C.build_type,
        isa=_C.isa(),
        available_isas=_C.available_isas(),
        threads=_C.num_threads(),
        thread_backend=_C.thread_backend(),
        caches=_caches(),
        cuda=cuda.state(),
    )


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "unknown"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _caches() -> dict[str, str]:
    """Sizes of the first processor's caches as Linux gives them."""
    from pathlib import Path

    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        found[f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return found
