"""Attention on tensor cores, against float64 on inputs that the type holds exactly.

What is left is the rounding of a weight, and of its gradient, once each on their way into a
product, besides float32 sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels
from tensor_cores import UNIT, check_attention, draw, inputs, on_card

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)


@pytest.fixture(params=["0", "1", "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of threads, in the emulator."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)


TYPES = ["bfloat16", "float16", "tfloat32"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("d", [1, 20, 32, 50, 64, 70, 96, 128])
def test_heads_of_any_size(d: int, dtype: str) -> None:
    check_attention(dtype, inputs(dtype, 1, 70, 75, 1, 1, d))


# below, at and above tiles of 64 and 128 queries and of 16, 32 and 64 keys
LENGTHS = [(1, 1), (1, 200), (63, 64), (64, 65), (130, 129), (257, 31), (5, 300)]


@pytest.mark.parametrize(
    ("d", "dtype"),
    [
        *((64, "bfloat16"), (64, "tfloat32"), (128, "bfloat16")),
        pytest.param(128, "tfloat32", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_ragged_lengths(lengths: tuple[int, int], d: int, dtype: str) -> None:
    check_attention(dtype, inputs(dtype, 2, *lengths, 1, 1, d, d - 3))


@pytest.mark.parametrize("causal", [False, True, "upper_left"])
@pytest.mark.parametrize("window", [None, 0, 40, (100, 10), (None, 5)])
@pytest.mark.usefixtures("schedule")
def test_causal_and_windows(window: Any, causal: Any) -> None:
    check_attention(
        "bfloat16", inputs("bfloat16", 1, 150, 170, 2, 1, 32), causal=causal, window=window
    )


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize("d", [64, 128])
def test_key_heads_are_shared(heads: tuple[int, int], d: int) -> None:
    check_attention("bfloat16", inputs("bfloat16", 2, 70, 40, *heads, d), causal=True, scale=0.3)


@pytest.mark.parametrize("d", [32, 128])
def test_key_lengths_and_starts(d: int) -> None:
    starts = np.array([-5, 60, 300, 1 << 39])
    lengths = np.array([0, 1, 70, 100])
    arrays = inputs("bfloat16", 4, 40, 100, 2, 2, d)
    for n, length in enumerate(lengths):  # padding is not read
        arrays[2][n, length:] = np.nan
        arrays[3][n, length:] = np.nan
    options = {"lengths": lengths, "starts": starts, "causal": True}
    with hl.autocast("bfloat16"):
        dy, q, k, v = (hl.cuda.array(a) for a in arrays)
        y, saved = kernels.attention(q, k, v, **on_card(options), return_saved=True)
        dead = kernels.attention_backward(dy, q, k, v, y, saved=saved, **on_card(options))
    for result in (y, *dead[:3]):
        assert not np.isnan(result.numpy()).any()
        assert not result.numpy()[0].any()
    for n, length in enumerate(lengths):
        arrays[2][n, length:] = arrays[3][n, length:] = 0
    check_attention("bfloat16", arrays, **options)


@pytest.mark.parametrize("d", [32, 64, pytest.param(96, marks=pytest.mark.slow), 128])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.usefixtures("schedule")
def test_masks_biases_slopes_and_dropout(d: int, dtype: str) -> None:
    rng = np.random.default_rng(5)
    n, tq, tk, h = 2, 70, 90, 2
    mask = rng.random((n, 1, tq, tk)) < 0.5
    mask[0, 0, 3] = False
    check_attention(
        dtype,
        inputs(dtype, n, tq, tk, h, 1, d),
        mask=mask,
        bias=rng.standard_normal((h, 1, tk)).astype(np.float32),
        slopes=np.array([0.5, 0.01], np.float32),
        causal=True,
    )
    check_attention(
        dtype, inputs(dtype, 1, tq, tk, h, 2, d), dropout=0.3, seed=4, call=2, window=50
    )


def test_views_and_gradients_in_place() -> None:
    packed = draw(1, "bfloat16", 2, 80, 3, 2, 64)
    q, k, v = (packed[:, :, i] for i in range(3))
    dy = draw(2, "bfloat16", 2, 80, 2, 64)
    with hl.autocast("bfloat16"):
        on = hl.cuda.array(packed)
        views = [on[:, :, i] for i in range(3)]
        y, saved = kernels.attention(*views, return_saved=True)
        got = kernels.attention_backward(hl.cuda.array(dy), *views, y, saved=saved)
        copies = [hl.cuda.array(np.ascontiguousarray(a)) for a in (q, k, v)]
        again = kernels.attention(*copies)
        want = kernels.attention_backward(hl.cuda.array(dy), *copies, y, saved=saved)
    np.testing.assert_array_equal(y.numpy(), again.numpy())
    for a, b in zip(got[:3], want[:3]):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("d", [64, 128])
def test_the_schedule_does_not_change_bits(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [hl.cuda.array(a) for a in inputs("bfloat16", 1, 140, 150, 2, 1, d)]
    results = []
    for seed in ("0", "1", "2"):
        monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", seed)
        with hl.autocast("bfloat16"):
            y, saved = kernels.attention(*arrays[1:], causal=True, return_saved=True)
            grads = kernels.attention_backward(*arrays, y, saved=saved, causal=True)[:3]
        results.append([a.numpy() for a in (y, saved, *grads)])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", TYPES)
def test_weights_are_rounded(dtype: str) -> None:
    arrays = [hl.cuda.array(a) for a in inputs(dtype, 1, 40, 50, 1, 1, 32)]

    def run() -> list[Any]:
        y, saved = kernels.attention(*arrays[1:], return_saved=True)
        grads = kernels.attention_backward(*arrays, y, saved=saved)[:3]
        return [a.numpy() for a in (y, *grads)]

    full = run()
    with hl.autocast(dtype):
        low = run()
    for a, b in zip(full, low):
        assert not np.array_equal(a, b)
        np.testing.assert_allclose(a, b, rtol=0, atol=8 * UNIT[dtype])


@pytest.mark.parametrize("d", [32, 200])
def test_what_is_left_to_plain_threads(d: int) -> None:
    dtype = "float64" if d == 32 else "float32"
    arrays = [a.astype(dtype) for a in inputs("bfloat16", 1, 20, 30, 1, 1, d)]
    plain = kernels.attention(*(hl.cuda.array(a) for a in arrays[1:])).numpy()
    with hl.autocast("bfloat16"):
        y = kernels.attention(*(hl.cuda.array(a) for a in arrays[1:])).numpy()
    np.testing.assert_array_equal(y, plain)
