"""Contenders in processes of their own, at most one of them running.

Idle worker threads of one library spin and slow down the next one, up to a factor of two when
they share a process. So each contender is a child process, stopped (SIGSTOP) unless it is its
turn, and the parent itself only waits while a child computes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from .contenders import SPECS
from .machine import child_environment

START_TIMEOUT = 180.0
STDERR_TAIL = 2000


class Entry(NamedTuple):
    """A contender to start: its name in the report, ``"module:Class"``, and its threads."""

    name: str
    spec: str
    threads: int


def entry(peer: str, threads: int, name: str | None = None) -> Entry:
    """The entry of a contender that ships with handloom."""
    return Entry(name or peer, SPECS[peer], threads)


class ChildError(RuntimeError):
    """A child died, or did not answer in time; the text carries the end of its stderr."""


class Child:
    """One contender's process. It runs only inside :meth:`ask`."""

    def __init__(self, entry: Entry, folder: Path, environment: dict[str, str]) -> None:
        self.entry = entry
        self._errors = (folder / f"{entry.name}.stderr").open("w+b")
        self._buffer = b""
        command = [
            sys.executable, "-m", "handloom.bench.worker",
            entry.spec, str(entry.threads), str(os.getpid()),
        ]  # fmt: skip
        # A session of its own keeps Ctrl-C away from the children: the parent ends them.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def hello(self) -> dict[str, Any]:
        """Wait for the greeting of a fresh child, then stop it."""
        reply = self._read(START_TIMEOUT, "start")
        self._pause()
        return reply

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """Wake the child, let it answer one request, and stop it again.

        Raises:
            ChildError: It died or took longer than ``timeout`` seconds.
        """
        what = str(request["do"])
        self._signal(signal.SIGCONT)
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except OSError:
            raise ChildError(self._obituary(what)) from None
        reply = self._read(timeout, what)
        self._pause()
        return reply

    def kill(self) -> None:
        """End the process, running or stopped, and release its pipes."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _signal(self, number: signal.Signals) -> None:
        # A process that is gone is found by the next read, which tells the story.
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def _pause(self) -> None:
        """Stop the child and wait until it has stopped: the next one must not overlap."""
        self._signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):
            # WNOWAIT leaves an exit status for Popen to collect.
            options = os.WSTOPPED | os.WEXITED | os.WNOWAIT
            os.waitid(os.P_PID, self._process.pid, options)
        else:
            time.sleep(1e-3)

    def _read(self, timeout: float, what: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise ChildError(
                    f"{self.entry.name} did not finish '{what}' within {timeout:.0f} s"
                    + self._stderr()
                )
            data = os.read(descriptor, 1 << 16)
            if not data:
                raise ChildError(self._obituary(what))
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _obituary(self, what: str) -> str:
        status = self._process.wait()
        end = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"{self.entry.name} died ({end}) during '{what}'" + self._stderr()

    def _stderr(self) -> str:
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        return f"; its stderr ends:\n{text[-STDERR_TAIL:]}" if text else ""


class Ring:
    """The children of one session, each restarted when it dies, a few times at most.

    Use as a context manager: leaving it, by whatever way, ends every child.

    Attributes:
        folder: Scratch space that parent and children share.
        children: The living, by name.
        status: For every entry ``{"status": "ready" | "n/a" | "failed", "reason": …}``.
    """

    RESTARTS = 3

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)
        self._deaths = dict.fromkeys((e.name for e in self._entries), 0)
        self._scratch = tempfile.TemporaryDirectory(prefix="handloom-bench-")
        self.folder = Path(self._scratch.name)
        self.children: dict[str, Child] = {}
        self.status: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Ring:
        try:
            # Importing is not timed: they may start side by side.
            for entry in self._entries:
                self._spawn(entry)
            for entry in self._entries:
                self._greet(entry)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every child and remove the scratch folder."""
        for child in self.children.values():
            child.kill()
        self.children.clear()
        self._scratch.cleanup()

    def ask(self, name: str, timeout: float, **request: Any) -> dict[str, Any]:
        """Ask a child; if it dies, report that and put a fresh one in its place.

        Returns:
            The reply; ``{"error": …}`` for a child that died or hung.
        """
        try:
            return self.children[name].ask(timeout, **request)
        except ChildError as error:
            self._bury(name, str(error))
            return {"error": str(error)}

    def _spawn(self, entry: Entry) -> None:
        environment = child_environment(entry.threads)
        self.children[entry.name] = Child(entry, self.folder, environment)

    def _greet(self, entry: Entry) -> None:
        try:
            reply = self.children[entry.name].hello()
        except ChildError as error:
            reply = {"error": str(error)}
        if "ok" in reply:
            self.status[entry.name] = {
                "status": "ready",
                "threads": entry.threads,
                "versions": reply["versions"],
                "settings": reply["settings"],
            }
            return
        self.children.pop(entry.name).kill()
        kind, reason = ("n/a", reply["unsupported"]) if "unsupported" in reply else (
            "failed", reply["error"]
        )  # fmt: skip
        self.status[entry.name] = {"status": kind, "reason": reason}

    def _bury(self, name: str, reason: str) -> None:
        self.children.pop(name).kill()
        self._deaths[name] += 1
        if self._deaths[name] > self.RESTARTS:
            self.status[name] = {"status": "failed", "reason": reason}
            return
        entry = next(e for e in self._entries if e.name == name)
        self._spawn(entry)
        self._greet(entry)


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that context managers end their children."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
