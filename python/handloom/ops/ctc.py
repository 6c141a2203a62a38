"""Connectionist temporal classification; the mathematics is in `handloom.kernels.ctc`."""

from __future__ import annotations

from typing import Any

from handloom import _C
from handloom._calls.ctc import index_arrays
from handloom._tape import Function
from handloom.ops._common import TensorLike, dense, reduction_of
from handloom.tensor import Array, Tensor


class CtcLoss(Function):
    """−log of the probability that the steps spell the target."""

    __slots__ = ("options", "state")
    fresh = True

    @property
    def name(self) -> str:
        return "ctc_loss"

    def forward(
        ctx,
        log_probs: Array,
        indices: tuple[Array, Array, Array],
        *options: Any,
    ) -> Array:
        log_probs = dense(log_probs)
        loss, ctx.state = _C.ctc_loss_forward(log_probs, *indices, *options)
        ctx.options = options
        ctx.saved = (log_probs, *indices)
        return loss

    def backward(ctx, dy: Array) -> Array:
        log_probs, targets, steps, sizes = ctx.saved
        blank, reduction, zero_infinity = ctx.options
        return _C.ctc_loss_backward(
            dense(dy), log_probs, targets, steps, sizes, blank, reduction, zero_infinity, ctx.state
        )


def ctc_loss(
    log_probs: TensorLike,
    targets: TensorLike,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """−log of the probability that the classes of all steps spell the target: Graves et al. (2006).

    Args:
        log_probs: `(N, T, C)`, as from `log_softmax`; PyTorch's is `(T, N, C)`.
        targets: Labels `(N, S)`, or all one behind the other `(sum,)`; integers.
        input_lengths, target_lengths: `(N,)`, how many steps and labels of each sample count.
        blank: The class that stands for nothing.
        reduction: "mean" divides each loss by its target's length first, "sum" or "none".
        zero_infinity: Whether a target that does not fit has loss and gradient 0, not infinity.

    Raises:
        TypeError: Another dtype.
        ValueError: Shapes that do not fit, a length or label out of range.
    """
    indices = index_arrays("ctc_loss", targets, input_lengths, target_lengths)
    code = reduction_of(reduction, "ctc_loss")
    out: Tensor = CtcLoss().run((log_probs,), indices, blank, code, zero_infinity)
    return out
