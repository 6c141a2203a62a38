"""Losses as modules; the mathematics is in `handloom.ops.loss`. The class axis is the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from handloom import ops
from handloom.nn.module import Module
from handloom.ops._common import reduction_of
from handloom.tensor import Tensor


class _Loss(Module):
    """A loss with a reduction: "mean", "sum" or "none"."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        reduction_of(reduction, type(self).__name__)
        self.reduction = reduction


class _Plain(_Loss):
    """A loss of two arguments."""

    function: ClassVar[Callable[..., Tensor]]

    def forward(self, x: Any, target: Any) -> Tensor:
        return type(self).function(x, target, reduction=self.reduction)


class MSELoss(_Plain):
    """(x − target)². Keras: MeanSquaredError."""

    function = staticmethod(ops.mse_loss)


class L1Loss(_Plain):
    """|x − target|. Keras: MeanAbsoluteError."""

    function = staticmethod(ops.l1_loss)


class GaussianKLLoss(_Plain):
    """KL(N(mu, exp(logvar)) ‖ N(0, 1)): forward(mu, logvar). The variational autoencoder's."""

    function = staticmethod(ops.gaussian_kl)


class GaussianNLLLoss(_Loss):
    """Negative log likelihood of a normal distribution: forward(mean, target, variance).

    Args:
        full: Whether to add the constant ½log 2π.
        eps: The smallest variance.
        reduction: "mean", "sum" or "none".
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, x: Any, target: Any, var: Any) -> Tensor:
        return ops.gaussian_nll_loss(x, target, var, self.full, self.eps, self.reduction)


class CrossEntropyLoss(_Loss):
    """Softmax and negative log likelihood; see `F.cross_entropy`.

    Args:
        weight: (C,), the weight of each class.
        ignore_index: A label that does not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: Share of the target spread over all classes.
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    weight: Tensor | None

    def forward(self, logits: Any, target: Any) -> Tensor:
        return ops.cross_entropy(
            logits,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
        )


class NLLLoss(_Loss):
    """−log_probs[target]; see `F.nll_loss`."""

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, log_probs: Any, target: Any) -> Tensor:
        return ops.nll_loss(log_probs, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities. Keras: BinaryCrossentropy."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.binary_cross_entropy(x, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits. Keras: BinaryCrossentropy(from_logits=True)."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(
            x, target, self.weight, self.reduction, self.pos_weight
        )


class SmoothL1Loss(_Loss):
    """d²/(2β) for |d| < β, |d| − β/2 beyond."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.smooth_l1_loss(x, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """d²/2 for |d| ≤ δ, δ(|d| − δ/2) beyond. Keras: Huber."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.huber_loss(x, target, self.reduction, self.delta)


class KLDivLoss(Module):
    """target·(log target − x) of log-probabilities x; reduction may be "batchmean" too."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__()
        if reduction != "batchmean":
            reduction_of(reduction, "KLDivLoss")
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.kl_div(x, target, self.reduction, self.log_target)


class HingeEmbeddingLoss(_Loss):
    """x where target = 1, max(0, margin − x) where target = −1."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.hinge_embedding_loss(x, target, self.margin, self.reduction)


class HingeLoss(_Loss):
    """max(0, margin − target·x), targets ±1. Keras: Hinge."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.hinge_loss(x, target, self.margin, self.reduction)


class FocalLoss(_Loss):
    """Sigmoid focal loss of logits. Keras: BinaryFocalCrossentropy(from_logits=True)."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.focal_loss(x, target, self.alpha, self.gamma, self.reduction)


class DiceLoss(_Loss):
    """1 − (2Σpt + s)/(Σp + Σt + s) for each sample of probabilities (N, …). Keras: Dice."""

    def __init__(self, smooth: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.smooth = smooth

    def forward(self, p: Any, target: Any) -> Tensor:
        return ops.dice_loss(p, target, self.smooth, self.reduction)


class GANDiscriminatorLoss(Module):
    """What a discriminator or critic minimises: forward(real_scores, fake_scores).

    Args:
        kind: "minimax", "non_saturating", "wasserstein", "least_squares" or "hinge"; see
            `F.gan_discriminator_loss`.
    """

    def __init__(self, kind: str = "non_saturating") -> None:
        super().__init__()
        self.kind = _kind(kind, "GANDiscriminatorLoss")

    def forward(self, real: Any, fake: Any) -> Tensor:
        return ops.gan_discriminator_loss(real, fake, self.kind)

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}"


class GANGeneratorLoss(Module):
    """What a generator minimises: forward(fake_scores). See `F.gan_generator_loss`."""

    def __init__(self, kind: str = "non_saturating") -> None:
        super().__init__()
        self.kind = _kind(kind, "GANGeneratorLoss")

    def forward(self, fake: Any) -> Tensor:
        return ops.gan_generator_loss(fake, self.kind)

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}"


def _kind(kind: str, op: str) -> str:
    if kind not in ops.GAN_KINDS:
        names = ", ".join(ops.GAN_KINDS)
        raise ValueError(f"{op}: kind {kind!r} is unknown, expected one of {names}")
    return kind


class CTCLoss(_Loss):
    """Loss of a transcript without an alignment; see `F.ctc_loss`.

    Shapes: log_probs (N, T, C), targets (N, S) or (sum,), both lengths (N,).

    Args:
        blank: The class that stands for nothing.
        reduction: "mean", of the losses by their targets' lengths; "sum" or "none".
        zero_infinity: Whether a target that does not fit has loss and gradient 0, not infinity.
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        return ops.ctc_loss(
            log_probs, targets, input_lengths, target_lengths,
            self.blank, self.reduction, self.zero_infinity,
        )  # fmt: skip
