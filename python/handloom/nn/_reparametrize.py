"""Weights that are computed from others before each forward: spectral and weight normalisation.

Both follow PyTorch's `nn.utils.spectral_norm` and `nn.utils.weight_norm`, with the same names in
the state: a hook makes `module.weight` from `weight_orig` (or `weight_g` and `weight_v`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from handloom import kernels, ops
from handloom.nn import init
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.tensor import Array, Tensor, wrap

M = TypeVar("M", bound=Module)


def _weight_of(op: str, module: Module, name: str) -> Parameter:
    weight = vars(module).get(name)
    if not isinstance(weight, Parameter):
        raise ValueError(f"{op}: {type(module).__name__} has no parameter {name!r}")
    return weight


def _axis(op: str, dim: int, weight: Tensor) -> int:
    if not -weight.ndim <= dim < weight.ndim:
        raise ValueError(f"{op}: dim is {dim}, the weight has shape {weight.shape}")
    return dim % weight.ndim


def _hook_of(op: str, kind: type[Any], module: Module, name: str) -> Any:
    for method in module._hooks.get("pre", ()):
        hook = getattr(method, "__self__", None)
        if isinstance(hook, kind) and hook.name == name:
            return hook
    raise ValueError(f"{op}: {type(module).__name__} has no such norm on {name!r}")


class _Computed:
    """Makes a module's weight before its forward."""

    name: str

    def before(self, module: Module, args: tuple[Any, ...]) -> None:
        raise NotImplementedError

    def after(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        """Lets go of the graph: a module that held on to it could not be copied."""
        setattr(module, self.name, getattr(module, self.name).detach())

    def attach(self, module: Module, weight: Tensor) -> None:
        setattr(module, self.name, weight.detach())
        module.register_forward_pre_hook(self.before)
        module.register_forward_hook(self.after)

    def detach(self, module: Module, weight: Tensor) -> None:
        for when in ("pre", "post"):
            hooks = module._hooks[when]
            hooks[:] = [h for h in hooks if getattr(h, "__self__", None) is not self]
        delattr(module, self.name)
        setattr(module, self.name, Parameter(weight.detach().clone()))


class _SpectralNorm(_Computed):
    """weight = weight_orig/σ, σ = uᵀ W v; u and v come from power iteration."""

    def __init__(self, name: str, dim: int, n_power_iterations: int, eps: float) -> None:
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as (outputs, everything else)."""
        if self.dim:
            rest = [i for i in range(weight.ndim) if i != self.dim]
            weight = ops.permute(weight, (self.dim, *rest))
        return ops.reshape(weight, (weight.shape[0], -1))

    def unit(self, vector: Array) -> Array:
        length = max(float(kernels.norm(vector)), self.eps)
        return kernels.mul(vector, vector.dtype.type(1 / length))

    def compute(self, module: Module, iterate: bool) -> Tensor:
        weight: Tensor = getattr(module, self.name + "_orig")
        u: Tensor = getattr(module, self.name + "_u")
        v: Tensor = getattr(module, self.name + "_v")
        matrix = self.matrix(weight)
        a, b = u._array, v._array
        if iterate and self.n_power_iterations:
            for _ in range(self.n_power_iterations):
                b = self.unit(kernels.matmul(matrix._array.T, a))
                a = self.unit(kernels.matmul(matrix._array, b))
            u.copy_(a)  # the graph holds the new arrays, so the buffers may be written again
            v.copy_(b)
        sigma = ops.matmul(wrap(a), ops.matmul(matrix, wrap(b)))
        return ops.div(weight, sigma)

    def before(self, module: Module, args: tuple[Any, ...]) -> None:
        setattr(module, self.name, self.compute(module, module.training))


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Divides a layer's weight by its largest singular value, σ. Miyato et al. (2018).

    σ is followed by power iteration, in training `n_power_iterations` steps at each forward, on
    vectors u and v that are kept; the gradient goes through σ with u and v as constants. In
    evaluation u and v rest.

    Args:
        module: A layer with a parameter `name`.
        name: Which.
        n_power_iterations: Steps at each forward in training.
        eps: Least length that u and v are divided by.
        dim: The axis of the outputs; default 0, and the last for transposed convolutions.

    Returns:
        The module, with the parameter `weight_orig` and the buffers `weight_u` and `weight_v` in
        place of `weight`. For convolutions v has the order of our layout, (kH, kW, I).

    Raises:
        ValueError: There is no such parameter, or n_power_iterations is negative.
    """
    op = "spectral_norm"
    weight = _weight_of(op, module, name)
    if n_power_iterations < 0:
        raise ValueError(f"{op}: n_power_iterations is {n_power_iterations}, expected at least 0")
    if dim is None:
        transposed = any(c.__name__.startswith("ConvTranspose") for c in type(module).__mro__)
        dim = -1 if transposed else 0
    hook = _SpectralNorm(name, _axis(op, dim, weight), n_power_iterations, eps)
    rows, columns = hook.matrix(weight.detach()).shape
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    for suffix, size in (("_u", rows), ("_v", columns)):
        start = Tensor(np.zeros_like(weight._array, shape=(size,)))
        init.normal_(start)
        module.register_buffer(name + suffix, wrap(hook.unit(start._array)))
    hook.attach(module, weight)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Makes the normalised weight a plain parameter again.

    Raises:
        ValueError: There is no spectral norm on that parameter.
    """
    hook = _hook_of("remove_spectral_norm", _SpectralNorm, module, name)
    hook.detach(module, hook.compute(module, False))
    for suffix in ("_orig", "_u", "_v"):
        delattr(module, name + suffix)
    gone = (name + "_u", name + "_v")
    module._buffers = {k: v for k, v in module._buffers.items() if k not in gone}
    return module


class _WeightNorm(_Computed):
    """weight = g·v/‖v‖, the norm over every axis but one."""

    def __init__(self, name: str, axes: tuple[int, ...] | None) -> None:
        self.name = name
        self.axes = axes

    def length(self, v: Tensor) -> Tensor:
        if self.axes == ():
            return ops.abs(v)
        return ops.norm(v, 2.0, self.axes, keepdim=self.axes is not None)

    def compute(self, module: Module) -> Tensor:
        g: Tensor = getattr(module, self.name + "_g")
        v: Tensor = getattr(module, self.name + "_v")
        return ops.mul(v, ops.div(g, self.length(v)))

    def before(self, module: Module, args: tuple[Any, ...]) -> None:
        setattr(module, self.name, self.compute(module))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learns a weight's length and direction apart: w = g·v/‖v‖. Salimans and Kingma (2016).

    Args:
        module: A layer with a parameter `name`.
        name: Which.
        dim: The axis whose slices have a length each; None for one length.

    Returns:
        The module, with the parameters `weight_g` and `weight_v` in place of `weight`.

    Raises:
        ValueError: There is no such parameter.
    """
    weight = _weight_of("weight_norm", module, name)
    axes = None
    if dim is not None:
        kept = _axis("weight_norm", dim, weight)
        axes = tuple(i for i in range(weight.ndim) if i != kept)
    hook = _WeightNorm(name, axes)
    length = hook.length(weight.detach())
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(length))
    module.register_parameter(name + "_v", weight)
    hook.attach(module, weight)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Makes the weight a plain parameter again.

    Raises:
        ValueError: There is no weight norm on that parameter.
    """
    hook = _hook_of("remove_weight_norm", _WeightNorm, module, name)
    hook.detach(module, hook.compute(module))
    for suffix in ("_g", "_v"):
        delattr(module, name + suffix)
    return module
