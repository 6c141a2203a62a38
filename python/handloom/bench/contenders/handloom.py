"""handloom itself: its public functions on arrays, and its layers for the training steps."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from ..cases import Case
from ..inputs import Inputs
from . import Call, Prepared, Unsupported, in_room, once, trajectory

_PAIRS = ("add", "mul", "sub", "div")
_WITH_OUT = ("tanh", "exp", "erf", "sigmoid", "relu", "gelu", "sqrt", "abs")
_REDUCE = ("sum", "mean", "max")


class Handloom:
    """The subject."""

    def __init__(self, threads: int) -> None:
        self.hl = _module("handloom")
        self.kernels = _module("handloom.kernels")
        self.hl.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        return {"handloom": str(getattr(self.hl, "__version__", "unreleased"))}

    def settings(self) -> dict[str, str]:
        # HANDLOOM_ISA may have lowered the choice; a reader of the figures must know.
        isa = str(_module("handloom._C").isa())
        return {"threads": str(self.hl.get_num_threads()), "isa": isa}

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        made = in_room("handloom", self, case, inputs)
        if made is not None:
            return made
        if case.op == "step":
            check, timed = (self._step(case, inputs[0]) for _ in range(2))
            return Prepared([timed], trajectory(lambda: float(check().item())))
        calls = [self._call(case, arrays) for arrays in inputs]
        return Prepared(calls, once(calls[0]))

    def _kernel(self, name: str) -> Callable[..., Any]:
        # Only a missing name may read as "n/a"; a kernel that raises is a failure.
        if not hasattr(self.kernels, name):
            raise Unsupported(f"handloom.kernels has no {name} in this build")
        function: Callable[..., Any] = getattr(self.kernels, name)
        return function

    def _call(self, case: Case, i: Inputs) -> Call:
        if case.op == "matmul" or case.op in _PAIRS:
            op = self._kernel(case.op)
            return partial(op, i["a"], i["b"], out=op(i["a"], i["b"]))
        if case.op in _WITH_OUT:
            return partial(self._kernel(case.op), i["x"], out=np.empty_like(i["x"]))
        if case.op in _REDUCE:
            return partial(self._kernel(case.op), i["x"], axis=case.option("axis"))
        if case.op == "softmax":
            return partial(self._kernel("softmax"), i["x"])
        if case.op == "cross_entropy":
            return partial(self._kernel("cross_entropy"), i["x"], i["target"])
        if case.op == "cross_entropy_grad":
            x, target, one = i["x"], i["target"], np.ones((), i["x"].dtype)
            forward = self._kernel("cross_entropy")
            backward = self._kernel("cross_entropy_backward")
            return lambda: (forward(x, target), backward(one, x, target))
        activation = case.option("activation")
        if case.op == "linear":
            return partial(self._kernel("linear"), i["x"], i["w"], i["b"], activation=activation)
        if case.op == "linear_backward":
            options = {"y": i["y"] if activation else None, "activation": activation}
            return partial(self._kernel("linear_backward"), i["dy"], i["x"], i["w"], **options)
        raise Unsupported(f"handloom's case has no {case.op}")

    def _step(self, case: Case, inputs: Inputs) -> Callable[[], Any]:
        nn = _module("handloom.nn")
        layers: list[Any] = []
        for index, (i, o) in enumerate(case.shapes):
            if index:
                layers.append(nn.Tanh() if case.option("activation") == "tanh" else nn.ReLU())
            layers.append(nn.Linear(i, o))
        model = nn.Sequential(*layers)
        model.load_state_dict(dict(zip(model.state_dict(), inputs["params"])))
        functional = nn.functional
        loss_of = (
            functional.binary_cross_entropy_with_logits
            if case.option("loss") == "bce"
            else functional.cross_entropy
        )
        return self.training(
            case, model.parameters(), lambda x, target: loss_of(model(x), target), inputs["batches"]
        )

    def training(
        self, case: Case, parameters: Any, loss_of: Callable[[Any, Any], Any], batches: Any
    ) -> Callable[[], Any]:
        """A step of the case's optimiser on the next batch; it returns the loss."""
        optim, lr = _module("handloom.optim"), case.option("lr")
        if case.option("optimiser") == "adam":
            optimiser = optim.Adam(parameters, lr=lr)
        else:
            optimiser = optim.SGD(parameters, lr=lr, momentum=0.9)
        pairs = cycle([(self.hl.tensor(x), self.hl.tensor(t)) for x, t in batches])

        def step() -> Any:
            loss = loss_of(*next(pairs))
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            return loss

        return step


def _module(name: str) -> Any:
    """Import by name: what this build lacks reads as "n/a", and types do not tie us to it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Unsupported(f"not in this build: {error}") from None
