"""The gallery with PyTorch in place of handloom's kernels, to tell a hard target from a mistake.

Same files, same networks, data, orders and epochs; tensors, layers, losses and optimisers are
PyTorch's:

    python bench/twins/gallery.py mlp depth --seeds 3
"""

from __future__ import annotations

import argparse
import sys
import types
from typing import Any

import numpy as np
import torch
import torch.nn.functional


class Lion(torch.optim.Optimizer):
    """X. Chen and others, 2023: the sign of a mixture of gradient and momentum."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)):
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """w -= lr · sign(β₁ m + (1 − β₁) g), then m = β₂ m + (1 − β₂) g."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.sub_(torch.lerp(p.grad, m, first).sign(), alpha=group["lr"])
                m.lerp_(p.grad, 1 - second)


def channels_last(base: type[torch.nn.Module]) -> type[torch.nn.Module]:
    """Returns a layer that takes and gives handloom's (N, …, C), also from NumPy arrays."""

    class Layer(base):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> torch.Tensor:
            x = torch.as_tensor(x)
            if x.ndim == 2:
                return super().forward(x)
            return super().forward(x.movedim(-1, 1)).movedim(1, -1)

    Layer.__name__ = base.__name__
    return Layer


LAYERS = (
    *("Conv1d", "Conv2d", "BatchNorm1d", "BatchNorm2d"),
    *("MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d"),
)


class GlobalAvgPool(torch.nn.Module):
    """The mean over all axes between the first and the last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1, -2).mean(1)


def module(name: str, base: Any, **names: Any) -> types.ModuleType:
    """Returns a module `name` with the public names of `base`, and others."""
    made = types.ModuleType(name)
    made.__path__ = []  # a package: it may have submodules
    vars(made).update({k: v for k, v in vars(base).items() if not k.startswith("_")}, **names)
    return made


def stand_in() -> None:
    """Puts PyTorch where handloom's own code imports tensors, layers and optimisers."""
    import handloom

    def from_numpy(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    layers = {name: channels_last(getattr(torch.nn, name)) for name in LAYERS}
    # handloom's tensors give their values whether or not they have a gradient.
    values = torch.Tensor.numpy
    torch.Tensor.numpy = lambda self: values(self.detach())  # type: ignore[method-assign]
    made = {
        "tensor": module(
            "tensor", types, Array=np.ndarray, Tensor=torch.Tensor, from_numpy=from_numpy
        ),
        "autograd": module("autograd", types, no_grad=torch.no_grad),
        "ops": module("ops", types, randint=lambda low, high: torch.randint(low, high, ())),
        "nn": module("nn", torch.nn, GlobalAvgPool=GlobalAvgPool, **layers),
        "optim": module("optim", torch.optim, Lion=Lion),
    }
    for name, replacement in made.items():
        sys.modules[f"handloom.{name}"] = replacement
        setattr(handloom, name, replacement)
    sys.modules["handloom.optim.lr_scheduler"] = torch.optim.lr_scheduler
    sys.modules["handloom.nn.utils"] = torch.nn.utils
    handloom.manual_seed = torch.manual_seed


def main() -> None:
    """Runs tasks and prints what `handloom gallery` prints."""
    parser = argparse.ArgumentParser(description="The gallery, trained by PyTorch.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    # The kernels that the perceptron calls on plain arrays stay handloom's.
    stand_in()
    torch.set_flush_denormal(True)
    # The networks are small: more threads wait longer than they work.
    torch.set_num_threads(1)
    from handloom import gallery
    from handloom.gallery import report

    printer = report.Printer()
    printer.head()
    for name in args.names or gallery.names():
        printer.result(gallery.run_task(gallery.get(name), seeds=range(args.seeds)))


if __name__ == "__main__":
    main()
