"""What `fit` calls at the begin and the end of a run, of an epoch and of a step."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .history import rises

if TYPE_CHECKING:
    from .trainer import Run

Hook = Callable[["Run"], object]


class Callback:
    """Base of all callbacks: override what you need.

    Each method gets the `Run`: `run.model`, `run.optimizer`, `run.epoch` (from 0), `run.step`
    (optimiser steps so far), `run.logs` (at the end of a step: its `loss`; at the end of an epoch:
    all figures of the epoch), `run.history`, and `run.stop(reason)`, after which training ends
    with the current step or epoch. Keras: `keras.callbacks.Callback`.
    """

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first batch of an epoch."""

    def on_backward_end(self, run: Run) -> None:
        """After the gradients of a step are there, before they are clipped and used."""

    def on_step_end(self, run: Run) -> None:
        """After each step of the optimiser."""

    def on_epoch_end(self, run: Run) -> None:
        """After an epoch and its validation."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, also where training was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of the run has to keep of the callback; nothing by default."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned, after `on_train_begin`."""


class LambdaCallback(Callback):
    """Calls plain functions: `LambdaCallback(on_epoch_end=lambda run: print(run.logs))`.

    A schedule that counts steps: `LambdaCallback(on_step_end=lambda run: schedule.step())`.
    """

    def __init__(
        self,
        *,
        on_train_begin: Hook | None = None,
        on_epoch_begin: Hook | None = None,
        on_backward_end: Hook | None = None,
        on_step_end: Hook | None = None,
        on_epoch_end: Hook | None = None,
        on_train_end: Hook | None = None,
    ) -> None:
        hooks = {
            "on_train_begin": on_train_begin,
            "on_epoch_begin": on_epoch_begin,
            "on_backward_end": on_backward_end,
            "on_step_end": on_step_end,
            "on_epoch_end": on_epoch_end,
            "on_train_end": on_train_end,
        }
        for name, hook in hooks.items():
            if hook is None:
                continue
            if not callable(hook):
                raise TypeError(
                    f"LambdaCallback: {name} expects a function, got {type(hook).__name__}"
                )
            setattr(self, name, hook)


class EarlyStopping(Callback):
    """Ends training when a figure has not improved for some epochs.

    Args:
        monitor: Name of the figure.
        patience: Epochs without improvement to wait for, at least 1.
        min_delta: What counts as an improvement: by more than this.
        mode: `"min"`, `"max"`, or `"auto"` as in `History.best`.
        restore_best_weights: Whether the model gets back the weights of its best epoch at the end
            of the run, stopped early or not.

    Attributes:
        best: The best value of the last run.
        best_epoch: Its epoch, from 0.

    Raises:
        ValueError: An argument is out of range; during training: no figure of that name.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience expects at least 1 epoch, got {patience}")
        if min_delta < 0:
            raise ValueError(f"EarlyStopping: min_delta expects at least 0, got {min_delta}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.restore_best_weights = restore_best_weights
        self._rises = rises(monitor, mode, "EarlyStopping")
        self._reset()

    def _reset(self) -> None:
        self.best = -math.inf if self._rises else math.inf
        self.best_epoch: int | None = None
        self._weights: dict[str, Any] | None = None

    def on_train_begin(self, run: Run) -> None:
        self._reset()

    def on_epoch_end(self, run: Run) -> None:
        value = monitored(run, self.monitor, "EarlyStopping")
        gain = value - self.best if self._rises else self.best - value
        if gain > self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            if self.restore_best_weights:
                # state_dict() shares memory with the parameters.
                state = run.model.state_dict()
                self._weights = {name: np.array(array) for name, array in state.items()}
            return
        begin = -1 if self.best_epoch is None else self.best_epoch
        if run.epoch - begin >= self.patience:
            run.stop(
                f"{self.monitor} has not improved on {self.best:.4g} for {self.patience} epochs"
            )

    def on_train_end(self, run: Run) -> None:
        if self._weights is not None:
            run.model.load_state_dict(self._weights)
            self._weights = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._weights = state["weights"]


class Checkpoint(Callback):
    """Saves the model's weights as a safetensors file after each epoch, or each better one.

    Args:
        path: The file; `{epoch}` (from 1) and names of figures may stand in it, as in
            `"runs/epoch{epoch:03d}-{val_loss:.3f}.safetensors"`. Its directory is made.
        monitor: None saves every epoch; else only those that improve this figure.
        mode: As in `History.best`.

    Attributes:
        saved: The file that was written last, or None.

    Raises:
        ValueError: During training: no figure of the name `monitor` or of one in `path`.
        OSError: The file cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], monitor: str | None = None, mode: str = "auto"
    ) -> None:
        self.path, self.monitor = os.fspath(path), monitor
        self._rises = rises(monitor or "", mode, "Checkpoint")
        self._best = math.nan
        self.saved: str | None = None

    def on_train_begin(self, run: Run) -> None:
        self._best = -math.inf if self._rises else math.inf

    def on_epoch_end(self, run: Run) -> None:
        if self.monitor is not None:
            value = monitored(run, self.monitor, "Checkpoint")
            if not (value > self._best if self._rises else value < self._best):
                return
            self._best = value
        try:
            path = self.path.format(**{**run.logs, "epoch": run.epoch + 1})
        except KeyError as error:
            raise ValueError(
                f"Checkpoint: path names {error}, expected epoch or one of {', '.join(run.logs)}"
            ) from None
        from ..io import save

        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        save(path, run.model.state_dict(), metadata={"epoch": str(run.epoch + 1)})
        self.saved = path

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "saved": self.saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self.saved = state["best"], state["saved"]


class TerminateOnNaN(Callback):
    """Says that a loss of NaN or infinity, which ends any run, is expected: it brings no warning.

    Keras has a callback of this name, without which its training goes on.
    """


def monitored(run: Run, name: str, op: str) -> float:
    """Returns the figure `name` of the epoch that has just ended."""
    if name not in run.logs:
        missing = " (fit got no validation=)" if name.startswith("val_") else ""
        raise ValueError(
            f"{op}: no figure {name!r}{missing}, expected one of {', '.join(run.logs)}"
        )
    return run.logs[name]
