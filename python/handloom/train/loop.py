"""The training loop: one pass over the batches after another, measured and called back."""

from __future__ import annotations

import math
import operator
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Array
from ..autograd import no_grad
from .batches import batches, groups, input_loader, inputs_and_target, length
from .callbacks import Callback, TerminateOnNaN
from .history import History
from .measures import Loss, Metric, Metrics, measured, named_metrics, run_over
from .progress import ProgressBar

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer


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


def fit(
    model: Module,
    data: Any,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int = 32,
    metrics: Metrics = None,
    validation: Any = None,
    callbacks: Iterable[Callback] = (),
    scheduler: Any = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    ema: Any = None,
    progress: bool | str | ProgressBar = True,
    seed: int | None = None,
) -> History:
    """Trains a model and returns what was measured in each epoch.

    `fit(model, (x, y), loss=F.cross_entropy, optimizer=opt, epochs=20, metrics="accuracy")`

    Args:
        model: Called with a batch's inputs; it is in training mode during the epochs, in
            evaluation mode for the validation, and as it was before afterwards.
        data: Arrays `(x, y)` or `(x1, x2, ..., y)`, shuffled anew in each epoch; or a
            `DataLoader` or any other iterable of batches `(inputs..., target)`, one epoch per pass.
        loss: Function or module of (prediction, target), a mean over the batch's samples.
        optimizer: Holds the parameters to change.
        epochs: Passes over the data, at least 1.
        batch_size: For arrays only.
        metrics: A name of `train.metrics`, a function of (target, prediction) arrays, a sequence
            of these, or a dict from names to functions. They see a whole epoch at once; of the
            training data what the model predicted while it was changing.
        validation: Arrays or an iterable as for `data`, measured after each epoch (`val_…`).
        callbacks: Called in their order.
        scheduler: A learning-rate schedule, stepped after each epoch; `OneCycleLR` and
            `CyclicLR` after each step, `ReduceLROnPlateau` with `val_loss`, or `loss` where there
            is no validation.
        clip_norm: Largest Euclidean norm of all gradients together; None does not clip.
        accumulate: Batches whose gradients make one step, weighted by their samples: as one large
            batch, but for layers that look at the batch.
        ema: Decay of an exponential moving average of the weights, such as 0.999, or an
            `optim.EMA`. Validation and the callbacks at an epoch's end see the averaged weights,
            and the model has them at the end.
        progress: A live line on a terminal: True, or its label, or a `ProgressBar`.
        seed: Fixes the random numbers of the run: order, dropout. None goes on from
            `manual_seed`'s generator.

    A loss that is NaN or infinite ends the run before the optimiser's step, with a RuntimeWarning
    and its reason in `history.stopped`.

    Raises:
        TypeError: Something is not of its type.
        ValueError: A number is out of range, an unknown metric, or an epoch without a batch.
    """
    op = "fit"
    epochs, accumulate = _at_least_one(epochs, "epochs"), _at_least_one(accumulate, "accumulate")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"{op}: clip_norm expects more than 0, got {clip_norm}")
    if not callable(loss):
        raise TypeError(f"{op}: loss expects a function, got {type(loss).__name__}")
    named = named_metrics(metrics, op)
    hooks = _checked_callbacks(callbacks)
    loader = batches(data, batch_size, op, shuffle=True, seed=_seed(seed))
    held_out = _held_out(validation, batch_size, op)
    trainer = _Trainer(model, loss, optimizer, named, hooks, scheduler, clip_norm, accumulate)
    trainer.average = _averager(ema, model)
    trainer.run = Run(model, optimizer, epochs)
    bar = progress if isinstance(progress, ProgressBar) else ProgressBar(progress)
    was_training = model.training
    bar.begin(epochs, length(loader))
    begin = time.perf_counter()
    try:
        trainer.train(loader, held_out, bar)
    finally:
        trainer.run.history.seconds = time.perf_counter() - begin
        bar.end(trainer.run.history)
        model.train(was_training)
    return trainer.run.history


