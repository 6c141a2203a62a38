"""What `fit` does step by step, and everything that its next step depends on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._arrays import Array, as_array
from .batches import device_of, groups, inputs_and_target
from .callbacks import Callback, TerminateOnNaN
from .history import History
from .measures import Loss, Metric, measured, run_over

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer
    from .progress import ProgressBar
    from .saving import Saver


class Run:
    """A training run as its callbacks see it; see `Callback`."""

    def __init__(self, model: Module, optimizer: Optimizer, epochs: int) -> None:
        self.model, self.optimizer, self.epochs = model, optimizer, epochs
        self.epoch = 0
        self.step = 0
        self.logs: dict[str, float] = {}
        self.history = History()

    def stop(self, reason: str) -> None:
        """Ends training: after this step from `on_step_end`, else after this epoch."""
        self.history.stopped = reason


class Tally:
    """What an epoch has measured so far.

    Attributes:
        losses: Mean loss of each step.
        rows: Samples of each step.
        norms: Of the gradients before clipping, one a step.
        targets, outputs: Of every batch, where there are metrics.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rows: list[int] = []
        self.norms: list[float] = []
        self.targets: list[Array] = []
        self.outputs: list[Array] = []

    def loss(self) -> float:
        """Mean over the samples."""
        total = sum(loss * rows for loss, rows in zip(self.losses, self.rows))
        return total / sum(self.rows)

    def logs(self, metrics: dict[str, Metric]) -> dict[str, float]:
        """The epoch's figures."""
        logs = {"loss": self.loss(), **measured(metrics, self.targets, self.outputs)}
        if self.norms:
            logs["grad_norm"] = sum(self.norms) / len(self.norms)
        return logs


