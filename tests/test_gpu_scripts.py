"""The scripts around the CUDA kernels, as far as they go without a card."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import handloom as hl
from handloom.cuda._device import runs_on

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "csrc" / "cuda")]

import source_hash  # noqa: E402

import gpu_check  # noqa: E402
import gpu_gates  # noqa: E402
import gpu_ingest  # noqa: E402

MANGLED = "_ZN2hl4cuda11each_kernelIZN12_GLOBAL__N_13gluIfEEvvEUllE_EEvlT_"
LOG = f"""
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{MANGLED}' for 'sm_80'
ptxas info    : Function properties for {MANGLED}
    24 bytes stack frame, 72 bytes spill stores, 96 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 24 bytes cumulative stack size, 512 bytes smem
ptxas info    : Function properties for __internal_trig_reduction_slowpathd
    40 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
"""
TOGETHER = "LDG.E.128.STRONG.GPU\nSTG.E.U16.STRONG.GPU\nRED.E.ADD.STRONG.GPU\nLDS.128"


# ---- hashes of sources ---------------------------------------------------------------------------
@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "ops/a.cu": '#include "cuda/one.h"\n#include <math.h>\nHL_CUDA_KERNEL(a);\n',
        "ops/b.cu": "HL_CUDA_RAW_KERNEL(b);\n",
        "cuda/one.h": '#include "cuda/emulator/e.h"\n  #include "two.h"\n',
        "cuda/two.h": "#pragma once\n",
        "cuda/emulator/e.h": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_hash_covers_every_header_and_nothing_else(project: Path) -> None:
    source = project / "ops/a.cu"
    names = [str(p.relative_to(project)) for p in source_hash.includes(source, project)]
    assert names == ["cuda/one.h", "cuda/two.h", "ops/a.cu"]
    before = source_hash.source_hash(source, project)
    (project / "cuda/emulator/e.h").write_text("// only on the CPU\n")
    assert source_hash.source_hash(source, project) == before
    (project / "cuda/two.h").write_text("// changed\n")
    assert source_hash.source_hash(source, project) != before


def test_kernels_are_found_where_their_sources_close(project: Path) -> None:
    found = source_hash.kernels(project)
    assert {key: source for key, (source, _) in found.items()} == {
        "a/simt": "ops/a.cu",
        "b/simt": "ops/b.cu",
    }


def test_what_the_library_registers_is_what_the_sources_say() -> None:
    if not hl.cuda.is_available():
        pytest.skip(hl.cuda.state())
    assert {f"{k}/{layer}" for k, layer in hl.cuda.kernels().items()} <= set(source_hash.kernels())


# ---- gates ---------------------------------------------------------------------------------------
def test_the_report_of_ptxas_is_read() -> None:
    (use,) = gpu_gates.parse(LOG).values()
    assert use == gpu_gates.Use(registers=80, shared=512, stack=24, spills=168)
    assert gpu_gates.over(use, use) == ""
    assert gpu_gates.over(use, use._replace(registers=79)) == "registers 80 > 79"


def test_names_are_short() -> None:
    name = (
        "void hl::cuda::each_kernel<hl::cuda::(anonymous namespace)::glu<double>(hl::Ctx&, "
        "double const*)::{lambda(long)#1}>(long, double)"
    )
    assert gpu_gates.short(name) == "each_kernel<glu<double>#1>"


@pytest.mark.parametrize(
    ("name", "code", "excused", "wrong"),
    [
        ("gemm_kernel<float, 4>", "LDS.128 R4\nFFMA R1", False, []),
        ("gemm_kernel<float, 4>", "LDS.U.128 R4\nFFMA R1\nDFMA R2", False, [r"has \bDFMA"]),
        ("each_kernel<glu>", "STL [R1], R2", False, ["has STL: local memory"]),
        ("each_kernel<glu>", "STL [R1], R2", True, []),
        ("gemm_mma_kernel<8>", "LDSM.16 R1\nLDG.E R2", False, [r"has no HMMA\."]),
        ("forward_together_kernel<Bf16, 2, 1>", TOGETHER, False, [r"has no HMMA\."]),
        ("forward_together_kernel<Full, 2, 1>", TOGETHER + "\nFFMA R1", False, []),
        (
            *("gemm_sm90a_kernel<Bf16>", "HGMMA.64 R1\nUTMALDG.2D R1\nSYNCS.1 R2\nHMMA.1 R1"),
            *(False, ["has no USETMAXREG", r"has \bHMMA"]),
        ),
        ("gemm16_kernel<Bf16, true>", "HMMA.1 R1\nLDSM.1 R2", False, [r"has no LDGSTS\."]),
    ],
)
def test_machine_code_is_held_to_the_rules(
    name: str, code: str, excused: bool, wrong: list[str]
) -> None:
    assert gpu_gates.broken_rules(name, "sm_80", code, excused) == wrong


@pytest.mark.parametrize(
    ("archs", "runs", "does_not"),
    [
        ("80", [(8, 0), (8, 9), (9, 0), (12, 0)], [(7, 5)]),
        ("80-real", [(8, 0), (8, 6)], [(7, 5), (9, 0)]),
        ("75-real 86-real 90-virtual", [(7, 5), (8, 9), (9, 0), (10, 0)], [(7, 0), (8, 0)]),
        ("90a-real", [(9, 0)], [(8, 0), (10, 0)]),
    ],
)
def test_a_build_knows_the_cards_that_it_has_code_for(
    archs: str, runs: list[tuple[int, int]], does_not: list[tuple[int, int]]
) -> None:
    build = f"nvcc 13.0.88, compute capability {archs}"
    assert all(runs_on(build, card) for card in runs)
    assert not any(runs_on(build, card) for card in does_not)


@pytest.mark.parametrize("script", ["gpu_gates.py", "gpu_check.py"])
def test_without_tools_or_card_the_scripts_say_so_and_succeed(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / script)],
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("skipped: no nvcc\n", "no GPU\n")


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc")
def test_the_gates_hold_for_one_source() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "gpu_gates.py"), "--only", "softmax"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


# ---- what a card found ---------------------------------------------------------------------------
def row(**changes: Any) -> dict[str, Any]:
    base = {"kind": "check", "id": "a/simt", "hash": "h1", "capability": "90", "nvcc": "13.0.88"}
    return {**base, "date": "2026-01-02", "device": "card", "status": "ok", **changes}


def speed(**changes: Any) -> dict[str, Any]:
    return row(kind="speed", shape="8x8", us_med=2.0, ratio=0.5, ref="torch", **changes)


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([row()], "ok"),
        ([row(), row(status="wrong", err="7 of 9")], "wrong"),
        ([row(status="wrong"), row()], "wrong"),
        ([row(hash="old")], None),
        ([row(nvcc="emulator")], None),
        ([speed()], None),
        ([row(), speed()], "ok"),
        ([row(), speed(status="wrong")], "wrong"),
    ],
)
def test_a_kernel_is_ok_where_every_row_is(rows: list[dict[str, Any]], status: str | None) -> None:
    found = gpu_ingest.fold(rows, {}, {"a/simt": "h1"})
    assert found.get("a/simt", {}).get("status") == status


def test_the_page_says_how_far_each_kernel_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_ingest, "defined", lambda: ["a", "b", "c"])
    sources = {"a/simt": ("a.cu", "h1"), "a/mma": ("a_mma.cu", "h2"), "b/simt": ("b.cu", "h3")}
    hashes = {k: h for k, (_, h) in sources.items()}
    found = gpu_ingest.fold([row(), speed(), row(id="b/simt", hash="h3")], {}, hashes)
    text = gpu_ingest.page(found, sources)
    assert "| a | simt | timed | 2026-01-02 | card (90) |  | 0.50 (8x8) |" in text
    assert "| a | mma | dark |" in text
    assert "| b | simt | ok |" in text
    assert "| c | | none |" in text
    changed = {**sources, "b/simt": ("b.cu", "h4")}
    assert "| b | simt | emulated |" in gpu_ingest.page(found, changed)


def test_the_status_page_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "gpu_ingest.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


# ---- the check itself, on the emulator -----------------------------------------------------------
@pytest.fixture
def emulator() -> None:
    if not hl.cuda.is_available() or hl._C.gpu.emulated() == 0:
        pytest.skip("no emulator")


def test_the_check_runs_on_the_emulator(tmp_path: Path, emulator: None) -> None:
    out = tmp_path / "rows.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "bench" / "gpu_check.py"), "--emulated"),
            *("--part", "check", "--part", "speed", "--only", "softmax", "dense"),
            *("--out", str(out)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {r["status"] for r in rows} == {"ok"}
    hashes = source_hash.kernels()
    for r in rows:
        assert r["device"] == "emulated on the CPU"
        if r["id"] in hashes:
            assert r["hash"] == hashes[r["id"]][1]
    ids = {(r["kind"], r["id"]) for r in rows}
    assert {("check", "softmax_forward/simt"), ("speed", "softmax_backward/simt")} <= ids
    assert {("check", "matmul/simt"), ("ceiling", "copy")} <= ids


def test_a_child_that_dies_or_hangs_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import sys, os, time\n"
        "for op in sys.argv[4:]:\n"
        "    print('AT', op, flush=True)\n"
        "    if op == 'dies': os.abort()\n"
        "    if op == 'hangs': time.sleep(60)\n"
        '    print(\'ROW {"kind": "check", "id": "%s", "status": "ok"}\' % op, flush=True)\n'
    )
    monkeypatch.setattr(gpu_check, "__file__", str(child))
    monkeypatch.setitem(gpu_check.LIMIT, "check", 2)
    out = tmp_path / "rows.jsonl"
    todo = gpu_check.Queue(out, {}, False, 60)
    todo.item("check", "family", ["a", "dies", "b", "hangs", "c"])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["id"], r["status"]) for r in rows] == [
        *(("a", "ok"), ("(dies)", "error"), ("b", "ok"), ("(hangs)", "timeout"), ("c", "ok"))
    ]
