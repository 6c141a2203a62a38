"""What is known of the CUDA kernels without a card: they compile, they fit, their code is as meant.

    python bench/gpu_gates.py                         # compute capability 8.0
    python bench/gpu_gates.py --archs 75,80,86,89,90
    python bench/gpu_gates.py --update                # after a change that is meant to cost more
    python bench/gpu_gates.py --only softmax matmul
    python bench/gpu_gates.py --library libhandloom_cuda.so    # and links what was compiled

Four gates. Every source compiles without a warning. No kernel uses more registers, shared memory,
stack or spills than csrc/cuda/budget.json grants; stack and spills need a reason there. ptxas has
no notice C75xx, its way to say that it made matrix instructions wait for each other. And the
machine code has the instructions that a kernel was written for and none that it must not have; for
that, `pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm`.

Without nvcc it says so and succeeds. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from gpu_build import CSRC, flags, link, nvcc_version, targets

BUDGET = CSRC / "cuda" / "budget.json"


class Rule(NamedTuple):
    """Instructions of kernels whose name matches: patterns that occur, and that must not."""

    kernels: str
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    since: int = 0  # compute capability; on older cards the kernel is a trap


# All rules that match count. Local memory is forbidden to every kernel without a reason in the
# budget, so it needs no rule.
RULES = (
    Rule("gemm_kernel<float,*", (r"LDS(\.U)?\.128", r"\bFFMA"), (r"\bDFMA",)),
    Rule("gemm_kernel<double,*", (r"LDS(\.U)?\.128", r"\bDFMA")),
    Rule("each_kernel<each_pack<4, *", (r"LDG\.E\.128", r"STG\.E\.128")),
    Rule("each_kernel<extremes<float, 4>*", (r"LDG\.E\.128", r"STG\.E\.128")),
    Rule("fold_kernel<PackSums<4, *", (r"LDG\.E\.128",)),
    Rule("*mma_kernel<*", (r"HMMA\.", r"LDSM\."), since=80),
    Rule("gemm16_kernel<*", (r"HMMA\.", r"LDSM\."), since=80),
    Rule("gemm16_kernel<*, true>", (r"LDGSTS\.",), since=80),
    Rule(
        "*together_kernel<*",
        (r"LDG\.E\.128\.STRONG\.GPU", r"STG.*STRONG\.GPU", r"RED.*STRONG\.GPU", r"LDS(\.U)?\.128"),
        since=80,
    ),
    Rule("*together_kernel<Full,*", (r"\bFFMA",), (r"\bHMMA",), since=80),
    *(Rule(f"*together_kernel<{t},*", (r"HMMA\.",), since=80) for t in ("Bf16", "F16", "Tf32")),
    Rule("conv_*mma*<*", (r"HMMA\.", r"LDGSTS\."), since=80),
    Rule("conv_weight_mma<[BF]*", (r"LDSM\.",), since=80),  # of TF32, words: no ldmatrix turns them
    Rule("*sm90a_kernel<*", (r"HGMMA\.", r"UTMALDG", r"USETMAXREG", r"SYNCS\."), (r"\bHMMA",)),
)


class Use(NamedTuple):
    """What one kernel takes, per thread but for shared memory."""

    registers: int = 0
    shared: int = 0
    stack: int = 0
    spills: int = 0


# ---- names ---------------------------------------------------------------------------------------
def demangle(names: list[str]) -> list[str]:
    if not shutil.which("c++filt"):
        return names
    out = subprocess.run(["c++filt"], input="\n".join(names), text=True, capture_output=True)
    return out.stdout.splitlines()


def by_parts(mangled: str) -> str:
    """A name that c++filt cannot read: the words in it, and a number for all the rest."""
    kept, words, at = "", [], 0
    while found := re.compile(r"\d+").search(mangled, at):
        digits, at = found[0], found.end()
        while digits and int(digits) > len(mangled) - at:  # the number before it, a type's
            digits = digits[1:]
        word = mangled[at : at + int(digits)] if digits else ""
        if not re.match(r"[A-Za-z_]\w*$", word):
            kept += found[0]
            continue
        at += len(word)
        if word.startswith("_GLOBAL__N_"):  # differs from one compilation to the next
            continue
        kept += word
        if word not in words and word not in ("hl", "cuda"):
            words.append(word)
    types = "".join(re.findall(r"I([fd])(?=[EZ])", mangled)[:1])
    return f"{' '.join(words[:5])} {types} ~{zlib.crc32(kept.encode()):08x}"


def short(name: str) -> str:
    """`void hl::each_kernel<…::glu<int>(…)::{lambda(long)#1}>(…)` as `each_kernel<glu<int>#1>`."""
    if name.startswith("_Z"):
        return by_parts(name)
    name = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    while True:  # parameter lists, innermost first
        less = re.sub(r"\([^()]*\)( const)?", "", name)
        if less == name:
            break
        name = less
    name = re.sub(r"::\{lambda#(\d+)\}", r"#\1", name)
    name = re.sub(r"\bhl::(cuda::)?", "", name)
    return re.sub(r"\s+>", ">", name).replace(" const", "")


# ---- the compiler --------------------------------------------------------------------------------
class Compiled(NamedTuple):
    source: str
    error: str  # empty: it compiled
    notices: list[str]
    uses: dict[tuple[str, str], Use]  # (mangled name, architecture) → what it takes


def parse(log: str) -> dict[tuple[str, str], Use]:
    """ptxas' report."""
    uses: dict[tuple[str, str], Use] = {}
    kernel, arch, about = "", "", ""
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)' for '(\w+)'", line):
            kernel, arch = found.groups()
            uses[kernel, arch] = Use()
        elif found := re.search(r"Function properties for (\S+)", line):
            about = found[1]
        elif not kernel:
            continue
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", line):
            if about == kernel:  # functions that it calls are listed too
                stack, stores, loads = map(int, found.groups())
                uses[kernel, arch] = uses[kernel, arch]._replace(stack=stack, spills=stores + loads)
        elif found := re.search(r"Used (\d+) registers", line):
            use = uses[kernel, arch]._replace(registers=int(found[1]))
            if smem := re.search(r"(\d+) bytes smem", line):
                use = use._replace(shared=int(smem[1]))
            if total := re.search(r"(\d+) bytes cumulative stack size", line):
                use = use._replace(stack=int(total[1]))
            uses[kernel, arch] = use
    return uses


