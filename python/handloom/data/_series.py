"""The text format of time-series archives, `.ts` (sktime, aeon): one case a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._arrays import Array


class Series(NamedTuple):
    """The cases of a file.

    Attributes:
        x: One float32 array `(T, channels)` for each case; lengths may differ.
        y: int64 `(N,)`, the places of the labels in `labels`.
        labels: The classes, as the file's head declares them.
    """

    x: list[Array]
    y: Array
    labels: tuple[str, ...]


def parse_ts(content: bytes, name: str) -> Series:
    """Reads a `.ts` file with class labels.

    Lines that begin with `#` are comments, those with `@` the head; after `@data` a case is its
    channels, separated by colons, and at last its label; a channel is numbers separated by commas.

    Args:
        content: Of the file.
        name: The file's name, for errors.

    Raises:
        ValueError: No head or no case, a value that is missing or no number, channels of different
            length, a label that the head does not declare.
    """
    labels: tuple[str, ...] = ()
    lines = iter(enumerate(content.decode().splitlines(), 1))
    for _, line in lines:
        words = line.lower().split()
        if words[:2] == ["@classlabel", "true"]:
            labels = tuple(line.split()[2:])
        elif words[:1] == ["@data"]:
            break
    if not labels:
        raise ValueError(f"read_ts: {name} declares no class labels: expected '@classLabel true …'")
    x, y = [], []
    for number, line in lines:
        if not line.strip():
            continue
        *channels, label = line.strip().split(":")
        where = f"read_ts: {name}, line {number}"
        if label not in labels:
            raise ValueError(f"{where}: label {label!r}, expected one of {', '.join(labels)}")
        try:
            values = [np.array(channel.split(","), np.float32) for channel in channels]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if len({len(channel) for channel in values}) != 1:
            lengths = ", ".join(str(len(channel)) for channel in values) or "none"
            raise ValueError(f"{where}: expected channels of one length, got {lengths}")
        x.append(np.stack(values, axis=-1))
        y.append(labels.index(label))
    if not x:
        raise ValueError(f"read_ts: {name} has no cases")
    return Series(x, np.array(y, np.int64), labels)
