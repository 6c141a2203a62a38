"""Whole-file reads and writes that never leave half a file behind."""

from __future__ import annotations

import os


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to `path` so that a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same directory, are flushed to the disk, and the file
    is renamed over `path`. Whatever fails, the temporary file is removed.

    Raises:
        OSError: The directory does not exist or cannot be written.
    """
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    if os.path.isdir(target):
        raise IsADirectoryError(f"expected the path of a file, {os.fspath(path)!r} is a directory")
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"there is no directory {directory!r} to write {name!r} to")
    temporary = os.path.join(directory, f".{name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


def _sync_directory(directory: str) -> None:
    """Makes the rename itself durable, where the system lets a directory be opened and synced."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Returns the bytes of a file; one that is gzip-compressed is unpacked, whatever its name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The gzip stream is damaged or truncated.
    """
    with open(path, "rb") as file:
        content = file.read()
    return gunzip(content, os.fspath(path)) if content[:2] == b"\x1f\x8b" else content


def gunzip(content: bytes, name: str) -> bytes:
    """Unpacks a gzip stream; `name` is how the ValueError on a damaged one calls it."""
    import gzip
    import zlib

    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{name}: the gzip stream is damaged or truncated ({error})") from None


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Removes what `write_atomically(path)` of a process that was killed has left behind."""
    directory, name = os.path.split(os.path.realpath(path))
    prefix = f".{name[:200]}."
    for entry in os.listdir(directory) if os.path.isdir(directory) else ():
        process = entry[len(prefix) :].partition("-")[0]
        if entry.startswith(prefix) and entry.endswith(".tmp") and not _lives(process):
            os.unlink(os.path.join(directory, entry))


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return not process.isdecimal()
    except OSError:
        pass  # someone else's
    return True
