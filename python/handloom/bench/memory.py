"""How much memory attention takes, forward and backward, as the sequence grows.

Each figure is the largest resident size of a fresh process during one forward and backward, less
what was resident when the inputs were there: results, gradients, and all that lay between them.
Linux keeps that size, and forgets it when asked to (`/proc/self/clear_refs`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from .machine import child_environment

FAMILY = "memory"
LENGTHS = (512, 1024, 2048, 4096, 8192)
HEADS, FEATURES = 8, 64
TIMEOUT = 600.0
# What keeps the scores of all pairs for its gradient needs gigabytes beyond this.
LONGEST_WHOLE = 2048
# What a token may take, in parts of what it takes in the shortest sequence; blocks of 4 MB and more
# are rounded up to whole huge pages.
LINEAR = 1.5

Run = Callable[[int, int, int], Callable[[], Any]]


def measure(names: Sequence[str], threads: int) -> list[dict[str, Any]]:
    """Return a row for each length: bytes by handloom, by PyTorch, and with whole matrices."""
    contenders = [
        "handloom",
        *(["torch"] if "torch" in names and find_spec("torch") else []),
        WHOLE,
    ]
    rows: list[dict[str, Any]] = []
    for t in LENGTHS:
        results: dict[str, Any] = {}
        for name in contenders:
            if name == WHOLE and t > LONGEST_WHOLE:
                results[name] = {"status": "n/a", "reason": "too large"}
                continue
            try:
                taken = peak_bytes(name, t, HEADS, FEATURES, threads)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                results[name] = {"status": "failed", "reason": str(error)}
            else:
                results[name] = {"status": "ok", "bytes": taken}
        rows.append(_row(t, results))
    first = rows[0]["results"]["handloom"].get("bytes")
    for row in rows[1:]:
        taken = row["results"]["handloom"].get("bytes")
        if first and taken:
            row["met"] = taken * rows[0]["tokens"] <= LINEAR * first * row["tokens"]
    return rows


def _row(t: int, results: dict[str, Any]) -> dict[str, Any]:
    name = f"attention 1×{t}×{HEADS}×{FEATURES} + backward"
    return {
        "family": FAMILY,
        "name": name,
        "id": f"{FAMILY}/{name}",
        "kind": "memory",
        "tokens": t,
        "status": results["handloom"]["status"],
        "results": results,
        "ratios": {},
        "best_peer": None,
    }


def peak_bytes(name: str, t: int, heads: int, features: int, threads: int = 1) -> int:
    """Bytes that a forward and backward of one sequence take beyond the inputs.

    Args:
        name: "handloom", "torch", or "whole matrices": by handloom's operations one by one.
        t: Tokens, as queries and as keys.
        heads, features: The inputs are (1, t, heads, features) float32.
        threads: For the child process.

    Raises:
        RuntimeError: The process failed, or the system does not tell.
    """
    words = [str(value) for value in (name, t, heads, features)]
    done = subprocess.run(
        [sys.executable, "-m", "handloom.bench.memory", *words],
        env=child_environment(threads),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip()[-300:])
    return int(done.stdout)


def _handloom(t: int, heads: int, features: int) -> Callable[[], Any]:
    from .. import kernels

    q, k, v, dy = _arrays(t, heads, features)

    def both() -> Any:
        y, saved = kernels.attention(q, k, v, return_saved=True)
        return y, kernels.attention_backward(dy, q, k, v, y, saved=saved)

    return both


def _torch(t: int, heads: int, features: int) -> Callable[[], Any]:
    import torch

    q, k, v, dy = (torch.from_numpy(a).transpose(1, 2) for a in _arrays(t, heads, features))
    for x in (q, k, v):
        x.requires_grad_()

    def both() -> Any:
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return y, torch.autograd.grad(y, (q, k, v), dy)

    return both


def _whole(t: int, heads: int, features: int) -> Callable[[], Any]:
    """Scores, softmax and sum as three operations, which keep the matrix of all pairs."""
    from .. import grad, tensor
    from ..nn import functional

    arrays = [a.transpose(0, 2, 1, 3) for a in _arrays(t, heads, features)]
    q, k, v = (tensor(a, requires_grad=True) for a in arrays[:3])

    def both() -> Any:
        y = functional.softmax((q * features**-0.5) @ k.transpose(-1, -2)) @ v
        return y, grad(y, (q, k, v), arrays[3])

    return both


WHOLE = "whole matrices"
RUNS: dict[str, Run] = {"handloom": _handloom, "torch": _torch, WHOLE: _whole}


def _arrays(t: int, heads: int, features: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, t, heads, features), dtype=np.float32) for _ in range(4)]


def _largest() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("memory: /proc/self/status has no VmHWM")


def _main(name: str, t: int, heads: int, features: int) -> None:
    RUNS[name](64, heads, features)()  # loads what is loaded late, starts threads
    run = RUNS[name](t, heads, features)
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as request:
            request.write("5")
    except OSError as error:
        raise SystemExit(f"memory: the system does not tell the largest size: {error}") from None
    before = _largest()
    kept = run()
    print(_largest() - before)
    del kept


if __name__ == "__main__":
    _main(sys.argv[1], *map(int, sys.argv[2:]))
