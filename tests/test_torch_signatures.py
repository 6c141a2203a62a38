"""Functions, layers, optimisers and schedules take PyTorch's arguments, by its names, in its order.

What PyTorch has and we do not is named here, with the reason; skipped without PyTorch.
"""

from __future__ import annotations

import inspect

import pytest

from handloom import nn, optim
from handloom.nn import functional

torch = pytest.importorskip("torch")

# Deprecated, for the device that is not there, for a compiler, or names of the same thing.
EVERYWHERE = {"self", "args", "kwargs", "device", "dtype", "size_average", "reduce", "out"}
UNLIKE = {
    "Hardtanh": {"min_value", "max_value"},  # deprecated names
    "softmax": {"_stacklevel"},
    "softmin": {"_stacklevel"},
    "log_softmax": {"_stacklevel"},
    "interpolate": {"antialias"},
    "Embedding": {"_weight", "_freeze"},  # from_pretrained is the public way
    "Adam": {"decoupled_weight_decay"},  # that is AdamW
    "TransformerEncoder": {"enable_nested_tensor", "mask_check"},  # how, not what
}
OPTIMIZERS = {"foreach", "fused", "capturable", "differentiable"}  # how, not what
NO_GENERATOR = {"generator"}  # ours is the thread's

# The channel axis is the last here, where PyTorch guesses or takes 1; batches come first.
OTHER_DEFAULTS = {"dim", "batch_first"}


def compare(name: str, ours: object, theirs: object, missing: set[str]) -> None:
    try:
        want = inspect.signature(theirs).parameters  # type: ignore[arg-type]
    except ValueError:
        pytest.skip("a builtin without a signature")
    if not {k for k in want if k not in ("args", "kwargs")}:
        pytest.skip("the signature says nothing")
    have = inspect.signature(ours).parameters  # type: ignore[arg-type]
    skip = EVERYWHERE | missing | UNLIKE.get(name, set())
    names = [k for k in want if k not in skip]
    assert not [k for k in names if k not in have]
    positional = [k for k in names if want[k].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert [k for k in have if k in positional] == positional
    for k in names:
        if k not in OTHER_DEFAULTS:
            a, b = have[k].default, want[k].default
            assert a is b or a in (b, getattr(b, "__name__", b)), (k, a, b)


FUNCTIONS = [
    n for n in functional.__all__ if inspect.isfunction(getattr(torch.nn.functional, n, 0))
]
LAYERS = [n for n in nn.__all__ if inspect.isclass(getattr(torch.nn, n, 0)) and n != "Parameter"]
SCHEDULES = [n for n in optim.lr_scheduler.__all__ if hasattr(torch.optim.lr_scheduler, n)]
INITIALISERS = [n for n in dir(torch.nn.init) if n.endswith("_") and not n.startswith("_")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    theirs = getattr(torch.nn.functional, name)
    compare(name, getattr(functional, name), theirs, set())


@pytest.mark.parametrize("name", ["linear", "gelu", "prelu", "conv2d", "avg_pool2d", "one_hot"])
def test_builtin_functions_take_their_documented_names(name):
    """PyTorch's builtins have no signature: their documentation's first line has it."""
    line = (getattr(torch.nn.functional, name).__doc__ or "").strip().splitlines()[0]
    names = [a.split("=")[0].strip() for a in line.split("(")[1].split(")")[0].split(",")]
    names = [n for n in names if n and n != "*"]
    have = list(inspect.signature(getattr(functional, name)).parameters)
    assert [n for n in have if n in names] == names


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    theirs = getattr(torch.nn, name)
    compare(name, getattr(nn, name).__init__, theirs.__init__, set())


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Adadelta",
                                  "Adamax", "NAdam", "RAdam"])  # fmt: skip
def test_optimisers(name):
    theirs = getattr(torch.optim, name).__init__
    compare(name, getattr(optim, name).__init__, theirs, OPTIMIZERS)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    theirs = getattr(torch.optim.lr_scheduler, name).__init__
    compare(name, getattr(optim.lr_scheduler, name).__init__, theirs, set())


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers(name):
    compare(name, getattr(nn.init, name), getattr(torch.nn.init, name), NO_GENERATOR)