def build(source: Path, archs: list[str], common: list[str], out: Path) -> Compiled:
    where = str(source.relative_to(CSRC))
    codes = targets(source, archs)
    if not codes:
        return Compiled(where, "", [], {})
    strict = ("-Werror", "all-warnings", "-Xptxas", "-v")
    done = subprocess.run(
        ["nvcc", *common, *strict, *codes, "-c", str(source), "-o", str(out)],
        capture_output=True,
        text=True,
    )
    log = done.stdout + done.stderr
    error = "" if done.returncode == 0 else "\n".join(log.splitlines()[:12])
    notices = [line.strip() for line in log.splitlines() if "(C75" in line]
    return Compiled(where, error, notices, parse(log))


# ---- machine code --------------------------------------------------------------------------------
def tool(name: str) -> str | None:
    """A program of the CUDA toolkit, from PATH or from its package on PyPI."""
    if found := shutil.which(name):
        return found
    for place in (*sys.path, "/usr/local/cuda/bin"):
        for path in (*Path(place or ".").glob(f"nvidia/cu*/bin/{name}"), Path(place) / name):
            if path.is_file():
                if not os.access(path, os.X_OK):
                    path.chmod(path.stat().st_mode | 0o111)
                return str(path)
    return None


def machine_code(program: str, disassembler: str, item: Path) -> dict[tuple[str, str], str]:
    """(mangled name, architecture) → its instructions without operands, each once, one a line."""
    env = {**os.environ, "PATH": f"{Path(disassembler).parent}:{os.environ['PATH']}"}
    found: dict[tuple[str, str], set[str]] = {}
    arch, words = "", set[str]()
    with subprocess.Popen([program, "-sass", str(item)], stdout=subprocess.PIPE, env=env) as dump:
        assert dump.stdout is not None
        for raw in dump.stdout:
            line = raw.decode().strip()
            if line.startswith("arch = "):
                arch = line.split()[2]
            elif line.startswith("Function : "):
                words = found.setdefault((line.removeprefix("Function : "), arch), set())
            elif line.startswith("/*") and ";" in line:  # /*address*/ @predicate OPCODE operands ;
                parts = line.partition("*/")[2].split()
                words.add(parts[parts[0].startswith("@")].rstrip(";"))
    return {key: "\n".join(sorted(words)) for key, words in found.items()}


def broken_rules(name: str, arch: str, code: str, excused: bool) -> list[str]:
    wrong = []
    for rule in RULES:
        if fnmatch.fnmatch(name, rule.kernels) and int(re.sub(r"\D", "", arch)) >= rule.since:
            wrong += [f"has no {p}" for p in rule.required if not re.search(p, code)]
            wrong += [f"has {p}" for p in rule.forbidden if re.search(p, code)]
    if not excused and (found := re.search(r"\b(LDL|STL)\b", code)):
        wrong.append(f"has {found[0]}: local memory")
    return wrong


# ---- the budget ----------------------------------------------------------------------------------
def over(use: Use, granted: Use) -> str:
    return ", ".join(
        f"{what} {now} > {most}" for what, now, most in zip(Use._fields, use, granted) if now > most
    )


