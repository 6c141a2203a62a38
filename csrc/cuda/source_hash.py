"""The hash of a CUDA source: over the .cu file and every header of the project that it includes.

A kernel is trusted for exactly the text that a card has run. The build writes these hashes into the
library, `bench/gpu_ingest.py` into the list of what was run; both by this file.

    python csrc/cuda/source_hash.py                  # hash, path of every source
    python csrc/cuda/source_hash.py --header out.h   # the same as a C header, for the build
"""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

CSRC = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
KERNEL = re.compile(r"^HL_CUDA_(?:RAW_)?(?:(\w+?)_)?KERNEL\((\w+)", re.MULTILINE)
# The emulator's own files never reach a card.
EMULATOR = "cuda/emulator/"


def includes(source: Path, root: Path = CSRC) -> list[Path]:
    """The source and every project header below it, sorted by path."""
    found: set[Path] = set()
    waiting = [source.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found or str(path.relative_to(root)).startswith(EMULATOR):
            continue
        found.add(path)
        for name in INCLUDE.findall(path.read_bytes()):
            for folder in (root, path.parent):
                header = (folder / name.decode()).resolve()
                if header.is_file() and header.is_relative_to(root):
                    waiting.append(header)
                    break
    return sorted(found, key=lambda p: str(p.relative_to(root)))


def source_hash(source: Path, root: Path = CSRC) -> str:
    """SHA-256, in hex, of names and contents of all that `source` is made of."""
    digest = hashlib.sha256()
    for path in includes(source, root):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(text)}\0".encode())
        digest.update(text)
    return digest.hexdigest()


def sources(root: Path = CSRC) -> list[Path]:
    """Every CUDA source."""
    return sorted(root.rglob("*.cu"))


def kernels(root: Path = CSRC) -> dict[str, tuple[str, str]]:
    """ "<kernel>/<layer>" → (source below `root`, hash), from the lines that close the sources."""
    made: dict[str, tuple[str, str]] = {}
    for source in sources(root):
        closed = KERNEL.findall(source.read_text())
        if not closed:
            continue
        digest = source_hash(source, root)
        for layer, name in closed:
            made[f"{name}/{layer.lower() or 'simt'}"] = (str(source.relative_to(root)), digest)
    return dict(sorted(made.items()))


def header(root: Path = CSRC) -> str:
    """A C header: HL_SOURCE_HASHES(X) is X(path, hash) for every source."""
    rows = [f'  X("{s.relative_to(root)}", "{source_hash(s, root)}")' for s in sources(root)]
    lines = ["#define HL_SOURCE_HASHES(X)", *rows]
    return "// Made by source_hash.py.\n#pragma once\n\n" + " \\\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--header", type=Path, help="write a C header instead of a list")
    args = parser.parse_args()
    if args.header:
        text = header()
        if not args.header.exists() or args.header.read_text() != text:
            args.header.write_text(text)
        return
    for source in sources():
        print(source_hash(source), source.relative_to(CSRC))


if __name__ == "__main__":
    main()
