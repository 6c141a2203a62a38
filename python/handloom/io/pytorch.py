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

Either convolution moves axis 1 to the end; the rest is to know which weights are convolutions. A
layer norm over whole images, (C, H, W), moves axis 0. Of spectral and weight norm, `weight_orig`,
`weight_g` and `weight_v` follow the weight; PyTorch's newer names for these, under
`parametrizations`, become the older ones, which are ours.
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
_IMAGE_NORM = re.compile(r"LayerNorm|RMSNorm")
_WEIGHTS = ("weight", "weight_orig", "weight_v", "weight_g")  # what moves with a weight
_PARAMETRIZED = re.compile(r"parametrizations\.weight\.(original[01]?|0\._[uv])$")
_PLAIN = {"original": "orig", "original0": "g", "original1": "v", "0._u": "u", "0._v": "v"}


def from_torch(
    state: Any,
    like: Any = None,
    flatten: Shapes | None = None,
    unflatten: Shapes | None = None,
) -> dict[str, Array]:
    """Converts PyTorch weights into what our `load_state_dict` takes.

    Whether a weight of three or more axes is a convolution's is told by its shape in `like`, where
    the original and the converted shape differ; else by its module, where `state` or `like` is
    one; else it is if its name is or ends in `.weight` (or `.weight_orig`, `.weight_v`). PyTorch is
    not imported.

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
        ValueError: A name in `flatten` or `unflatten` is unknown or its size does not fit, a shape
            fits `like` in neither layout, or neither names nor shapes tell what a weight is.
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
        move_image: Callable[[Array], Array],
    ) -> None:
        self.op = op
        self.move_channels = move_channels  # of a convolution's weight
        self.reorder = reorder  # a last axis of C·H·W; the shape is (C, H, W)
        self.move_image = move_image  # of a norm's weight over (C, H, W)


def _to_features_last(x: Array, image: tuple[int, ...]) -> Array:
    lead = x.shape[:-1]
    return np.moveaxis(x.reshape(*lead, *image), len(lead), -1).reshape(x.shape)


def _to_features_first(x: Array, image: tuple[int, ...]) -> Array:
    lead = x.shape[:-1]
    return np.moveaxis(x.reshape(*lead, *image[1:], image[0]), -1, len(lead)).reshape(x.shape)


def _images_last(x: Array) -> Array:
    return np.moveaxis(x, 0, -1)


def _images_first(x: Array) -> Array:
    return np.moveaxis(x, -1, 0)


_OURS = _Direction("from_torch", lambda w: np.moveaxis(w, 1, -1), _to_features_last, _images_last)
_TORCH = _Direction("to_torch", lambda w: np.moveaxis(w, -1, 1), _to_features_first, _images_first)


def _convert(
    state: Any,
    like: Any,
    flatten: Shapes | None,
    unflatten: Shapes | None,
    to: _Direction,
) -> dict[str, Array]:
    source = _plain_names(_state_dict(state, f"{to.op}: state"))
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
        if known.get(name) == "norm":
            x = _image_norm(name, x, target, to)
        elif _is_convolution(name, x, known, target, to):
            x = to.move_channels(x)
        elif x.ndim == 1 and name.endswith("weight_v"):
            x = _power_vector(name, x, source, known, target, to)
        if flatten and name in flatten:
            x = _reordered(x, -1, flatten[name], f"{to.op}: flatten: {name!r}", to)
        if unflatten and name in unflatten:
            x = _reordered(x, 0, unflatten[name], f"{to.op}: unflatten: {name!r}", to)
        result[name] = np.array(x, order="C")
    return _names_of(result, target)


def _plain_names(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """PyTorch's `parametrizations.weight.original` … as `weight_orig` …"""
    return {
        _PARAMETRIZED.sub(lambda found: f"weight_{_PLAIN[found[1]]}", name): value
        for name, value in state.items()
    }


def _names_of(result: dict[str, Array], target: Mapping[str, Any] | None) -> dict[str, Array]:
    """The names that `target` has for what we call `weight_orig` …"""
    theirs = {}
    for name in target or ():
        if (plain := next(iter(_plain_names({name: None})))) != name:
            theirs[plain] = name
    return {theirs.get(name, name): x for name, x in result.items()}


def _image_norm(name: str, x: Array, target: Mapping[str, Any] | None, to: _Direction) -> Array:
    """A weight over whole images; one over (T, C) has its features last on both sides."""
    moved = to.move_image(x)
    if target is None or name not in target:
        return moved if x.ndim > 2 else x
    shape = tuple(target[name].shape)
    if moved.shape == x.shape == shape:
        return moved if x.ndim > 2 else x
    return moved if moved.shape == shape else x


def _power_vector(
    name: str,
    v: Array,
    source: Mapping[str, Any],
    known: Mapping[str, str],
    target: Mapping[str, Any] | None,
    to: _Direction,
) -> Array:
    """Spectral norm's v: one number for each of an output's weights, in their order.

    Of a transposed convolution, whose outputs are PyTorch's axis 1 and our last, that order is the
    same on both sides: (I, kH, kW).
    """
    stem = name.removesuffix("v")
    if stem + "orig" not in source or stem + "u" not in source:
        return v
    w = _array(source[stem + "orig"], f"{to.op}: {name!r}")
    if not _is_convolution(stem + "orig", w, known, target, to):
        return v
    outputs = np.size(_array(source[stem + "u"], f"{to.op}: {name!r}"))
    one, other = w.shape[0], w.shape[1 if to is _OURS else -1]
    if one == other and stem + "orig" not in known:
        raise ValueError(
            f"{to.op}: {name!r} belongs to a convolution or a transposed one, from as many to as "
            "many channels; pass the module as like= to say which"
        )
    transposed = known.get(stem + "orig") == "transposed" if one == other else outputs != one
    if transposed or outputs * v.size != w.size:
        return v
    order: Array = to.move_channels(np.asarray(v).reshape(1, *w.shape[1:]))
    return order.reshape(-1)


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


def _modules_say(state: Any) -> dict[str, str]:
    """Returns, where `state` is a module, for each name of a weight what it belongs to.

    That is "convolution", "transposed", "norm" (over images) or "other". PyTorch's modules and ours
    are told by their classes' names, as neither is imported here.
    """
    named_modules = getattr(state, "named_modules", None)
    if not callable(named_modules):
        return {}
    said = {}
    modules: Iterable[tuple[str, Any]] = named_modules()
    for prefix, module in modules:
        bases = [base.__name__ for base in type(module).__mro__]
        kind = "other"
        if found := next(filter(None, map(_CONVOLUTION.fullmatch, bases)), None):
            kind = "transposed" if found[2] else "convolution"
        elif any(map(_IMAGE_NORM.fullmatch, bases)) and len(module.normalized_shape) > 1:
            kind = "norm"
        for name in (*_WEIGHTS, "bias") if kind == "norm" else _WEIGHTS:
            said[f"{prefix}.{name}" if prefix else name] = kind
    return said


def _is_convolution(
    name: str,
    x: Array,
    known: Mapping[str, str],
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
    if name in known:
        return known[name] in ("convolution", "transposed")
    return name.split(".")[-1] in _WEIGHTS


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
