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
from tensor_cores import assert_product, bits, check_attention, inputs, on_card, rounded
from test_cuda_mma import NAMES, draw, values

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


SLOW = pytest.mark.slow


@pytest.fixture(params=["0", pytest.param("1", marks=SLOW), "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of threads."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)


@pytest.fixture(params=[1, pytest.param(2, marks=SLOW)])
def another_schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("HANDLOOM_EMULATOR_SEED", "0")) + request.param
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", str(seed))


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


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_linear_and_its_gradients(dtype: str, launches: Launches) -> None:
    x, w, dy = (
        rounded(draw(s, *d), dtype) for s, d in enumerate([(520, 530), (515, 530), (520, 515)])
    )
    bias = draw(9, 515)
    on = hl.cuda.array
    with hl.autocast(dtype):
        y = kernels.linear(on(x), on(w), on(bias))
        dx, dw, db = kernels.linear_backward(on(dy), on(x), on(w))
    ones = np.ones((520, 1), np.float32)
    assert_product(y.numpy(), np.hstack([x, ones]), np.vstack([w.T, bias]))
    assert_product(dx.numpy(), dy, w)
    assert_product(dw.numpy(), dy.T.copy(), x)
    np.testing.assert_allclose(db.numpy(), dy.sum(0, dtype=np.float64), rtol=1e-5, atol=1e-5)
    assert sum("gemm_sm90a_kernel" in line for line in launches()) == 3


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_linear_with_an_activation_is_that_of_mma(activation: str, launches: Launches) -> None:
    x, w, dy = (hl.cuda.array(draw(s, 520, 520)) for s in range(3))
    bias = hl.cuda.array(draw(9, 520))
    results: list[list[Any]] = []
    for capability in ("9.0", "8.0"):
        os.environ["HANDLOOM_EMULATOR_CAPABILITY"] = capability
        with hl.autocast("bfloat16"):
            y, z = kernels.linear(x, w, bias, activation=activation, return_saved=True)
            grads = kernels.linear_backward(dy, x, w, saved=z, activation=activation)
        results.append([a.numpy() for a in (y, z, *grads)])
        assert any("sm90a" in line for line in launches()) == (capability == "9.0")
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_both_run_in_a_graph(launches: Launches) -> None:
    a, b = (hl.cuda.array(draw(s, 512, 512)) for s in range(2))
    qkv = [hl.cuda.array(x) for x in inputs("bfloat16", 1, 70, 140, 2, 1, 64)[1:]]

    def run() -> list[Any]:
        with hl.autocast("bfloat16"):
            return [kernels.matmul(a, b), kernels.attention(*qkv)]

    eager = [r.numpy() for r in run()]
    launches()
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        captured = run()
    assert launches() == []
    for _ in range(2):
        g.replay()
        for got, want in zip(captured, eager):
            np.testing.assert_array_equal(got.numpy(), want)
    assert sum("sm90a_kernel" in line for line in launches()) == 4


def test_small_products_and_other_types_stay_where_they_are(launches: Launches) -> None:
    cast_product(hl.cuda.array(draw(1, 512, 400)), hl.cuda.array(draw(2, 400, 512)))
    a, b = hl.cuda.array(draw(1, 512, 512)), hl.cuda.array(draw(2, 512, 512))
    cast_product(a, b, "tfloat32")
    os.environ["HANDLOOM_EMULATOR_CAPABILITY"] = "10.0"
    cast_product(a, b)
    assert ["gemm_mma_kernel" in line for line in launches()] == [True] * 3


# ---- attention -----------------------------------------------------------------------------------
def attended(launches: Launches) -> list[bool]:
    """For each kernel of forward, whether it is that of 9.0."""
    lines = launches()
    return ["sm90a" in line for line in lines if "attend" in line]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("d", [33, 64, 70, 128])
def test_attention(d: int, dtype: str, launches: Launches) -> None:
    check_attention(dtype, inputs(dtype, 1, 140, 300, 2, 1, d))
    assert attended(launches) == [True]


