"""Background threads that make numbered items ahead of their consumer, in order."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple


class _Failure(NamedTuple):
    error: BaseException


class Prefetcher:
    """Makes `make(0), make(1), …` in threads, at most `depth` items ahead of `take`.

    A context manager: the threads start on entry; on exit, for whatever reason, they are told to
    stop and are joined, so none outlives the loop that wanted it (an item under way is finished
    first). An exception in `make(i)` is raised by `take(i)`, neither earlier nor later. In a
    forked child, where the threads do not exist, `take` makes the items itself.

    Args:
        make: Returns item i; called from `threads` threads at once.
        count: How many items there are.
        threads: At least 1.
        depth: At least 1.
    """

    def __init__(self, make: Callable[[int], Any], count: int, threads: int, depth: int) -> None:
        self._make = make
        self._count = count
        self._depth = depth
        self._changed = threading.Condition()
        self._ready: dict[int, Any] = {}
        self._started = 0
        self._taken = 0
        self._stop = False
        self._process = os.getpid()
        # Daemons: an iterator that is kept to the end of the program must not hold it up.
        self._threads = [
            threading.Thread(target=self._work, name=f"handloom-data-{i}", daemon=True)
            for i in range(min(threads, count))
        ]

    def __enter__(self) -> Prefetcher:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Once the interpreter is going down its daemon threads stand still, perhaps with the lock:
        # an iterator that is dropped as late as that must not wait for them.
        if os.getpid() == self._process and not sys.is_finalizing():
            self._close()

    def _close(self) -> None:
        with self._changed:
            self._stop = True
            self._ready.clear()
            self._changed.notify_all()
        for thread in self._threads:
            # The garbage collector may close an abandoned iterator from one of its own workers.
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()

    def take(self, item: int) -> Any:
        """Returns item number `item`; call it for 0, 1, 2, … in turn.

        Raises:
            BaseException: Whatever `make(item)` raised.
        """
        if os.getpid() != self._process:
            return self._make(item)
        with self._changed:
            while item not in self._ready:
                self._changed.wait()
            made = self._ready.pop(item)
            self._taken = item + 1
            self._changed.notify_all()
        if isinstance(made, _Failure):
            try:
                raise made.error
            finally:
                del made  # the error's traceback holds this frame: without it, no cycle
        return made

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._stop and self._started >= min(
                    self._count, self._taken + self._depth
                ):
                    if self._started >= self._count:
                        return
                    self._changed.wait()
                if self._stop:
                    return
                item = self._started
                self._started += 1
            made: Any
            try:
                made = self._make(item)
            except BaseException as error:
                made = _Failure(error)
            with self._changed:
                if not self._stop:
                    self._ready[item] = made
                self._changed.notify_all()
            del made
