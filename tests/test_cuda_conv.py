"""Convolution on tensor cores, against float64 on factors that the type holds exactly.

What is left is the error of float32 sums: at most one rounding a term of a partial sum that is no
larger than the sum of absolute products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels
from handloom._calls.convolve import convolution
from handloom.kernels.dense import activation_of
from reference import conv as oracle
from tensor_cores import assert_within, check_conv, conv_gradients, draw, rounded

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

TYPES = ["bfloat16", "float16", "tfloat32"]


@pytest.fixture(params=["0", "1", "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of threads, in the emulator."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)


# chunks are 8 channels, or 4 of TF32; a step is 4 chunks, a tile 64 or 128 channels
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [(1, 40), (3, 17), (5, 5), (8, 3), (17, 8), (40, 1), (33, 66)])
def test_ragged_channels(channels: tuple[int, int], dtype: str) -> None:
    c, k = channels
    check_conv(dtype, (2, 5, 6, c), k, (3, 3), padding=1)


@pytest.mark.parametrize("dtype", ["bfloat16", "tfloat32"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (2, 4)])
@pytest.mark.parametrize("batch", [1, 3])
def test_kernels(kernel: tuple[int, int], batch: int, dtype: str) -> None:
    check_conv(dtype, (batch, 7, 6, 12), 10, kernel, padding=kernel[0] // 2, bias=batch == 1)


# below, at and above tiles of 64 and 128 rows and columns; four multiprocessors
@pytest.mark.parametrize("dtype", ["bfloat16", "tfloat32"])
@pytest.mark.parametrize(
    "shape", [(1, 64, 64), (1, 65, 65), (3, 129, 33), (5, 130, 130), (2, 140, 200)], ids=str
)
@pytest.mark.usefixtures("schedule")
def test_tiles(shape: tuple[int, int, int], dtype: str) -> None:
    n, pixels, k = shape
    check_conv(dtype, (n, pixels, 20), k, (1,))


@pytest.mark.parametrize("dtype", ["bfloat16", "tfloat32"])
@pytest.mark.parametrize(
    "how",
    [
        {"kernel": (3, 3), "stride": 2, "padding": 1},
        {"kernel": (4, 4), "stride": 2, "padding": 1},
        {"kernel": (3, 2), "stride": (3, 4), "padding": ((1, 0), (2, 1))},  # some meet no tap
        {"kernel": (1, 1), "stride": 2},
        {"kernel": (3, 3), "dilation": 2, "padding": 2},
        {"kernel": (3, 4), "stride": 2, "dilation": (3, 2), "padding": 3},
        {"kernel": (5, 5), "stride": (6, 4), "dilation": (4, 6), "padding": 9},
        {"kernel": (3, 3), "stride": (2, 40), "padding": 4},  # farther than the image is wide
    ],
    ids=str,
)
@pytest.mark.usefixtures("schedule")
def test_strides_dilation_and_padding(how: dict[str, Any], dtype: str) -> None:
    how = dict(how)
    check_conv(dtype, (2, 11, 10, 9), 11, how.pop("kernel"), **how)


@pytest.mark.parametrize("stride", [20, 40])  # above 16 and 32 phases, threads work alone
def test_many_phases(stride: int) -> None:
    check_conv("bfloat16", (2, 3, 90, 5), 7, (3, 4), stride=(2, stride), padding=1)
    dy, x, w = (draw(i, "bfloat16", *s) for i, s in enumerate([(2, 3, 5), (2, 90, 7), (5, 3, 7)]))
    how = {"stride": stride, "padding": 1, "dilation": 20 if stride == 20 else 2}
    dy = np.resize(dy, oracle.conv(x, w, **how).shape)
    dx = kernels.conv1d_backward(*map(hl.cuda.array, (dy, x, w)), need=("x",), **how)[0]
    want = conv_gradients(*(a.astype(np.float64) for a in (dy, x, w)), **how)[0]
    np.testing.assert_allclose(dx.numpy(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "tfloat32"])
@pytest.mark.parametrize(("c", "k", "groups"), [(36, 18, 2), (30, 60, 3), (4, 34, 2), (140, 18, 2)])
def test_groups(c: int, k: int, groups: int, dtype: str) -> None:
    check_conv(dtype, (2, 5, 6, c), k, (3, 3), groups=groups, padding=1, stride=2)


@pytest.mark.parametrize("dtype", TYPES)
def test_sequences_and_volumes(dtype: str) -> None:
    check_conv(dtype, (2, 50, 9), 12, (5,), padding=((4, 0),), stride=3)
    check_conv(dtype, (1, 40, 70), 20, (3,), dilation=2)
    check_conv(dtype, (2, 4, 5, 6, 10), 9, (2, 3, 2), padding=1, stride=(1, 2, 2))
    check_conv(dtype, (1, 5, 5, 4, 6), 9, (3, 1, 2), stride=(2, 1, 3), dilation=(1, 2, 2))


@pytest.mark.parametrize("dtype", TYPES)
def test_transposed(dtype: str) -> None:
    x, w, b = draw(1, dtype, 2, 5, 6, 20), draw(2, dtype, 20, 4, 3, 7), draw(3, dtype, 14)
    how = {"stride": (2, 3), "padding": 1, "output_padding": (1, 0), "groups": 2}
    on = [hl.cuda.array(a) for a in (x, w, b)]
    with hl.autocast(dtype):
        y = kernels.conv_transpose2d(*on, **how, activation="relu")
    wide = [a.astype(np.float64) for a in (x, w, b)]
    want = oracle.conv_transpose(*wide, **how)
    size = oracle.conv_transpose(*map(np.abs, wide), **how)
    assert_within(y, np.maximum(want, 0), 2.0**-23 * 60 * size, "y")


@pytest.mark.parametrize("activation", ["relu", "gelu", "sigmoid", "silu"])
@pytest.mark.parametrize("bias", [True, False])
def test_activations(activation: str, bias: bool) -> None:
    x, w, b = (
        draw(1, "bfloat16", 2, 6, 7, 16),
        draw(2, "bfloat16", 24, 3, 3, 16),
        draw(3, "bfloat16", 24),
    )
    on = [hl.cuda.array(a) for a in (x, w, b)][: 2 + bias]
    with hl.autocast("bfloat16"):
        z = kernels.conv2d(*on, padding=1).numpy()
        y = kernels.conv2d(*on, padding=1, activation=activation).numpy()
        act = activation_of("conv2d", activation)
        geometry = convolution("conv2d", 2, *on[:2], 1, 1, 1, 1, "zeros")
        again, saved = geometry.forward(
            on[0], on[1], on[2] if bias else None, (act.code, True, act.p0, act.p1)
        )
    np.testing.assert_allclose(y, getattr(kernels, activation)(z), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(again.numpy(), y)
    np.testing.assert_array_equal(saved.numpy(), z)


@pytest.mark.parametrize("dtype", TYPES)
def test_factors_are_rounded_to_the_type(dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, w, dy = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((2, 6, 7, 10), (12, 3, 3, 10), (2, 6, 7, 12))
    )
    on = [hl.cuda.array(a) for a in (dy, x, w)]
    with hl.autocast(dtype):
        y = kernels.conv2d(*on[1:], padding=1).numpy()
        dx, dw, _ = kernels.conv2d_backward(*on, padding=1, need=("x", "w"))
    low = [rounded(a, dtype).astype(np.float64) for a in (dy, x, w)]
    exact = [oracle.conv(*low[1:], padding=1), *conv_gradients(*low, padding=1)]
    plain = [oracle.conv(x, w, padding=1), *conv_gradients(dy, x, w, padding=1)]
    for got, want, far in zip((y, dx.numpy(), dw.numpy()), exact, plain):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
        assert np.abs(got - far).max() > 3 * np.abs(got - want).max()


def test_unaligned_arrays() -> None:
    def shifted(a: Any) -> Any:
        return hl.cuda.array(np.append(np.float32(0), a))[1:].reshape(a.shape)

    x, w = draw(1, "bfloat16", 2, 6, 5, 16), draw(2, "bfloat16", 8, 3, 3, 16)
    dy = draw(3, "bfloat16", 2, 6, 5, 8)
    results = []
    for put in (hl.cuda.array, shifted):
        arrays = [put(a) for a in (dy, x, w)]
        with hl.autocast("bfloat16"):
            y = kernels.conv2d(*arrays[1:], padding=1)
            grads = kernels.conv2d_backward(*arrays, padding=1)
        results.append([a.numpy() for a in (y, *grads)])
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_nothing_to_do() -> None:
    w = hl.cuda.array(draw(2, "bfloat16", 8, 3, 3, 16))
    x = hl.cuda.array(np.zeros((0, 6, 5, 16), np.float32))
    dy = hl.cuda.array(np.zeros((0, 6, 5, 8), np.float32))
    with hl.autocast("bfloat16"):
        assert kernels.conv2d(x, w, padding=1).shape == (0, 6, 5, 8)
        dx, dw, db = kernels.conv2d_backward(dy, x, w, padding=1)
    assert dx.shape == x.shape
    assert not dw.numpy().any()
    assert not db.numpy().any()


def test_few_channels_a_group_stay_exact() -> None:
    x, w = (
        np.random.default_rng(i).standard_normal(s).astype(np.float32)
        for i, s in enumerate([(2, 6, 5, 16), (16, 3, 3, 1)])
    )
    on = [hl.cuda.array(a) for a in (x, w)]
    dy = hl.cuda.array(draw(3, "bfloat16", 2, 6, 5, 16))

    def run() -> list[Any]:
        y = kernels.conv2d(*on, padding=1, groups=16)
        return [a.numpy() for a in (y, *kernels.conv2d_backward(dy, *on, padding=1, groups=16))]

    full = run()
    with hl.autocast("bfloat16"):
        low = run()
    for a, b in zip(full, low):
        np.testing.assert_array_equal(a, b)


def test_zeros_around_the_image_only_meet_finite_weights() -> None:
    """A NaN of the image reaches the pixels that see it, and no others."""
    x = np.ones((1, 8, 8, 16), np.float32)
    x[0, 2, 3, 5] = np.nan
    with hl.autocast("bfloat16"):
        y = kernels.conv2d(
            hl.cuda.array(x), hl.cuda.array(np.ones((20, 3, 3, 16), np.float32)), padding=1
        )
    bad = np.zeros((8, 8), bool)
    bad[1:4, 2:5] = True
    np.testing.assert_array_equal(
        np.isnan(y.numpy()), np.broadcast_to(bad[None, ..., None], y.shape)
    )


def test_the_schedule_does_not_change_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [
        hl.cuda.array(draw(i, "bfloat16", *s))
        for i, s in enumerate([(2, 6, 7, 24), (2, 12, 13, 40), (24, 3, 3, 40)])
    ]
    results = []
    for seed in ("0", "1", "2"):
        monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", seed)
        with hl.autocast("bfloat16"):
            y = kernels.conv2d(*arrays[1:], padding=1, stride=2)
            grads = kernels.conv2d_backward(*arrays, padding=1, stride=2)
        results.append([a.numpy() for a in (y, *grads)])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_tiles_do_not_change_bits() -> None:
    """One image has small tiles, for there are four multiprocessors; seven have large ones."""
    x, w, dy = (
        draw(i, "bfloat16", *s)
        for i, s in enumerate([(7, 9, 9, 70), (128, 3, 3, 70), (7, 9, 9, 128)])
    )
    results = []
    for n in (1, 7):
        on = [hl.cuda.array(a) for a in (dy[:n], x[:n], w)]
        with hl.autocast("bfloat16"):
            y = kernels.conv2d(*on[1:], padding=1)
            dx = kernels.conv2d_backward(*on, padding=1, need=("x",))[0]
        results.append([a.numpy()[0] for a in (y, dx)])
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_batch_is_cut_where_its_copy_would_be_large() -> None:
    """Images of one channel and 96 MiB, once that is filled up to chunks: two fit."""
    n, size, step = 3, 6 << 20, 60000
    x, w = np.zeros((n, size, 1), np.float32), draw(1, "bfloat16", 5, 1, 1)
    seen = draw(2, "bfloat16", n, len(range(0, size, step)), 1)
    x[:, ::step] = seen
    dy = draw(3, "bfloat16", *seen.shape[:2], 5)
    on = [hl.cuda.array(a) for a in (dy, x, w)]
    with hl.autocast("bfloat16"):
        y = kernels.conv1d(*on[1:], stride=step)
        dw = kernels.conv1d_backward(*on, stride=step, need=("w",))[1]
    np.testing.assert_array_equal(y.numpy(), seen * w[:, 0, 0])
    np.testing.assert_allclose(
        dw.numpy()[:, 0, 0], np.tensordot(dy, seen[..., 0], 2 * [(0, 1)]), rtol=1e-5, atol=1e-4
    )
    # and dy large, for an image of ten pixels: the rest of it is padding
    dy = np.zeros((n, size, 1), np.float32)
    dy[:, 1000:1010] = seen[:, :10]
    x, w = np.ones((n, 10, 3), np.float32), draw(1, "bfloat16", 1, 1, 3)
    on = [hl.cuda.array(a) for a in (dy, x, w)]
    margin = {"padding": ((1000, size - 1010),)}
    with hl.autocast("bfloat16"):
        dx = kernels.conv1d_backward(*on, **margin, need=("x",))[0]
    np.testing.assert_array_equal(dx.numpy(), seen[:, :10] * w[0, 0])


@pytest.mark.parametrize("pixels", [700, pytest.param(512 * 256 + 1, marks=pytest.mark.slow)])
def test_parts_of_a_sum_over_pixels(pixels: int) -> None:
    """A weight's sum is cut into up to 512; of these, the last has nothing."""
    check_conv("bfloat16", (1, pixels + 1, 1), 1, (2,), what="dw", bias=False)