# below, at and above tiles of 64 and 128 queries and 128 keys; more tiles of keys than stages
LENGTHS = [(65, 1), (66, 127), (128, 128), (129, 129), (200, 257), (70, 700)]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize(
    ("d", "causal"), [(64, False), (64, True), (128, True), pytest.param(128, False, marks=SLOW)]
)
@pytest.mark.usefixtures("another_schedule")
def test_attention_of_ragged_lengths(
    lengths: tuple[int, int], d: int, causal: bool, launches: Launches
) -> None:
    arrays = inputs("bfloat16", 2, *lengths, 1, 1, d, d - 3)
    check_attention("bfloat16", arrays, causal=causal)
    assert attended(launches) == [True]


@pytest.mark.parametrize("causal", [False, True, pytest.param("upper_left", marks=SLOW)])
@pytest.mark.parametrize("window", [None, 0, 40, (200, 10), pytest.param((None, 5), marks=SLOW)])
def test_attention_causal_and_windows(window: Any, causal: Any, launches: Launches) -> None:
    arrays = inputs("bfloat16", 1, 290, 310, 2, 1, 40)
    check_attention("bfloat16", arrays, causal=causal, window=window)
    assert attended(launches) == [True]


def test_attention_skips_tiles_that_nobody_sees(launches: Launches) -> None:
    arrays = inputs("bfloat16", 1, 256, 256, 1, 1, 64)
    arrays[3][0, 128:] = np.nan  # causal: the first tile of queries does not read these values
    with hl.autocast("bfloat16"):
        y = kernels.attention(*(hl.cuda.array(a) for a in arrays[1:]), causal=True).numpy()
    assert not np.isnan(y[:, :128]).any()
    assert np.isnan(y[:, 128:]).all()
    assert attended(launches) == [True]


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)])
def test_attention_shares_key_heads(heads: tuple[int, int], launches: Launches) -> None:
    arrays = inputs("bfloat16", 2, 70, 140, *heads, 128)
    check_attention("bfloat16", arrays, causal=True, scale=0.3)
    assert attended(launches) == [True]


def test_attention_with_key_lengths_and_starts(launches: Launches) -> None:
    arrays = inputs("bfloat16", 4, 80, 300, 2, 2, 64)
    for n, length in enumerate((0, 1, 170, 300)):  # padding is not read
        arrays[2][n, length:] = arrays[3][n, length:] = np.nan
    options: dict[str, Any] = {
        "lengths": np.array([0, 1, 170, 300]),
        "starts": np.array([-5, 60, 500, 1 << 39]),
        "causal": True,
    }
    with hl.autocast("bfloat16"):
        y = kernels.attention(*(hl.cuda.array(a) for a in arrays[1:]), **on_card(options)).numpy()
    assert not np.isnan(y).any()
    assert not y[0].any()
    for n, length in enumerate(options["lengths"]):
        arrays[2][n, length:] = arrays[3][n, length:] = 0
    check_attention("bfloat16", arrays, **options)
    assert attended(launches) == [True, True]


def test_attention_is_that_of_mma_otherwise(launches: Launches) -> None:
    rng = np.random.default_rng(5)
    mask = rng.random((1, 1, 70, 90)) < 0.5
    arrays = inputs("bfloat16", 1, 70, 90, 2, 1, 64)
    check_attention("bfloat16", arrays, mask=mask)
    check_attention("bfloat16", arrays, dropout=0.3, seed=4, call=2)
    check_attention("bfloat16", inputs("bfloat16", 1, 64, 90, 2, 1, 64))  # one warpgroup's
    check_attention("bfloat16", inputs("bfloat16", 1, 70, 90, 2, 1, 32))
    check_attention("tfloat32", inputs("tfloat32", 1, 70, 90, 2, 1, 64))
    assert attended(launches) == [False] * 5


def test_the_schedule_does_not_change_bits(
    launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [hl.cuda.array(a) for a in inputs("bfloat16", 1, 260, 390, 2, 1, 128)]
    results = []
    for seed in ("0", "1", "2"):
        monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", seed)
        with hl.autocast("bfloat16"):
            results.append(kernels.attention(*arrays[1:], causal=True).numpy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert attended(launches) == [True] * 3
