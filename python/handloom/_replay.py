"""The host's part of a captured training step, which a graph cannot do by itself.

While a thread captures one (`hl.cuda.graph`), code that counts steps on the host leaves word here
instead of counting: `each_replay` runs it once for every replay.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import get_ident
from typing import Any


class Recording:
    """The host's part of the graph that a thread captures.

    Attributes:
        replays: What to do before each replay, in order.
        draws: The generators that were drawn from, as [generator, seed, call, how often].
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph  # _C.gpu.Graph
        self.replays: dict[Hashable, Callable[[], None]] = {}
        self.draws: list[list[Any]] = []

    def drawn(self, generator: Any, call: int) -> None:
        """Notes a draw: a replay draws again, from where the generator is then."""
        known = [entry[0] is generator for entry in self.draws]
        if not any(known):
            self.draws.append([generator, generator.seed, call, 0])
            known.append(True)
        number = known.index(True)
        self.draws[number][3] += 1
        self._graph.drew(generator.seed, call, number)

    def rewind(self) -> None:
        """Puts the generators where they were: what is captured is not drawn."""
        for generator, seed, call, _ in self.draws:
            generator.seed, generator.call = seed, call

    def draw(self) -> list[list[int]]:
        """Draws for one replay; how far each generator has moved since the capture."""
        moved = []
        for generator, seed, call, count in self.draws:
            moved.append([(generator.seed - seed) % 2**64, (generator.call - call) % 2**64])
            generator.call += count
        return moved


# Threads that capture a graph, and what they note. Empty almost always.
recordings: dict[int, Recording] = {}


def recording() -> Recording | None:
    """The capture of the calling thread."""
    return recordings.get(get_ident()) if recordings else None


def each_replay(key: Hashable, action: Callable[[], None]) -> bool:
    """In a capture: `action` is for each replay, once for a key, not for now. Else False."""
    found = recording()
    if found is None:
        return False
    found.replays.setdefault(key, action)
    return True


def refuse(op: str, why: str) -> None:
    """Raises RuntimeError in a capture."""
    if recording() is not None:
        raise RuntimeError(f"{op}: {why}; call it outside the block of cuda.graph")
