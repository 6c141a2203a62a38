"""Checkpoints of whole runs: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..io.weights import Path, load, load_metadata, save

_KEY = "handloom_checkpoint"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Saves a nested state: dicts and lists of arrays, numbers, text and None.

    What `state_dict()` of modules, optimisers, schedules, `EMA` and `Adversarial` return fits. The
    arrays are the file's tensors, everything else is text in its header; the file is written whole
    or not at all.

    Args:
        path: By custom `*.safetensors`.
        state: Keys are strings or integers.

    Raises:
        TypeError: A value of another kind.
        OSError: The file cannot be written.
    """
    arrays: dict[str, Any] = {}
    tree = _pack(state, "state", arrays)
    import json  # not needed by those who only train

    save(path, arrays, metadata={_KEY: json.dumps(tree)})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Returns what `save_checkpoint` was given; tuples come back as lists.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds weights only.
    """
    metadata = load_metadata(path)
    if _KEY not in metadata:
        raise ValueError(f"load_checkpoint: {path} holds weights, but no checkpoint")
    arrays = load(path)
    import json

    state: dict[str, Any] = _unpack(json.loads(metadata[_KEY]), arrays)
    return state


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
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
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
