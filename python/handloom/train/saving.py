"""A run of `fit` in a file: what is saved of it, and how it goes on from there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import remove_leftovers
from .._runtime import get_rng_state, set_rng_state
from ..data import DataLoader
from ..io.weights import Path
from .checkpoint import load_checkpoint, save_checkpoint
from .interrupt import Interrupt
from .trainer import Tally, skipped

if TYPE_CHECKING:
    from .trainer import Trainer

_NUMBERS = ("losses", "rows", "norms")
_WHAT = "a run of handloom.train.fit, 1"


class Saver:
    """Saves a run after each epoch, every few steps, and on Ctrl-C.

    Args:
        path: The file; None only stops after the step on Ctrl-C.
        every: Steps between two saves within an epoch; None for none.
        trainer: Whose run it is.
        loader: Its training data.
        interrupt: Tells whether Ctrl-C was pressed.
    """

    def __init__(
        self,
        path: Path | None,
        every: int | None,
        trainer: Trainer,
        loader: Any,
        interrupt: Interrupt,
    ) -> None:
        self.path = None if path is None else os.fspath(path)
        self.every = every
        self.trainer = trainer
        self.loader = loader
        self.interrupt = interrupt
        self._epoch = 0  # the loader's number of the epoch under way
        self._random = get_rng_state()

    # ---- while it trains -------------------------------------------------------------------------

    def order(self, loader: Any, done: int) -> Iterator[Any]:
        """The batches of an epoch behind the first `done`."""
        self._epoch = getattr(loader, "epoch", 0)
        if not done:
            return iter(loader)
        batches = skipped(iter(loader), done)
        # What loading the batches again, or a callback, has drawn was drawn before.
        set_rng_state(self._random)
        return batches

    def step_ended(self, tally: Tally) -> None:
        """Saves where it is time to, and stops the run where Ctrl-C was pressed."""
        step = self.trainer.run.step
        if self.interrupt.pressed or (self.every is not None and step % self.every == 0):
            self._save(tally)
        if self.interrupt.pressed:
            self._stop()

    def epoch_ended(self) -> None:
        """Saves after an epoch."""
        self._save(None)
        if self.interrupt.pressed:
            self._stop()

    def _stop(self) -> None:
        run = self.trainer.run
        where = f"fit: stopped after step {run.step} (epoch {run.epoch + 1} of {run.epochs})"
        if self.path is None:
            raise KeyboardInterrupt(f"{where}; not saved, fit got no checkpoint=")
        raise KeyboardInterrupt(
            f"{where}; the run is saved in {self.path!r}: the same call goes on from there"
        )

    def _save(self, tally: Tally | None) -> None:
        if self.path is None:
            return
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        try:
            save_checkpoint(self.path, self._state(tally))
        except OSError as error:
            raise OSError(
                error.errno,
                f"fit: the run cannot be saved ({error.strerror}); "
                "a checkpoint that was there before is as it was",
                self.path,
            ) from error

    def _state(self, tally: Tally | None) -> dict[str, Any]:
        trainer = self.trainer
        run, history = trainer.run, trainer.run.history
        loader_epoch = self._epoch if tally is not None else getattr(self.loader, "epoch", 0)
        return {
            "what": _WHAT,
            **self._parts(),
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "schedule": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
            "average": None if trainer.average is None else trainer.average.state_dict(),
            "scaler": None if trainer.scaler is None else trainer.scaler.state_dict(),
            "callbacks": [hook.state_dict() for hook in trainer.hooks],
            "order": {"seed": getattr(self.loader, "seed", 0), "epoch": loader_epoch},
            "random": get_rng_state(),
            "epoch": run.epoch + (tally is None),
            "step": run.step,
            "tally": None if tally is None else _plain(tally),
            "history": {"epochs": history.epochs, "stopped": history.stopped},
        }

    def _parts(self) -> dict[str, Any]:
        """What has to be the same when the run goes on."""
        trainer, loader = self.trainer, self.loader
        sized = isinstance(loader, DataLoader)
        return {
            "optimizer is": type(trainer.optimizer).__name__,
            "schedule is": None if trainer.scheduler is None else type(trainer.scheduler).__name__,
            "averages weights": trainer.average is not None,
            "scales the loss": trainer.scaler is not None or None,  # None: written before that was
            "callbacks are": [type(hook).__name__ for hook in trainer.hooks],
            "accumulate": trainer.accumulate,
            "batch size": loader.batch_size if sized else None,
            "rows": len(loader.dataset) if sized else None,
        }

    # ---- before it trains ------------------------------------------------------------------------

    def restore(self) -> dict[str, Any] | None:
        """Puts everything but the callbacks where the file left it; None where there is none."""
        if self.path is None:
            return None
        remove_leftovers(self.path)
        if not os.path.exists(self.path):
            return None
        state = load_checkpoint(self.path)
        if state.get("what") != _WHAT:
            raise ValueError(f"fit: {self.path!r} is a checkpoint, but not of a run of fit")
        for name, here in self._parts().items():
            if state.get(name) != here:
                raise ValueError(
                    f"fit: {self.path!r} is the checkpoint of another run: there {name} "
                    f"{state.get(name)}, here {here}"
                )
        trainer = self.trainer
        run = trainer.run
        try:
            run.model.load_state_dict(state["model"])
            run.optimizer.load_state_dict(state["optimizer"])
            parts = {
                "schedule": trainer.scheduler,
                "average": trainer.average,
                "scaler": trainer.scaler,
            }
            for part, held in parts.items():
                if held is not None:
                    held.load_state_dict(state[part])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"fit: {self.path!r} is the checkpoint of another run: {error}"
            ) from error
        if isinstance(self.loader, DataLoader):
            self.loader.seed = state["order"]["seed"]
            self.loader.epoch = state["order"]["epoch"]
        run.epoch, run.step = state["epoch"], state["step"]
        run.history.epochs = state["history"]["epochs"]
        run.history.stopped = state["history"]["stopped"]
        if state["tally"] is not None:
            trainer.tally = Tally()
            saved = {k: v.tolist() if k in _NUMBERS else v for k, v in state["tally"].items()}
            vars(trainer.tally).update(saved)
        self._random = state["random"]
        return state

    def restore_callbacks(self, state: dict[str, Any]) -> None:
        """Puts the callbacks where the file left them."""
        for hook, saved in zip(self.trainer.hooks, state["callbacks"]):
            hook.load_state_dict(saved)
        set_rng_state(self._random)


def _plain(tally: Tally) -> dict[str, Any]:
    """A tally whose long lists of numbers are arrays."""
    return {k: np.array(v) if k in _NUMBERS else v for k, v in vars(tally).items()}
