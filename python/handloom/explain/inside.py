"""What is inside: what layers return, what attention looks at, what filters look for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Array
from ..autograd import no_grad
from ..nn import MultiheadAttention
from ..tensor import Tensor
from ._scores import evaluating

if TYPE_CHECKING:
    from ..nn import Module


def activations(
    model: Module, *inputs: Any, layers: Iterable[str] | None = None
) -> dict[str, Array]:
    """Returns what layers return for an input, by their names in the model.

    Args:
        model: Run once, in evaluation mode.
        *inputs: Of the model.
        layers: Names; None for every layer that has none below it. A layer that runs several times
            is there with its last output.

    Raises:
        ValueError: A name that the model has not; the text lists those that it has.
    """
    modules = dict(model.named_modules())
    if layers is None:
        wanted = [name for name, m in modules.items() if next(m.children(), None) is None]
    else:
        if not isinstance(layers, Iterable):
            raise TypeError(f"activations: layers expects names, got {type(layers).__name__}")
        wanted = [layers] if isinstance(layers, str) else list(layers)
    for name in wanted:
        if name not in modules:
            known = ", ".join(filter(None, modules))
            raise ValueError(f"activations: no layer {name!r}, expected some of {known}")
    found: dict[str, Array] = {}
    hooks = [modules[name].register_forward_hook(_keeper(found, name)) for name in wanted]
    try:
        with evaluating(model), no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _keeper(found: dict[str, Array], name: str) -> Any:
    def keep(module: Any, args: Any, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) else output
        if isinstance(first, Tensor):
            found[name] = np.array(first.numpy())

    return keep


def attention_maps(model: Module, *inputs: Any) -> dict[str, Array]:
    """Returns the weights of every `MultiheadAttention`, each head's own, by its name.

    Args:
        model: Run once, in evaluation mode.
        *inputs: Of the model.

    Returns:
        Names to `(N, heads, T, S)`; each row adds up to 1.

    Raises:
        ValueError: The model has no such layer.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, MultiheadAttention)}
    if not layers:
        raise ValueError(f"attention_maps: {type(model).__name__} has no MultiheadAttention")
    found: dict[str, Array] = {}
    with evaluating(model), no_grad(), _telling(layers, found):
        model(*inputs)
    return found


@contextmanager
def _telling(layers: dict[str, MultiheadAttention], found: dict[str, Array]) -> Iterator[None]:
    """Within the block the layers compute their weights, whoever calls them, and these are kept."""

    def teller(name: str, layer: MultiheadAttention) -> Any:
        own = type(layer).forward
        parameters = signature(own)

        def forward(*args: Any, **options: Any) -> Any:
            asked = parameters.bind(layer, *args, **options)
            asked.apply_defaults()
            wanted, mean = (asked.arguments[n] for n in ("need_weights", "average_attn_weights"))
            asked.arguments.update(need_weights=True, average_attn_weights=False)
            y, weights = own(*asked.args, **asked.kwargs)
            assert weights is not None
            found[name] = np.array(weights.numpy())
            return y, None if not wanted else weights.mean(1) if mean else weights

        return forward

    for name, layer in layers.items():
        vars(layer)["forward"] = teller(name, layer)
    try:
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("forward", None)


def filters(layer: Module) -> Array:
    """Returns a convolution's kernels as pictures: `(O, kH, kW, I)`, from −1 to 1, 0 stays 0.

    Args:
        layer: A `Conv1d` gives `(O, k, I)`, a `Conv2d` the above.

    Raises:
        ValueError: The layer has no kernels.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 3:
        raise ValueError(f"filters: {type(layer).__name__} has no kernels, expected a convolution")
    values = np.array(weight.numpy())
    largest = np.abs(values).max(initial=0)
    return values / largest if largest > 0 else values
