"""Restricted Boltzmann machines: a layer of visible and one of hidden units, every pair connected.

::

    E(v, h) = -b.v - c.h - h W v               visible units that are 0 or 1 ("bernoulli")
    E(v, h) = |v - b|^2 / 2 - c.h - h W v      real ones with noise of variance 1 ("gaussian")

    p(v, h) = exp(-E(v, h)) / Z
    p(h = 1 | v) = sigmoid(c + W v)
    p(v = 1 | h) = sigmoid(b + h W)            or v | h normal around b + h W

Arrays: ``v (N, V)``, ``h (N, H)``, ``w (H, V)``, ``b (V,)``, ``c (H,)``, all float32 or all float64
and contiguous. The product, its sigmoid and the samples are one pass. Samples are pure functions of
``seed`` and ``call`` (see :func:`uniform`): unit i is 1 where draw i of the call lies below its
probability.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy.typing as npt

from .. import _C
from ._options import choice, require_arrays
from .dense import linear
from .elementwise import add, mul, neg, sub
from .layout import copy
from .random import _seed
from .reduce import sum as _sum

Array = npt.NDArray[Any]

VISIBLE = {"bernoulli": False, "gaussian": True}


def _whole(op: str, steps: int) -> int:
    try:
        return operator.index(steps)
    except TypeError:
        raise TypeError(f"{op}: steps is {steps!r}, expected an int") from None


def rbm_hidden(
    v: Array, w: Array, c: Array, *, sample: bool = True, seed: int | None = None, call: int = 0
) -> tuple[Array, Array | None]:
    """The hidden layer from the visible one.

    Args:
        v: ``(N, V)``.
        w: ``(H, V)``.
        c: Bias of the hidden units, ``(H,)``.
        sample: Whether to draw states as well.
        seed: Key of the generator; None takes a fresh one.
        call: Which draw under this seed.

    Returns:
        Probabilities ``(N, H)``, and states 0 and 1 ``(N, H)`` or None.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Shapes that do not match, or arrays that are not contiguous.
    """
    return _C.rbm_sample(v, w, c, False, False, bool(sample), _seed(seed), call)


def rbm_visible(
    h: Array,
    w: Array,
    b: Array,
    *,
    visible: str = "bernoulli",
    sample: bool = True,
    seed: int | None = None,
    call: int = 0,
) -> tuple[Array, Array | None]:
    """The visible layer from the hidden one; the counterpart of :func:`rbm_hidden`.

    Args:
        h: ``(N, H)``.
        w: ``(H, V)``.
        b: Bias of the visible units, ``(V,)``.
        visible: ``"bernoulli"`` or ``"gaussian"`` (variance 1).
        sample, seed, call: As :func:`rbm_hidden`.

    Returns:
        Means ``(N, V)``, probabilities for units of 0 and 1, and states ``(N, V)`` or None.

    Raises:
        TypeError, ValueError: As :func:`rbm_hidden`; an unknown kind of units.
    """
    gaussian = choice("rbm_visible", "visible", visible, VISIBLE)
    return _C.rbm_sample(h, w, b, True, gaussian, bool(sample), _seed(seed), call)


class Contrast(NamedTuple):
    """What :func:`rbm_contrastive_divergence` returns.

    Attributes:
        dw: ``(H, V)``: what gradient descent subtracts from the weights.
        db: ``(V,)``.
        dc: ``(H,)``.
        v: Visible states ``(C, V)`` after the last step.
        h: Hidden states ``(C, H)`` after the last step, sampled: the chain for the next call.
    """

    dw: Array
    db: Array
    dc: Array
    v: Array
    h: Array


def rbm_contrastive_divergence(
    v: Array,
    w: Array,
    b: Array,
    c: Array,
    *,
    chain: Array | None = None,
    steps: int = 1,
    visible: str = "bernoulli",
    visible_means: bool = False,
    seed: int | None = None,
    call: int = 0,
) -> Contrast:
    """The gradient of contrastive divergence, CD-k, from k steps of Gibbs sampling.

    ``dw = mean of p_k v_k - mean of p_0 v``: what the machine believes after k steps of its own
    less what it sees, so that a step down this gradient makes the data likelier (Hinton: "Training
    products of experts by minimizing contrastive divergence", 2002). With ``chain`` the steps go on
    from where the last call left them instead of from the data: persistent contrastive divergence
    (Tieleman, ICML 2008; scikit-learn's ``BernoulliRBM`` is ``steps=1`` with a chain).

    Args:
        v: Data, ``(N, V)``, N at least 1; 0 and 1, or probabilities, or real for gaussian units.
        w: ``(H, V)``.
        b, c: Biases ``(V,)`` and ``(H,)``.
        chain: Hidden states ``(C, H)`` to go on from; C need not be N.
        steps: k, at least 1.
        visible: ``"bernoulli"`` or ``"gaussian"``.
        visible_means: Takes the visible units' means for their samples, which has less noise.
        seed: Key of the generator; None takes a fresh one.
        call: The first of ``2 steps + 1`` calls: hidden states of the data take ``call``, visible
            and hidden ones of step t ``call + 2t - 1`` and ``call + 2t``.

    Raises:
        TypeError, ValueError: As :func:`rbm_hidden`; fewer than one step, no row.
    """
    gaussian = choice("rbm_contrastive_divergence", "visible", visible, VISIBLE)
    steps = _whole("rbm_contrastive_divergence", steps)
    if v is None:
        raise TypeError("rbm_contrastive_divergence: v is None, expected an array (N, V)")
    found = _C.rbm_contrast(
        v, w, b, c, chain, steps, gaussian, bool(visible_means), True, True, _seed(seed), call
    )
    return Contrast(*found)


def rbm_gibbs(
    w: Array,
    b: Array,
    c: Array,
    *,
    v: Array | None = None,
    h: Array | None = None,
    steps: int = 1,
    visible: str = "bernoulli",
    visible_means: bool = False,
    seed: int | None = None,
    call: int = 0,
) -> tuple[Array, Array]:
    """Steps of Gibbs sampling from visible or from hidden states.

    Args:
        w, b, c: As :func:`rbm_contrastive_divergence`.
        v: Where to begin, ``(N, V)``; or
        h: ``(N, H)``. Exactly one of the two.
        steps: How often both layers are sampled, at least 1.
        visible, visible_means, seed, call: As :func:`rbm_contrastive_divergence`.

    Returns:
        ``(v, h)`` after the last step.

    Raises:
        TypeError, ValueError: As :func:`rbm_contrastive_divergence`.
    """
    gaussian = choice("rbm_gibbs", "visible", visible, VISIBLE)
    steps = _whole("rbm_gibbs", steps)
    if (v is None) == (h is None):
        raise ValueError("rbm_gibbs: expected exactly one of v and h")
    means, drawn = bool(visible_means), _seed(seed)
    found = _C.rbm_contrast(v, w, b, c, h, steps, gaussian, means, False, True, drawn, call)
    return found[3], found[4]


def rbm_free_energy(v: Array, w: Array, b: Array, c: Array, *, visible: str = "bernoulli") -> Array:
    """``F(v) = -log of the sum over h of exp(-E(v, h))``, so that ``p(v) = exp(-F(v)) / Z``.

    ``F(v) = -b.v - sum_j softplus(c_j + W_j v)``, and ``|v - b|^2 / 2`` in place of ``-b.v`` for
    gaussian units.

    Args:
        v, w, b, c, visible: As :func:`rbm_contrastive_divergence`.

    Returns:
        ``(N,)``.

    Raises:
        TypeError, ValueError: As :func:`rbm_hidden`.
    """
    op = "rbm_free_energy"
    gaussian = choice(op, "visible", visible, VISIBLE)
    require_arrays(op, v=v, w=w, b=b, c=c)
    if v.ndim != 2 or w.ndim != 2 or w.shape != (*c.shape, *b.shape) or v.shape[1:] != b.shape:
        raise ValueError(
            f"{op}: v {v.shape}, w {w.shape}, b {b.shape} and c {c.shape}, expected "
            "(N, V), (H, V), (V,) and (H,)"
        )
    if not v.dtype == w.dtype == b.dtype == c.dtype:
        raise TypeError(
            f"{op}: v, w, b and c are {v.dtype}, {w.dtype}, {b.dtype} and {c.dtype}, expected "
            "one dtype"
        )
    hidden = _sum(linear(v, w, c, activation="softplus"), axis=-1)
    if not gaussian:
        return neg(add(hidden, linear(v, copy(b)[None])[..., 0]))
    off = sub(v, b)
    return sub(mul(_sum(mul(off, off), axis=-1), 0.5), hidden)
