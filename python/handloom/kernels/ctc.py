"""Connectionist temporal classification: the loss of a transcript without an alignment."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.ctc import index_arrays
from .loss import reduction_code

Array = npt.NDArray[Any]


def ctc_loss(
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    return_saved: bool = False,
) -> Any:
    """-log of the probability that the classes of all steps spell the target.

    Repeats and then blanks are left out of what is read: ``a a - a b`` spells ``a a b``. Summed
    over all readings in logarithms: Graves, Fernandez, Gomez and Schmidhuber, "Connectionist
    temporal classification" (2006).

    Args:
        log_probs: ``(N, T, C)``, contiguous float32 or float64, as from ``log_softmax``.
        targets: Labels ``(N, S)``, int64 or int32, or all one behind the other ``(sum,)``.
        input_lengths: ``(N,)``, how many steps of a sample count, 0 to T.
        target_lengths: ``(N,)``, how many labels of a sample count, 0 to S.
        blank: The class that stands for nothing; no target has it.
        reduction: ``"none"``: ``(N,)``; ``"sum"``; ``"mean"``: of the losses, each divided by its
            target's length (at least 1), as in PyTorch.
        zero_infinity: Whether a target that does not fit into its steps has loss and gradient 0,
            not infinity and NaN.
        return_saved: Whether to return what :func:`ctc_loss_backward` needs, too.

    Returns:
        The loss, or ``(loss, saved)``.

    Raises:
        TypeError: Another dtype.
        ValueError: Shapes that do not fit, a length or label out of range.
    """
    name = "ctc_loss"
    labels, steps, sizes = index_arrays(name, targets, input_lengths, target_lengths)
    code = reduction_code(name, reduction)
    loss, saved = _C.ctc_loss_forward(log_probs, labels, steps, sizes, blank, code, zero_infinity)
    return (loss, saved) if return_saved else loss


def ctc_loss_backward(
    dy: Array,
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    saved: Array,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Array:
    """Gradient of :func:`ctc_loss` by ``log_probs``: minus how probable each class is at each step,
    given that the target is spelt.

    (PyTorch adds ``exp(log_probs)`` to it, what the gradient of ``log_softmax`` would add: behind a
    softmax both give the same.)

    Args:
        dy: As the loss.
        saved: From ``ctc_loss(..., return_saved=True)`` of the same arguments.

    Raises:
        TypeError, ValueError: As :func:`ctc_loss`.
    """
    name = "ctc_loss_backward"
    labels, steps, sizes = index_arrays(name, targets, input_lengths, target_lengths)
    code = reduction_code(name, reduction)
    return _C.ctc_loss_backward(
        dy, log_probs, labels, steps, sizes, blank, code, zero_infinity, saved
    )
