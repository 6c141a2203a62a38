"""Resampling: edges, exactness, shapes of every kind, errors, layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels, nn
from handloom.nn import functional as F
from reference import resize as oracle

NAN, INF = np.nan, np.inf


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


def images(*shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


# ---- interpolation -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_interpolate_anything(data):
    axes = data.draw(st.integers(1, 3))
    spatial = tuple(data.draw(st.integers(1, 9)) for _ in range(axes))
    n, c = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 20))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    modes = ["nearest", "nearest-exact", "linear", "area"] + (["bicubic"] if axes == 2 else [])
    options = {"mode": data.draw(st.sampled_from(modes))}
    if options["mode"] in ("linear", "bicubic"):
        options["align_corners"] = data.draw(st.booleans())
    if data.draw(st.booleans()):
        options["size"] = tuple(data.draw(st.integers(1, 20)) for _ in range(axes))
    else:
        options["scale_factor"] = tuple(data.draw(st.floats(1, 3.5)) for _ in range(axes))
        options["recompute_scale_factor"] = data.draw(st.booleans())
    x = images(n, *spatial, c, dtype=dtype)
    y = kernels.interpolate(x, **options)
    want = oracle.interpolate(x.astype(np.float64), **options)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    assert y.dtype == dtype
    np.testing.assert_allclose(y, want, rtol=0, atol=tolerance)
    dy = images(*y.shape, dtype=dtype)
    (dx,) = oracle.own_interpolate_backward(dy, (x,), y, options)
    (expected,) = oracle.interpolate_backward(dy.astype(np.float64), (x,), options)
    np.testing.assert_allclose(dx, expected, rtol=0, atol=40 * tolerance)


def test_nearest_moves_bits(isa):
    x = np.array([[[1e-42], [NAN], [-0.0], [INF]]], np.float32)
    y = kernels.interpolate(x, scale_factor=3.0)
    assert y.tobytes() == np.repeat(x, 3, 1).tobytes()
    square = np.broadcast_to(x[:, None], (1, 2, 4, 1)).copy()
    y = kernels.interpolate(square, scale_factor=2.0)
    assert y.tobytes() == square.repeat(2, 1).repeat(2, 2).tobytes()


def test_what_has_no_weight_is_not_read(isa):
    x = np.zeros((1, 5, 5, 3))
    x[0, 2] = NAN
    x[0, :, 2] = INF
    y = kernels.interpolate(x, (9, 9), mode="bilinear", align_corners=True)
    # every second result lies on an element
    assert np.isfinite(y[0, ::2, ::2][[0, 1, 3, 4]][:, [0, 1, 3, 4]]).all()
    assert not np.isfinite(y[0, 3]).any()
    same = kernels.interpolate(x, (5, 5), mode="bilinear")
    np.testing.assert_array_equal(same, x)


def test_a_constant_stays_constant(isa):
    x = np.full((1, 7, 11, 5), 0.3)
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        np.testing.assert_allclose(kernels.interpolate(x, (19, 5), mode=mode), 0.3, rtol=1e-15)


@pytest.mark.parametrize("size", [50000, 9001])
def test_long_lines_are_cut(size, isa):
    x = images(1, 20000, 1)
    y = kernels.interpolate(x, size, mode="linear")
    places = (np.arange(size) + 0.5) * 20000 / size - 0.5
    np.testing.assert_allclose(y.ravel(), np.interp(places, np.arange(20000), x.ravel()), atol=1e-9)
    dy = images(1, size, 1)
    dx = kernels.interpolate_backward(dy, (20000,), mode="linear")
    assert np.sum(dx * x) == pytest.approx(np.sum(dy * y), rel=1e-9)


def test_interpolate_errors():
    x = images(2, 4, 6, 3)
    call = kernels.interpolate
    with pytest.raises(ValueError, match="interpolate: size is None and scale_factor is None"):
        call(x)
    with pytest.raises(ValueError, match="size is 3 and scale_factor is 2, expected one of the"):
        call(x, 3, 2)
    with pytest.raises(ValueError, match="mode is 'cubic', expected one of nearest, nearest-exact"):
        call(x, 8, mode="cubic")
    with pytest.raises(ValueError, match="mode 'trilinear' takes 3 spatial axes, but x has 2"):
        call(x, 8, mode="trilinear")
    with pytest.raises(ValueError, match="align_corners has no meaning for mode 'nearest'"):
        call(x, 8, align_corners=True)
    with pytest.raises(ValueError, match=r"size is \(8, 0\), expected at least 1"):
        call(x, (8, 0))
    with pytest.raises(ValueError, match=r"size is \(8, 8, 8\), expected 2 for x \(2, 4, 6, 3\)"):
        call(x, (8, 8, 8))
    with pytest.raises(ValueError, match=r"scale_factor is 0.1, which leaves \(0, 0\) of \(4, 6\)"):
        call(x, scale_factor=0.1)
    with pytest.raises(ValueError, match=r"scale_factor is -1, expected a positive number"):
        call(x, scale_factor=-1)
    with pytest.raises(ValueError, match="recompute_scale_factor needs scale_factor"):
        call(x, 8, recompute_scale_factor=True)
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\), expected \(N, W, C\), \(N, H"):
        call(x[:, :, 0, 0].copy(), ())
    with pytest.raises(ValueError, match="there is nothing to read along an empty axis"):
        call(np.ones((2, 0, 4, 3)), 8)
    with pytest.raises(ValueError, match="x is not contiguous"):
        call(x.transpose(0, 2, 1, 3), 8)
    with pytest.raises(TypeError, match="x has dtype int64, expected float32 or float64"):
        call(np.ones((2, 4, 6, 3), np.int64), 8)


# ---- FIR -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_upfirdn_anything(data):
    axes = data.draw(st.integers(1, 3))
    kernel = data.draw(st.lists(st.floats(-2, 2), min_size=1, max_size=7))
    up, down = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    padding = (data.draw(st.integers(0, 8)), data.draw(st.integers(0, 8)))
    least = max(1, -(-(len(kernel) - sum(padding)) // up))
    spatial = tuple(data.draw(st.integers(least, least + 5)) for _ in range(axes))
    x = images(2, *spatial, data.draw(st.integers(1, 9)))
    options = {"up": up, "down": down, "padding": padding}
    y = kernels.upfirdn(x, kernel, **options)
    want = oracle.upfirdn(x, kernel=kernel, **options)
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-10)
    dy = images(*y.shape)
    dx = kernels.upfirdn_backward(dy, spatial, kernel, **options)
    assert np.sum(dy * y) == pytest.approx(np.sum(dx * x), abs=1e-8)
    (expected,) = oracle.upfirdn_backward(dy, (x,), {"kernel": kernel, **options})
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-10)


def test_the_last_zeros_of_an_upsampled_row_are_there():
    # n·up elements, not (n − 1)·up + 1
    assert kernels.upfirdn(np.ones((1, 3, 1)), [1.0], up=4).shape == (1, 12, 1)


@pytest.mark.parametrize("kernel", [(1, 3, 3, 1), (1, 2, 1), (1, 4, 6, 4, 1), (1, 1)])
@pytest.mark.parametrize("size", [6, 9])
def test_blurs_keep_constants_and_sizes(kernel, size, isa):
    x = np.full((2, size, size + 1, 3), 2.0)
    edge = len(kernel)
    y = kernels.blur(x, kernel)
    assert y.shape == x.shape
    np.testing.assert_allclose(y[:, edge:-edge, edge:-edge], 2.0)
    y = kernels.blur_upsample(x, kernel)
    assert y.shape == (2, 2 * size, 2 * size + 2, 3)
    np.testing.assert_allclose(y[:, edge:-edge, edge:-edge], 2.0)
    y = kernels.blur_downsample(x, kernel)
    assert y.shape == (2, size // 2, (size + 1) // 2, 3)
    np.testing.assert_allclose(y[:, 2:-2, 2:-2], 2.0)


def test_blur_backwards_are_adjoint():
    x, taps = images(2, 8, 11, 3), (1, 3, 3, 1)
    for forward, backward in (
        (kernels.blur, lambda dy: kernels.blur_backward(dy, taps)),
        (kernels.blur_upsample, lambda dy: kernels.blur_upsample_backward(dy, taps)),
        (kernels.blur_downsample, lambda dy: kernels.blur_downsample_backward(dy, (8, 11), taps)),
    ):
        y = forward(x, taps)
        dy = images(*y.shape)
        assert np.sum(dy * y) == pytest.approx(np.sum(backward(dy) * x), rel=1e-12)


def test_blur_errors():
    x = images(1, 4, 4, 2)
    with pytest.raises(ValueError, match=r"blur: kernel is \[1, -1\], expected numbers whose sum"):
        kernels.blur(x, [1, -1])
    with pytest.raises(ValueError, match="blur_upsample: the kernel has 1 taps, expected at least"):
        kernels.blur_upsample(x, [1])
    with pytest.raises(ValueError, match="blur_downsample: factor is 0"):
        kernels.blur_downsample(x, [1, 1], 0)
    with pytest.raises(ValueError, match="upfirdn: kernel has 65 numbers, expected 1 to 64"):
        kernels.upfirdn(x, [1.0] * 65)
    with pytest.raises(ValueError, match="kernel has 5 taps, but axis 1 has only 4 elements with"):
        kernels.upfirdn(x, [1.0] * 5)
    with pytest.raises(ValueError, match=r"up is \(0, 0\), expected at least 1"):
        kernels.upfirdn(x, [1.0], up=0)
    with pytest.raises(ValueError, match=r"before is \(-1, -1\), a size is negative"):
        kernels.upfirdn(x, [1.0], padding=(-1, 0))
    with pytest.raises(ValueError, match=r"dy has shape \(1, 4, 4, 2\), expected \(1, 5, 5, 2\)"):
        kernels.upfirdn_backward(x, (5, 5), [1.0])


# ---- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (2, 3, 4, 5, 2)])
def test_the_identity_grid_reads_the_image(shape, aligned, isa):
    x = images(*shape)
    dims = len(shape) - 2
    theta = np.tile(np.eye(dims, dims + 1), (2, 1, 1))
    grid = kernels.affine_grid(theta, shape, align_corners=aligned)
    for mode in ("bilinear", "nearest"):
        y = kernels.grid_sample(x, grid, mode=mode, align_corners=aligned)
        np.testing.assert_allclose(y, x, atol=1e-14)


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e30, -1e30, 3e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_places_that_are_no_places(value, dtype, padding, isa):
    x = 1 + np.arange(24, dtype=dtype).reshape(1, 4, 6, 1)
    grid = np.zeros((1, 1, 3, 2), dtype)
    grid[0, 0, 1] = value
    for mode in ("bilinear", "nearest"):
        y = kernels.grid_sample(x, grid, mode=mode, padding_mode=padding)
        assert np.isfinite(y).all()
        assert y[0, 0, 0] == y[0, 0, 2]
        if padding == "zeros":
            assert y[0, 0, 1, 0] == 0
        if padding == "border":
            corner = 1.0 if np.isnan(value) or value < 0 else 24.0
            assert y[0, 0, 1, 0] == corner
        dx, dgrid = kernels.grid_sample_backward(
            np.ones_like(y), x, grid, mode=mode, padding_mode=padding
        )
        assert np.isfinite(dx).all()
        assert padding == "reflection" or dgrid[0, 0, 1].tolist() == [0, 0]
        assert dx.sum() == pytest.approx(2 if padding == "zeros" else 3, rel=1e-5)


def test_grid_sample_gradients_on_request():
    x, grid = images(1, 4, 4, 2), images(1, 3, 3, 2)
    dy = images(1, 3, 3, 2)
    both = kernels.grid_sample_backward(dy, x, grid)
    dx, none = kernels.grid_sample_backward(dy, x, grid, need=("x",))
    assert none is None
    np.testing.assert_array_equal(dx, both[0])
    none, dgrid = kernels.grid_sample_backward(dy, x, grid, need=("grid",))
    assert none is None
    np.testing.assert_array_equal(dgrid, both[1])


def test_many_places_in_one_pixel(isa):
    """All of a grid reads one place: one element of dx is the sum of everything."""
    x = images(2, 5, 5, 3, dtype=np.float32)
    grid = np.zeros((2, 60, 70, 2), np.float32)
    dy = np.ones((2, 60, 70, 3), np.float32)
    dx, _ = kernels.grid_sample_backward(dy, x, grid)
    np.testing.assert_array_equal(dx[:, 2, 2], 4200)
    assert np.abs(dx).sum() == 4200 * 6


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_grid_sample_anything(data):
    dims = data.draw(st.integers(2, 3))
    spatial = tuple(data.draw(st.integers(1, 6)) for _ in range(dims))
    made = tuple(data.draw(st.integers(0, 9)) for _ in range(dims))
    n, c = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 20))
    options = {
        "mode": data.draw(st.sampled_from(["bilinear", "nearest"])),
        "padding_mode": data.draw(st.sampled_from(["zeros", "border", "reflection"])),
        "align_corners": data.draw(st.booleans()),
    }
    x = images(n, *spatial, c)
    grid = np.random.default_rng(data.draw(st.integers(0, 99))).uniform(-2, 2, (n, *made, dims))
    y = kernels.grid_sample(x, grid, **options)
    np.testing.assert_allclose(y, oracle.grid_sample(x, grid, **options), rtol=0, atol=1e-12)
    dy = images(*y.shape)
    dx, dgrid = kernels.grid_sample_backward(dy, x, grid, **options)
    assert np.sum(dx * x) == pytest.approx(np.sum(dy * y), abs=1e-9)  # linear in x
    assert dgrid.shape == grid.shape


def test_whole_shifts_and_flips_are_exact(isa):
    x = images(3, 6, 9, 4, dtype=np.float32)
    x[0, 2, 3] = NAN
    m = np.tile(np.eye(3), (3, 1, 1))[:, :2].copy()
    m[1, 0] = (-1, 0, 8)
    m[2, :, 2] = (2, -3)
    y = kernels.warp_affine(x, m, fill=0.25)
    np.testing.assert_array_equal(y[0], x[0])
    np.testing.assert_array_equal(y[1], x[1, :, ::-1])
    np.testing.assert_array_equal(y[2, 3:, :-2], x[2, :-3, 2:])
    assert (y[2, :3] == np.float32(0.25)).all()
    assert (y[2, :, -2:] == np.float32(0.25)).all()


def test_grid_errors():
    x, grid = images(2, 4, 4, 3), images(2, 5, 5, 2)
    with pytest.raises(
        ValueError, match="grid_sample: mode 'cubic' is unknown, expected one of bilinear"
    ):
        kernels.grid_sample(x, grid, mode="cubic")
    with pytest.raises(
        ValueError, match="padding_mode 'wrap' is unknown, expected one of zeros, border"
    ):
        kernels.grid_sample(x, grid, padding_mode="wrap")
    with pytest.raises(ValueError, match=r"grid has shape \(1, 5, 5, 2\), expected \(2, H, W, 2\)"):
        kernels.grid_sample(x, grid[:1])
    with pytest.raises(ValueError, match=r"grid has shape \(2, 5, 5, 3\), expected \(2, H, W, 2\)"):
        kernels.grid_sample(x, images(2, 5, 5, 3))
    with pytest.raises(TypeError, match="grid is float32 but x is float64"):
        kernels.grid_sample(x, grid.astype(np.float32))
    with pytest.raises(ValueError, match=r"x has shape \(2, 4, 3\), expected \(N, H, W, C\) or"):
        kernels.grid_sample(x[:, 0].copy(), grid)
    with pytest.raises(ValueError, match="expected at least one pixel"):
        kernels.grid_sample(np.ones((2, 0, 4, 3)), grid)
    with pytest.raises(ValueError, match=r"dy has shape .* expected \(2, 5, 5, 3\)"):
        kernels.grid_sample_backward(images(2, 5, 5, 4), x, grid)
    with pytest.raises(ValueError, match=r"theta has shape \(2, 3\), expected \(2, 2, 3\)"):
        kernels.affine_grid(np.ones((2, 3)), (2, 4, 4, 3))
    with pytest.raises(ValueError, match=r"affine_grid: size is \(4, 4\), expected \(N, H, W, C\)"):
        kernels.affine_grid(np.ones((2, 2, 3)), (4, 4))
    with pytest.raises(TypeError, match="warp_affine: matrix has dtype float32, expected float64"):
        kernels.warp_affine(x, np.ones((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"warp_affine: matrix has shape \(3, 2, 3\), expected"):
        kernels.warp_affine(x, np.ones((3, 2, 3)))
    with pytest.raises(ValueError, match=r"warp_affine: size is \(4,\), expected 2"):
        kernels.warp_affine(x, np.ones((2, 2, 3)), (4,))


# ---- shuffling, layers, the tape -----------------------------------------------------------------


def test_pixel_shuffle():
    x = np.arange(2 * 3 * 2 * 8).reshape(2, 3, 2, 8)
    y = kernels.pixel_shuffle(x, 2)
    assert y.shape == (2, 6, 4, 2)
    for i in range(2):
        for j in range(2):
            np.testing.assert_array_equal(y[:, i::2, j::2], x[..., [2 * i + j, 4 + 2 * i + j]])
    np.testing.assert_array_equal(kernels.pixel_unshuffle(y, 2), x)
    np.testing.assert_array_equal(F.pixel_shuffle(x.astype(float), 2).numpy(), y)
    with pytest.raises(ValueError, match=r"pixel_shuffle: x has shape \(2, 3, 2, 8\), expected"):
        kernels.pixel_shuffle(x, 3)
    with pytest.raises(ValueError, match=r"pixel_unshuffle: x has shape \(2, 3, 2, 8\), expected"):
        nn.PixelUnshuffle(2)(x)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample((3, 5)),
        nn.UpsamplingNearest2d(scale_factor=3),
        nn.UpsamplingBilinear2d((7, 3)),
        nn.PixelShuffle(2),
        nn.PixelUnshuffle(2),
        nn.Blur(),
        nn.BlurUpsample((1, 2, 1)),
        nn.BlurDownsample(),
        nn.ZeroPad2d(1),
        nn.ConstantPad2d((1, 0, 2, 1), 3.0),
        nn.ReflectionPad2d((1, 2, 3, 0)),
        nn.ReplicationPad2d(2),
        nn.CircularPad2d((0, 4, 1, 1)),
        lambda x: F.grid_sample(x, F.affine_grid(np.full((2, 2, 3), 0.3), (2, 5, 5, 4))),
        lambda x: F.affine_grid(x.reshape((16, 12))[:, :6].reshape((16, 2, 3)), (16, 3, 4, 1)),
        lambda x: F.grid_sample(np.cos(np.arange(50.0)).reshape(2, 5, 5, 1), x[..., :2]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_gradients_through_the_tape(layer):
    x = hl.tensor(0.4 * images(2, 4, 6, 4), requires_grad=True)
    assert hl.gradcheck(layer, [x])


def test_layers_say_what_they_are():
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2, mode='nearest')"
    assert repr(nn.ZeroPad2d(1)) == "ZeroPad2d((1, 1, 1, 1))"
    assert repr(nn.PixelShuffle(3)) == "PixelShuffle(upscale_factor=3)"
    assert "factor=2" in repr(nn.BlurUpsample())


def test_padding_layers():
    x = images(1, 3, 4, 2)
    y = nn.ReflectionPad2d((1, 0, 2, 0))(x).numpy()
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (2, 0), (1, 0), (0, 0)), "reflect"))
    y = nn.ConstantPad1d((2, 1), 5.0)(x[0]).numpy()
    np.testing.assert_array_equal(y, np.pad(x[0], ((0, 0), (2, 1), (0, 0)), constant_values=5))
    y = nn.CircularPad3d(1)(x[None]).numpy()
    np.testing.assert_array_equal(
        y, np.pad(x[None], ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)), "wrap")
    )
    with pytest.raises(ValueError, match=r"ReflectionPad2d: padding \(3, 3\) of an axis of 3, exp"):
        nn.ReflectionPad2d(3)(x)
    with pytest.raises(ValueError, match=r"CircularPad1d: padding \(5, 0\) of an axis of 4"):
        nn.CircularPad1d((5, 0))(x[0])
    with pytest.raises(ValueError, match=r"ZeroPad2d: x has shape \(3, 4, 2\), expected \(N, H, W"):
        nn.ZeroPad2d(1)(x[0])
    with pytest.raises(
        ValueError, match=r"ZeroPad2d: padding is \(1, 2\), expected one number or 4"
    ):
        nn.ZeroPad2d((1, 2))


def test_a_factor_beyond_all_sizes() -> None:
    with pytest.raises(ValueError, match=r"interpolate: scale_factor is 1e\+30, expected sizes"):
        kernels.interpolate(np.zeros((1, 4, 4, 2), np.float32), scale_factor=1e30)
