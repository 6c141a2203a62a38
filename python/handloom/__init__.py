"""Hand-written kernels, woven into every classical network type.

>>> import handloom as hl
>>> x = hl.tensor([[1.0, 2.0]], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([[2., 4.]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The tensor module comes first: the tape and the operations are written in terms of it.
from handloom import tensor as _tensor_module  # isort: skip
from handloom import ops as ops
from handloom._precision import autocast, get_autocast_dtype, is_autocast_enabled
from handloom._runtime import (
    __version__,
    available_isas,
    empty_cache,
    get_num_threads,
    get_rng_state,
    manual_seed,
    set_num_threads,
    set_rng_state,
    show_config,
    use_isa,
)
from handloom.autograd import enable_grad, grad, is_grad_enabled, no_grad
from handloom.ops import (
    abs,
    all,
    amax,
    amin,
    any,
    arange,
    argmax,
    argmin,
    argsort,
    cat,
    chunk,
    clamp,
    cos,
    cumsum,
    diagonal,
    einsum,
    erf,
    exp,
    expm1,
    eye,
    flip,
    full,
    full_like,
    gather,
    heaviside,
    index_select,
    linspace,
    log,
    log1p,
    logsumexp,
    masked_fill,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    norm,
    ones,
    ones_like,
    outer,
    pow,
    prod,
    rand,
    randint,
    randn,
    randperm,
    reshape,
    rsqrt,
    sigmoid,
    sin,
    sort,
    split,
    sqrt,
    square,
    stack,
    std,
    sum,
    tanh,
    topk,
    tril,
    triu,
    var,
    where,
    zeros,
    zeros_like,
)
from handloom.tensor import Tensor, from_numpy, tensor

if TYPE_CHECKING:
    from handloom import (
        cuda,
        data,
        explain,
        io,
        kernels,
        models,
        nn,
        optim,
        text,
        train,
        tune,
        vision,
    )
    from handloom._anomaly import detect_anomaly
    from handloom._gradcheck import gradcheck
    from handloom._profile import profile
    from handloom.io import load, save

clip = clamp
concatenate = cat
del _tensor_module

__all__ = [
    "Tensor",
    "__version__",
    "abs",
    "all",
    "amax",
    "amin",
    "amp",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "autocast",
    "available_isas",
    "cat",
    "chunk",
    "clamp",
    "clip",
    "concatenate",
    "cos",
    "cuda",
    "cumsum",
    "data",
    "detect_anomaly",
    "diagonal",
    "einsum",
    "empty_cache",
    "enable_grad",
    "erf",
    "exp",
    "explain",
    "expm1",
    "eye",
    "flip",
    "from_numpy",
    "full",
    "full_like",
    "gather",
    "get_autocast_dtype",
    "get_num_threads",
    "get_rng_state",
    "grad",
    "gradcheck",
    "heaviside",
    "index_select",
    "io",
    "is_autocast_enabled",
    "is_grad_enabled",
    "kernels",
    "linspace",
    "load",
    "log",
    "log1p",
    "logsumexp",
    "manual_seed",
    "masked_fill",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "norm",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "outer",
    "pow",
    "prod",
    "profile",
    "rand",
    "randint",
    "randn",
    "randperm",
    "reshape",
    "rsqrt",
    "save",
    "set_num_threads",
    "set_rng_state",
    "show_config",
    "sigmoid",
    "sin",
    "sort",
    "split",
    "sqrt",
    "square",
    "stack",
    "std",
    "sum",
    "tanh",
    "tensor",
    "text",
    "topk",
    "train",
    "tril",
    "triu",
    "tune",
    "use_isa",
    "var",
    "vision",
    "where",
    "zeros",
    "zeros_like",
]

# Read on first use, so that `import handloom` costs little more than `import numpy`.
_LAZY = {
    "amp": "handloom.amp",
    "cuda": "handloom.cuda",
    "data": "handloom.data",
    "detect_anomaly": "handloom._anomaly",
    "explain": "handloom.explain",
    "gradcheck": "handloom._gradcheck",
    "io": "handloom.io",
    "kernels": "handloom.kernels",
    "load": "handloom.io",
    "models": "handloom.models",
    "nn": "handloom.nn",
    "optim": "handloom.optim",
    "profile": "handloom._profile",
    "save": "handloom.io",
    "text": "handloom.text",
    "train": "handloom.train",
    "tune": "handloom.tune",
    "vision": "handloom.vision",
}


def __getattr__(name: str) -> Any:
    where = _LAZY.get(name)
    if where is None:
        raise AttributeError(f"module 'handloom' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(where)
    found = module if where == f"handloom.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
