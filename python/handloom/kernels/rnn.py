"""Recurrent networks: whole sequences in one call, and their cells step by step.

``x`` is ``(N, T, I)``, contiguous float32 or float64; states and weights have its dtype. Weights
are out-first with the gates on top of each other: i, f, g, o for the LSTM and r, z, n for the GRU,
as in PyTorch (Keras: i, f, c, o and z, r, h, transposed). The mathematics of forward and backward
is in ``csrc/ops/rnn/rnn.h``.

Every function of whole sequences takes

- ``lengths``, ``(N,)`` int64 or int32: sequence n ends after ``lengths[n]`` steps, 0 to T, in any
  order. What follows in x is never read, in y it is zero; final states are those at the end.
- ``reverse``: each sequence is read from its own end to its beginning. y stays in the order of x.
- ``layer_norm``: two gains ``(G H,)`` for the products with w_ih and w_hh, which are normalised
  before their biases are added, all gates together and the GRU's n by itself (Ba, Kiros and Hinton
  2016, appendix); ``eps`` is added to the variance.
- ``recurrent_dropout``: the probability with which w_hh does not see a number of h; the mask is
  drawn once for a sequence (Gal and Ghahramani 2016; Keras' ``recurrent_dropout``).
- ``zoneout``: the probability with which a number of h, or of c, keeps its old value; one number
  or ``(of_h, of_c)`` (Krueger et al. 2017). With ``training=False`` old and new are mixed as
  expected, and there is no dropout.
- ``seed`` and ``call``: of the masks, as in :func:`dropout`; zoneout takes the two calls that
  follow. Without a seed a fresh one is taken.
- ``return_saved``: what backward needs is returned as well; pass it on unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from .._calls.recurrent import (
    CELLS,
    EXTRAS,
    Recurrence,
    both_zoneouts,
    cell_backward,
    cell_forward,
    nonlinearity_code,
    recurrence,
)
from ._options import need_mask

Array = npt.NDArray[Any]
Gradients = tuple[Array | None, ...]
Gains = tuple[Array, Array] | None

_WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh")
_NAMES = ("x", "h0", "c0", *_WEIGHTS, *EXTRAS)


class RecurrentSaved(NamedTuple):
    """What backward needs of a forward; its fields are not for use."""

    run: Recurrence
    inputs: tuple[Any, ...]
    extras: tuple[Any, ...]
    saved: tuple[Any, ...]


def _forward(
    run: Recurrence, inputs: tuple[Any, ...], extras: tuple[Any, ...], saved: bool
) -> tuple[Any, ...]:
    y, hn, cn, *rest = run.forward(inputs, extras, saved)
    result = (y, hn) if cn is None else (y, hn, cn)
    if not saved:
        return result
    return *result, RecurrentSaved(run, inputs[:5], extras, (y, *rest))


def _backward(
    op: str, grads: tuple[Any, ...], saved: RecurrentSaved, need: Sequence[str] | None
) -> Gradients:
    if not isinstance(saved, RecurrentSaved):
        raise TypeError(f"{op}: saved is {type(saved).__name__}, expected what return_saved gave")
    lstm = saved.run.cell == CELLS["lstm"]
    present = [name for name, extra in zip(EXTRAS, saved.extras) if extra is not None]
    names = ("x", "h0", *(("c0",) if lstm else ()), *_WEIGHTS, *present)
    bits = 0
    for name in names if need is None else need:
        bits |= need_mask(op, (name,), names) and 1 << _NAMES.index(name)
    made = saved.run.backward(grads, saved.inputs, saved.extras, saved.saved, bits)
    return tuple(made[_NAMES.index(name)] for name in names)


def _gains(op: str, layer_norm: Gains) -> tuple[Any, Any]:
    if layer_norm is None:
        return None, None
    if not isinstance(layer_norm, (tuple, list)) or len(layer_norm) != 2:
        raise ValueError(f"{op}: layer_norm expects two gains, one for w_ih x and one for w_hh h")
    return layer_norm[0], layer_norm[1]


def _draw(seed: int | None, call: int) -> tuple[int, int] | None:
    return None if seed is None else (seed, call)


def rnn(
    x: Array,
    h0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Any = None,
    reverse: bool = False,
    layer_norm: Gains = None,
    eps: float = 1e-5,
    recurrent_dropout: float = 0.0,
    zoneout: float | tuple[float, float] = 0.0,
    training: bool = True,
    seed: int | None = None,
    call: int = 0,
    return_saved: bool = False,
) -> Any:
    """Plain recurrent network: ``h = act(w_ih x_t + b_ih + w_hh h + b_hh)``. Elman (1990).

    Keras' SimpleRNN, with weights transposed and one bias.

    Args:
        x: ``(N, T, I)``.
        h0: ``(N, H)``, or None for zeros.
        w_ih: ``(H, I)``.
        w_hh: ``(H, H)``.
        b_ih, b_hh: ``(H,)`` or None.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        lengths, reverse, layer_norm, eps, recurrent_dropout, zoneout, training, seed, call,
            return_saved: See the module.

    Returns:
        ``(y, hn)``, ``y`` ``(N, T, H)`` and ``hn`` ``(N, H)``; with ``return_saved`` ``(y, hn,
        saved)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Shapes that do not fit, arrays that are not contiguous, a length outside 0 to T,
            a probability outside 0 to 1, an unknown nonlinearity.
    """
    extras = (None, None, *_gains("rnn", layer_norm))
    run = recurrence(
        nonlinearity_code("rnn", nonlinearity), lengths, reverse, extras, eps, recurrent_dropout,
        both_zoneouts("rnn", zoneout), training, _draw(seed, call),
    )  # fmt: skip
    return _forward(run, (x, h0, None, w_ih, w_hh, b_ih, b_hh), extras, return_saved)


def rnn_backward(
    dy: Array | None,
    dhn: Array | None,
    saved: RecurrentSaved,
    *,
    need: Sequence[str] | None = None,
) -> Gradients:
    """Gradients of :func:`rnn`, through time.

    Args:
        dy: Gradient of y, or None for zero; what lies behind a sequence's end is ignored.
        dhn: Gradient of hn, or None for zero.
        saved: From ``rnn(..., return_saved=True)``.
        need: Which gradients to compute, of ``"x"``, ``"h0"``, ``"w_ih"``, ``"w_hh"``, ``"b_ih"``,
            ``"b_hh"``, and ``"norm_ih"``, ``"norm_hh"`` with ``layer_norm``; None: all.

    Returns:
        ``(dx, dh0, dw_ih, dw_hh, db_ih, db_hh)``, then those of the gains; None where not in
        ``need``.
    """
    return _backward("rnn_backward", (dy, dhn, None), saved, need)


def lstm(
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    peephole: Array | None = None,
    w_hr: Array | None = None,
    layer_norm: Gains = None,
    eps: float = 1e-5,
    recurrent_dropout: float = 0.0,
    zoneout: float | tuple[float, float] = 0.0,
    training: bool = True,
    seed: int | None = None,
    call: int = 0,
    return_saved: bool = False,
) -> Any:
    """Long short-term memory. Hochreiter and Schmidhuber (1997), Gers et al. (2000).

    The gates i, f, o are logistic functions and g the tanh of ``w_ih x_t + b_ih + w_hh h + b_hh``;
    ``c = f c + i g``, ``h = o tanh(c)``.

    Args:
        x: ``(N, T, I)``.
        h0: ``(N, P)``, or None for zeros.
        c0: ``(N, H)``, or None for zeros.
        w_ih: ``(4 H, I)``.
        w_hh: ``(4 H, P)``; P is H without a projection.
        b_ih, b_hh: ``(4 H,)`` or None.
        peephole: ``(3, H)``: the gates i and f see the old c, o the new one, each number times its
            own weight (Gers et al. 2002).
        w_hr: ``(P, H)``: ``h = w_hr (o tanh(c))`` (Sak et al. 2014; PyTorch's ``proj_size``).
        lengths, reverse, layer_norm, eps, recurrent_dropout, zoneout, training, seed, call,
            return_saved: See the module.

    Returns:
        ``(y, hn, cn)``, ``y`` ``(N, T, P)``, ``hn`` ``(N, P)``, ``cn`` ``(N, H)``; with
        ``return_saved`` ``(y, hn, cn, saved)``.

    Raises:
        TypeError, ValueError: As :func:`rnn`.
    """
    extras = (peephole, w_hr, *_gains("lstm", layer_norm))
    run = recurrence(
        CELLS["lstm"], lengths, reverse, extras, eps, recurrent_dropout,
        both_zoneouts("lstm", zoneout), training, _draw(seed, call),
    )  # fmt: skip
    return _forward(run, (x, h0, c0, w_ih, w_hh, b_ih, b_hh), extras, return_saved)


def lstm_backward(
    dy: Array | None,
    dhn: Array | None,
    dcn: Array | None,
    saved: RecurrentSaved,
    *,
    need: Sequence[str] | None = None,
) -> Gradients:
    """Gradients of :func:`lstm`, through time.

    Args:
        dy: Gradient of y, or None for zero; what lies behind a sequence's end is ignored.
        dhn, dcn: Gradients of hn and cn, or None for zero.
        saved: From ``lstm(..., return_saved=True)``.
        need: Which gradients to compute, of ``"x"``, ``"h0"``, ``"c0"``, ``"w_ih"``, ``"w_hh"``,
            ``"b_ih"``, ``"b_hh"``, and ``"peephole"``, ``"w_hr"``, ``"norm_ih"``, ``"norm_hh"``
            where these were given; None: all.

    Returns:
        ``(dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh)``, then those of what else was given, in the
        order above; None where not in ``need``.
    """
    return _backward("lstm_backward", (dy, dhn, dcn), saved, need)


def gru(
    x: Array,
    h0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    reset_after: bool = True,
    lengths: Any = None,
    reverse: bool = False,
    layer_norm: Gains = None,
    eps: float = 1e-5,
    recurrent_dropout: float = 0.0,
    zoneout: float | tuple[float, float] = 0.0,
    training: bool = True,
    seed: int | None = None,
    call: int = 0,
    return_saved: bool = False,
) -> Any:
    """Gated recurrent unit. Cho et al. (2014).

    With the gates r and z, logistic functions of ``w_ih x_t + b_ih + w_hh h + b_hh``:
    ``n = tanh(w_in x_t + b_in + r (w_hn h + b_hn))``, ``h = (1 - z) n + z h``.

    Args:
        x: ``(N, T, I)``.
        h0: ``(N, H)``, or None for zeros.
        w_ih: ``(3 H, I)``.
        w_hh: ``(3 H, H)``.
        b_ih, b_hh: ``(3 H,)`` or None.
        reset_after: Whether r comes after the product with w_hn, as in PyTorch and cuDNN, or before
            it, ``w_hn (r h) + b_hn``, as in the paper (Keras' ``reset_after=False``).
        lengths, reverse, layer_norm, eps, recurrent_dropout, zoneout, training, seed, call,
            return_saved: See the module.

    Returns:
        ``(y, hn)``, ``y`` ``(N, T, H)`` and ``hn`` ``(N, H)``; with ``return_saved`` ``(y, hn,
        saved)``.

    Raises:
        TypeError, ValueError: As :func:`rnn`.
    """
    extras = (None, None, *_gains("gru", layer_norm))
    run = recurrence(
        CELLS["gru" if reset_after else "gru_before"], lengths, reverse, extras, eps,
        recurrent_dropout, both_zoneouts("gru", zoneout), training, _draw(seed, call),
    )  # fmt: skip
    return _forward(run, (x, h0, None, w_ih, w_hh, b_ih, b_hh), extras, return_saved)


def gru_backward(
    dy: Array | None,
    dhn: Array | None,
    saved: RecurrentSaved,
    *,
    need: Sequence[str] | None = None,
) -> Gradients:
    """Gradients of :func:`gru`, through time; arguments and results as :func:`rnn_backward`."""
    return _backward("gru_backward", (dy, dhn, None), saved, need)


class CellSaved(NamedTuple):
    """What a cell's backward needs; its fields are not for use."""

    cell: int
    inputs: tuple[Any, ...]
    saved: tuple[Any, ...]


def _cell(code: int, inputs: tuple[Any, ...], saved: bool) -> Any:
    h, c, gates = cell_forward(code, *inputs, saved)
    if saved:
        kept = CellSaved(code, inputs[:5], (h, c, gates))
        return (h, kept) if c is None else (h, c, kept)
    return h if c is None else (h, c)


def _cell_backward(
    op: str, dh: Array | None, dc: Array | None, saved: CellSaved, need: Sequence[str] | None
) -> Gradients:
    if not isinstance(saved, CellSaved):
        raise TypeError(f"{op}: saved is {type(saved).__name__}, expected what return_saved gave")
    lstm = saved.cell == CELLS["lstm"]
    names = ("x", "h0", *(("c0",) if lstm else ()), *_WEIGHTS)
    bits = 0
    for name in names if need is None else need:
        bits |= need_mask(op, (name,), names) and 1 << _NAMES.index(name)
    made = cell_backward(saved.cell, dh, dc, *saved.inputs, *saved.saved, bits)
    grads: Gradients = made if lstm else (*made[:2], *made[3:])
    return grads


def rnn_cell(
    x: Array,
    h: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    return_saved: bool = False,
) -> Any:
    """One step of :func:`rnn`: ``x`` is ``(N, I)``, ``h`` and the result ``(N, H)``.

    Returns:
        The new h, or ``(h, saved)``.
    """
    code = nonlinearity_code("rnn_cell", nonlinearity)
    return _cell(code, (x, h, None, w_ih, w_hh, b_ih, b_hh), return_saved)


def rnn_cell_backward(
    dh: Array, saved: CellSaved, *, need: Sequence[str] | None = None
) -> Gradients:
    """Gradients of :func:`rnn_cell`: ``(dx, dh0, dw_ih, dw_hh, db_ih, db_hh)``."""
    return _cell_backward("rnn_cell_backward", dh, None, saved, need)


def lstm_cell(
    x: Array,
    h: Array | None,
    c: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    return_saved: bool = False,
) -> Any:
    """One step of :func:`lstm`: ``x`` is ``(N, I)``, ``h``, ``c`` and the results ``(N, H)``.

    Returns:
        The new ``(h, c)``, or ``(h, c, saved)``.
    """
    return _cell(CELLS["lstm"], (x, h, c, w_ih, w_hh, b_ih, b_hh), return_saved)


def lstm_cell_backward(
    dh: Array | None, dc: Array | None, saved: CellSaved, *, need: Sequence[str] | None = None
) -> Gradients:
    """Gradients of :func:`lstm_cell`: ``(dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh)``."""
    return _cell_backward("lstm_cell_backward", dh, dc, saved, need)


def gru_cell(
    x: Array,
    h: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    return_saved: bool = False,
) -> Any:
    """One step of :func:`gru` (reset after): ``x`` ``(N, I)``, ``h`` and the result ``(N, H)``.

    Returns:
        The new h, or ``(h, saved)``.
    """
    return _cell(CELLS["gru"], (x, h, None, w_ih, w_hh, b_ih, b_hh), return_saved)


def gru_cell_backward(
    dh: Array, saved: CellSaved, *, need: Sequence[str] | None = None
) -> Gradients:
    """Gradients of :func:`gru_cell`: ``(dx, dh0, dw_ih, dw_hh, db_ih, db_hh)``."""
    return _cell_backward("gru_cell_backward", dh, None, saved, need)
