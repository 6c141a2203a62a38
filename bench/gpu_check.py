"""Runs the CUDA kernels on this machine's card: are they right, and how fast.

    python bench/gpu_check.py                  # everything, under eight minutes
    python bench/gpu_check.py --part check     # facts, build and correctness alone
    python bench/gpu_check.py --part speed --only gemm softmax
    python bench/gpu_ingest.py gpu_check.jsonl # what was found, into the project

Needs handloom, NumPy and a card; PyTorch with CUDA is the reference where it is installed. Where
nvcc is found, the library is built for this card first, else the installed one is tried. Without a
card it says so and succeeds. It never touches the card's settings.

Each item runs in a process of its own with a time limit: a kernel that writes where it should not
takes the whole process with it. Rows go to a file as they are finished, one JSON object a line:
kind (check, speed, baseline, ceiling), id (kernel/layer), hash of the source, shape, dtype, device,
capability, driver, nvcc, date, status (ok, wrong, error, timeout, missing), rel, bitwise_repeat,
us_med, us_p10, us_p90, floor_us, bound, frac_floor, ref, ref_us, ratio (ref_us / us_med), err.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests"), str(ROOT / "csrc" / "cuda")]

import source_hash  # noqa: E402

from gpu_build import flags, link, targets  # noqa: E402

FAMILIES = (  # the oracle's, what everything else stands on first
    "wrappers",
    *("elementwise", "reduce", "layout", "dense", "softmax", "norm", "loss", "attention", "conv"),
    *("pool", "rnn", "random", "resize", "boxes", "ctc", "text", "tensor_cores"),
)
SPEED = (
    *("gemm", "softmax", "norm", "pool", "elementwise", "reduce", "optim", "attention"),
    *("conv", "conv_rounded", "lstm", "tensor_cores"),
)
BASELINES = ("cudnn_conv", "cudnn_lstm", "barrier")
LIMIT = {"ceiling": 60, "check": 100, "speed": 100, "baseline": 90}  # seconds an item
EMULATED_ROWS = 1  # cases of an op in the script's own test
GONE = 3  # exit status of a child that has said why it stops


# ---- the library ---------------------------------------------------------------------------------
def run(*command: str, **options: Any) -> str:
    return subprocess.run(command, capture_output=True, text=True, **options).stdout.strip()


def build(capability: str, folder: Path) -> Path:
    """The library for one card, from the sources beside this file. No CMake, no wheel."""
    common = flags(folder / "include", [capability])

    def compile_one(source: Path) -> Path:
        out = folder / (str(source.relative_to(source_hash.CSRC)).replace("/", "_") + ".o")
        done = subprocess.run(
            ["nvcc", *common, *targets(source, [capability]), "-c", str(source), "-o", str(out)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{source.name} does not compile: {done.stderr[:400]}")
        return out

    sources = [s for s in source_hash.sources() if targets(s, [capability])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    library = folder / "libhandloom_cuda.so"
    link(objects, library)
    return library


def card() -> str:
    """The compute capability of the first card as in "90", empty without one."""
    if not shutil.which("nvidia-smi"):
        return ""
    found = run("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "-i", "0")
    first = found.splitlines()[0].replace(".", "") if found else ""
    return first if first.isdecimal() else ""


# ---- items, each in its process ------------------------------------------------------------------
def emit(**row: Any) -> None:
    print("ROW " + json.dumps(row), flush=True)


def poison() -> None:
    """Leaves NaN in the memory that the next results will get."""
    import numpy as np

    import handloom as hl

    blocks = [hl.cuda.array(np.full(1 << n, np.nan, np.float32)) for n in range(6, 23, 2)]
    del blocks


def only_layer(layer: str) -> None:
    """Calls go to no other, so that a row says of this one whether it is right."""
    import handloom as hl
    from handloom import _C

    assert hl.cuda.is_available()
    _C.gpu.choose([row[2] == layer for row in _C.gpu.kernels()])


def check_op(name: str, emulated: bool) -> None:
    """One op of the oracle: its cases, gradients and bits; a row for each kernel that ran."""
    import handloom as hl
    import harness
    from reference import CASES, OPS

    op = harness.on_device(OPS[name])
    cases = [c for c in CASES if c.op == name]
    if emulated:
        cases = cases[:EMULATED_ROWS]
    seeds = (0,) if emulated else (0, 1, 2)
    kernels: set[str] = set()
    layers = hl.cuda.kernels()
    status, error, rel, same = "ok", "", 0.0, True
    try:
        for case in cases:
            poison()
            with hl.profile() as p:
                once = harness.run(op, case, "float32", shift=0)
            kernels |= {e.kernel for e in p.events if e.kernel in layers}
            poison()
            again = harness.run(op, case, "float32", shift=0)
            try:
                harness.assert_same_bits(once, again, name)
            except AssertionError:
                same = False
            for seed in seeds:
                for dtype in ("float32", "float64"):
                    poison()
                    made = harness.check_forward(op, case, dtype, seed)
                    if dtype == "float32" and seed == 0:
                        rel = max(rel, relative(OPS[name], case, made, harness))
            if op.backward is not None:
                harness.check_gradient(op, case)
                harness.check_gradient_dtype(op, case)
    except NotImplementedError as missing:
        status, error = "missing", str(missing)
    except AssertionError as wrong:
        text = str(wrong).strip()
        status, error = "wrong", text.splitlines()[0][:300] if text else "assertion"
    except (RuntimeError, MemoryError, ValueError, TypeError) as failed:
        status, error = "error", f"{type(failed).__name__}: {failed}"[:300]
    if status == "ok" and not same:
        status, error = "wrong", "two runs differ in bits"
    for kernel in sorted(kernels) or [""]:
        emit(
            kind="check",
            id=f"{kernel}/simt" if kernel else f"({name})",
            shape=f"{name}: {len(cases)} cases",
            dtype="float32 float64",
            status=status,
            rel=rel,
            bitwise_repeat=same,
            err=error,
        )
    if error.startswith("RuntimeError"):
        sys.exit(GONE)  # so may be the context: the rest in a new process


def check_rounded(name: str) -> None:
    """Layers mma and sm90a: with rounded factors, and where they take it, in float32."""
    from tensor_cores import CHECKS, has_sm90a, use_layers

    layer, covered, calls = CHECKS[name]
    if layer == "sm90a" and not has_sm90a():
        return
    status, error = "ok", ""
    try:
        use_layers(layer)
        poison()
        calls()
    except AssertionError as wrong:
        status, error = "wrong", str(wrong).strip().partition("\n")[0][:300]
    except (RuntimeError, MemoryError, ValueError, TypeError) as failed:
        status, error = "error", f"{type(failed).__name__}: {failed}"[:300]
    for kernel in covered:
        emit(
            kind="check",
            id=f"{kernel}/{layer}",
            shape=f"{name}: rounded factors",
            dtype="bfloat16 float16" if layer == "sm90a" else "tfloat32 bfloat16 float16",
            status=status,
            err=error,
        )
    if error.startswith("RuntimeError"):
        sys.exit(GONE)


def check_wrappers(emulated: bool) -> None:
    """Every wrapper of csrc/cuda by itself: the card's numbers are the emulator's, bit for bit."""
    folder = ROOT / "build" / "gpu_wrappers"
    folder.mkdir(parents=True, exist_ok=True)
    source, include = ROOT / "tests" / "gpu_wrappers.cu", f"-I{source_hash.CSRC}"
    code = card()
    twins = {"emulator": ["g++", "-std=c++20", "-O1", "-ffp-contract=off", "-w", "-DHL_EMULATOR"]}
    twins["emulator"] += [include, "-xc++", str(source)]
    twins["emulator"] += map(str, (source_hash.CSRC / "cuda" / "emulator").glob("*.cpp"))
    if not emulated:
        tile = ["-DHL_SM90A"] if code == "90" else []
        arch = "90a" if tile else code
        twins["card"] = ["nvcc", "-std=c++20", "-O3", include, *tile]
        twins["card"] += [f"-gencode=arch=compute_{arch},code=sm_{arch}", str(source)]
    printed: dict[str, dict[str, str]] = {}
    for twin, command in twins.items():
        program = str(folder / twin)
        built = subprocess.run([*command, "-o", program], capture_output=True, text=True)
        if built.returncode:
            emit(kind="check", id="(wrappers)", status="error", err=built.stderr[:300])
            return
        env = {**os.environ, "HANDLOOM_EMULATOR_CAPABILITY": "9.0"}
        made = subprocess.run([program], capture_output=True, text=True, env=env, timeout=60)
        for line in made.stdout.splitlines():
            name, _, words = line.partition(": ")
            printed.setdefault(name, {})[twin] = words
        if made.returncode:
            error = (made.stdout[-200:] + made.stderr[-100:]).strip()
            emit(kind="check", id=f"(wrappers, {twin})", status="wrong", err=error)
    for name, words in printed.items():
        if name.startswith("WRONG") or list(twins)[-1] not in words:
            continue
        status = "ok" if len(set(words.values())) == 1 and len(words) == len(twins) else "wrong"
        emit(kind="check", id=f"(wrapper {name})", status=status)


def relative(op: Any, case: Any, made: Any, harness: Any) -> float:
    """The largest error of the first result, relative to its largest element."""
    import numpy as np

    wide = harness.widen(harness.cast(harness.make(op, case), "float32"))
    with np.errstate(all="ignore"):
        exact = np.asarray(harness.outputs(op.reference(*wide, **dict(case.options)))[0])
        if exact.dtype.kind != "f" or exact.size == 0:
            return 0.0
        error = np.abs(np.asarray(made[0], np.float64) - exact)
        at = np.isfinite(error)
        scale = float(np.abs(exact[at]).max(initial=0.0))
    return float(error[at].max(initial=0.0)) / scale if scale else 0.0


def work(kind: str, name: str, rest: list[str], emulated: bool) -> None:
    """What a child process does."""
    if kind == "check":
        if name != "tensor_cores":
            only_layer("simt")
        for op in rest:
            print(f"AT {op}", flush=True)
            if name == "tensor_cores":
                check_rounded(op)
            elif name == "wrappers":
                check_wrappers(emulated)
            else:
                check_op(op, emulated)
        return
    import gpu_speed

    for row in gpu_speed.measure(kind, name, emulated):
        emit(kind=kind, **row)


def ops_of(family: str) -> list[str]:
    """The oracle's ops of a family, in the order of its cases."""
    import importlib

    if family == "wrappers":
        return [family]
    if family == "tensor_cores":
        return list(importlib.import_module(family).CHECKS)
    module = importlib.import_module(f"reference.{family}")
    return list(dict.fromkeys(c.op for c in module.CASES if c.op in module.OPS))


