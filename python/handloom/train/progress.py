"""A live line on a terminal: epoch, bar, loss, metrics, samples a second, time left.

Where there is no terminal, a plain line of it every few seconds.
"""

from __future__ import annotations

import sys
import time
from typing import IO, Any

from .history import History

# A bar that is drawn more often than this costs more than it tells; a file fills with lines.
_SECONDS_BETWEEN_DRAWS = 0.1
_SECONDS_BETWEEN_LINES = 5.0
_BAR_CELLS = 24
_Parts = list[tuple[str, str]]
_NOT_SHOWN = ("lr", "seconds", "grad_norm")


class ProgressBar:
    """Shows a run of `fit`: a live line on a terminal, in colour where rich is installed.

    `fit` makes one by itself; make your own for another label or stream, or to erase the line at
    the end.

    Args:
        label: What the line begins with; True for none, False to show nothing.
        stream: Where to; None is the standard error. Where it is not a terminal, a line of text is
            written every five seconds, and one with the result.
        keep: Whether the last line stays, with the result; without it a stream that is not a
            terminal gets nothing.
        plain: Text only, even where rich is installed.
    """

    def __init__(
        self,
        label: str | bool = True,
        *,
        stream: IO[str] | None = None,
        keep: bool = True,
        plain: bool = False,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._label = label if isinstance(label, str) else ""
        self._live = self._stream.isatty()
        self._wanted = label is not False and (self._live or keep)
        self._keep, self._plain = keep, plain
        self._pause = _SECONDS_BETWEEN_DRAWS if self._live else _SECONDS_BETWEEN_LINES
        self._writer: _Rich | _Plain | _Lines | None = None

    @property
    def shown(self) -> bool:
        """Whether the run under way is shown at all."""
        return self._writer is not None

    def begin(self, epochs: int, batches: int | None, done: int = 0) -> None:
        """Before the first epoch of this run; `batches` in an epoch, where it is known.

        `done` epochs were trained before, in a run that this one goes on with.
        """
        self._epochs, self._batches = epochs, batches
        self._epoch, self._before = done, done
        self._done = self._samples = 0
        self._in_epoch = self._in_mean = 0
        self._mean = 0.0
        self._figures: dict[str, float] = {}
        self._begin = time.perf_counter()
        self._drawn = self._begin
        if self._wanted and not self._live:
            self._writer = _Lines(self._stream)
        elif self._wanted:
            rich = None if self._plain else _rich()
            self._writer = _Plain(self._stream) if rich is None else rich(self._stream)

    def step(self, batches: int, samples: int, loss: float) -> None:
        """After a step: its batches, its samples and their mean loss."""
        if self._writer is None:
            return
        self._done += batches
        self._in_epoch += batches
        self._samples += samples
        self._in_mean += samples
        self._mean += (loss - self._mean) * samples / max(1, self._in_mean)
        now = time.perf_counter()
        if now - self._drawn >= self._pause:
            self._drawn = now
            self._figures["loss"] = self._mean
            self._draw(now)

    def epoch(self, logs: dict[str, float]) -> None:
        """After an epoch and its validation."""
        if self._writer is None:
            return
        self._epoch += 1
        # An iterable without a length has told it now.
        self._batches = self._batches or self._in_epoch
        self._in_epoch = self._in_mean = 0
        self._mean = 0.0
        self._figures = {name: v for name, v in logs.items() if name not in _NOT_SHOWN}
        now = time.perf_counter()
        if now - self._drawn >= self._pause:
            self._drawn = now
            self._draw(now)

    def end(self, history: History) -> None:
        """After the last epoch: leaves the result, or erases the line."""
        if self._writer is None:
            return
        if self._keep:
            head = f"{len(history)} epochs in {_clock(history.seconds)}"
            if history.stopped is not None:
                head += f" (stopped: {history.stopped})"
            self._writer.draw(self._share(), self._line(head, time.perf_counter(), left=False))
        self._writer.close(self._keep)
        self._writer = None

    def _share(self) -> float | None:
        if not self._batches:
            return None
        return min(1.0, self._done / (self._batches * max(1, self._epochs - self._before)))

    def _draw(self, now: float) -> None:
        assert self._writer is not None
        head = f"epoch {min(self._epoch + 1, self._epochs)}/{self._epochs}"
        self._writer.draw(self._share(), self._line(head, now, left=True))

    def _line(self, head: str, now: float, *, left: bool) -> _Parts:
        """Returns the parts of the line, each a name and a value, the most important first."""
        elapsed = max(now - self._begin, 1e-9)
        parts = [("", f"{self._label} {head}".strip())]
        parts += [(name, f"{value:.4g}") for name, value in self._figures.items()]
        parts.append(("", f"{_thousands(self._samples / elapsed)} samples/s"))
        share = self._share()
        if left and share:
            parts.append(("", f"{_clock(elapsed / share - elapsed)} left"))
        return parts


def _text(parts: _Parts) -> str:
    return " | ".join(" ".join(part).strip() for part in parts)


def _bar_cells(columns: int) -> int:
    """A bar that leaves a narrow terminal to the figures."""
    return min(_BAR_CELLS, columns // 8)


class _Plain:
    """One line of text, written over with a carriage return."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def draw(self, share: float | None, parts: _Parts) -> None:
        from shutil import get_terminal_size

        bar = ""
        if share is not None:
            cells = _bar_cells(get_terminal_size().columns)
            full = round(share * cells)
            bar = f"[{'=' * full}{' ' * (cells - full)}] "
        line = bar + _text(parts)
        # A line that wraps could not be written over.
        self._write("\r\x1b[2K" + line[: get_terminal_size().columns - 1])

    def close(self, keep: bool) -> None:
        self._write("\n" if keep else "\r\x1b[2K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _Lines:
    """One line after the other, without a character that moves anything."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def draw(self, share: float | None, parts: _Parts) -> None:
        self._stream.write(_text(parts) + "\n")
        self._stream.flush()

    def close(self, keep: bool) -> None:
        pass


class _Rich:
    """A live line drawn by rich."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        # rich's own refresh thread would take the interpreter from the training loop.
        self._live: Any = Live(
            console=Console(file=stream), auto_refresh=False, vertical_overflow="crop"
        )
        self._live.start()

    def draw(self, share: float | None, parts: _Parts) -> None:
        from rich.progress_bar import ProgressBar as Bar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        cells: list[Any] = []
        if share is not None:
            width = _bar_cells(self._live.console.width)
            cells.append(Bar(total=1.0, completed=share, width=width))
        text = Text(no_wrap=True, overflow="ellipsis")
        for i, (name, value) in enumerate(parts):
            text.append(" · " if i else "", style="dim")
            text.append(f"{name} " if name else "", style="dim")
            text.append(value, style="bold" if i == 0 else "cyan" if name else "dim")
        grid.add_row(*cells, text)
        self._live.update(grid, refresh=True)

    def close(self, keep: bool) -> None:
        self._live.transient = not keep
        self._live.stop()


def _rich() -> type[_Rich] | None:
    from importlib.util import find_spec

    return None if find_spec("rich") is None else _Rich


def _clock(seconds: float) -> str:
    """Returns a duration: 0.4 s, 12 s, 3:05, 1:02:33."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _thousands(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
