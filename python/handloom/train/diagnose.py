"""A look at the gradients: where they vanish, where they explode, which units are dead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .batches import inputs_and_target
from .untouched import Untouched

if TYPE_CHECKING:
    from .._arrays import Array
    from ..nn import Module
    from .measures import Loss

# A gradient that is a hundred thousand times weaker at one end does not train there; one that is as
# long as a weight throws it away at a rate of 1; units beyond |0.95| pass less than a tenth.
_VANISHED, _EXPLODED = 1e-5, 1e3
_DEAD, _SATURATED, _FLAT = 0.5, 0.5, 0.95


class WeightStatistics(NamedTuple):
    """One weight and its gradient.

    Attributes:
        name: In the model.
        weight: Root mean square.
        gradient: Euclidean norm of its gradient.
        ratio: Norm of the gradient over the norm of the weight.
    """

    name: str
    weight: float
    gradient: float
    ratio: float


class ActivationStatistics(NamedTuple):
    """What a layer returned for the batch.

    Attributes:
        name, kind: In the model, and its type.
        mean, std: Of all values.
        zero: Share of values that are 0.
        dead: Share of units (entries of the last axis) that are 0 for every sample.
        saturated: Share of values at the flat ends of a sigmoid or a tanh; 0 for other layers.
        finite: Whether every value is.
    """

    name: str
    kind: str
    mean: float
    std: float
    zero: float
    dead: float
    saturated: float
    finite: bool


class Finding(NamedTuple):
    """Something that is wrong, where, and what is known to help.

    Attributes:
        kind: "not finite", "vanishing", "exploding", "dead units", "saturated" or "start".
        text: What was seen.
        remedies: What to try, the likeliest first.
    """

    kind: str
    text: str
    remedies: tuple[str, ...]


class GradientReport(NamedTuple):
    """What `diagnose` found; prints as a table and a list.

    Attributes:
        loss: Of the batch.
        names: The weights that have a gradient, in the order of the model: matrices and kernels,
            not biases or the scales of a normalisation.
        norms: Euclidean norm of the gradient of each.
        dead: For each ReLU by its name in the model: the share of units (entries of the last
            axis) that are 0 for every sample of the batch, and so pass no gradient.
        finite: Whether the loss and all gradients are finite.
        weights: Of the same weights, and of biases and scales: sizes and gradients.
        activations: Of each layer that has none below it, in the order in which they ran.
        findings: What is wrong, with remedies; empty where nothing is.
    """

    loss: float
    names: tuple[str, ...]
    norms: tuple[float, ...]
    dead: dict[str, float]
    finite: bool
    weights: tuple[WeightStatistics, ...] = ()
    activations: tuple[ActivationStatistics, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def first_to_last(self) -> float:
        """Norm of the first weight's gradient over that of the last: far below 1, it vanishes."""
        if not self.norms or self.norms[-1] == 0:
            return math.nan
        return self.norms[0] / self.norms[-1]

    def __str__(self) -> str:
        from .._runtime import table

        parts = [f"loss {self.loss:.4g}"]
        parts.append(
            table(
                ("weight", "size", "|gradient|", "|gradient| / |weight|"),
                [
                    (w.name, f"{w.weight:.2e}", f"{w.gradient:.2e}", f"{w.ratio:.1e}")
                    for w in self.weights
                ],
                numbers=3,
            )
        )
        parts.append(
            table(
                ("layer", "", "mean", "deviation", "zero", "dead units", "saturated"),
                [
                    (
                        *(a.name or "(model)", a.kind, f"{a.mean:.2g}", f"{a.std:.2g}"),
                        *(f"{share:.0%}" for share in (a.zero, a.dead, a.saturated)),
                    )
                    for a in self.activations
                ],
                numbers=5,
            )
        )
        for finding in self.findings:
            parts.append(f"{finding.kind}: {finding.text}")
            parts[-1] += "".join(f"\n  try {remedy}" for remedy in finding.remedies)
        return "\n\n".join(parts if self.findings else [*parts, "nothing looks wrong"])


