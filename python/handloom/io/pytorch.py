"""PyTorch's weights and ours: the same names, convolutions channels last.

============================= ============================ ==========================
weight                        PyTorch                      handloom
============================= ============================ ==========================
linear, recurrent, embedding  (O, I)                       the same
convolution                   (O, I/groups, kD, kH, kW)    (O, kD, kH, kW, I/groups)
transposed convolution        (I, O/groups, kD, kH, kW)    (I, kD, kH, kW, O/groups)
linear after a flatten        columns in order (C, H, W)   columns in order (H, W, C)
linear before an unflatten    rows in order (C, H, W)      rows in order (H, W, C)
============================= ============================ ==========================

Either convolution moves axis 1 to the end; the rest is to know which weights are convolutions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .._arrays import Array, as_array

Shapes = Mapping[str, tuple[int, ...]]
_CONVOLUTION = re.compile(r"_?(Lazy)?Conv(Transpose)?(Nd|[123]d)?")


def from_torch(
    state: Any,
    like: Any = None,
    flatten: Shapes | None = None,
    unflatten: Shapes | None = None,
) -> dict[str, Array]:
    """Converts PyTorch weights into what our `load_state_dict` takes.

    Whether a weight of three or more axes is a convolution's is told by its shape in `like`, where
    the original and the converted shape differ; else by its module, where `state` or `like` is
    one; else it is if its name is or ends in `.weight`. PyTorch is not imported.

    Args:
        state: A PyTorch module or its `state_dict()` (tensors or arrays).
        like: Our module that is to take the weights, or its `state_dict()`. Then PyTorch's
            `num_batches_tracked` is left out where the module has none.
        flatten: For each linear weight behind a flattened image: name → `(C, H, W)` (or `(C, L)`,
            `(C, D, H, W)`), e.g. `{"fc1.weight": (64, 7, 7)}`. Its columns are reordered.
        unflatten: Likewise for a linear layer in front of an unflattened image: the rows of the
            named weights and biases are reordered.

    Returns:
        Names to new arrays in our layouts; bfloat16 and float16 as float32, else the same dtype.

    Raises:
        TypeError: `state` is neither a module nor a mapping of names to arrays.
        ValueError: A name in `flatten` or `unflatten` is unknown or its size does not fit, or a
            shape fits `like` in neither layout.
    """
    return _convert(state, like, flatten, unflatten, _OURS)


def to_torch(
    state: Any,
    like: Any = None,
    flatten: Shapes | None = None,
    unflatten: Shapes | None = None,
    *,
    tensors: bool = True,
) -> dict[str, Any]:
    """Converts our weights into what PyTorch's `load_state_dict` takes; undoes `from_torch`.

    Args:
        state: Our module or its `state_dict()`.
        like: The PyTorch module that is to take the weights, or its `state_dict()`.
        flatten, unflatten: As for `from_torch`, the shapes again as `(C, H, W)`.
        tensors: False gives NumPy arrays and does not need PyTorch (to save them for it).

    Returns:
        Names to new tensors, or arrays, in PyTorch's layouts.

    Raises:
        ImportError: PyTorch is not installed and `tensors` is True.
        TypeError, ValueError: As `from_torch`.
    """
    arrays = _convert(state, like, flatten, unflatten, _TORCH)
    if not tensors:
        return arrays
    try:
        from torch import from_numpy
    except ImportError:
        raise ImportError(
            "to_torch: makes PyTorch tensors and PyTorch is not installed; "
            "pass tensors=False for NumPy arrays"
        ) from None
    return {name: from_numpy(array) for name, array in arrays.items()}


class _Direction:
    """How one side's layouts become the other's."""

    def __init__(
        self,
        op: str,
        move_channels: Callable[[Array], Array],
        reorder: Callable[[Array, tuple[int, ...]], Array],
    ) -> None:
        self.op = op
        self.move_channels = move_channels  # of a convolution's weight
        self.reorder = reorder  # a last axis of C·H·W; the shape is (C, H, W)


def _to_features_last(x: Array, image: tuple[int, ...]) -> Array:
    lead = x.shape[:-1]
    return np.moveaxis(x.reshape(*lead, *image), len(lead), -1).reshape(x.shape)


def _to_features_first(x: Array, image: tuple[int, ...]) -> Array:
    lead = x.shape[:-1]
    return np.moveaxis(x.reshape(*lead, *image[1:], image[0]), -1, len(lead)).reshape(x.shape)


_OURS = _Direction("from_torch", lambda w: np.moveaxis(w, 1, -1), _to_features_last)
_TORCH = _Direction("to_torch", lambda w: np.moveaxis(w, -1, 1), _to_features_first)


def _convert(
    state: Any,
    like: Any,
    flatten: Shapes | None,
    unflatten: Shapes | None,
    to: _Direction,
) -> dict[str, Array]:
    source = _state_dict(state, f"{to.op}: state")
    target = None if like is None else _state_dict(like, f"{to.op}: like")
    for argument, shapes in (("flatten", flatten), ("unflatten", unflatten)):
        unknown = [name for name in shapes or {} if name not in source]
        if unknown:
            raise ValueError(
                f"{to.op}: {argument} names {unknown[0]!r}, the state has {', '.join(source)}"
            )
    known = _modules_say(like) | _modules_say(state)
    result = {}
    for name, value in source.items():
        if target is not None and name not in target and name.endswith("num_batches_tracked"):
            continue
        x = _array(value, f"{to.op}: {name!r}")
        if _is_convolution(name, x, known, target, to):
            x = to.move_channels(x)
        if flatten and name in flatten:
            x = _reordered(x, -1, flatten[name], f"{to.op}: flatten: {name!r}", to)
        if unflatten and name in unflatten:
            x = _reordered(x, 0, unflatten[name], f"{to.op}: unflatten: {name!r}", to)
        result[name] = np.array(x, order="C")
    return result


def _state_dict(state: Any, where: str) -> Mapping[str, Any]:
    method = getattr(state, "state_dict", None)
    mapping = method() if callable(method) else state
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{where} expects a module or its state_dict(), got {type(state).__name__}")
    for name in mapping:
        if not isinstance(name, str):
            raise TypeError(f"{where} expects names, got the key {name!r}")
    return mapping


def _array(value: Any, where: str) -> Array:
    array = as_array(value, where)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _modules_say(state: Any) -> dict[str, bool]:
    """Returns, where `state` is a module, for each name of a weight whether it is a convolution's.

    PyTorch's modules and ours are told by their classes' names, as neither is imported here.
    """
    named_modules = getattr(state, "named_modules", None)
    if not callable(named_modules):
        return {}
    modules: Iterable[tuple[str, Any]] = named_modules()
    return {
        f"{prefix}.weight" if prefix else "weight": any(
            _CONVOLUTION.fullmatch(base.__name__) for base in type(module).__mro__
        )
        for prefix, module in modules
    }


def _is_convolution(
    name: str,
    x: Array,
    known: Mapping[str, bool],
    target: Mapping[str, Any] | None,
    to: _Direction,
) -> bool:
    if x.ndim < 3:
        return False
    shape = tuple(target[name].shape) if target is not None and name in target else None
    kept, moved = x.shape == shape, to.move_channels(x).shape == shape
    if shape is not None and not kept and not moved:
        raise ValueError(
            f"{to.op}: {name!r} has the shape {x.shape}, or {to.move_channels(x).shape} as a "
            f"convolution's weight, like has {shape}"
        )
    if kept != moved:
        return moved
    return known.get(name, name.split(".")[-1] == "weight")


def _reordered(x: Array, axis: int, image: tuple[int, ...], where: str, to: _Direction) -> Array:
    image = tuple(int(size) for size in image)
    if len(image) < 2 or min(image) < 1:
        raise ValueError(f"{where} expects the image's shape (C, H, W), got {image}")
    if x.ndim not in (1, 2) or (axis == -1 and x.ndim != 2):
        raise ValueError(f"{where} expects a linear layer's weight, its shape is {x.shape}")
    if x.shape[axis] != math.prod(image):
        raise ValueError(
            f"{where}: {image} makes {math.prod(image)} features, the weight has {x.shape[axis]}"
        )
    return to.reorder(x.T, image).T if axis == 0 else to.reorder(x, image)
