"""Losses and metrics of a pass over data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from .._arrays import Array, as_array
from ..autograd import no_grad
from . import metrics as known_metrics
from .batches import device_of, inputs_and_target

if TYPE_CHECKING:
    from ..nn import Module

Loss = Callable[[Any, Any], Any]  # (prediction, target) → scalar tensor
Metric = Callable[[Array, Array], float]  # (target, prediction) → number
# What `metrics` may name: functions of (target, prediction) that give one number.
NAMED = (
    "accuracy",
    "bits_per_character",
    "f1_score",
    "log_loss",
    "mae",
    "mse",
    "perplexity",
    "precision",
    "r2_score",
    "recall",
    "rmse",
    "roc_auc",
    "top_k_accuracy",
)
OF_THE_LOSS = ("bits_per_character", "perplexity")  # of the cross-entropy of predicted logits
Metrics = Mapping[str, Metric] | Sequence[str | Metric] | str | Metric | None


def run_over(
    model: Module, batches: Any, loss: Loss | None, metrics: dict[str, Metric], op: str
) -> dict[str, float]:
    """Returns the loss, where one is given, and the metrics of a model in evaluation mode."""
    outputs, targets = [], []
    samples, total = 0, 0.0
    was_training, index = model.training, device_of(model)
    model.eval()
    try:
        with no_grad():
            for batch in batches:
                inputs, target = inputs_and_target(batch, op, index)
                output = model(*inputs)
                if loss is not None:
                    total += float(loss(output, target).item()) * len(target)
                samples += len(target)
                if metrics:
                    outputs.append(output.detach().cpu().numpy())
                    targets.append(as_array(target, op))
    finally:
        model.train(was_training)
    if samples == 0:
        raise ValueError(f"{op}: data has no batch")
    found = {} if loss is None else {"loss": total / samples}
    return {**found, **measured(metrics, targets, outputs)}


def measured(
    metrics: dict[str, Metric], targets: list[Array], outputs: list[Array]
) -> dict[str, float]:
    """Returns the metrics of batches put together."""
    if not metrics:
        return {}
    true, predicted = np.concatenate(targets), np.concatenate(outputs)
    return {name: float(metric(true, predicted)) for name, metric in metrics.items()}


def named_metrics(metrics: Metrics, op: str) -> dict[str, Metric]:
    """Returns functions by name for everything that `fit` takes as `metrics`."""
    if metrics is None:
        return {}
    if isinstance(metrics, Mapping):
        named = dict(metrics)
    else:
        one = isinstance(metrics, str) or not isinstance(metrics, Sequence)
        several: Sequence[Any] = [metrics] if one else metrics  # type: ignore[assignment]
        pairs = [_named(metric, op) for metric in several]
        named = dict(pairs)
        if len(named) != len(pairs):
            raise ValueError(f"{op}: two metrics have the same name; give them names in a dict")
    for name, metric in named.items():
        if not callable(metric):
            raise TypeError(
                f"{op}: metric {name!r} expects a function, got {type(metric).__name__}"
            )
    return named


def _named(metric: Any, op: str) -> tuple[str, Metric]:
    if isinstance(metric, str):
        if metric not in NAMED:
            raise ValueError(f"{op}: no metric {metric!r}, expected one of {', '.join(NAMED)}")
        function = getattr(known_metrics, metric)
        return metric, _of_logits(function) if metric in OF_THE_LOSS else function
    if not callable(metric):
        raise TypeError(f"{op}: a metric expects a name or a function, got {type(metric).__name__}")
    return getattr(metric, "__name__", type(metric).__name__), metric


def _of_logits(of_loss: Callable[[float], float]) -> Metric:
    return lambda target, logits: of_loss(float(kernels.cross_entropy(logits, target)))
