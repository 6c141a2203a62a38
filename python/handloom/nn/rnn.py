"""Recurrent layers and cells; the mathematics is in `handloom.kernels.rnn`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from handloom import ops
from handloom._calls.recurrent import both_zoneouts, nonlinearity_code
from handloom._device_array import ARRAYS
from handloom.nn import init
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.tensor import DTypeLike, Tensor, as_dtype

State = Any  # a tensor or array; for the LSTM a pair (h, c)


def _sizes(name: str, **sizes: int) -> None:
    for what, n in sizes.items():
        if not hasattr(n, "__index__"):
            raise TypeError(f"{name}: {what} is {n!r}, expected an integer")
        if n < 1:
            raise ValueError(f"{name}: {what} is {n}, expected at least 1")


def _probability(name: str, what: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: {what} is {p}, expected 0 to 1")
    return float(p)


class _Recurrent(Module):
    """Weights of all layers and directions, and the way through them."""

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        layer_norm: bool,
        recurrent_dropout: float,
        zoneout: float | tuple[float, float],
        recompute: bool,
        dtype: DTypeLike,
        proj_size: int = 0,
        peephole: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not batch_first:
            raise ValueError(f"{name}: batch_first is False, expected True: x is (N, T, C)")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"{name}: proj_size is {proj_size}, expected 0 or 1 to {hidden_size - 1}"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = True
        self.dropout = _probability(name, "dropout", dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.recurrent_dropout = _probability(name, "recurrent_dropout", recurrent_dropout)
        pair = both_zoneouts(name, zoneout)
        self.zoneout = (
            _probability(name, "zoneout", pair[0]),
            _probability(name, "zoneout", pair[1]),
        )
        self.recompute = recompute
        self._with = layer_norm, peephole
        kind = as_dtype(np.float32 if dtype is None else dtype, name)
        rows, width = self.gates * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            inputs = width * self.directions if layer else input_size
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, inputs),
                    "weight_hh": (rows, width),
                }
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                if peephole:
                    shapes["peephole"] = (3, hidden_size)
                if layer_norm:
                    shapes |= {"norm_ih": (rows,), "norm_hh": (rows,)}
                for what, shape in shapes.items():
                    setattr(self, what + suffix, Parameter(np.empty(shape, kind)))
        self.reset_parameters()

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def reset_parameters(self) -> None:
        """Draws all weights anew: uniform in ±1/√hidden_size, as PyTorch; gains of norms are 1."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, p in self.named_parameters():
            if name.startswith("norm"):
                init.ones_(p)
            else:
                init.uniform_(p, -bound, bound)

    def _part(self, name: str) -> Any:
        return getattr(self, name, None)

    def _cell(self) -> str:
        raise NotImplementedError

    def _states(self, x: Any, state: State) -> list[Any]:
        """h, or h and c, of all layers."""
        raise NotImplementedError

    def _check(self, x: Any, what: str, state: Any, width: int) -> Any:
        """A state of the right shape."""
        expected = (self.num_layers * self.directions, x.shape[0], width)
        if tuple(state.shape) != expected:
            raise ValueError(
                f"{type(self).__name__}: {what} has shape {tuple(state.shape)}, expected "
                f"{expected}: num_layers · directions, N, size"
            )
        return state

    def _run(self, x: Any, state: State, lengths: Any) -> tuple[Tensor, list[Tensor]]:
        """The output, and the final states stacked over the layers."""
        name, cell = type(self).__name__, self._cell()
        if not isinstance(x, (Tensor, *ARRAYS)):
            raise TypeError(f"{name}: x is {type(x).__name__}, expected a tensor or an array")
        if x.ndim != 3 or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: x has shape {tuple(x.shape)}, expected (N, T, {self.input_size})"
            )
        if lengths is not None and not isinstance(lengths, Tensor):
            lengths = np.asarray(lengths)
        states = self._states(x, state)
        number = self.num_layers * self.directions
        ends: list[list[Tensor]] = [[] for _ in range(2 if cell == "lstm" else 1)]
        at = 0
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = ops.dropout(x, self.dropout, 0, name)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                begin = [
                    None if s is None else s[at] if number > 1 else s.reshape(s.shape[1:])
                    for s in states
                ]
                y, *end = ops.recurrent(
                    cell, x, begin[0], begin[1],
                    self._part(f"weight_ih{suffix}"), self._part(f"weight_hh{suffix}"),
                    self._part(f"bias_ih{suffix}"), self._part(f"bias_hh{suffix}"),
                    tuple(self._part(n + suffix)
                          for n in ("peephole", "weight_hr", "norm_ih", "norm_hh")),
                    lengths, direction == 1, 1e-5, self.recurrent_dropout, self.zoneout,
                    self.training, self.recompute,
                )  # fmt: skip
                outputs.append(y)
                for values, value in zip(ends, end):
                    values.append(value)
                at += 1
            x = outputs[0] if len(outputs) == 1 else ops.cat(outputs, -1)
        stacked = [v[0].unsqueeze(0) if number == 1 else ops.stack(v) for v in ends]
        return x, stacked

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        plain: dict[str, Any] = {
            "num_layers": 1,
            "bias": True,
            "dropout": 0.0,
            "bidirectional": False,
        }
        plain |= {"proj_size": 0, "recurrent_dropout": 0.0, "zoneout": (0.0, 0.0)}
        plain |= {"recompute": False, "nonlinearity": "tanh", "reset_after": True}
        for name, default in plain.items():
            value = getattr(self, name, default)
            if value != default:
                text += f", {name}={value!r}"
        for name, there in zip(("layer_norm", "peephole"), self._with):
            text += f", {name}=True" if there else ""
        return text