class Trainer:
    """One call of `fit`.

    Attributes:
        run: The model, the optimiser and what callbacks see of the run.
        average: An `optim.EMA` or None.
        scaler: An `amp.GradScaler` or None.
        tally: Of the epoch under way; None between epochs.
    """

    average: Any = None
    scaler: Any = None
    saver: Saver

    def __init__(
        self,
        run: Run,
        loss: Loss,
        metrics: dict[str, Metric],
        hooks: list[Callback],
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
    ) -> None:
        self.run, self.model, self.optimizer = run, run.model, run.optimizer
        self.index = device_of(run.model)  # the GPU to bring batches to
        self.loss, self.metrics, self.hooks = loss, metrics, hooks
        self.clip_norm, self.clip_value, self.accumulate = clip_norm, clip_value, accumulate
        self.parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
        self.scheduler: Any = None
        self.each_epoch: Callable[[dict[str, float]], None] | None = None
        self.each_step: Callable[[], None] | None = None
        self.before_update = listening(hooks, "on_backward_end")
        self.tally: Tally | None = None
        self.finite = True  # False after a loss that is none

    def train(
        self, loader: Any, held_out: Any, bar: ProgressBar, saved: dict[str, Any] | None
    ) -> None:
        """Runs the epochs that are left, after those that `saved` tells of."""
        run = self.run
        first = run.epoch
        self.optimizer.zero_grad()
        for hook in self.hooks:
            hook.on_train_begin(run)
        if saved is not None:
            self.saver.restore_callbacks(saved)
        for epoch in range(first, run.epochs):
            if run.history.stopped is not None:  # before it was saved
                break
            run.epoch = epoch
            self._one_epoch(loader, held_out, bar)
        if self.average is not None:
            self.average.copy_to()
        for hook in self.hooks:
            hook.on_train_end(run)

    def _one_epoch(self, loader: Any, held_out: Any, bar: ProgressBar) -> None:
        run, begin = self.run, time.perf_counter()
        for hook in self.hooks:
            hook.on_epoch_begin(run)
        resumed, self.tally = self.tally, None
        tally = Tally() if resumed is None else resumed
        self._steps(loader, tally, bar)
        if not tally.rows:
            raise ValueError("fit: data has no batch in this epoch (an iterator gives only one)")
        logs = tally.logs(self.metrics) if self.finite else {"loss": tally.loss()}
        with self._averaged():
            self._end_epoch(logs, held_out, begin, bar)
        if run.history.stopped is None and self.each_epoch is not None:
            self.each_epoch(logs)
        if self.finite:
            self.saver.epoch_ended()

    def _averaged(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.applied()

    def _end_epoch(
        self, logs: dict[str, float], held_out: Any, begin: float, bar: ProgressBar
    ) -> None:
        run = self.run
        if held_out is not None and self.finite:
            found = run_over(self.model, held_out, self.loss, self.metrics, "fit: validation")
            logs.update({f"val_{name}": value for name, value in found.items()})
        logs["lr"] = float(self.optimizer.param_groups[0]["lr"])
        if self.scaler is not None:
            logs["loss_scale"] = self.scaler.get_scale()
        logs["seconds"] = time.perf_counter() - begin
        run.logs = logs
        run.history.epochs.append(logs)
        bar.epoch(logs)
        if self.finite:  # else the epoch has no figures that a callback could look at
            for hook in self.hooks:
                hook.on_epoch_end(run)

    def _steps(self, loader: Any, tally: Tally, bar: ProgressBar) -> None:
        """Trains on the batches of an epoch that are left.

        On a small network the loop itself can be felt: what most runs do is written out here, and
        sums are left to the epoch's end.
        """
        run, saver, model, criterion = self.run, self.saver, self.model, self.loss
        interrupt, every, losses, sizes = saver.interrupt, saver.every, tally.losses, tally.rows
        step, adjusts = self.optimizer.step, self.adjusts
        leaves = self._leaves()
        hooks = listening(self.hooks, "on_step_end")
        watched = bool(hooks) or bar.shown or every is not None
        several = self.accumulate > 1
        usual = not several and not self.metrics and self.index < 0 and self.scaler is None
        before = run.step - len(losses)
        model.train()
        batches: Any = saver.order(loader, len(losses) * self.accumulate)
        for batch in groups(batches, self.accumulate) if several else batches:
            if usual and batch.__class__ is tuple and len(batch) == 2:
                x, target = batch
                value = criterion(model(x), target)
                value.backward()  # which refuses what is not one number
                loss, rows = value._array.item(), len(target)
            else:
                loss, rows = self._gradients(batch if several else [batch], tally)
            losses.append(loss)
            sizes.append(rows)
            if loss - loss != 0:  # NaN or infinite
                run.step = before + len(losses)
                return self._diverged(loss)
            if adjusts:
                self._adjusted_step(tally)
            else:
                step()
                for leaf in leaves:
                    leaf.grad = None
            if watched or interrupt.pressed:
                run.step = before + len(losses)
                run.logs = {"loss": loss}
                for hook in hooks:
                    hook.on_step_end(run)
                bar.step(len(batch) if several else 1, rows, loss)
                saver.step_ended(tally)
                leaves = self._leaves()  # a callback may have frozen some
                if run.history.stopped is not None:
                    break
        run.step = before + len(losses)

    def _leaves(self) -> list[Any]:
        """Where the gradients of the parameters are kept."""
        return [leaf for p in self.parameters if (leaf := p._node) is not None]

    def _gradients(self, group: list[Any], tally: Tally) -> tuple[float, int]:
        """Gradients of batches that are one step, each counting by its rows: mean loss and rows."""
        pairs = [inputs_and_target(batch, "fit", self.index) for batch in group]
        rows = sum(len(target) for _, target in pairs)
        total = 0.0
        for inputs, target in pairs:
            output = self.model(*inputs)
            value = self.loss(output, target)
            size = len(target)
            part = value if size == rows else value * (size / rows)
            (part if self.scaler is None else self.scaler.scale(part)).backward()
            total += value.item() * size
            if self.metrics:
                tally.outputs.append(output.detach().cpu().numpy())
                tally.targets.append(as_array(target, "fit"))
        return (total / rows if len(group) > 1 else value.item()), rows

    @property
    def adjusts(self) -> bool:
        """Whether anything is done before or after the optimiser's step."""
        found = (self.clip_norm, self.clip_value, self.average, self.each_step, self.scaler)
        return bool(self.before_update) or any(part is not None for part in found)

    def _adjusted_step(self, tally: Tally) -> None:
        """The optimiser's step with all that goes before and after it."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
            if self.scaler.found_inf(self.optimizer):
                return self._left_out()
        for hook in self.before_update:
            hook.on_backward_end(self.run)
        if self.clip_norm is not None:
            from ..nn.utils import clip_grad_norm_

            tally.norms.append(float(clip_grad_norm_(self.parameters, self.clip_norm)))
        if self.clip_value is not None:
            from ..nn.utils import clip_grad_value_

            clip_grad_value_(self.parameters, self.clip_value)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        if self.each_step is not None:
            self.each_step()

    def _left_out(self) -> None:
        """After an overflow: no step, a smaller scale for the next."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def _diverged(self, loss: float) -> None:
        """Ends the run before the step that would carry NaN into the weights."""
        run = self.run
        self.optimizer.zero_grad()
        where = f"step {run.step} (epoch {run.epoch + 1})"
        run.stop(f"the loss is {loss} at {where}")
        self.finite = False
        if not any(isinstance(hook, TerminateOnNaN) for hook in self.hooks):
            warnings.warn(
                f"fit: the loss is {loss} at {where}: training has stopped, the weights are those "
                "before it. Look for NaN in the data, lower the learning rate or set clip_norm=; "
                "hl.detect_anomaly() names the operation",
                RuntimeWarning,
                stacklevel=6,  # the caller of fit
            )


def listening(hooks: list[Callback], event: str) -> list[Callback]:
    """Those callbacks that have something to do at an event."""
    return [
        hook
        for hook in hooks
        if getattr(type(hook), event) is not getattr(Callback, event) or event in vars(hook)
    ]


def skipped(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """Goes on behind the first `count` batches."""
    for _ in islice(batches, count):
        pass
    return batches
