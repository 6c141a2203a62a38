"""Readers of array files that the user has: IDX (MNIST), CIFAR-10, NumPy archives."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._files import read_file

if TYPE_CHECKING:
    import zipfile

Path = str | os.PathLike[str]

_IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: Path) -> Array:
    """Reads an IDX file, the format of MNIST and its kin; gzip is unpacked.

    The format, big endian: two zero bytes, a type code, the number of axes, one uint32 for each
    axis, then the elements, last axis fastest. (Y. LeCun, The MNIST database.)

    Args:
        path: For example `train-images-idx3-ubyte.gz`.

    Returns:
        An array of the shape in the file, dtype uint8, int8, int16, int32, float32 or float64 in
        the machine's byte order. Images of MNIST come as `(N, 28, 28)`: add the channel axis by
        `[..., None]`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not an IDX file, or has fewer or more bytes than its shape needs.
    """
    content, name = read_file(path), os.fspath(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise ValueError(
            f"read_idx: {name} is not an IDX file: expected it to begin with 00 00 and a type "
            f"of {', '.join(f'{code:02x}' for code in _IDX_TYPES)}, got {content[:4].hex(' ')!r}"
        )
    dtype, axes = _IDX_TYPES[content[2]], content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(f"read_idx: {name} is truncated: {axes} axes, {len(content)} bytes in all")
    shape = struct.unpack(f">{axes}I", content[4:start])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        kind = "truncated" if len(content) - start < expected else "followed by other data"
        raise ValueError(
            f"read_idx: {name} is {kind}: shape {shape} of {dtype.name} needs {expected} bytes, "
            f"it has {len(content) - start}"
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    native: Array = values.astype(dtype.newbyteorder("="))
    return native


_CIFAR_ROW = 1 + 3 * 32 * 32
_CIFAR_FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}


def read_cifar10(
    path: Path | Iterable[Path], *, split: str = "train"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads CIFAR-10 in its binary version.

    A record is one byte of label and 3072 bytes of image: the red plane, the green, the blue, each
    32 rows of 32. (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.)

    Args:
        path: A file, several files, or the directory `cifar-10-batches-bin`.
        split: `"train"` (five files) or `"test"` (one); counts for a directory only.

    Returns:
        Images `(N, 32, 32, 3)` uint8 and labels `(N,)` int64 in `[0, 10)`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is truncated or is not CIFAR-10, or `split` is unknown.
    """
    if split not in _CIFAR_FILES:
        raise ValueError(f"read_cifar10: split expects 'train' or 'test', got {split!r}")
    if not isinstance(path, (str, os.PathLike)):
        files = list(path)
    elif os.path.isdir(path):
        files = [os.path.join(path, name) for name in _CIFAR_FILES[split]]
    else:
        files = [path]
    if not files:
        raise ValueError("read_cifar10: expected at least one file")
    parts = [_read_cifar10_file(file) for file in files]
    records = np.concatenate(parts)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)


def _read_cifar10_file(path: Path) -> NDArray[np.uint8]:
    content, name = read_file(path), os.fspath(path)
    if len(content) % _CIFAR_ROW or not content:
        raise ValueError(
            f"read_cifar10: {name} is truncated or not CIFAR-10: {len(content)} bytes, expected "
            f"records of {_CIFAR_ROW}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_ROW)
    if records[:, 0].max() > 9:
        raise ValueError(
            f"read_cifar10: {name} is not CIFAR-10: label {records[:, 0].max()}, expected 0 to 9"
        )
    return records


def read_npz(path: Path) -> dict[str, Array]:
    """Reads a NumPy archive; pickled objects are refused, as they could run code.

    Args:
        path: A file made by `np.savez` or `np.savez_compressed`.

    Returns:
        The arrays by name, in the machine's byte order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not an archive of arrays, is damaged, or holds Python objects.
    """
    import zipfile
    import zlib

    name = os.fspath(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return {
                    entry.removesuffix(".npy"): _read_npy(archive, entry, name)
                    for entry in archive.namelist()
                }
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise ValueError(
                f"read_npz: {name} is not an .npz file or is damaged: {error}"
            ) from None


def _read_npy(archive: zipfile.ZipFile, entry: str, name: str) -> Array:
    with archive.open(entry) as member:
        try:
            array: Array = np.lib.format.read_array(member, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"read_npz: {name}: {entry} cannot be read: {error}") from None
    return array.astype(array.dtype.newbyteorder("="), copy=False)
