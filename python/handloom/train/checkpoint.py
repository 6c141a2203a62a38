"""Checkpoints of whole runs: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..io.weights import Path, load, load_metadata, save

_KEY, _DIGEST = "handloom_checkpoint", "handloom_sha256"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Saves a nested state: dicts and lists of arrays, numbers, text and None.

    What `state_dict()` of modules, optimisers, schedules, `EMA` and `Adversarial` return fits. The
    arrays are the file's tensors, everything else is text in its header. The file is written whole
    or not at all: under another name first, flushed to the disk, then renamed over the old one. A
    checksum over all of it tells `load_checkpoint` that not a bit has changed.

    Args:
        path: By custom `*.safetensors`.
        state: Keys are strings or integers.

    Raises:
        TypeError: A value of another kind.
        OSError: The file cannot be written; one that was there before is as it was.
    """
    arrays: dict[str, Any] = {}
    tree = _pack(state, "state", arrays)
    import json  # not needed by those who only train

    text = json.dumps(tree)
    save(path, arrays, metadata={_KEY: text, _DIGEST: _digest(text, arrays)})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Returns what `save_checkpoint` was given; tuples come back as lists.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged (truncated, or a bit of it has changed), or holds weights
            only.
    """
    name = os.fspath(path)
    metadata = load_metadata(path)
    if _KEY not in metadata:
        raise ValueError(f"load_checkpoint: {name} holds weights, but no checkpoint")
    arrays, text = load(path), metadata[_KEY]
    if metadata.get(_DIGEST) != _digest(text, arrays):
        raise ValueError(f"load_checkpoint: {name} is damaged: its checksum does not fit")
    import json

    state: dict[str, Any] = _unpack(json.loads(text), arrays)
    return state


def _digest(text: str, arrays: dict[str, Any]) -> str:
    """SHA-256 over the tree and every array with its name, kind and shape."""
    from hashlib import sha256

    found = sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _pack(value: Any, where: str, arrays: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        # JSON turns every key into text: whole numbers are told apart.
        items = []
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise TypeError(f"save_checkpoint: {where} has the key {key!r}, expected text")
            items.append([key, _pack(item, f"{where}.{key}", arrays)])
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        return {"list": [_pack(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "cpu"):  # a tensor, or an array on a GPU
        value = value.cpu()
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        while where in arrays:  # {"a": {"b": …}, "a.b": …}
            where += "'"
        arrays[where] = value
        return {"array": where}
    raise TypeError(
        f"save_checkpoint: {where} is a {type(value).__name__}, expected arrays, numbers or text"
    )


def _unpack(tree: Any, arrays: dict[str, Any]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "dict" in tree:
        return {key: _unpack(item, arrays) for key, item in tree["dict"]}
    if "list" in tree:
        return [_unpack(item, arrays) for item in tree["list"]]
    return arrays[tree["array"]]