# ---- the queue -----------------------------------------------------------------------------------
class Queue:
    """Runs the items one after the other and writes their rows."""

    def __init__(self, out: Path, facts: dict[str, Any], emulated: bool, seconds: float) -> None:
        self.facts, self.emulated = facts, emulated
        self.hashes = {key: digest for key, (_, digest) in source_hash.kernels().items()}
        self.out = out
        self.end = time.monotonic() + seconds
        self.count: dict[str, int] = {}
        self.quiet: dict[str, int] = {}  # of an item, rows that are not printed

    def row(self, row: dict[str, Any]) -> None:
        full = {**self.facts, "hash": self.hashes.get(row.get("id", ""), ""), **row}
        with self.out.open("a") as file:
            file.write(json.dumps(full) + "\n")
        if "value" in row:  # a ceiling: floors of later items are made of it
            os.environ[f"GPU_CHECK_{row['id'].upper()}"] = str(row["value"])
        self.count[row["status"]] = self.count.get(row["status"], 0) + 1
        if row["kind"] == "check" and row["status"] in ("ok", "missing"):
            self.quiet[row["status"]] = self.quiet.get(row["status"], 0) + 1
            return
        words = [row["kind"], row["status"], row["id"], row.get("shape", "")]
        if row.get("us_med"):
            words.append(f"{row['us_med']:.1f} us")
        if row.get("frac_floor"):
            words.append(f"{row['frac_floor']:.0%} of the floor")
        if row.get("ref_us"):
            words.append(f"{row['ref']} {row['ref_us']:.1f} us")
        if row.get("ratio"):
            words.append(f"ratio {row['ratio']:.2f}")
        if row.get("err"):
            words.append(row["err"][:100])
        print("  ".join(words), flush=True)

    def item(self, kind: str, name: str, rest: list[str]) -> None:
        """One child; of a check, what a dead one left over goes to the next."""
        while True:
            left = self.end - time.monotonic()
            if left < 5:
                row = {"kind": kind, "id": f"({name})", "status": "timeout", "err": "no time left"}
                return self.row(row)
            limit = min(LIMIT[kind], left) if not self.emulated else left
            at, why = self.child(kind, name, rest, limit)
            if not why:
                return None
            if why[0] != "gone":
                self.row({"kind": kind, "id": f"({at or name})", "status": why[0], "err": why[1]})
            if kind != "check" or at not in rest:
                return None
            rest = rest[rest.index(at) + 1 :]
            if not rest:
                return None

    def child(
        self, kind: str, name: str, rest: list[str], limit: float
    ) -> tuple[str, tuple[str, str] | None]:
        """(op that it was at, why it ended early)."""
        command = [sys.executable, "-u", __file__, "--work", kind, name, *rest]
        if self.emulated:
            command.append("--emulated")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        lines: queue.Queue[str | None] = queue.Queue()
        errors: list[str] = []

        def read() -> None:
            with process.stdout as out:  # type: ignore[union-attr]
                for line in out:
                    lines.put(line)
            lines.put(None)

        def read_errors() -> None:
            with process.stderr as out:  # type: ignore[union-attr]
                errors.extend(out)

        readers = [threading.Thread(target=f, daemon=True) for f in (read, read_errors)]
        for reader in readers:
            reader.start()
        at, end = "", time.monotonic() + limit
        try:
            while (line := lines.get(timeout=max(0.0, end - time.monotonic()))) is not None:
                if line.startswith("AT "):
                    at = line.split()[1]
                elif line.startswith("ROW "):
                    self.row(json.loads(line[4:]))
        except queue.Empty:
            process.kill()
            process.wait()
            for reader in readers:
                reader.join(5)
            return at, ("timeout", f"stopped after {limit:.0f} s")
        code = process.wait()
        for reader in readers:
            reader.join(5)
        if code == 0:
            return at, None
        if code == GONE:
            return at, ("gone", "")
        last = errors[-1].strip() if errors else ""
        return at, ("error", f"the process ended with {code} {last}"[:300])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("check", "speed", "baseline"), action="append")
    parser.add_argument("--only", nargs="*", default=[], help="items of these names")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.jsonl"))
    parser.add_argument("--no-build", action="store_true", help="try the library that is there")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument(
        "--emulated", action="store_true", help="tiny shapes on the emulator: tests this script"
    )
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work[0], args.work[1], args.work[2:], args.emulated)
        return 0

    begin = time.monotonic()
    os.environ["HANDLOOM_CUDA_UNVALIDATED"] = "1"  # what has not run is what is looked at here
    capability = "" if args.emulated else card()
    if not capability and not args.emulated:
        print("no GPU")
        return 0
    source = str(ROOT / "python")
    if not any(Path(p).resolve() == Path(source) for p in sys.path) and list(
        (ROOT / "python" / "handloom").glob("_C*.so")
    ):
        sys.path.insert(0, source)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, (source, os.environ.get("PYTHONPATH")))
        )
    if capability and not args.no_build and shutil.which("nvcc"):
        try:
            library = build(capability, ROOT / "build" / "gpu_check")
            os.environ["HANDLOOM_CUDA_LIBRARY"] = str(library)
            print(f"built for {capability} in {time.monotonic() - begin:.0f} s")
        except (RuntimeError, subprocess.CalledProcessError) as failed:
            print(f"not built: {failed}; trying the library that is there")

    import handloom as hl

    if not hl.cuda.is_available():
        print(f"no GPU that handloom can use: {hl.cuda.state()}")
        return 1 if capability else 0
    about = hl.cuda.get_device_properties()
    made_by = hl.cuda.state().rpartition("(")[2].rstrip(")")
    facts = {
        "device": about["name"],
        "capability": "".join(map(str, about["capability"])),
        "driver": about["driver"],
        "nvcc": made_by.split(",")[0].removeprefix("nvcc "),
        "date": datetime.date.today().isoformat(),
    }
    free, total = hl.cuda.mem_get_info()
    print(f"{facts}, {about['multiprocessors']} multiprocessors, {free >> 20} of {total >> 20} MiB")

    todo = Queue(args.out, facts, args.emulated, args.minutes * 60 - (time.monotonic() - begin))
    parts = args.part or ["check", "speed", "baseline"]
    wanted = [("ceiling", "ceilings")] if {"speed", "baseline"} & set(parts) else []
    wanted += [("check", f) for f in FAMILIES if "check" in parts]
    wanted += [("speed", f) for f in SPEED if "speed" in parts]
    wanted += [("baseline", f) for f in BASELINES if "baseline" in parts]
    for kind, name in wanted:
        if kind == "ceiling" or not args.only or name in args.only:
            todo.quiet = {}
            todo.item(kind, name, ops_of(name) if kind == "check" else [])
            if kind == "check":
                print("check", name, *(f"{n} {status}" for status, n in todo.quiet.items()))
    print(f"{todo.count}, {time.monotonic() - begin:.0f} s, rows in {args.out}")
    return 1 if {"wrong", "error", "timeout"} & set(todo.count) else 0


if __name__ == "__main__":
    sys.exit(main())
