"""The training loop: one pass over the batches after another, measured and called back."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Array
from .._numbers import real, whole
from .._precision import autocast, get_autocast_dtype
from ..autograd import no_grad
from .batches import batches, device_of, input_loader, length, moved
from .callbacks import Callback
from .history import History
from .interrupt import Interrupt
from .measures import Loss, Metrics, named_metrics, run_over
from .progress import ProgressBar
from .saving import Saver
from .schedules import schedule
from .trainer import Run, Trainer

if TYPE_CHECKING:
    from ..amp import GradScaler
    from ..io.weights import Path
    from ..nn import Module
    from ..optim import Optimizer


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
    clip_value: float | None = None,
    accumulate: int = 1,
    ema: Any = None,
    precision: str | None = None,
    scaler: GradScaler | None = None,
    progress: bool | str | ProgressBar = True,
    seed: int | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
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
            is no validation. By name, over the whole run: "cosine" and "linear" to 0, "one_cycle"
            with the optimiser's rate as its peak, "plateau".
        clip_norm: Largest Euclidean norm of all gradients together; None does not clip.
        clip_value: Largest magnitude of one element of a gradient; None does not clip.
        accumulate: Batches whose gradients make one step, weighted by their samples: as one large
            batch, but for layers that look at the batch.
        ema: Decay of an exponential moving average of the weights, such as 0.999, or an
            `optim.EMA`. Validation and the callbacks at an epoch's end see the averaged weights,
            and the model has them at the end.
        precision: The `autocast` that the run is under, "bfloat16", "float16" or "tfloat32", for
            products on a GPU; weights stay in their own type. None leaves that to the caller.
        scaler: An `amp.GradScaler` for the loss; None makes one where the precision is "float16".
            A step that it leaves out moves neither a schedule nor averages. The epoch's figures
            have `loss_scale`, and the checkpoint its state.
        progress: A live line on a terminal, plain lines elsewhere: True, or its label, or a
            `ProgressBar`.
        seed: Fixes the random numbers of the run: order, dropout. None goes on from
            `manual_seed`'s generator.
        checkpoint: A file that always holds the whole run as it was after some epoch: weights,
            optimiser, schedule, averages, callbacks, random numbers, the order of the data. Where
            it is there, the same call goes on from it, to the very bits that a run without a break
            ends with. Other data, networks or optimisers are refused.
        checkpoint_every: Steps after which it is written within an epoch, too.

    A loss that is NaN or infinite ends the run before the optimiser's step, with a RuntimeWarning
    and its reason in `history.stopped`.

    Ctrl-C ends the run after the step under way: it is saved where `checkpoint` says, and the
    KeyboardInterrupt tells where that is. A second one interrupts at once.

    Raises:
        TypeError: Something is not of its type.
        ValueError: A number is out of range, an unknown metric or schedule, an epoch without a
            batch, or a checkpoint that is damaged or of another run.
        OSError: The checkpoint cannot be written; the one before is as it was.
    """
    op = "fit"
    epochs, accumulate = whole(epochs, op, "epochs"), whole(accumulate, op, "accumulate")
    for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if limit is not None and not real(limit, op, name) > 0:
            raise ValueError(f"{op}: {name} expects more than 0, got {limit}")
    if checkpoint_every is not None:
        checkpoint_every = whole(checkpoint_every, op, "checkpoint_every")
        if checkpoint is None:
            raise ValueError(f"{op}: checkpoint_every expects a checkpoint= with it")
    if not callable(loss):
        raise TypeError(
            f"{op}: loss expects a function, got {type(loss).__name__}; those that PyTorch has are "
            "in handloom.nn.functional"
        )
    cast = autocast(get_autocast_dtype() if precision is None else precision)
    named = named_metrics(metrics, op)
    hooks = _checked_callbacks(callbacks)
    loader = batches(data, batch_size, op, shuffle=True, seed=_seed(seed))
    held_out = _held_out(validation, batch_size, op)
    run = Run(model, optimizer, epochs)
    trainer = Trainer(
        run, loss, named, hooks, clip_norm=clip_norm, clip_value=clip_value, accumulate=accumulate
    )
    trainer.average = _averager(ema, model)
    trainer.scaler = _scaler(scaler, precision)
    count = length(loader)
    steps = None if count is None else -(-count // accumulate)
    found = schedule(scheduler, optimizer, epochs, steps)
    trainer.scheduler, trainer.each_epoch, trainer.each_step = found
    bar = progress if isinstance(progress, ProgressBar) else ProgressBar(progress)
    was_training = model.training
    begin = time.perf_counter()
    with cast, Interrupt() as interrupt:
        trainer.saver = Saver(checkpoint, checkpoint_every, trainer, loader, interrupt)
        saved = trainer.saver.restore()
        bar.begin(epochs, count, run.epoch)
        try:
            trainer.train(loader, held_out, bar, saved)
        finally:
            run.history.seconds = time.perf_counter() - begin
            bar.end(run.history)
            model.train(was_training)
    return run.history


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
    was_training, index = model.training, device_of(model)
    model.eval()
    try:
        with no_grad():
            for batch in input_loader(x, batch_size):
                inputs = moved(batch, index)
                output = model(*inputs)
                if not hasattr(output, "detach"):
                    raise TypeError(
                        f"predict: the model expects to return one tensor, "
                        f"got {type(output).__name__}"
                    )
                outputs.append(output.detach().cpu().numpy())
    finally:
        model.train(was_training)
    if not outputs:
        raise ValueError("predict: x has no row")
    return np.concatenate(outputs)


def _checked_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks expects a list, got {type(callbacks).__name__}")
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


def _averager(ema: Any, model: Module) -> Any:
    if ema is None or all(hasattr(ema, name) for name in ("update", "applied", "copy_to")):
        return ema
    if isinstance(ema, bool) or not isinstance(ema, (int, float)):
        raise TypeError(f"fit: ema expects a decay or an optim.EMA, got {type(ema).__name__}")
    if not 0 < ema < 1:
        raise ValueError(f"fit: ema expects a decay between 0 and 1, got {ema}")
    from ..optim import EMA

    return EMA(model, decay=ema)


def _scaler(scaler: Any, precision: str | None) -> Any:
    if scaler is None and precision != "float16":
        return None
    from ..amp import GradScaler

    if scaler is None:
        return GradScaler()
    if not isinstance(scaler, GradScaler):
        raise TypeError(f"fit: scaler expects an amp.GradScaler, got {type(scaler).__name__}")
    return scaler if scaler.is_enabled() else None


def _seed(seed: int | None) -> int:
    """Returns the seed of the order of the rows, after seeding everything else with `seed`."""
    from .. import manual_seed
    from ..ops import randint

    if seed is None:
        return int(randint(0, 1 << 31).item())
    seed = whole(seed, "fit", "seed", 0)
    manual_seed(seed)
    return seed