def diagnose(
    model: Module, batch: Any, loss: Loss | None = None, *, show: bool = True
) -> GradientReport:
    """Computes the gradients of one batch, prints what they and the activations look like.

    The model is neither changed nor stepped: gradients that it had are put back, and so are
    running statistics and the state of the random numbers. It runs in the mode in which it is.

    Args:
        model: A model.
        batch: `(inputs..., target)`, tensors or arrays.
        loss: Function of (prediction, target). None takes the cross-entropy where the target is of
            integers, else the mean squared error.
        show: Whether to print the report.

    Returns:
        The report.

    Raises:
        ValueError: No parameter of the model gets a gradient.
    """
    from ..tensor import from_numpy

    inputs, target = inputs_and_target(batch, "diagnose")
    fields = tuple(from_numpy(f) if isinstance(f, np.ndarray) else f for f in inputs)
    target = from_numpy(target) if isinstance(target, np.ndarray) else target
    criterion = _guessed(target) if loss is None else loss
    activations: list[ActivationStatistics] = []
    parameters = dict(model.named_parameters())
    with Untouched(model):
        hooks = [
            module.register_forward_hook(_measuring(activations, name))
            for name, module in model.named_modules()
            if next(module.children(), None) is None
        ]
        try:
            value = criterion(model(*fields), target)
        finally:
            for hook in hooks:
                hook.remove()
        value.backward()
        gradients = {n: np.asarray(p.grad) for n, p in parameters.items() if p.grad is not None}
    if not gradients:
        raise ValueError("diagnose: no parameter of the model gets a gradient")
    norms = {n: _norm(g) for n, g in gradients.items()}
    matrices = {name: norm for name, norm in norms.items() if gradients[name].ndim >= 2}
    total = float(value.item())
    weights = []
    for name, norm in norms.items():
        array = parameters[name].numpy()
        size = _norm(array)
        rms = size / math.sqrt(max(array.size, 1))
        weights.append(WeightStatistics(name, rms, norm, norm / size if size else math.inf))
    report = GradientReport(
        total,
        tuple(matrices),
        tuple(matrices.values()),
        {a.name or "relu": a.dead for a in activations if a.kind == "ReLU"},
        math.isfinite(total) and all(map(math.isfinite, norms.values())),
        tuple(weights),
        tuple(activations),
    )
    report = report._replace(findings=tuple(findings(report)))
    if show:
        print(report)
    return report