def test_a_graph_has_room_for_the_copies() -> None:
    x, w, dy = (
        hl.cuda.array(draw(i, "bfloat16", *s))
        for i, s in enumerate([(2, 8, 9, 16), (24, 3, 3, 16), (2, 8, 9, 24)])
    )

    def step() -> tuple[Any, ...]:
        with hl.autocast("bfloat16"):
            y = kernels.conv2d(x, w, padding=1)
            return y, *kernels.conv2d_backward(dy, x, w, padding=1, need=("x", "w"))[:2]

    eager = [a.numpy() for a in step()]
    graph = hl.cuda.CUDAGraph()
    with hl.cuda.graph(graph):
        results = step()
    graph.replay()
    for got, want in zip(results, eager):
        np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("c", "k"), [(36, 18), (20, 70), (4, 34)])
def test_groups_by_plain_threads(c: int, k: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    shapes = ((2, 3, 4, k), (2, 5, 7, c), (k, 3, 3, c // 2))
    dy, x, w = (rng.standard_normal(s).astype(dtype) for s in shapes)
    on = [hl.cuda.array(a) for a in (dy, x, w)]
    how: dict[str, Any] = {"groups": 2, "padding": 1, "stride": 2}
    got = [kernels.conv2d(*on[1:], **how), *kernels.conv2d_backward(*on, **how)[:2]]
    wide = [a.astype(np.float64) for a in (dy, x, w)]
    want = [oracle.conv(*wide[1:], **how), *conv_gradients(*wide, **how)]
    off = 1e-4 if dtype == "float32" else 1e-12
    for a, b in zip(got, want):
        np.testing.assert_allclose(a.numpy(), b, rtol=off, atol=off)
