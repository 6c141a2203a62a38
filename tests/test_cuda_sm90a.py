"""Kernels for compute capability 9.0, on an emulated card that poses as one.

Which kernel ran is read from the emulator's list of launches: the layers give the same bits.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import _C, kernels
from tensor_cores import rounded
from test_cuda_mma import NAMES, assert_product, bits, draw, values

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)
if not _C.gpu.emulated():
    pytest.skip("the emulator poses as another card", allow_module_level=True)

Launches = Callable[[], list[str]]


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launches:
    """The kernels that were launched since it was last asked, on a card of 9.0."""
    path = tmp_path / "launches"
    monkeypatch.setenv("HANDLOOM_EMULATOR_CAPABILITY", "9.0")
    monkeypatch.setenv("HANDLOOM_EMULATOR_LAUNCHES", str(path))

    def since() -> list[str]:
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    return since


@pytest.fixture(params=["0", "1", "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of threads."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)


# ---- the wrappers --------------------------------------------------------------------------------
def wrappers(*arguments: str, seed: int = 1) -> subprocess.CompletedProcess[str]:
    program = Path(os.environ.get("HANDLOOM_CUDA_LIBRARY", "")).with_name("gpu_wrappers")
    if not program.is_file():
        pytest.skip("no gpu_wrappers beside the library")
    env = {
        **os.environ,
        "HANDLOOM_EMULATOR_CAPABILITY": "9.0",
        "HANDLOOM_EMULATOR_SEED": str(seed),
    }
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, env=env, timeout=120
    )


def test_wrappers_do_what_is_known_of_them() -> None:
    runs = [wrappers(seed=seed) for seed in (0, 1, 2)]
    for run in runs:
        assert run.returncode == 0, run.stdout[-300:] + run.stderr
        assert run.stdout == runs[0].stdout
    assert len(runs[0].stdout.splitlines()) == 25


MISTAKES = {
    "no_full_wait": "",
    "no_empty_wait": "",
    "early_release": "WRONG",
    "no_product_wait": "WRONG",
    "touched": "sums were written while wgmma adds to them",
    "no_fence": "without a wgmma_fence",
    "wrong_parity": "",
    "few_bytes": "deadlock",
    "many_bytes": "deadlock",
    "no_init_fence": "without fence_barrier_init",
    "too_many_registers": "deadlock",
    "overwritten": "an mbarrier that is none",
    "not_named": "does not name",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_emulator_sees_mistakes(mistake: str) -> None:
    runs = [wrappers(mistake, seed=seed) for seed in range(4)]
    assert any(run.returncode != 0 for run in runs)
    assert any(MISTAKES[mistake] in run.stdout + run.stderr for run in runs)
    assert wrappers("none").returncode == 0


# ---- products of 16-bit matrices -----------------------------------------------------------------
# fewer steps than stages and more; tiles of 128 and 256 columns, more of them than multiprocessors
SHAPES = [(1, 1, 8), (5, 70, 64), (130, 129, 96), (300, 520, 328), (64, 1100, 72), (257, 260, 456)]


@pytest.mark.parametrize("kind", ["bf16", "f16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("schedule")
def test_gemm16(shape: tuple[int, int, int], kind: str, launches: Launches) -> None:
    m, n, k = shape
    a, b = rounded(draw(1, m, k), NAMES[kind]), rounded(draw(2, n, k), NAMES[kind])
    c = _C.gpu.gemm16(kind, hl.cuda.array(bits(a, kind)), hl.cuda.array(bits(b, kind)), wide=True)
    assert_product(c.numpy(), a, b.T)
    assert [line.count("gemm_sm90a_kernel") for line in launches()] == [1]


@pytest.mark.parametrize("kind", ["bf16", "f16"])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("n", [70, 69])
def test_gemm16_epilogue(kind: str, activation: str, n: int, launches: Launches) -> None:
    m, k = 131, 80
    a, b, r = (rounded(draw(i, *d), NAMES[kind]) for i, d in enumerate([(m, k), (n, k), (m, n)]))
    on = hl.cuda.array
    arguments = (
        *(kind, on(bits(a, kind)), on(bits(b, kind)), on(draw(8, n)), activation),
        on(bits(r, kind)),
    )
    results = []
    for capability in ("9.0", "8.0"):
        os.environ["HANDLOOM_EMULATOR_CAPABILITY"] = capability
        results += [_C.gpu.gemm16(*arguments, wide=wide).numpy() for wide in (True, False)]
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])
    np.testing.assert_array_equal(values(results[1], kind), rounded(results[0], NAMES[kind]))
    assert ["sm90a" in line for line in launches()] == [True, True, False, False]


def test_gemm16_leaves_to_mma_what_tma_does_not_take(launches: Launches) -> None:
    a, b = rounded(draw(1, 40, 51), "bfloat16"), rounded(draw(2, 30, 51), "bfloat16")
    on = [hl.cuda.array(bits(x, "bf16")) for x in (a, b)]
    assert_product(_C.gpu.gemm16("bf16", *on, wide=True).numpy(), a, b.T)
    a = rounded(draw(1, 41, 48), "bfloat16")  # aligned rows from an address that is not
    whole = hl.cuda.array(np.concatenate([[np.uint16(0)], bits(a, "bf16").ravel()]))
    c = _C.gpu.gemm16("bf16", whole[1:].reshape(41, 48), on[1][:, :48].copy(), wide=True)
    assert_product(c.numpy(), a, b[:, :48].T)
    assert not any("gemm_sm90a_kernel" in line for line in launches())


# ---- products of float32 arrays under autocast ---------------------------------------------------
def cast_product(a: Any, b: Any, dtype: str = "bfloat16") -> Any:
    with hl.autocast(dtype):
        return kernels.matmul(a, b)


# the least that pays on the emulated card's four multiprocessors, and more; K of any length
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(512, 512, 512), (640, 700, 333)], ids=str)
def test_matmul(shape: tuple[int, int, int], dtype: str, launches: Launches) -> None:
    m, n, k = shape
    a, b = rounded(draw(1, m, k), dtype), rounded(draw(2, k, n), dtype)
    c = cast_product(hl.cuda.array(a), hl.cuda.array(b), dtype)
    assert_product(c.numpy(), a, b)
    assert ["round_operands" in line for line in launches()] == [True, False]


def test_factors_are_rounded_to_the_type(launches: Launches) -> None:
    a, b = draw(1, 520, 520), draw(2, 520, 520)
    c = cast_product(hl.cuda.array(a), hl.cuda.array(b), "float16")
    assert_product(c.numpy(), rounded(a, "float16"), rounded(b, "float16"))
    assert len(launches()) == 2


@pytest.mark.parametrize("left", ["C", "F"])
@pytest.mark.parametrize("right", ["C", "F"])
def test_matmul_reads_either_order_and_batches(left: str, right: str, launches: Launches) -> None:
    a, b = rounded(draw(1, 3, 530, 170), "bfloat16"), rounded(draw(2, 170, 514), "bfloat16")
    x = hl.cuda.array(a if left == "C" else a.swapaxes(1, 2).copy())
    y = hl.cuda.array(b if right == "C" else b.T.copy())
    c = cast_product(
        x if left == "C" else np.swapaxes(x, 1, 2), y if right == "C" else np.swapaxes(y, 0, 1)
    )
    assert_product(c.numpy(), a, b)
    assert len(launches()) == 2


def test_small_products_and_other_types_stay_where_they_are(launches: Launches) -> None:
    a, b = hl.cuda.array(draw(1, 512, 400)), hl.cuda.array(draw(2, 400, 512))
    cast_product(a, b)
    cast_product(hl.cuda.array(draw(1, 512, 512)), hl.cuda.array(draw(2, 512, 512)), "tfloat32")
    os.environ["HANDLOOM_EMULATOR_CAPABILITY"] = "10.0"
    cast_product(hl.cuda.array(draw(1, 512, 512)), hl.cuda.array(draw(2, 512, 512)))
    assert ["gemm_mma_kernel" in line for line in launches()] == [True] * 3
