"""Threads, memory, instruction sets and layers: the promises that no single kernel makes."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import handloom as hl
from handloom import _C, kernels

ROOT = Path(__file__).parents[1]
PYTHON = Path(hl.__file__).parent


def run(code: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, importing the same handloom."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def succeed(code: str, **env: str) -> str:
    result = run(code, **env)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def threads():
    before = hl.get_num_threads()
    yield hl.set_num_threads
    hl.set_num_threads(before)


def matrix(m: int, n: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((m, n)).astype(dtype)


# ---- threads -------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k", "n"), [(700, 500, 600), (40, 5000, 30), (1, 3000, 2000)])
def test_thread_count_does_not_change_bits(m, k, n, dtype, threads):
    a, b = matrix(m, k, 1, dtype), matrix(k, n, 2, dtype)
    threads(1)
    once = kernels.matmul(a, b).tobytes()
    for count in (2, 3, 4, 8):
        threads(count)
        assert kernels.matmul(a, b).tobytes() == once


FORK = """
import os, sys, numpy as np
import handloom as hl
from handloom import kernels
hl.set_num_threads(4)
a = np.random.default_rng(0).standard_normal((600, 600)).astype(np.float32)
expected = kernels.matmul(a, a).tobytes()          # the team exists now
assert kernels.normal(200000, seed=1).size
pid = os.fork()
if pid == 0:
    same = kernels.matmul(a, a).tobytes() == expected
    same &= kernels.normal(200000, seed=1).size == 200000
    hl.set_num_threads(2)
    same &= kernels.matmul(a, a).tobytes() == expected
    os._exit(0 if same else 3)
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert kernels.matmul(a, a).tobytes() == expected  # the parent keeps its team
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_computes_and_does_not_hang():
    succeed(FORK)


def test_calls_from_several_python_threads(threads):
    threads(2)
    a, b = matrix(300, 400), matrix(400, 350, 1)
    expected = kernels.matmul(a, b).tobytes(), kernels.normal(100000, seed=3).tobytes()
    wrong: list[int] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        for _ in range(20):
            if kernels.matmul(a, b).tobytes() != expected[0]:
                wrong.append(number)
            if kernels.normal(100000, seed=3).tobytes() != expected[1]:
                wrong.append(number)

    team = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("n", [0, -3])
