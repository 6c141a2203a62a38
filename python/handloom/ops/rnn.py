"""Recurrent networks: one layer in one direction, and single steps."""

from __future__ import annotations

from typing import Any

from handloom._calls.recurrent import (
    CELLS,
    Recurrence,
    cell_backward,
    cell_forward,
    nonlinearity_code,
    recurrence,
)
from handloom._runtime import next_draw
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense
from handloom.tensor import Array, Tensor

Optional = TensorLike | None
_NO_EXTRAS = (None, None, None, None)
_NAMES = {code: name.partition("_")[0] for name, code in CELLS.items()}
_NAMES |= {CELLS["tanh"]: "rnn", CELLS["relu"]: "rnn"}


def _dense(arrays: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    return tuple([a if a is None else dense(a) for a in arrays])


class Recurrent(Function):
    """(y, hn) or (y, hn, cn) of x, h0, c0, w_ih, w_hh, b_ih, b_hh and a variant's four extras."""

    __slots__ = ("call",)
    fresh = True

    @property
    def name(self) -> str:
        return _NAMES[self.call.cell]

    def forward(ctx, *args: Any) -> tuple[Array, ...]:
        arrays, (run, recompute) = _dense(args[:11]), args[11:]
        ctx.call = run
        inputs, extras = arrays[:7], arrays[7:]
        y, hn, cn, *rest = run.forward(inputs, extras, bool(ctx.need) and not recompute)
        if ctx.need:
            # What is to be computed anew needs the biases too.
            ctx.saved = (*arrays, y, *rest)
        return (y, hn) if cn is None else (y, hn, cn)

    def backward(
        ctx, dy: Array | None, dhn: Array | None, dcn: Array | None = None
    ) -> tuple[Array | None, ...]:
        run: Recurrence = ctx.call
        arrays, saved = ctx.saved[:11], ctx.saved[11:]
        inputs, extras = arrays[:7], arrays[7:]
        if all(a is None for a in saved[1:]):
            y, _, _, *rest = run.forward(inputs, extras, True)
            saved = (y, *rest)
        made = run.backward(_dense((dy, dhn, dcn)), inputs[:5], extras, saved, ctx.need)
        return (*made, *(None,) * (11 - len(made)))


class Cell(Function):
    """h, or (h, c), of x, h, c, w_ih, w_hh, b_ih and b_hh."""

    __slots__ = ("cell",)
    fresh = True

    @property
    def name(self) -> str:
        return f"{_NAMES[self.cell]}_cell"

    def forward(ctx, *args: Any) -> Any:
        arrays, ctx.cell = _dense(args[:7]), args[7]
        h, c, gates = cell_forward(ctx.cell, *arrays, ctx.need != 0)
        ctx.saved = (*arrays[:5], h, c, gates)
        return h if c is None else (h, c)

    def backward(ctx, dh: Array | None, dc: Array | None = None) -> tuple[Array | None, ...]:
        grads: tuple[Array | None, ...] = cell_backward(
            ctx.cell, *_dense((dh, dc)), *ctx.saved, ctx.need
        )
        return grads


def recurrent(
    cell: str,
    x: TensorLike,
    h0: Optional,
    c0: Optional,
    w_ih: TensorLike,
    w_hh: TensorLike,
    b_ih: Optional = None,
    b_hh: Optional = None,
    extras: tuple[Optional, ...] = _NO_EXTRAS,
    lengths: Any = None,
    reverse: bool = False,
    eps: float = 1e-5,
    recurrent_dropout: float = 0.0,
    zoneout: tuple[float, float] = (0.0, 0.0),
    training: bool = False,
    recompute: bool = False,
) -> tuple[Tensor, ...]:
    """One recurrent layer in one direction; `handloom.kernels.rnn` explains the arguments.

    Args:
        cell: "tanh", "relu", "lstm", "gru" or "gru_before".
        x: (N, T, I).
        h0, c0: (N, P) and (N, H), or None for zeros.
        w_ih, w_hh, b_ih, b_hh: The weights.
        extras: A variant's peephole, w_hr and gains of the layer norm.
        lengths: (N,), or None.
        reverse, eps, recurrent_dropout, zoneout, training: As there; masks are drawn from the
            thread's generator.
        recompute: Whether backward runs forward once more instead of keeping the gates.

    Returns:
        (y, hn), for the LSTM (y, hn, cn).
    """
    draw = None
    if training and (recurrent_dropout or zoneout != (0.0, 0.0)):
        draw = next_draw()
        next_draw(), next_draw()  # the two of zoneout
    if lengths is not None:
        lengths = array_of(lengths)
    run = recurrence(
        CELLS[cell], lengths, reverse, extras, eps, recurrent_dropout, zoneout, training, draw
    )
    out: tuple[Tensor, ...] = Recurrent().run(
        (x, h0, c0, w_ih, w_hh, b_ih, b_hh, *extras), run, recompute
    )
    return out


def rnn_cell(
    x: TensorLike,
    h: Optional,
    w_ih: TensorLike,
    w_hh: TensorLike,
    b_ih: Optional = None,
    b_hh: Optional = None,
    nonlinearity: str = "tanh",
) -> Tensor:
    """One step of a plain network: x (N, I), h and the result (N, H)."""
    out: Tensor = Cell().run(
        (x, h, None, w_ih, w_hh, b_ih, b_hh), nonlinearity_code("rnn_cell", nonlinearity)
    )
    return out


def lstm_cell(
    x: TensorLike,
    h: Optional,
    c: Optional,
    w_ih: TensorLike,
    w_hh: TensorLike,
    b_ih: Optional = None,
    b_hh: Optional = None,
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: x (N, I), h and c (N, H) → the new (h, c)."""
    out: tuple[Tensor, Tensor] = Cell().run((x, h, c, w_ih, w_hh, b_ih, b_hh), CELLS["lstm"])
    return out


def gru_cell(
    x: TensorLike,
    h: Optional,
    w_ih: TensorLike,
    w_hh: TensorLike,
    b_ih: Optional = None,
    b_hh: Optional = None,
) -> Tensor:
    """One step of a GRU, reset after: x (N, I), h and the result (N, H)."""
    out: Tensor = Cell().run((x, h, None, w_ih, w_hh, b_ih, b_hh), CELLS["gru"])
    return out
