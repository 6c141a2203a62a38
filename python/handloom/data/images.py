"""Readers of pictures: PNG and TIFF, as far as the data sets need them, with NumPy alone."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from .._arrays import Array

_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def parse_png(content: bytes, name: str) -> Array:
    """Decodes a PNG of 8 bits a channel, not interlaced, without palette: uint8 (H, W, C).

    W3C, "Portable Network Graphics Specification" (2003).

    Raises:
        ValueError: It is no PNG, of another kind, or damaged.
    """
    if not content.startswith(_PNG):
        raise ValueError(f"data.load: {name} is not a PNG file")
    packed, header, at = b"", b"", len(_PNG)
    while at + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    if len(header) != 13:
        raise ValueError(f"data.load: {name} has no header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 8 or colour not in _CHANNELS or interlaced:
        raise ValueError(
            f"data.load: {name} has {depth} bits of colour type {colour}"
            f"{', interlaced' if interlaced else ''}; expected 8 bits, no palette, not interlaced"
        )
    channels = _CHANNELS[colour]
    try:
        rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    except (zlib.error, ValueError) as error:
        raise ValueError(f"data.load: {name} is damaged: {error}") from None
    if rows.shape[1] != 1 + width * channels:
        raise ValueError(f"data.load: {name} is damaged: it has rows of {rows.shape[1]} bytes")
    return _unfilter(rows[:, 0], rows[:, 1:].reshape(height, width, channels))


def _unfilter(kinds: Array, rows: Array) -> Array:
    """Adds to each byte what its row's filter had predicted from the left and from above.

    Pixels of a diagonal depend only on earlier diagonals, so that each is one step.
    """
    height, width, _ = rows.shape
    out = np.zeros((height + 1, width + 1, rows.shape[2]), np.int16)
    for t in range(height + width - 1):
        i = np.arange(max(0, t - width + 1), min(height - 1, t) + 1)
        j = t - i
        kind = kinds[i][:, None]
        left, up, corner = out[i + 1, j], out[i, j + 1], out[i, j]
        guess = left + up - corner
        a, b, c = np.abs(guess - left), np.abs(guess - up), np.abs(guess - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
        added = np.select(
            [kind == 0, kind == 1, kind == 2, kind == 3],
            [np.zeros_like(left), left, up, (left + up) >> 1],
            paeth,
        )
        out[i + 1, j + 1] = (rows[i, j] + added) & 255
    return out[1:, 1:].astype(np.uint8)


def parse_tiff(content: bytes, name: str) -> Array:
    """Decodes an uncompressed TIFF of one channel and one strip: uint8 or uint16 (H, W).

    Adobe, "TIFF Revision 6.0" (1992).

    Raises:
        ValueError: It is no TIFF, of another kind, or damaged.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        raise ValueError(f"data.load: {name} is not a TIFF file")
    try:
        (at,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, at)
        tags = {}
        for i in range(count):
            tag, kind, n, value = struct.unpack_from(order + "HHII", content, at + 2 + 12 * i)
            # A short stands in the first half of the four bytes.
            tags[tag] = value >> 16 if kind == 3 and order == ">" else value
            if tag in (273, 279) and n != 1:
                raise ValueError(f"data.load: {name} has {n} strips, expected one")
        width, height, bits, start = tags[256], tags[257], tags[258], tags[273]
    except (struct.error, KeyError) as error:
        raise ValueError(f"data.load: {name} is damaged: {error}") from None
    if bits not in (8, 16) or tags.get(259, 1) != 1 or tags.get(277, 1) != 1:
        raise ValueError(
            f"data.load: {name} has {bits} bits, compression {tags.get(259)}, "
            f"{tags.get(277)} channels; expected 8 or 16 bits, uncompressed, one channel"
        )
    dtype = np.dtype(f"{order}u{bits // 8}")
    if start + width * height * dtype.itemsize > len(content):
        raise ValueError(f"data.load: {name} is truncated")
    pixels = np.frombuffer(content, dtype, width * height, start).reshape(height, width)
    native: Array = pixels.astype(dtype.newbyteorder("="))
    return native