def test_thread_count_must_be_positive(n):
    with pytest.raises(ValueError, match=f"set_num_threads: n is {n}"):
        hl.set_num_threads(n)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HANDLOOM_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, "3"),
        ({"HANDLOOM_NUM_THREADS": "", "OMP_NUM_THREADS": "5,2"}, "5"),
    ],
)
def test_thread_count_from_the_environment(env, expected):
    assert succeed("import handloom as hl; print(hl.get_num_threads())", **env) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_thread_count_honours_affinity():
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import handloom as hl
print(hl.get_num_threads())
"""
    assert succeed(code, HANDLOOM_NUM_THREADS="", OMP_NUM_THREADS="") == "1"


# ---- floating point mode -------------------------------------------------------------------------
def test_denormals_are_flushed_inside_and_only_there(threads):
    small = np.float32(1e-40)
    for count, n in ((1, 10), (1, 300000), (4, 300000)):
        threads(count)
        x = np.full(n, 1e-30, np.float32)
        kernels.multi_scale([x], 1e-10)  # every chunk, so every worker
        assert not x.any()
        y = np.full(n, small, np.float32)
        kernels.multi_scale([y], 1e30)  # subnormal inputs count as zero
        assert not y.any()
        # NumPy on this thread still has them.
        assert (np.full(10, 1e-30, np.float32) * np.float32(1e-10) > 0).all()
    assert kernels.matmul(np.array([[1e-30]], np.float32), np.array([[1e-10]], np.float32)) == 0
    assert kernels.copy(np.array([small]))[0] == small  # data movement keeps bits


MODE = """
import ctypes, ctypes.util, numpy as np
from handloom import kernels
m = ctypes.CDLL(ctypes.util.find_library("m"))
big = np.full((100, 100), 3e38, np.float32)
kernels.matmul(big, big)
m.feclearexcept(0x3f)
kernels.matmul(big, big)                 # overflows inside
assert m.fetestexcept(0x3f) == 0         # the flags are not the caller's business
UPWARD = {upward}
assert m.fesetround(UPWARD) == 0
kernels.matmul(big, big)
assert m.fegetround() == UPWARD
"""


def test_the_callers_mode_comes_back():
    upward = {"x86_64": 0x800, "aarch64": 0x400000}.get(os.uname().machine)
    if upward is None:
        pytest.skip("rounding constants of this machine are unknown")
    succeed(MODE.format(upward=upward))


# ---- output pool ---------------------------------------------------------------------------------
def address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


@pytest.mark.parametrize("n", [1024, 1025, 5000, 100003, 1 << 20, (1 << 20) + 1])
def test_results_are_aligned_from_4096_bytes_on(n):
    kept = [kernels.uniform(n, seed=i) for i in range(5)]
    assert [address(x) % 64 for x in kept] == [0] * 5
    assert len({address(x) for x in kept}) == 5
    for x in kept:
        assert x.flags.writeable
        assert x.flags.c_contiguous
        assert type(x) is np.ndarray


@pytest.mark.parametrize("n", [4096, 1 << 16, 3 << 20])
def test_blocks_are_reused_and_given_back(n):
    gc.collect()
    kernels.uniform(1, seed=1)  # the calling thread's scratch memory comes from the same pool
    hl_before = _C.pool_stats()
    x = kernels.uniform(n, seed=1)
    where = address(x)
    assert _C.pool_stats()[0] >= hl_before[0] + 4 * n
    del x
    assert _C.pool_stats()[0] == hl_before[0]
    calls = _C.pool_stats()[2]
    y = kernels.uniform(n, seed=2)
    assert address(y) == where
    assert _C.pool_stats()[2] == calls
    del y
    assert _C.pool_stats()[1] >= 4 * n
    _C.empty_cache()
    assert _C.pool_stats()[1] == 0


def test_the_pool_follows_a_program_that_changes_its_sizes():
    """Blocks of sizes that are no longer asked for make room for those that are."""
    _C.empty_cache()
    for n in range(30):  # 30 sizes of 12 MB to 240 MB: far more than is kept
        kernels.uniform((3 << 20) + n * (2 << 20), seed=1)
    in_use, cached, _ = _C.pool_stats()
    largest = 5 * ((3 << 20) + 29 * (2 << 20))  # a quarter of a block may be unused
    assert in_use + cached <= max(256 << 20, 3 * largest // 2)
    kernels.uniform(5 << 20, seed=1)
    calls = _C.pool_stats()[2]
    for _ in range(5):
        kernels.uniform(5 << 20, seed=1)
    assert _C.pool_stats()[2] == calls
    _C.empty_cache()


def test_a_step_that_needs_much_finds_it_again():
    """What is freed all at once, as a tape is after backward, is there for the next step."""
    _C.empty_cache()
    for step in range(3):
        kept = [kernels.uniform(4 << 20, seed=i) for i in range(24)]  # 400 MB
        if step == 0:
            calls = _C.pool_stats()[2]
        del kept
    assert _C.pool_stats()[2] == calls
    _C.empty_cache()


def test_views_keep_their_memory():
    x = kernels.uniform(100000, seed=1)
    expected = x[5000:5010].copy()
    view = x[5000:5010]
    del x
    others = [kernels.uniform(100000, seed=i) for i in range(2, 6)]
    np.testing.assert_array_equal(view, expected)
    del others


def test_arrays_may_be_freed_on_another_thread():
    kernels.uniform(200000, seed=0)  # this thread's scratch memory, which stays
    before = _C.pool_stats()[0]
    box = [kernels.uniform(200000, seed=i) for i in range(8)]

    def drop() -> None:
        while box:
            box.pop()

    team = [threading.Thread(target=drop) for _ in range(3)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert _C.pool_stats()[0] == before


def test_arrays_may_outlive_the_interpreter():
    """Freed by a static destructor's time, if at all: the process must end quietly."""
    code = (
        "import sys, handloom as hl; from handloom import kernels;"
        "sys.keep = kernels.uniform(1 << 20, seed=1); import builtins; builtins.keep = sys.keep"
    )
    succeed(code)


def test_a_result_that_does_not_fit_is_a_memory_error():
    with pytest.raises((MemoryError, ValueError), match=r"random\.uniform"):
        kernels.uniform((1 << 50,), seed=1)


# ---- instruction sets ----------------------------------------------------------------------------
@pytest.mark.parametrize("name", hl.available_isas())
def test_the_environment_may_lower_the_choice(name):
    assert succeed("from handloom import _C; print(_C.isa())", HANDLOOM_ISA=name) == name


def test_an_unknown_instruction_set_stops_the_import():
    result = run("import handloom", HANDLOOM_ISA="sse9")
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert "HANDLOOM_ISA=sse9 is not available here" in result.stderr
    for name in hl.available_isas():
        assert name in result.stderr


def test_use_isa_is_a_function_and_a_context():
    best = _C.isa()
    with hl.use_isa("scalar"):
        assert _C.isa() == "scalar"
    assert _C.isa() == best
    hl.use_isa("scalar")
    assert _C.isa() == "scalar"
    hl.use_isa(best)
    with pytest.raises(
        ValueError, match=r"use_isa: 'mmx' is not available here; choose from .*scalar"
    ):
        hl.use_isa("mmx")


# ---- symbols -------------------------------------------------------------------------------------
def foreign_weak_symbols(build: Path) -> tuple[int, list[str]]:
    """Object files looked at, and weak symbols of an ISA's objects that lie outside its namespace.

    The linker keeps one of several weak copies: outside its namespace that could be the one
    compiled for AVX-512, and it would run on every processor.
    """
    found, bad = 0, []
    for folder in build.rglob("hl_*.dir"):
        isa = folder.name[3:-4]
        if isa in ("core", "cuda", "emulated", "selftest"):
            continue
        inside = re.compile(rf"^_Z(?:GV|T[VSITC]|Z)*N[VK]*2hl3cpu{len(isa)}{isa}")
        for path in folder.rglob("*.o"):
            found += 1
            lines = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
            for line in lines.splitlines():
                *_, kind, name = line.split()
                if kind in "WVu" and not inside.match(name):
                    bad.append(f"{isa}/{path.name}: {name}")
    return found, bad