class _OneState(_Recurrent):
    def _states(self, x: Any, state: State) -> list[Any]:
        if state is not None:
            state = self._check(x, "state", state, self.hidden_size)
        return [state, None]

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        y, (h,) = self._run(x, state, lengths)
        return y, h


class RNN(_OneState):
    """Plain recurrent network, h = act(W x + U h + b), in layers. Keras: SimpleRNN.

    Weights start uniform in ±1/√hidden_size (PyTorch's; Keras: Glorot and orthogonal).

    Args:
        input_size: Features of x.
        hidden_size: Size H of the state.
        num_layers: Each layer reads the output of the one before.
        nonlinearity: "tanh" or "relu".
        bias: Whether there are b_ih and b_hh.
        batch_first: True, the only layout.
        dropout: Probability, in training, with which a number between two layers is dropped.
        bidirectional: Whether a second network reads from the end; outputs are concatenated.
        layer_norm: Whether the two products are normalised; adds gains norm_ih and norm_hh.
        recurrent_dropout: Probability with which the recurrent weights do not see a number of h;
            one mask for the whole sequence.
        zoneout: Probability with which a number of the state keeps its value: one number, or
            (of_h, of_c).
        recompute: Whether backward computes the gates again instead of keeping them: less memory,
            a forward more.
        dtype: float32 or float64.

    Shapes: x (N, T, input_size), state (num_layers · directions, N, H) or None for zeros, lengths
    (N,) or None → output (N, T, directions · H) and the final state. Past the end of a sequence the
    output is zero; the state is that at its end.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: Of layer 0, named as PyTorch's; of the
            other direction with `_reverse` behind.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        recompute: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        nonlinearity_code("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            layer_norm, recurrent_dropout, zoneout, recompute, dtype,
        )  # fmt: skip

    def _cell(self) -> str:
        return self.nonlinearity


class GRU(_OneState):
    """Gated recurrent unit (Cho et al. 2014), in layers; arguments and shapes as `RNN`.

    Args:
        reset_after: Whether the reset gate comes after the recurrent product, as in PyTorch, or
            before it, as in the paper (Keras' `reset_after`).
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        recompute: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        self.reset_after = reset_after
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            layer_norm, recurrent_dropout, zoneout, recompute, dtype,
        )  # fmt: skip

    def _cell(self) -> str:
        return "gru" if self.reset_after else "gru_before"


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), in layers.

    Arguments and shapes as `RNN`, but the state is a pair (h, c).

    Args:
        proj_size: If not 0, h is projected to this size (Sak et al. 2014); adds weight_hr.
        peephole: Whether the gates see c (Gers et al. 2002); adds peephole (3, H).
        forget_bias: What the bias of the forget gate starts with on top of its draw; with 1 the
            cell remembers at first (Keras' `unit_forget_bias`; Jozefowicz et al. 2015).
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        peephole: bool = False,
        forget_bias: float = 0.0,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        recompute: bool = False,
        dtype: DTypeLike = None,
    ) -> None:
        if forget_bias and not bias:
            raise ValueError(f"LSTM: forget_bias is {forget_bias}, but there is no bias")
        self.forget_bias = forget_bias
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            layer_norm, recurrent_dropout, zoneout, recompute, dtype, proj_size, peephole,
        )  # fmt: skip

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.forget_bias:
            for name, p in self.named_parameters():
                if name.startswith("bias_ih"):
                    p._array[self.hidden_size : 2 * self.hidden_size] += self.forget_bias

    def _cell(self) -> str:
        return "lstm"

    def _states(self, x: Any, state: State) -> list[Any]:
        if state is None:
            return [None, None]
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError("LSTM: state expects a pair (h, c)")
        h = self._check(x, "h", state[0], self.proj_size or self.hidden_size)
        return [h, self._check(x, "c", state[1], self.hidden_size)]

    def forward(
        self, x: Any, state: Any = None, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, (h, c) = self._run(x, state, lengths)
        return y, (h, c)


class _Cell(Module):
    gates: ClassVar[int]

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: DTypeLike) -> None:
        super().__init__()
        name = type(self).__name__
        _sizes(name, input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        kind = as_dtype(np.float32 if dtype is None else dtype, name)
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(np.empty((rows, input_size), kind))
        self.weight_hh = Parameter(np.empty((rows, hidden_size), kind))
        self.bias_ih = Parameter(np.empty(rows, kind)) if bias else None
        self.bias_hh = Parameter(np.empty(rows, kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew, uniform in ±1/√hidden_size."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else text + ", bias=False"


class RNNCell(_Cell):
    """One step of `RNN`: x (N, input_size), h (N, H) or None → h (N, H)."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: DTypeLike = None,
    ) -> None:
        nonlinearity_code("RNNCell", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, h: Any = None) -> Tensor:
        return ops.rnn_cell(
            x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, self.nonlinearity
        )


class GRUCell(_Cell):
    """One step of `GRU`: x (N, input_size), h (N, H) or None → h (N, H)."""

    gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, h: Any = None) -> Tensor:
        return ops.gru_cell(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class LSTMCell(_Cell):
    """One step of `LSTM`: x (N, input_size), state (h, c), each (N, H), or None → (h, c)."""

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, Tensor]:
        if state is not None and (not isinstance(state, (tuple, list)) or len(state) != 2):
            raise TypeError("LSTMCell: state expects a pair (h, c)")
        h, c = (None, None) if state is None else state
        return ops.lstm_cell(x, h, c, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
