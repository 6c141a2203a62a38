"""Weights in safetensors files: an 8-byte length, a JSON header, then the arrays; no pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._arrays import Array, as_array
from .._files import write_atomically

Path = str | os.PathLike[str]

# Raised by one when a file of the new kind could not be read by the old code.
FORMAT_VERSION = 1
_VERSION_KEY = "handloom_format"

_DTYPES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}


def save(
    path: Path, state_dict: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Saves weights as a safetensors file, whole or not at all.

    The file is written beside `path` under another name, flushed to the disk, and renamed. Keras:
    `save_weights`; PyTorch: `torch.save`, which pickles.

    Args:
        path: The file, by custom `*.safetensors`.
        state_dict: Names to arrays or tensors, as `Module.state_dict()` gives them: float64,
            float32, float16, integers or booleans, of any shape and strides.
        metadata: Further text to keep in the header; `load_metadata` returns it.

    Raises:
        TypeError: A name is not a string, a value not an array of numbers, or the metadata not
            text.
        ValueError: A name or a metadata key is reserved.
        OSError: The directory does not exist or cannot be written.
    """
    from safetensors.numpy import save as serialize

    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "save: state_dict expects a mapping of names to arrays, "
            f"got {type(state_dict).__name__}; write save(path, model.state_dict())"
        )
    arrays = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise TypeError(f"save: state_dict expects names, got the key {name!r}")
        if name == "__metadata__":
            raise ValueError("save: the name '__metadata__' is reserved by the format")
        arrays[name] = _storable(value, name)
    write_atomically(path, serialize(arrays, metadata=_header(metadata)))


def load(path: Path) -> dict[str, Array]:
    """Loads weights from a safetensors file, ours or another program's.

    A file that PyTorch has written holds PyTorch's layouts: pass the result to `from_torch`.

    Args:
        path: The file.

    Returns:
        The arrays by name, writable, in the order of the file's data; bfloat16 comes as float32.
        `Module.load_state_dict` checks their names and shapes against a model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is truncated or not a safetensors file, was written by a later version of
            handloom, or holds a dtype that NumPy has not.
    """
    items, _ = _read(path)
    return {name: _to_array(item, path, name) for name, item in items}


def load_metadata(path: Path) -> dict[str, str]:
    """Returns the text that `save` was given as `metadata`.

    Raises:
        FileNotFoundError, ValueError: As `load`.
    """
    _, metadata = _read(path)
    metadata.pop(_VERSION_KEY, None)
    return metadata


def _storable(value: object, name: str) -> Array:
    if isinstance(value, (bool, int, float, list, tuple)):
        raise TypeError(f"save: {name!r} expects an array or a tensor, got {type(value).__name__}")
    array = as_array(value, f"save: {name!r}")
    if array.dtype.newbyteorder("<").str not in _DTYPES.values():
        raise TypeError(f"save: {name!r} has the dtype {array.dtype}, which the format has not")
    # safetensors copies memory as it lies and would not see strides; asarray keeps 0-d arrays.
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _header(metadata: Mapping[str, str] | None) -> dict[str, str]:
    header = {_VERSION_KEY: str(FORMAT_VERSION)}
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata expects text for text, got {key!r}: {text!r}")
        if key == _VERSION_KEY:
            raise ValueError(f"save: the metadata key {key!r} is reserved")
        header[key] = text
    return header


def _read(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, str]]:
    """Returns the items and the metadata of a safetensors file, its version checked."""
    import json

    import safetensors

    with open(path, "rb") as file:
        content = file.read()
    try:
        items = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load: {os.fspath(path)} is not a safetensors file or is truncated: {error}"
        ) from None
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    version = metadata.get(_VERSION_KEY, str(FORMAT_VERSION))
    if not version.isdecimal() or not 1 <= int(version) <= FORMAT_VERSION:
        raise ValueError(
            f"load: {os.fspath(path)} has the format version {version!r}, "
            f"this handloom reads versions up to {FORMAT_VERSION}"
        )
    return items, metadata


def _to_array(item: dict[str, Any], path: Path, name: str) -> Array:
    data, dtype, shape = item["data"], item["dtype"], item["shape"]
    if dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        floats: Array = wide.view(np.float32).reshape(shape)
        return floats
    if dtype not in _DTYPES:
        raise ValueError(
            f"load: {os.fspath(path)}: {name!r} has the dtype {dtype}, "
            f"expected one of BF16, {', '.join(_DTYPES)}"
        )
    values = np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    native: Array = values.astype(values.dtype.newbyteorder("="))
    return native