def test_no_weak_symbol_outside_its_instruction_sets_namespace():
    builds = [p for p in (ROOT / "build").glob("*") if (p / "CMakeCache.txt").exists()]
    if not builds or not shutil.which("nm"):
        pytest.skip("no build tree or no nm")
    looked_at = 0
    for build in builds:
        found, bad = foreign_weak_symbols(build)
        looked_at += found
        assert bad == []
    if not looked_at:
        pytest.skip("the build trees hold no objects")


@pytest.mark.slow
def test_no_weak_symbol_without_optimisation(tmp_path):
    """At -O0 nothing is inlined, so every inline function that is used leaves a symbol."""
    cmake = shutil.which("cmake")
    if not cmake or not shutil.which("nm"):
        pytest.skip("no cmake or no nm")
    flags = ["-DCMAKE_BUILD_TYPE=Debug", "-DHANDLOOM_PYTHON=OFF", "-DHANDLOOM_INPLACE=OFF"]
    if shutil.which("ninja"):
        flags.append("-GNinja")
    subprocess.run([cmake, "-S", ROOT, "-B", tmp_path, *flags], check=True, capture_output=True)
    subprocess.run([cmake, "--build", tmp_path, "-j2"], check=True, capture_output=True)
    found, bad = foreign_weak_symbols(tmp_path)
    assert found > 0
    assert bad == []


@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast", "-march=native"])
def test_flags_that_change_bits_stop_the_configuration(flag, tmp_path):
    cmake = shutil.which("cmake")
    if not cmake:
        pytest.skip("no cmake")
    command = [cmake, "-S", ROOT, "-B", tmp_path, f"-DCMAKE_CXX_FLAGS={flag}"]
    result = subprocess.run(
        [*command, "-DHANDLOOM_PYTHON=OFF"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode != 0
    assert "remove -ffast-math" in result.stderr, result.stderr


# ---- layers --------------------------------------------------------------------------------------
SOURCES = sorted(p for p in (ROOT / "csrc").rglob("*") if p.suffix in (".h", ".cpp", ".def"))


def offenders(pattern: str, allowed: str, files: list[Path], base: Path) -> list[str]:
    """``file:line`` of every match outside the paths that ``allowed`` matches."""
    rule, permitted, bad = re.compile(pattern), re.compile(allowed), []
    for path in files:
        name = path.relative_to(base).as_posix()
        if permitted.search(name):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if rule.search(line):
                bad.append(f"{name}:{number}: {line.strip()}")
    return bad


LAYERS = {
    "pybind11 only in bind/": (r"pybind11|Python\.h", r"^bind/"),
    "OpenMP only in cpu/parallel.cpp": (
        r"#\s*pragma\s+omp|<omp\.h>|\bomp_\w+\(",
        r"^cpu/parallel\.cpp$",
    ),
    "threads only in cpu/parallel.cpp": (r"<thread>|<pthread\.h>", r"^(cpu/parallel|pool)\.cpp$"),
    "instruction sets only in cpu/simd/": (
        r"#\s*(?:el)?if\w*.*(?:HL_ISA_|__AVX|__SSE|__FMA__|__ARM_NEON)",
        r"^cpu/simd/",
    ),
    "intrinsics only in cpu/simd/": (r"immintrin|arm_neon|\b_mm\d*_\w+\(", r"^cpu/simd/"),
    "C headers only in what is built per instruction set": (
        r"#\s*include\s*<(?!stdint\.h>)",
        r"^(bind/|cuda/|cpu/simd/|cpu/parallel\.cpp$|[^/]+\.(cpp|h)$)",
    ),
    "dispatch above ops": (r'#\s*include\s*"bind/', r"^bind/"),
}


@pytest.mark.skipif(not SOURCES, reason="no source tree")
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_the_core(layer):
    pattern, allowed = LAYERS[layer]
    assert offenders(pattern, allowed, SOURCES, ROOT / "csrc") == []
    # The rule is alive: somewhere it does match.
    assert offenders(pattern, r"^$", SOURCES, ROOT / "csrc")


def test_only_the_lower_layers_import_the_core():
    files = sorted(PYTHON.rglob("*.py"))
    pattern = (
        r"^\s*(?:from\s+\.*(?:handloom)?\s+import\s+.*\b_C\b"
        r"|import\s+handloom\._C|from\s+\.*(?:handloom\.)?_C\s+import)"
    )
    allowed = (
        r"^(?:_calls/|kernels/|ops/|optim/|bench/"
        r"|_rows\.py$|_tape\.py$|_deposit\.py$|_precision\.py$|tensor\.py$|_runtime\.py$"
        r"|_profile\.py$|_device_array\.py$|cuda/)"
    )
    assert offenders(pattern, allowed, files, PYTHON) == []
    assert offenders(pattern, r"^$", files, PYTHON)