def findings(report: GradientReport) -> list[Finding]:
    """What a report's numbers mean, with the remedies that `handloom gallery remedies` measures."""
    found = []
    if not report.finite:
        bad = next((a.name for a in report.activations if not a.finite), None)
        where = f"first in the output of {bad or 'the model'}" if bad is not None else "in backward"
        found.append(
            Finding(
                "not finite",
                f"the loss or a gradient is NaN or infinite, {where}",
                (
                    "hl.detect_anomaly(), which names the operation",
                    "a look for NaN and for unscaled features in the data",
                    "a lower learning rate, or clip_norm=1.0 in fit",
                ),
            )
        )
        return found
    ratio = report.first_to_last
    if ratio < _VANISHED or (len(report.norms) > 1 and max(report.norms) == 0):
        found.append(
            Finding(
                "vanishing",
                f"the first weight's gradient is {ratio:.0e} of the last one's",
                (
                    "ReLU with nn.init.kaiming_normal_ in place of sigmoid or tanh",
                    "residual connections around the blocks",
                    "batch or layer norm between the layers",
                    "LSTM or GRU in place of a plain recurrent network",
                    "an adaptive optimiser, optim.Adam",
                ),
            )
        )
    strongest = max(report.weights, key=lambda w: w.ratio if math.isfinite(w.ratio) else 0.0)
    if max(report.norms, default=0.0) > _EXPLODED or ratio > 1 / _VANISHED:
        found.append(
            Finding(
                "exploding",
                f"the gradient of {strongest.name} has norm {strongest.gradient:.1e}, "
                f"{strongest.ratio:.1e} of the weight's",
                (
                    "clip_norm=1.0 in fit",
                    "smaller initial weights: nn.init.xavier_uniform_, or orthogonal_",
                    "a lower learning rate, or a warm-up",
                    "batch or layer norm",
                ),
            )
        )
    dead = [a for a in report.activations if a.kind == "ReLU" and a.dead > _DEAD]
    if dead:
        worst = max(dead, key=lambda a: a.dead)
        found.append(
            Finding(
                "dead units",
                f"{worst.dead:.0%} of the units of {worst.name or 'the ReLU'} are 0 for the whole "
                f"batch ({len(dead)} layers have more than {_DEAD:.0%})",
                (
                    "a lower learning rate",
                    "nn.LeakyReLU, nn.ELU or nn.GELU",
                    "nn.init.kaiming_normal_ and biases of 0",
                    "batch norm before the activation",
                ),
            )
        )
    full = [a for a in report.activations if a.saturated > _SATURATED]
    if full:
        worst = max(full, key=lambda a: a.saturated)
        found.append(
            Finding(
                "saturated",
                f"{worst.saturated:.0%} of {worst.name or worst.kind} are at the flat ends",
                (
                    "standardised inputs: data.standardize",
                    "smaller initial weights: nn.init.xavier_uniform_",
                    "ReLU, or a norm before the activation",
                ),
            )
        )
    return found


def _measuring(activations: list[ActivationStatistics], name: str) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) else output
        values = np.asarray(first.detach()) if hasattr(first, "detach") else np.zeros(0)
        if values.size == 0 or values.dtype.kind != "f":
            return
        kind = type(module).__name__
        rows = values.reshape(-1, values.shape[-1] if values.ndim else 1)
        flat = 0.0
        if kind in ("Sigmoid", "Tanh"):
            middle = 2 * values - 1 if kind == "Sigmoid" else values
            flat = float(np.mean(np.abs(middle) > _FLAT))
        zero = rows == 0
        with np.errstate(all="ignore"):
            mean, std = (float(f(values, dtype=np.float64)) for f in (np.mean, np.std))
        activations.append(
            ActivationStatistics(
                *(name, kind, mean, std, float(zero.mean()), float(zero.all(axis=0).mean())),
                *(flat, bool(np.isfinite(values).all())),
            )
        )

    return hook


def _guessed(target: Any) -> Loss:
    from ..nn import functional as F

    whole = np.asarray(target).dtype.kind in "iu"
    loss: Loss = F.cross_entropy if whole else F.mse_loss
    return loss


def _norm(array: Array) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.square(array, dtype=np.float64).sum()))


def gradient_by_step(model: Module, batch: Any, loss: Loss) -> Array:
    """Returns how strongly the loss depends on each step of the input: does the gradient get back?

    Args:
        model: A model of sequences; neither changed nor stepped.
        batch: `(x, ..., target)`, x `(N, T, C)`: tensors or arrays.
        loss: Function of (prediction, target).

    Returns:
        float64 `(T,)`: the Euclidean norm of the loss's gradient by x at each step, over batch and
        features together. In a recurrent network it falls towards the beginning where the gradient
        vanishes, and grows where it explodes (Bengio, Simard and Frasconi, 1994).

    Raises:
        ValueError: x has not three axes.
    """
    from ..autograd import grad
    from ..tensor import tensor

    (x, *others), target = inputs_and_target(batch, "gradient_by_step")
    if np.ndim(x) != 3:
        raise ValueError(f"gradient_by_step: x has shape {np.shape(x)}, expected (N, T, C)")
    leaf = tensor(np.asarray(x), requires_grad=True)
    (dx,) = grad(loss(model(leaf, *others), target), [leaf])
    return np.sqrt(np.square(np.asarray(dx), dtype=np.float64).sum(axis=(0, 2)))
