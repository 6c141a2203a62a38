"""How the scripts beside this one call nvcc: the CUDA library without CMake."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
sys.path.insert(0, str(CSRC / "cuda"))

import source_hash  # noqa: E402


def nvcc_version() -> str:
    """As in "13.0.88"."""
    out = subprocess.run(["nvcc", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"\bV([\d.]+)", out)
    return found[1] if found else "unknown"


def flags(folder: Path, archs: Iterable[str]) -> list[str]:
    """What every source is compiled with; the hashes of the sources go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source_hashes.h").write_text(source_hash.header())
    real = " ".join(f"{arch}-real" for arch in archs)
    made_by = f"nvcc {nvcc_version()}, compute capability {real}"
    return [
        *("-std=c++20", "--extended-lambda", "-O3", f'-DHL_CUDA_BUILD="{made_by}"'),
        *("-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra", f"-I{CSRC}", f"-I{folder}"),
        "--compress-mode=size",
    ]


def targets(source: Path, archs: Iterable[str]) -> list[str]:
    """nvcc's words for the compute capabilities that this source is for, maybe none of these."""
    hopper = source.stem.endswith("_sm90a")
    names = ["90a" for arch in archs if arch == "90"] if hopper else archs
    return [f"-gencode=arch=compute_{name},code=sm_{name}" for name in names]


def link(objects: Iterable[Path], library: Path) -> None:
    command = ["nvcc", "-shared", "-cudart", "static", "-o", str(library), *map(str, objects)]
    for option in ("--exclude-libs,ALL", "--no-undefined", "-s"):
        command += ["-Xlinker", option]
    subprocess.run(command, check=True)