def write_budget(
    version: str, reasons: dict[str, str], table: dict[str, dict[str, dict[str, Use]]]
) -> None:
    """One kernel a line: a diff shows what a change costs."""
    lines = [
        "{",
        f'  "nvcc": {json.dumps(version)},',
        f'  "fields": {json.dumps(list(Use._fields))},',
        '  "reasons": {',
        ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(reasons.items())),
        "  },",
        '  "kernels": {',
    ]
    files = []
    for source, kernels in sorted(table.items()):
        rows = [
            f"      {json.dumps(name)}: {json.dumps(dict(sorted(by_arch.items())))}"
            for name, by_arch in sorted(kernels.items())
        ]
        files.append(f"    {json.dumps(source)}: {{\n" + ",\n".join(rows) + "\n    }")
    BUDGET.write_text("\n".join([*lines, ",\n".join(files), "  }", "}"]) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", default="80", help="compute capabilities, as in 75,80,90")
    parser.add_argument("--update", action="store_true", help="write the budget anew")
    parser.add_argument("--only", nargs="*", default=[], help="sources whose path contains a word")
    parser.add_argument("--library", type=Path, help="links the objects to this")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    args = parser.parse_args()
    if not shutil.which("nvcc"):
        print("skipped: no nvcc")
        return 0

    archs = args.archs.split(",")
    sources = [
        s
        for s in sorted(CSRC.rglob("*.cu"))
        if not args.only or any(w in str(s) for w in args.only)
    ]
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    reasons: dict[str, str] = budget.get("reasons", {})
    old = {
        source: {name: {a: Use(*u) for a, u in by.items()} for name, by in rows.items()}
        for source, rows in budget.get("kernels", {}).items()
    }
    version = ".".join(nvcc_version().split(".")[:2])
    same_compiler = budget.get("nvcc", version) == version
    dump, disassembler = tool("cuobjdump"), tool("nvdisasm")
    failures: list[str] = []
    # A partial run keeps what it does not look at; a source that is gone leaves the table.
    known = {str(s.relative_to(CSRC)) for s in CSRC.rglob("*.cu")}
    table = {s: rows for s, rows in old.items() if s in known} if args.only else {}

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        objects = [Path(folder) / f"{i}.o" for i in range(len(sources))]
        common = flags(Path(folder) / "include", archs)
        results = list(pool.map(lambda s, o: build(s, archs, common, o), sources, objects))
        read = (lambda o: machine_code(dump, disassembler, o)) if dump and disassembler else None
        codes = list(pool.map(read, (o for o in objects if o.exists()))) if read else []
        if args.library and not any(r.error for r in results):
            link((o for o in objects if o.exists()), args.library)
    mangled = sorted({k for r in results for k, _ in r.uses})
    names = dict(zip(mangled, map(short, demangle(mangled))))
    code = {key: text for part in codes for key, text in part.items()}

    used_reasons: set[str] = set()
    for result in results:
        rows: dict[str, dict[str, Use]] = {}
        if result.error:
            failures.append(f"{result.source} does not compile:\n{result.error}")
        failures += [f"{result.source}: {n}" for n in result.notices]
        for (kernel, arch), use in result.uses.items():
            name = names[kernel]
            while arch in rows.get(name, {}):
                name += "'"  # overloads that differ in their parameters alone
            rows.setdefault(name, {})[arch] = use
            where = f"{result.source} {name} {arch}"
            matching = [p for p in reasons if fnmatch.fnmatch(f"{result.source} {name}", p)]
            used_reasons.update(matching)
            if (use.stack or use.spills) and not matching:
                failures.append(
                    f"{where}: stack {use.stack}, spills {use.spills} bytes without a reason"
                )
            granted = old.get(result.source, {}).get(name, {}).get(arch)
            if granted and same_compiler and not args.update and (grown := over(use, granted)):
                failures.append(f"{where}: {grown}")
            if granted is None and not args.update and same_compiler:
                failures.append(f"{where}: not in the budget, run with --update")
            if text := code.get((kernel, arch)):
                failures += [
                    f"{where}: {w}" for w in broken_rules(name, arch, text, bool(matching))
                ]
        kept = old.get(result.source, {})
        for name, by_arch in rows.items():
            rows[name] = {**kept.get(name, {}), **by_arch}
        if rows or not targets(CSRC / result.source, archs):  # else it is for none of these cards
            table[result.source] = rows or kept
    if not args.only:
        failures += [
            f"budget.json: no kernel uses up the reason for {p!r}, take it out"
            for p in reasons
            if p not in used_reasons
        ]

    looked_at = {r.source for r in results}
    heavy = [
        f"  {source} {name} {arch}: {u.registers} registers, stack {u.stack}, spills {u.spills}"
        for source, kernels in sorted(table.items())
        for name, by_arch in sorted(kernels.items())
        for arch, u in sorted(by_arch.items())
        if source in looked_at and arch.removeprefix("sm_").rstrip("a") in archs
        if u.stack or u.spills
    ]
    if heavy:
        print("kernels with local memory:", *heavy, sep="\n")
    if not same_compiler:
        print(f"nvcc {version} is not the budget's {budget['nvcc']}: its numbers were not compared")
    if not codes:
        print("machine code not looked at: no cuobjdump and nvdisasm (see --help)")
    if args.update:
        write_budget(version, reasons, table)
    count = sum(len(r.uses) for r in results)
    for failure in failures:
        print("FAILED", failure)
    print(
        f"{len(sources)} sources, {count} kernels, nvcc {version}, sm {args.archs}: "
        f"{len(failures)} failures"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
