"""Products on tensor cores, against float64 on factors that the type holds exactly.

What is left is the error of float32 sums: at most K roundings of a partial sum that is no larger
than the sum of absolute products.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import _C, kernels
from tensor_cores import assert_product, bits, rounded

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)


@pytest.fixture(params=["0", "1", "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of threads, in the emulator."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


TYPES = ["bfloat16", "float16", "tfloat32"]
# below, at and above tiles of 64 and 128, steps of 16 and 32; some fill four multiprocessors
SHAPES = [(1, 1, 1), (5, 70, 33), (64, 64, 32), (67, 130, 15), (130, 257, 65), (257, 129, 40)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("schedule")
def test_matmul(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    a, b = rounded(draw(1, m, k), dtype), rounded(draw(2, k, n), dtype)
    with hl.autocast(dtype):
        c = kernels.matmul(hl.cuda.array(a), hl.cuda.array(b))
    assert_product(c.numpy(), a, b)


@pytest.mark.parametrize("dtype", TYPES)
def test_factors_are_rounded_to_the_type(dtype: str) -> None:
    a, b = draw(1, 40, 50), draw(2, 50, 30)
    with hl.autocast(dtype):
        c = kernels.matmul(hl.cuda.array(a), hl.cuda.array(b)).numpy()
    assert_product(c, rounded(a, dtype), rounded(b, dtype))
    assert not np.allclose(c, a @ b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_number_is_rounded_as_the_type_says(dtype: str) -> None:
    rng = np.random.default_rng(3)
    v = rng.integers(0, 1 << 32, 400, np.uint32)  # any exponent
    v[::3] &= 0xFFFFE000  # ties, once bfloat16 drops the rest
    v[::7] |= 0x1000  # ties of TF32
    v[1::2] = rng.uniform(-140000, 140000, 200).astype(np.float32).view(np.uint32)
    v[4::9] = (rng.standard_normal(44) * 1e-6).astype(np.float32).view(np.uint32)  # tiny in float16
    v[:4] = np.array([np.inf, -np.inf, 65519.9, 65520], np.float32).view(np.uint32)
    numbers = v.view(np.float32)
    numbers[(np.abs(numbers) < 2.0**-126) | np.isnan(numbers)] = 1.5
    with hl.autocast(dtype):
        diagonal = hl.cuda.array(np.diag(numbers))
        c = kernels.matmul(diagonal, hl.cuda.array(np.ones((400, 1), np.float32)))
    np.testing.assert_array_equal(c.numpy()[:, 0], rounded(numbers, dtype))


@pytest.mark.parametrize("left", ["C", "F"])
@pytest.mark.parametrize("right", ["C", "F"])
def test_matmul_reads_either_order(left: str, right: str) -> None:
    a, b = rounded(draw(1, 3, 70, 40), "bfloat16"), rounded(draw(2, 3, 40, 66), "bfloat16")
    x = hl.cuda.array(a if left == "C" else a.swapaxes(1, 2).copy())
    y = hl.cuda.array(b if right == "C" else b.swapaxes(1, 2).copy())
    with hl.autocast("bfloat16"):
        c = kernels.matmul(
            x if left == "C" else np.swapaxes(x, 1, 2), y if right == "C" else np.swapaxes(y, 1, 2)
        )
    assert_product(c.numpy(), a, b)


def test_batches_in_several_dimensions() -> None:
    a, b = rounded(draw(1, 2, 1, 3, 9, 20), "float16"), rounded(draw(2, 5, 1, 20, 7), "float16")
    with hl.autocast("float16"):
        c = kernels.matmul(hl.cuda.array(a), hl.cuda.array(b))
    assert c.shape == (2, 5, 3, 9, 7)
    assert_product(c.numpy(), a, b)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.usefixtures("schedule")
def test_linear_and_its_gradients(dtype: str) -> None:
    x, w, dy = (rounded(draw(s, *d), dtype) for s, d in enumerate([(130, 70), (66, 70), (130, 66)]))
    bias = draw(9, 66)
    on = hl.cuda.array
    with hl.autocast(dtype):
        y = kernels.linear(on(x), on(w), on(bias))
        dx, dw, db = kernels.linear_backward(on(dy), on(x), on(w))
    ones = np.ones((130, 1), np.float32)
    assert_product(y.numpy(), np.hstack([x, ones]), np.vstack([w.T, bias]))
    assert_product(dx.numpy(), dy, w)
    assert_product(dw.numpy(), dy.T.copy(), x)
    np.testing.assert_allclose(db.numpy(), dy.sum(0, dtype=np.float64), rtol=1e-5, atol=1e-5)


def test_special_numbers_come_through() -> None:
    a = np.zeros((3, 64), np.float32)
    a[0, 3], a[1, 4] = np.nan, np.inf
    for dtype in TYPES:
        with hl.autocast(dtype):
            c = kernels.matmul(hl.cuda.array(a), hl.cuda.array(np.ones((64, 5), np.float32)))
        np.testing.assert_array_equal(c.numpy(), np.repeat([[np.nan], [np.inf], [0]], 5, axis=1))


def test_autocast_nests_and_is_per_thread() -> None:
    a, b = hl.cuda.array(draw(1, 20, 30)), hl.cuda.array(draw(2, 30, 20))
    full = kernels.matmul(a, b).numpy()
    seen = {}

    def elsewhere() -> None:
        seen["thread"] = kernels.matmul(a, b).numpy()

    cast = hl.autocast("bfloat16")
    with cast:
        low = kernels.matmul(a, b).numpy()
        with hl.autocast("float16", enabled=False):
            np.testing.assert_array_equal(kernels.matmul(a, b).numpy(), full)
        with cast:
            pass
        np.testing.assert_array_equal(kernels.matmul(a, b).numpy(), low)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert np.any(low != full)
    np.testing.assert_array_equal(seen["thread"], full)
    np.testing.assert_array_equal(kernels.matmul(a, b).numpy(), full)
    with pytest.raises(ValueError, match="bfloat16"):
        hl.autocast("int8")


def test_float64_is_left_alone() -> None:
    a, b = draw(1, 20, 30).astype(np.float64), draw(2, 30, 20).astype(np.float64)
    with hl.autocast("bfloat16"):
        c = kernels.matmul(hl.cuda.array(a), hl.cuda.array(b)).numpy()
    np.testing.assert_allclose(c, a @ b, rtol=1e-12)


def test_the_schedule_does_not_change_bits() -> None:
    a, b = hl.cuda.array(draw(1, 150, 90)), hl.cuda.array(draw(2, 90, 140))
    results = []
    before = os.environ.get("HANDLOOM_EMULATOR_SEED")
    try:
        for seed in ("0", "1", "2"):
            os.environ["HANDLOOM_EMULATOR_SEED"] = seed
            with hl.autocast("bfloat16"):
                results.append(kernels.matmul(a, b).numpy())
    finally:
        os.environ.pop("HANDLOOM_EMULATOR_SEED")
        if before is not None:
            os.environ["HANDLOOM_EMULATOR_SEED"] = before
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


# ---- 16-bit storage ------------------------------------------------------------------------------


def values(b: Any, kind: str) -> Any:
    if kind == "f16":
        return b.view(np.float16).astype(np.float32)
    return (b.astype(np.uint32) << 16).view(np.float32)


NAMES = {"bf16": "bfloat16", "f16": "float16"}
# K in whole chunks of 8, for cp.async, and not; fewer steps than stages, and more
SHAPES16 = [(1, 1, 1), (7, 9, 8), (130, 129, 96), (100, 300, 72), (257, 65, 131), (64, 128, 264)]


@pytest.mark.parametrize("kind", ["bf16", "f16"])
@pytest.mark.parametrize("shape", SHAPES16, ids=str)
@pytest.mark.usefixtures("schedule")
def test_gemm16(shape: tuple[int, int, int], kind: str) -> None:
    m, n, k = shape
    a, b = rounded(draw(1, m, k), NAMES[kind]), rounded(draw(2, n, k), NAMES[kind])
    c = _C.gpu.gemm16(kind, hl.cuda.array(bits(a, kind)), hl.cuda.array(bits(b, kind)), wide=True)
    assert_product(c.numpy(), a, b.T)


@pytest.mark.parametrize("kind", ["bf16", "f16"])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_gemm16_epilogue(kind: str, activation: str) -> None:
    m, n, k = 131, 70, 80
    a, b, r = (rounded(draw(i, *d), NAMES[kind]) for i, d in enumerate([(m, k), (n, k), (m, n)]))
    bias = draw(8, n)
    on = hl.cuda.array
    arguments = (
        kind,
        on(bits(a, kind)),
        on(bits(b, kind)),
        on(bias),
        activation,
        on(bits(r, kind)),
    )
    wide = _C.gpu.gemm16(*arguments, wide=True).numpy()
    z = a.astype(np.float64) @ b.T.astype(np.float64) + bias
    if activation == "relu":
        z = np.maximum(z, 0)
    elif activation == "gelu":
        z = kernels.gelu(z)
    np.testing.assert_allclose(wide, z + r, rtol=1e-5, atol=2e-5)
    narrow = values(_C.gpu.gemm16(*arguments).numpy(), kind)
    np.testing.assert_array_equal(narrow, rounded(wide, NAMES[kind]))


def test_gemm16_says_what_it_expects() -> None:
    a = hl.cuda.array(np.zeros((3, 8), np.uint16))
    with pytest.raises(TypeError, match="uint16"):
        _C.gpu.gemm16("bf16", a, hl.cuda.array(np.zeros((3, 8), np.float32)))
    with pytest.raises(ValueError, match="b has shape"):
        _C.gpu.gemm16("bf16", a, hl.cuda.array(np.zeros((3, 9), np.uint16)))
    with pytest.raises(TypeError, match="device"):
        _C.gpu.gemm16("bf16", np.zeros((3, 8), np.uint16), np.zeros((3, 8), np.uint16))
