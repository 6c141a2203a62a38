"""PyTorch eager at its best: all threads, denormals flushed, ``out=`` buffers, no autograd.

The training step is the twin of handloom's: same parameters, same batches, and the fastest of
PyTorch's own optimiser implementations (fused, foreach, loop), found by trying them.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from ..cases import Case
from ..inputs import Inputs
from . import Array, Call, Prepared, Unsupported, in_room, once, trajectory

# Steps that decide between implementations: so many, or what this time allows.
TRIAL_WARM, TRIAL, TRIAL_SECONDS = 10, 40, 1.0
VARIANTS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "loop": {"foreach": False},
}


class Torch:
    """PyTorch on the CPU."""

    def __init__(self, threads: int) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.torch.set_num_threads(threads)
        self.torch.set_flush_denormal(True)

    def versions(self) -> dict[str, str]:
        return {"torch": str(self.torch.__version__)}

    def settings(self) -> dict[str, str]:
        return {
            "threads": str(self.torch.get_num_threads()),
            "flush_denormal": "on",
            "cpu_capability": str(self.torch.backends.cpu.get_cpu_capability()),
        }

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        made = in_room("torch", self, case, inputs)
        if made is not None:
            return made
        if case.op == "step":
            return self._step(case, inputs[0])
        needs_tape = case.op == "cross_entropy_grad"
        within = nullcontext if needs_tape else self.torch.inference_mode
        with within():
            calls = [self._call(case, self._tensors(arrays)) for arrays in inputs]
        return Prepared(calls, once(calls[0], self._array), within=within)

    def _array(self, value: Any) -> Array:
        return np.asarray(value.detach().numpy())

    def _tensors(self, arrays: Inputs) -> Inputs:
        return {name: self.torch.from_numpy(array) for name, array in arrays.items()}

    def _call(self, case: Case, i: Inputs) -> Call:
        torch, aten = self.torch, self.torch.ops.aten
        if case.op == "matmul":
            a, b = i["a"], i["b"]
            return partial(torch.matmul, a, b, out=torch.matmul(a, b))
        if case.op in ("add", "mul", "sub", "div"):
            op = getattr(torch, case.op)
            return partial(op, i["a"], i["b"], out=op(i["a"], i["b"]))
        if case.op in ("tanh", "exp", "erf", "sigmoid", "sqrt", "abs"):
            return partial(getattr(torch, case.op), i["x"], out=torch.empty_like(i["x"]))
        if case.op in ("relu", "gelu"):
            return partial(getattr(aten, case.op).out, i["x"], out=torch.empty_like(i["x"]))
        if case.op in ("sum", "mean", "max"):
            op = torch.amax if case.op == "max" else getattr(torch, case.op)
            axis = case.option("axis")
            dims = tuple(range(i["x"].ndim)) if axis is None else (axis,)
            return partial(op, i["x"], dims, out=op(i["x"], dims))
        if case.op == "softmax":
            return partial(torch.softmax, i["x"], -1, out=torch.empty_like(i["x"]))
        if case.op == "cross_entropy":
            return partial(torch.nn.functional.cross_entropy, i["x"], i["target"])
        if case.op == "cross_entropy_grad":
            return self._cross_entropy_grad(i)
        if case.op == "linear":
            return self._linear(i, case.option("activation"))
        if case.op == "linear_backward":
            return self._linear_backward(i, case.option("activation"))
        raise Unsupported(f"PyTorch's twin has no {case.op}")

    def _linear(self, i: Inputs, activation: str | None) -> Call:
        torch, aten = self.torch, self.torch.ops.aten
        x, wt, b = i["x"], i["w"].T, i["b"]
        y = torch.addmm(b, x, wt)
        z = torch.empty_like(y)
        finish: dict[str | None, Callable[[], Any]] = {
            None: lambda: y,
            "relu": lambda: torch.relu_(y),
            "tanh": lambda: torch.tanh_(y),
            "gelu": lambda: aten.gelu.out(y, out=z),
        }
        last = finish[activation]

        def call() -> Any:
            torch.addmm(b, x, wt, out=y)
            return last()

        return call

    def _linear_backward(self, i: Inputs, activation: str | None) -> Call:
        torch, aten = self.torch, self.torch.ops.aten
        dy, x, w, y = i["dy"], i["x"], i["w"], i["y"]
        dz, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(w)
        db = torch.empty(dy.shape[1], dtype=dy.dtype)

        def call() -> tuple[Any, Any, Any]:
            g = dy
            if activation == "relu":
                g = aten.threshold_backward.grad_input(dy, y, 0, grad_input=dz)
            elif activation == "tanh":
                g = aten.tanh_backward.grad_input(dy, y, grad_input=dz)
            torch.mm(g, w, out=dx)
            torch.mm(g.T, x, out=dw)
            return dx, dw, torch.sum(g, 0, out=db)

        return call

    def _cross_entropy_grad(self, i: Inputs) -> Call:
        torch = self.torch
        x = i["x"].requires_grad_()

        def call() -> tuple[Any, Any]:
            loss = torch.nn.functional.cross_entropy(x, i["target"])
            return loss, torch.autograd.grad(loss, x)[0]

        return call

    def _step(self, case: Case, inputs: Inputs) -> Prepared:
        def make(variant: str) -> Callable[[], Any]:
            return self._training(case, inputs, variant)

        best = min(VARIANTS, key=lambda name: pace(make(name)))
        check, timed = make(best), make(best)
        return Prepared([timed], trajectory(lambda: check().item()), f"optimiser: {best}")

    def _training(self, case: Case, inputs: Inputs, variant: str) -> Callable[[], Any]:
        torch, nn = self.torch, self.torch.nn
        layers: list[Any] = []
        for index, (i, o) in enumerate(case.shapes):
            if index:
                layers.append(nn.Tanh() if case.option("activation") == "tanh" else nn.ReLU())
            layers.append(nn.Linear(i, o))
        model = nn.Sequential(*layers)
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), inputs["params"]):
                parameter.copy_(torch.from_numpy(value))
        functional = nn.functional
        loss_of = (
            functional.binary_cross_entropy_with_logits
            if case.option("loss") == "bce"
            else functional.cross_entropy
        )
        pairs = [(torch.from_numpy(x), torch.from_numpy(t)) for x, t in inputs["batches"]]
        return self.training(
            case, variant, model.parameters(), lambda x, target: loss_of(model(x), target), pairs
        )

    def training(
        self,
        case: Case,
        variant: str,
        parameters: Any,
        loss_of: Callable[[Any, Any], Any],
        batches: Any,
    ) -> Callable[[], Any]:
        """A step of the case's optimiser, in one of its variants, on the next batch of tensors."""
        torch = self.torch
        lr, options = case.option("lr"), VARIANTS[variant]
        if case.option("optimiser") == "adam":
            optimiser = torch.optim.Adam(parameters, lr=lr, **options)
        else:
            optimiser = torch.optim.SGD(parameters, lr=lr, momentum=0.9, **options)
        pairs = cycle(batches)

        def step() -> Any:
            loss = loss_of(*next(pairs))
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            return loss

        return step


def pace(step: Callable[[], Any]) -> float:
    """Seconds of a step, from a short trial: a choice between two ways needs no more."""
    for most in (TRIAL_WARM, TRIAL):
        done, start = 0, time.perf_counter()
        while done < most and time.perf_counter() - start < TRIAL_SECONDS:
            step()
            done += 1
    return (time.perf_counter() - start) / done