def evaluate(
    model: Module,
    data: Any,
    *,
    loss: Loss | None = None,
    metrics: Metrics = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """Measures a model without changing it, in evaluation mode.

    Args:
        model, data, loss, metrics: As for `fit`.
        batch_size: For arrays only.

    Returns:
        `loss` (mean over samples), where asked for, and the metrics by name.

    Raises:
        ValueError: Neither loss nor metric is given, an unknown metric, or no batch.
    """
    op = "evaluate"
    named = named_metrics(metrics, op)
    if loss is None and not named:
        raise ValueError(f"{op}: expected a loss, metrics or both")
    loader = batches(data, batch_size, op, shuffle=False, seed=0)
    return run_over(model, loader, loss, named, op)


def predict(model: Module, x: Any, batch_size: int = 256) -> Array:
    """Returns the model's output for each row of `x`, computed in evaluation mode.

    Args:
        model: Returns one tensor, batch first.
        x: An array or tensor `(N, ...)`, or a tuple of them for a model with several inputs.
        batch_size: Rows at a time; it bounds the memory, the result does not depend on it beyond
            rounding.

    Returns:
        An array `(N, ...)`.

    Raises:
        TypeError: The model returns something else than a tensor.
        ValueError: `x` has no row.
    """
    outputs: list[Array] = []
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            for inputs in input_loader(x, batch_size):
                output = model(*inputs)
                if not hasattr(output, "detach"):
                    raise TypeError(
                        f"predict: the model expects to return one tensor, "
                        f"got {type(output).__name__}"
                    )
                outputs.append(output.detach().numpy())
    finally:
        model.train(was_training)
    if not outputs:
        raise ValueError("predict: x has no row")
    return np.concatenate(outputs)


class _Trainer:
    """The state of one call of `fit`."""

    run: Run

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        metrics: dict[str, Metric],
        hooks: list[Callback],
        scheduler: Any,
        clip_norm: float | None,
        accumulate: int,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics, self.hooks = metrics, hooks
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.average: Any = None
        self.finite = True  # False after a loss that is none
        self.each_epoch, self.each_step = _schedules(scheduler)

    def train(self, loader: Any, held_out: Any, bar: ProgressBar) -> None:
        run = self.run
        self.optimizer.zero_grad()
        for hook in self.hooks:
            hook.on_train_begin(run)
        for epoch in range(run.epochs):
            run.epoch = epoch
            begin = time.perf_counter()
            for hook in self.hooks:
                hook.on_epoch_begin(run)
            logs = self._epoch(loader, bar)
            with self._averaged():
                self._end_epoch(logs, held_out, begin, bar)
            if run.history.stopped is not None:
                break
            if self.each_epoch is not None:
                self.each_epoch(logs)
        if self.average is not None:
            self.average.copy_to()
        for hook in self.hooks:
            hook.on_train_end(run)

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
        logs["seconds"] = time.perf_counter() - begin
        run.logs = logs
        run.history.epochs.append(logs)
        bar.epoch(logs)
        if self.finite:  # else the epoch has no figures that a callback could look at
            for hook in self.hooks:
                hook.on_epoch_end(run)

    def _epoch(self, loader: Any, bar: ProgressBar) -> dict[str, float]:
        run, outputs, targets = self.run, [], []
        self.model.train()
        samples, total, norms = 0, 0.0, []
        step_hooks = [
            hook
            for hook in self.hooks
            if type(hook).on_step_end is not Callback.on_step_end or "on_step_end" in vars(hook)
        ]
        for group in groups(loader, self.accumulate):
            pairs = [inputs_and_target(batch, "fit") for batch in group]
            sizes = [len(target) for _, target in pairs]
            rows = sum(sizes)
            group_loss = 0.0
            for (inputs, target), size in zip(pairs, sizes):
                output = self.model(*inputs)
                value = self.loss(output, target)
                (value if size == rows else value * (size / rows)).backward()
                group_loss += float(value.item()) * size
                if self.metrics:
                    outputs.append(output.detach().numpy())
                    targets.append(np.asarray(target))
            samples, total = samples + rows, total + group_loss
            if not math.isfinite(group_loss):
                return self._diverged(group_loss / rows, total / samples)
            norm = self._step()
            if norm is not None:
                norms.append(norm)
            run.logs = {"loss": group_loss / rows}
            for hook in step_hooks:
                hook.on_step_end(run)
            bar.step(len(group), rows, total / samples)
            if run.history.stopped is not None:
                break
        if samples == 0:
            raise ValueError("fit: data has no batch in this epoch (an iterator gives only one)")
        logs = {"loss": total / samples}
        logs.update(measured(self.metrics, targets, outputs))
        if norms:
            logs["grad_norm"] = sum(norms) / len(norms)
        return logs

    def _diverged(self, loss: float, mean: float) -> dict[str, float]:
        """Ends the run before the step that would carry NaN into the weights."""
        run = self.run
        self.optimizer.zero_grad()
        where = f"step {run.step + 1} (epoch {run.epoch + 1})"
        run.stop(f"the loss is {loss} at {where}")
        self.finite = False
        if not any(isinstance(hook, TerminateOnNaN) for hook in self.hooks):
            warnings.warn(
                f"fit: the loss is {loss} at {where}: training has stopped, the weights are those "
                "before it. Look for NaN in the data, lower the learning rate or set clip_norm=; "
                "hl.detect_anomaly() names the operation",
                RuntimeWarning,
                stacklevel=5,  # the caller of fit
            )
        return {"loss": mean}

    def _step(self) -> float | None:
        norm = None
        if self.clip_norm is not None:
            from ..nn.utils import clip_grad_norm_

            norm = float(clip_grad_norm_(self.parameters, self.clip_norm))
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        if self.each_step is not None:
            self.each_step()
        self.run.step += 1
        return norm


def _checked_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    hooks = list(callbacks)
    for hook in hooks:
        if not isinstance(hook, Callback):
            raise TypeError(
                f"fit: callbacks expects Callback objects, got {type(hook).__name__}; "
                "wrap a function in LambdaCallback"
            )
    return hooks


def _held_out(validation: Any, batch_size: int, op: str) -> Any:
    if validation is None:
        return None
    # Without gradients a batch may be larger at no cost in memory.
    return batches(validation, max(batch_size, 256), f"{op}: validation", shuffle=False, seed=0)


def _schedules(
    scheduler: Any,
) -> tuple[Callable[[dict[str, float]], None] | None, Callable[[], None] | None]:
    """Returns what to call after an epoch, with its figures, and after a step."""
    if scheduler is None:
        return None, None
    from ..optim.lr_scheduler import CyclicLR, OneCycleLR, ReduceLROnPlateau

    if isinstance(scheduler, (CyclicLR, OneCycleLR)):
        return None, scheduler.step
    if isinstance(scheduler, ReduceLROnPlateau):
        return lambda logs: scheduler.step(logs.get("val_loss", logs["loss"])), None
    return lambda logs: scheduler.step(), None


def _averager(ema: Any, model: Module) -> Any:
    if ema is None or not isinstance(ema, (int, float)):
        return ema
    if not 0 < ema < 1:
        raise ValueError(f"fit: ema expects a decay between 0 and 1, got {ema}")
    from ..optim import EMA

    return EMA(model, decay=ema)


def _seed(seed: int | None) -> int:
    """Returns the seed of the order of the rows, after seeding everything else with `seed`."""
    from .. import manual_seed
    from ..ops import randint

    if seed is None:
        return int(randint(0, 1 << 31).item())
    manual_seed(seed)
    return seed


def _at_least_one(value: int, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"fit: {name} expects an integer, got {type(value).__name__}") from None
    if number < 1:
        raise ValueError(f"fit: {name} expects at least 1, got {number}")
    return number
