"""The figures of a run where other programs look for them: a CSV file, TensorBoard."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from .._files import write_atomically
from .._numbers import whole
from ..io.weights import Path
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Run


class CSVLogger(Callback):
    """Writes the figures of each epoch as one line of a CSV file, the epoch first.

    A run that goes on from a checkpoint writes its earlier epochs, too: the file always holds what
    `history` does. Keras: `keras.callbacks.CSVLogger`.

    Args:
        path: The file; it is replaced. Its directory is made.

    Raises:
        OSError: During training: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)
        self._names: tuple[str, ...] = ()

    def on_train_begin(self, run: Run) -> None:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        self._rewrite(run)

    def on_epoch_end(self, run: Run) -> None:
        if run.history.names != self._names:  # a figure that came later
            self._rewrite(run)
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(_lines([self._row(len(run.history), run.logs)]))

    def _rewrite(self, run: Run) -> None:
        self._names = run.history.names
        rows = [self._row(i, logs) for i, logs in enumerate(run.history, 1)]
        write_atomically(self.path, _lines([["epoch", *self._names], *rows]).encode())

    def _row(self, epoch: int, logs: dict[str, float]) -> list[Any]:
        return [epoch, *(logs.get(name, "") for name in self._names)]


def _lines(rows: list[list[Any]]) -> str:
    import csv  # not needed by those who only train
    import io

    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


class TensorBoard(Callback):
    """Writes scalars for TensorBoard: `tensorboard --logdir DIR` shows them.

    `loss` becomes `loss/training` and `val_loss` `loss/validation`, so that both are in one
    diagram; the metrics alike. Their steps are the optimiser's.

    Args:
        log_dir: A directory, one for each run; it is made.
        every: Steps after which the loss of the batch is written, as `loss/step`; None for none.

    Raises:
        ImportError: tensorboard is not installed.
        ValueError: `every` is below 1.
    """

    def __init__(self, log_dir: Path, every: int | None = None) -> None:
        self.log_dir = os.fspath(log_dir)
        self.every = None if every is None else whole(every, "TensorBoard", "every")
        self._writer: Any = None
        _protocol()

    def on_train_begin(self, run: Run) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        event, session, _ = _protocol()
        self._writer = EventFileWriter(self.log_dir)
        # What a run that was broken off has written beyond its checkpoint is hidden.
        start = session(status=session.START)
        self._writer.add_event(event(wall_time=time.time(), step=run.step + 1, session_log=start))

    def on_step_end(self, run: Run) -> None:
        if self.every is not None and run.step % self.every == 0:
            self._write(run.step, {"loss/step": run.logs["loss"]})

    def on_epoch_end(self, run: Run) -> None:
        self._write(run.step, {_tag(name): value for name, value in run.logs.items()})
        self._writer.flush()

    def on_train_end(self, run: Run) -> None:
        self._writer.close()

    def _write(self, step: int, scalars: dict[str, float]) -> None:
        event, _, summary = _protocol()
        values = [summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._writer.add_event(
            event(wall_time=time.time(), step=step, summary=summary(value=values))
        )


def _tag(name: str) -> str:
    if name in ("lr", "seconds", "grad_norm"):
        return name
    kind = "validation" if name.startswith("val_") else "training"
    return f"{name.removeprefix('val_')}/{kind}"


def _protocol() -> tuple[Any, Any, Any]:
    """TensorBoard's messages: an event, a session's begin, a summary."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ImportError as error:
        raise ImportError(
            'TensorBoard needs tensorboard: pip install "handloom[tensorboard]"'
        ) from error
    return Event, SessionLog, Summary
