"""Finding the library and the cards, and naming them."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from handloom import _C

_LIBRARY = Path(__file__).parent / "libhandloom_cuda.so"


@functools.cache
def why_not() -> str:
    """Why no tensor can live on a GPU here; empty if one can."""
    path = os.environ.get("HANDLOOM_CUDA_LIBRARY") or str(_LIBRARY)
    if not Path(path).exists():
        return "not in this build; HANDLOOM_CUDA=ON adds it (docs/cuda.md)"
    why = _C.gpu.load(path)
    if why is not None:
        return f"the library does not load: {why}"
    count, error = _C.gpu.count()
    if error is not None:
        return f"no driver answers: {error}"
    if count == 0:
        return "the driver finds no device"
    capability: tuple[int, int] = _C.gpu.info(0)["capability"]
    if not _C.gpu.emulated() and not runs_on(_C.gpu.build(), capability):
        return (
            f"this build ({_C.gpu.build()}) has no code for a card of compute capability "
            f"{capability[0]}.{capability[1]}; HANDLOOM_CUDA_ARCHS adds it (docs/cuda.md)"
        )
    allowed = [_proved(row) for row in _C.gpu.kernels()]
    if not any(allowed):
        return (
            "none of this build's kernels has been proved on a card of compute capability "
            f"{capability[0]}.{capability[1]} yet; "
            "HANDLOOM_CUDA_UNVALIDATED=1 uses them all the same"
        )
    _C.gpu.choose(allowed)
    from handloom._device_array import Array

    _C.gpu.set_type(Array)
    return ""


def runs_on(build: str, capability: tuple[int, int]) -> bool:
    """Whether a library has code that a card can run, by what it says of itself.

    Machine code runs on cards of its major number from its minor number on, PTX on its own and all
    newer cards; "90a" on 9.0 alone. "80" is both, "80-real" machine code, "80-virtual" PTX.

    Args:
        build: As in "nvcc 13.0.88, compute capability 75-real 80".
        capability: The card's, as in (8, 6).
    """
    _, _, listed = build.rpartition("compute capability ")
    for arch in listed.split():
        name, _, kind = arch.partition("-")
        exact = name.endswith("a")
        major, minor = divmod(int(name.rstrip("a")), 10)
        if capability == (major, minor):
            return True
        if not exact and kind != "virtual" and capability[0] == major and capability[1] >= minor:
            return True
        if not exact and kind != "real" and capability >= (major, minor):
            return True
    return False


def _proved(row: tuple[str, int, str, str]) -> bool:
    """Whether a kernel may run: a card like this one has found this very text right.

    The emulator runs everything; so does a card where HANDLOOM_CUDA_UNVALIDATED is set.
    """
    if _C.gpu.emulated() or os.environ.get("HANDLOOM_CUDA_UNVALIDATED", "0") not in ("", "0"):
        return True
    name, _, layer, digest = row
    known = _validated().get(f"{name}/{layer}", {})
    return (
        known.get("status") == "ok"
        and known.get("hash") == digest
        and known.get("capability") == "".join(map(str, _C.gpu.info(0)["capability"]))
        and str(known.get("nvcc")) in _C.gpu.build()
    )


@functools.cache
def _validated() -> dict[str, dict[str, Any]]:
    import json

    try:
        text = (Path(__file__).parent / "validated.json").read_text()
    except OSError:
        return {}
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def is_available() -> bool:
    """Whether tensors can live on a GPU; `state()` says why not."""
    return not why_not()


def device_count() -> int:
    """The number of usable GPUs."""
    return 0 if why_not() else _C.gpu.count()[0]


def state() -> str:
    """One line for `hl.show_config()`: the cards, or why there is none."""
    why = why_not()
    if why:
        return why
    names = ", ".join(get_device_name(i) for i in range(device_count()))
    return f"{names} ({_C.gpu.build()})"


def require() -> None:
    """Raises RuntimeError, with the reason, unless a GPU can be used."""
    why = why_not()
    if why:
        raise RuntimeError(f"cuda: no GPU can be used, {why}")


def index_of(device: object, op: str) -> int:
    """−1 for the CPU, the number of a GPU otherwise.

    Args:
        device: None, "cpu", "cuda" or "cuda:<number>".
        op: How errors name the caller.

    Raises:
        ValueError: Another name, or a number that this machine does not have.
        RuntimeError: There is no GPU.
    """
    name = "cpu" if device is None else str(device)
    if name == "cpu":
        return -1
    kind, colon, number = name.partition(":")
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise ValueError(f"{op}: device {name!r} is unknown, expected cpu, cuda or cuda:<number>")
    why = why_not()
    if why:
        raise RuntimeError(f"{op}: device {name!r} cannot be used, {why}")
    index = int(number) if colon else 0
    if index >= device_count():
        raise ValueError(f"{op}: device {name!r} does not exist, this machine has {device_count()}")
    return index


def current_device() -> int:
    """The number of the GPU that "cuda" means."""
    require()
    return 0


def get_device_name(device: int = 0) -> str:
    """The card's name."""
    return str(get_device_properties(device)["name"])


def get_device_properties(device: int = 0) -> dict[str, Any]:
    """Name, compute capability, multiprocessors, memory in bytes, driver and run-time version."""
    require()
    return _C.gpu.info(index_of(f"cuda:{device}", "get_device_properties"))


def mem_get_info(device: int = 0) -> tuple[int, int]:
    """Free and total memory in bytes."""
    require()
    return _C.gpu.memory(index_of(f"cuda:{device}", "mem_get_info"))


def synchronize(device: int = 0) -> None:
    """Waits for all queued work; what failed in it is raised here.

    Raises:
        RuntimeError: A kernel failed, or there is no GPU.
    """
    require()
    _C.gpu.synchronize(index_of(f"cuda:{device}", "synchronize"))


def kernels() -> dict[str, str]:
    """What runs on the GPU in this build: kernel → the fastest layer it has.

    The layers are `simt` (any card), `mma` (tensor cores, compute capability 8.0 on) and `sm90a`.
    """
    require()
    rank = {"simt": 0, "mma": 1, "sm90a": 2}
    best: dict[str, str] = {}
    for name, _, layer, _ in _C.gpu.kernels():
        if rank[layer] >= rank.get(best.get(name, "simt"), 0):
            best[name] = layer
    return dict(sorted(best.items()))
