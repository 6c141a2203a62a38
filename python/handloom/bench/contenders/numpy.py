"""NumPy as a peer, and as the plain-spoken twin: its training step is the textbook, by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from ..cases import Case
from ..inputs import Inputs
from . import Array, Call, Prepared, Unsupported, in_room, once, trajectory

_UNARY: dict[str, Any] = {"tanh": np.tanh, "exp": np.exp, "sqrt": np.sqrt, "abs": np.absolute}
_BINARY: dict[str, Any] = {"add": np.add, "mul": np.multiply, "sub": np.subtract, "div": np.divide}
_REDUCE: dict[str, Any] = {"sum": np.add.reduce, "mean": np.mean, "max": np.maximum.reduce}


class NumPy:
    """NumPy with ``out=`` everywhere and its own BLAS threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        blas: Any = np.show_config(mode="dicts")
        found = blas["Build Dependencies"]["blas"]
        return {"numpy": np.__version__, found["name"]: found["version"]}

    def settings(self) -> dict[str, str]:
        return {"threads": f"OPENBLAS_NUM_THREADS={self.threads}"}

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        made = in_room("numpy", self, case, inputs)
        if made is not None:
            return made
        if case.op == "step":
            step = training_step(case, inputs[0])
            return Prepared([step], trajectory(step))
        calls = [self._call(case, arrays) for arrays in inputs]
        return Prepared(calls, once(calls[0]))

    def _call(self, case: Case, i: Inputs) -> Call:
        if case.op == "matmul":
            out = np.matmul(i["a"], i["b"])
            return partial(np.matmul, i["a"], i["b"], out)
        if case.op in _BINARY:
            out = _BINARY[case.op](i["a"], i["b"])
            return partial(_BINARY[case.op], i["a"], i["b"], out)
        if case.op in _UNARY:
            return partial(_UNARY[case.op], i["x"], np.empty_like(i["x"]))
        if case.op == "relu":
            return partial(np.maximum, i["x"], i["x"].dtype.type(0), np.empty_like(i["x"]))
        if case.op == "sigmoid":
            return partial(_sigmoid, i["x"], np.empty_like(i["x"]))
        if case.op in _REDUCE:
            return partial(_REDUCE[case.op], i["x"], axis=case.option("axis"))
        if case.op == "linear":
            return _linear(i, case.option("activation"))
        if case.op == "linear_backward":
            return _linear_backward(i, case.option("activation"))
        if case.op == "softmax":
            return partial(_softmax, i["x"], np.empty_like(i["x"]))
        if case.op == "cross_entropy":
            return lambda: cross_entropy(i["x"], i["target"])[0]
        if case.op == "cross_entropy_grad":
            return lambda: cross_entropy(i["x"], i["target"])
        raise Unsupported(f"NumPy has no {case.op}")


def _sigmoid(x: Array, out: Array) -> Array:
    np.negative(x, out)
    np.exp(out, out)
    np.add(out, 1, out)
    return np.reciprocal(out, out)


def _softmax(x: Array, out: Array) -> Array:
    np.subtract(x, x.max(-1, keepdims=True), out)
    np.exp(out, out)
    out /= out.sum(-1, keepdims=True)
    return out


def _linear(i: Inputs, activation: str | None) -> Call:
    x, wt, b = i["x"], i["w"].T, i["b"]
    out = np.empty((x.shape[0], wt.shape[1]), x.dtype)
    finish: dict[str | None, Callable[[], Array]] = {
        None: lambda: out,
        "relu": lambda: np.maximum(out, 0, out=out),
        "tanh": lambda: np.tanh(out, out),
    }
    if activation not in finish:
        raise Unsupported(f"NumPy has no {activation}")
    last = finish[activation]

    def call() -> Array:
        np.matmul(x, wt, out)
        np.add(out, b, out)
        return last()

    return call


def _linear_backward(i: Inputs, activation: str | None) -> Call:
    dy, x, w, y = i["dy"], i["x"], i["w"], i["y"]
    dz, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)

    def call() -> tuple[Array, Array, Array]:
        g = dy
        if activation == "relu":
            g = np.multiply(dy, y > 0, dz)
        elif activation == "tanh":
            np.multiply(y, y, dz)
            np.subtract(1, dz, dz)
            g = np.multiply(dy, dz, dz)
        return np.matmul(g, w, dx), np.matmul(g.T, x, dw), g.sum(0)

    return call


def cross_entropy(logits: Array, target: Array) -> tuple[Any, Array]:
    """Mean loss and its gradient, class indices."""
    n = len(logits)
    rows = np.arange(n)
    shifted = logits - logits.max(-1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(-1, keepdims=True)
    loss = (np.log(total[:, 0]) - shifted[rows, target]).mean(dtype=logits.dtype)
    p /= total
    p[rows, target] -= 1
    p /= n
    return loss, p


def _bce_with_logits(logits: Array, target: Array) -> tuple[Any, Array]:
    loss = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    gradient = (1 / (1 + np.exp(-logits)) - target) / logits.size
    return loss.mean(dtype=logits.dtype), gradient


def training_step(case: Case, inputs: Inputs) -> Callable[[], float]:
    """Forward, loss, backward and update of a dense network, written out."""
    params = [p.copy() for p in inputs["params"]]
    batches = cycle(inputs["batches"])
    tanh = case.option("activation") == "tanh"
    loss_of = _bce_with_logits if case.option("loss") == "bce" else cross_entropy
    update = _optimiser(case, params)
    last = len(params) // 2 - 1

    def step() -> float:
        x, target = next(batches)
        kept = [x]
        for layer in range(last + 1):
            z = kept[-1] @ params[2 * layer].T
            z += params[2 * layer + 1]
            if layer < last:
                z = np.tanh(z, out=z) if tanh else np.maximum(z, 0, out=z)
            kept.append(z)
        loss, g = loss_of(kept[-1], target)
        gradients: list[Array] = [g] * len(params)
        for layer in range(last, -1, -1):
            if layer < last:
                y = kept[layer + 1]
                g *= (1 - y * y) if tanh else (y > 0)
            gradients[2 * layer] = g.T @ kept[layer]
            gradients[2 * layer + 1] = g.sum(0)
            if layer:
                g = g @ params[2 * layer]
        update(gradients)
        return float(loss)

    return step


def _optimiser(case: Case, params: list[Array]) -> Callable[[list[Array]], None]:
    """PyTorch's Adam (beta 0.9, 0.999, eps 1e-8), or its SGD with momentum 0.9."""
    lr = case.option("lr")
    first = [np.zeros_like(p) for p in params]
    second = [np.zeros_like(p) for p in params]
    steps = 0

    def sgd(gradients: list[Array]) -> None:
        for p, g, v in zip(params, gradients, first):
            v *= 0.9
            v += g
            p -= lr * v

    def adam(gradients: list[Array]) -> None:
        nonlocal steps
        steps += 1
        rate, root = lr / (1 - 0.9**steps), (1 - 0.999**steps) ** 0.5
        for p, g, m, v in zip(params, gradients, first, second):
            m += 0.1 * (g - m)
            v *= 0.999
            v += 0.001 * g * g
            p -= rate * m / (np.sqrt(v) / root + 1e-8)

    return {"sgd": sgd, "adam": adam}[case.option("optimiser")]
