"""A recurrent network's options: what the functions on arrays and those on tensors share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from handloom._device_array import ARRAYS

from .. import _C

Array = npt.NDArray[Any]

CELLS = _C.rnn_cells
NONLINEARITIES = ("tanh", "relu")
# What a variant may have beside the weights of a plain cell, in the order of their gradients.
EXTRAS = ("peephole", "w_hr", "norm_ih", "norm_hh")
_NONE = (None, None, None, None)
# Called with the arguments of several tuples in a row, which their stubs cannot follow.
_forward: Callable[..., Any] = _C.rnn_forward
_backward: Callable[..., Any] = _C.rnn_backward
_variant_forward: Callable[..., Any] = _C.rnn_variant_forward
_variant_backward: Callable[..., Any] = _C.rnn_variant_backward
cell_forward: Callable[..., Any] = _C.rnn_cell_forward
cell_backward: Callable[..., Any] = _C.rnn_cell_backward
_KEEPS, _DRAWS, _EXPECTS = range(3)


class Recurrence(NamedTuple):
    """One layer in one direction, without its arrays.

    Attributes:
        cell: Code of the cell.
        lengths: ``(N,)`` or None.
        reverse: From the end of each sequence to its beginning.
        numbers: None for a plain cell; else eps of the layer norm, the probabilities of recurrent
            dropout and of zoneout for h and c, how zoneout is meant, seed and call.
    """

    cell: int
    lengths: Array | None
    reverse: bool
    numbers: tuple[float, float, float, float, int, int, int] | None

    def forward(self, inputs: tuple[Any, ...], extras: tuple[Any, ...], save: bool) -> Any:
        """``(y, hn, cn, gates, cells, norms)`` of x, h0, c0, w_ih, w_hh, b_ih and b_hh."""
        if self.numbers is None:
            return _forward(self.cell, *inputs, self.lengths, self.reverse, save)
        return _variant_forward(
            self.cell, *inputs, self.lengths, self.reverse, save, (*extras, *self.numbers)
        )

    def backward(
        self,
        grads: tuple[Any, ...],
        inputs: tuple[Any, ...],
        extras: tuple[Any, ...],
        saved: tuple[Any, ...],
        need: int,
    ) -> Any:
        """Gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh, and of a variant's extras.

        Args:
            grads: dy, dhn, dcn.
            inputs: x, h0, c0, w_ih, w_hh.
            extras: As in forward.
            saved: y, gates, cells, norms.
            need: Bit i is set where gradient i is wanted.
        """
        if self.numbers is None:
            return _backward(
                self.cell, *grads, *inputs, self.lengths, self.reverse, *saved[:3], need
            )
        return _variant_backward(
            self.cell, *grads, *inputs, self.lengths, self.reverse, (*extras, *self.numbers),
            *saved, need,
        )  # fmt: skip


def nonlinearity_code(op: str, name: str) -> int:
    """The cell of a plain network; ValueError for an unknown name."""
    if name not in NONLINEARITIES:
        names = ", ".join(NONLINEARITIES)
        raise ValueError(f"{op}: nonlinearity is {name!r}, expected one of {names}")
    return CELLS[name]


def both_zoneouts(op: str, zoneout: float | tuple[float, float]) -> tuple[float, float]:
    """Zoneout of h and of c, from one number or two."""
    try:
        h, c = zoneout if isinstance(zoneout, (tuple, list)) else (zoneout, zoneout)
        return float(h), float(c)
    except (TypeError, ValueError):
        raise ValueError(
            f"{op}: zoneout is {zoneout!r}, expected a number or one for h and one for c"
        ) from None


def recurrence(
    cell: int,
    lengths: Any,
    reverse: bool,
    extras: tuple[Any, ...] = _NONE,
    eps: float = 1e-5,
    recurrent_dropout: float = 0.0,
    zoneout: tuple[float, float] = (0.0, 0.0),
    training: bool = True,
    draw: tuple[int, int] | None = None,
) -> Recurrence:
    """The call that these options mean; `draw` is seed and call, None takes a fresh seed."""
    if lengths is not None and not isinstance(lengths, ARRAYS):
        lengths = np.asarray(lengths)
    reverse = bool(reverse)
    drop = float(recurrent_dropout) if training else 0.0
    zoned = zoneout != (0.0, 0.0)
    plain = cell != CELLS["gru_before"] and not drop and not zoned
    if plain and all(extra is None for extra in extras):
        return Recurrence(cell, lengths, reverse, None)
    mode = (_DRAWS if training else _EXPECTS) if zoned else _KEEPS
    if draw is None:
        random = drop or mode == _DRAWS
        draw = (int.from_bytes(os.urandom(8), "little") if random else 0), 0
    numbers = (float(eps), drop, *zoneout, mode, *draw)
    return Recurrence(cell, lengths, reverse, numbers)
