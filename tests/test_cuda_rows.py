"""Rows of every length on a GPU: a few lanes, a warp, a block, and longer than a block's registers.

The CPU is the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

# around the lengths at which a float32 or a float64 row goes to more threads, in whole packs of 16
# bytes and not
LENGTHS = [2, 5, 16, 17, 32, 33, 128, 129, 255, 260, 512, 513, 1024, 1027, 4096, 4097, 8192, 8201]
DTYPES = ["float32", "float64"]


@pytest.fixture(params=["0", "1", "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of threads, in the emulator."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)


def both(f: Any, arrays: list[Any], **options: Any) -> Any:
    """What f gives on the card, after it has been compared with the CPU's."""
    on = {k: hl.cuda.array(a) if isinstance(a, np.ndarray) else a for k, a in options.items()}
    got = f(*(None if a is None else hl.cuda.array(a) for a in arrays), **on)
    want = f(*arrays, **options)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if b is not None:
            scale = np.abs(b).max(initial=1.0, where=np.isfinite(b))
            limit = 64 * np.finfo(b.dtype).eps
            np.testing.assert_allclose(a.numpy(), b, rtol=limit, atol=limit * scale)
    return want


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.usefixtures("schedule")
def test_rows_of_any_length(n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    rows = 11 if n < 200 else 3
    x = (3 * rng.standard_normal((rows, n))).astype(dtype)
    dy = rng.standard_normal((rows, n)).astype(dtype)
    w, b = rng.standard_normal((2, n)).astype(dtype)
    for softmax, backward in (
        (kernels.softmax, kernels.softmax_backward),
        (kernels.log_softmax, kernels.log_softmax_backward),
    ):
        y = both(softmax, [x])
        both(backward, [dy, y])
    for weight, bias in ((w, b), (None, None)):
        _, saved = both_saved(kernels.layer_norm, x + 10, weight, bias)
        both(
            lambda d, v, a, m, r: kernels.layer_norm_backward(d, v, a, saved=(m, r)),
            [dy, x + 10, weight, *saved],
        )
        _, rstd = both_saved(kernels.rms_norm, x, weight)
        both(lambda d, v, a, r: kernels.rms_norm_backward(d, v, a, saved=r), [dy, x, weight, rstd])
    labels = rng.integers(0, n, rows)
    labels[0] = -100
    soft = rng.random((rows, n)).astype(dtype)
    for target, options in (
        (labels, {}),
        (labels, {"label_smoothing": 0.1, "reduction": "none"}),
        (soft, {"reduction": "sum"}),
    ):
        both(kernels.cross_entropy, [x, target], **options)
        slope = np.ones(rows if options.get("reduction") == "none" else (), dtype)
        both(kernels.cross_entropy_backward, [slope, x, target], **options)


def both_saved(f: Any, *arrays: Any) -> Any:
    """The CPU's result and what it saved, compared alike."""

    def flat(*a: Any) -> tuple[Any, ...]:
        y, saved = f(*a, return_saved=True)
        return (y, *saved) if isinstance(saved, tuple) else (y, saved)

    y, *saved = both(flat, list(arrays))
    return y, tuple(saved) if len(saved) > 1 else saved[0]


@pytest.mark.parametrize("n", [33, 260, 1027])
def test_an_address_that_is_not_aligned_changes_no_bit(n: int) -> None:
    x = np.random.default_rng(n).standard_normal(4 * n + 1).astype(np.float32)
    shifted = hl.cuda.array(x)[1:].reshape(4, n)
    plain = hl.cuda.array(x[1:].reshape(4, n))
    for f in (kernels.softmax, kernels.layer_norm):
        np.testing.assert_array_equal(f(shifted).numpy(), f(plain).numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (3, 1), (6, 3), (40, 1), (72, 2), (72, 72)]
)
@pytest.mark.parametrize("activation", [None, "relu", "silu", "sigmoid"])
def test_channels_of_any_number(
    channels: int, groups: int, activation: str | None, dtype: str
) -> None:
    """One number a thread, or 16 bytes; groups of fewer and more channels than a warp has lanes."""
    rng = np.random.default_rng(channels)
    x = (3 + rng.standard_normal((3, 5, 7, channels))).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    w, b = rng.standard_normal((2, channels)).astype(dtype)
    options = {"activation": activation}

    def grouped(x: Any, w: Any, b: Any, **options: Any) -> Any:
        y, saved = kernels.group_norm(x, groups, w, b, return_saved=True, **options)
        return y, *saved

    def grouped_backward(dy: Any, x: Any, w: Any, *saved: Any, **options: Any) -> Any:
        return kernels.group_norm_backward(dy, x, groups, w, saved=saved, **options)

    _, mean, rstd = both(grouped, [x, w, b], **options)
    both(grouped_backward, [dy, x, w, mean, rstd], bias=b, **options)
    _, mean, rstd = both(kernels.batch_norm, [x, w, b, None, None], training=True, **options)
    both(kernels.batch_norm_backward, [dy, x, w, mean, rstd], bias=b, **options)
    both(kernels.batch_norm, [x, w, b, mean, rstd**-2.0], training=False, **options)


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("pool", ["max", "avg", "lp"])
def test_pools_at_an_address_that_is_not_aligned(pool: str, channels: int) -> None:
    x = np.random.default_rng(1).standard_normal(2 * 6 * 6 * channels + 1).astype(np.float32)
    shape = (2, 6, 6, channels)
    plain, shifted = hl.cuda.array(x[1:].reshape(shape)), hl.cuda.array(x)[1:].reshape(shape)
    f = {"max": kernels.max_pool2d, "avg": kernels.avg_pool2d, "lp": kernels.lp_pool2d}[pool]
    args = (2, 2) if pool == "lp" else (2,)
    np.testing.assert_array_equal(f(plain, *args).numpy(), f(shifted, *args).numpy())


def test_channels_at_an_address_that_is_not_aligned() -> None:
    x, dy = np.random.default_rng(1).standard_normal((2, 6 * 8 + 1)).astype(np.float32)
    plain = [hl.cuda.array(a[1:].reshape(6, 8)) for a in (x, dy)]
    shifted = [hl.cuda.array(a)[1:].reshape(6, 8) for a in (x, dy)]
    results = []
    for x_, dy_ in (plain, shifted):
        y, mean, rstd = kernels.batch_norm(x_, None, None, None, None, training=True)
        dx, *_ = kernels.batch_norm_backward(dy_, x_, None, mean, rstd)
        results.append([a.numpy() for a in (y, mean, rstd, dx)])
    np.testing.assert_equal(*results)


def test_lines_that_are_not_rows() -> None:
    x = np.random.default_rng(1).standard_normal((3, 50, 7)).astype(np.float32)
    y = both(kernels.softmax, [x], axis=1)
    both(kernels.softmax_backward, [x, y], axis=1)


def test_rows_without_a_softmax() -> None:
    x = np.zeros((4, 40), np.float32)
    x[0, 3], x[1, 4], x[2] = np.nan, np.inf, -np.inf
    y = kernels.softmax(hl.cuda.array(x)).numpy()
    assert np.isnan(y[:3]).all()
    np.testing.assert_allclose(y[3], 1 / 40)
