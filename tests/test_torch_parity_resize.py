"""Resampling means what it means in PyTorch, axes apart."""

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.nn import functional as F

torch = pytest.importorskip("torch")
T = torch.nn.functional


def first(x):
    """Features first."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def compare(ours, theirs, x, atol=1e-11):
    """Values and gradients on images; `theirs` sees them with the features first."""
    a, b = hl.tensor(x, requires_grad=True), torch.tensor(first(x), requires_grad=True)
    y, z = ours(a), theirs(b)
    seed = numbers(*y.shape, seed=9)
    y.backward(seed)
    z.backward(torch.tensor(first(seed)))
    np.testing.assert_allclose(first(y.numpy()), z.detach().numpy(), rtol=0, atol=atol)
    np.testing.assert_allclose(first(a.grad.numpy()), b.grad.numpy(), rtol=0, atol=atol)


MODES = {
    1: ("nearest", "nearest-exact", "linear", "area"),
    2: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
    3: ("nearest", "nearest-exact", "trilinear", "area"),
}


@pytest.mark.parametrize(("axes", "mode"), [(k, m) for k, v in MODES.items() for m in v])
def test_interpolate(axes, mode):
    x = numbers(2, *(5, 7, 4)[:axes], 3)
    corners = (None, True, False) if mode.endswith(("linear", "cubic")) else (None,)
    for aligned in corners:
        options = {"mode": mode, "align_corners": aligned}
        for size in ((9, 3, 8)[:axes], (5, 14, 2)[:axes]):
            compare(
                lambda v: F.interpolate(v, size, **options),  # noqa: B023
                lambda v: T.interpolate(v, size, **options),  # noqa: B023
                x,
            )
        for factor in (2, 0.6, 1.37):
            for recompute in (None, True, False):
                given = {"scale_factor": factor, "recompute_scale_factor": recompute, **options}
                compare(
                    lambda v: F.interpolate(v, **given),  # noqa: B023
                    lambda v: T.interpolate(v, **given),  # noqa: B023
                    x,
                )


def test_nearest_index_for_every_size():
    """Rounding decides here: one wrong index is another pixel.

    PyTorch's own rules differ in rare roundings between ranks and layouts; ours, at every rank, is
    the one of its two-dimensional and channels-last kernels.
    """
    wrong = []
    for n in range(1, 50):
        x = np.arange(n, dtype=np.float32).reshape(1, n, 1, 1)
        t = torch.tensor(first(x))
        for mode in ("nearest", "nearest-exact"):
            for m in range(1, 100):
                y = F.interpolate(x, (m, 1), mode=mode).numpy()
                z = T.interpolate(t, (m, 1), mode=mode).numpy()
                if not np.array_equal(y.ravel(), z.ravel()):
                    wrong.append((mode, n, m))
            for factor in (0.3, 0.7, 1.02, 1.3, 1.5, 2.0, 2.5, 1 / 3, 3.0):
                if int(n * factor) == 0:
                    continue
                y = F.interpolate(x, scale_factor=(factor, 1.0), mode=mode).numpy()
                z = T.interpolate(t, scale_factor=(factor, 1.0), mode=mode).numpy()
                if not np.array_equal(y.ravel(), z.ravel()):
                    wrong.append((mode, n, factor))
    assert wrong == []


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("axes", [2, 3])
def test_grid_sample(mode, padding, aligned, axes):
    x = numbers(2, *(5, 7, 4)[:axes], 3)
    grid = 1.3 * numbers(2, *(6, 3, 5)[:axes], axes, seed=1)
    options = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
    a = [hl.tensor(v, requires_grad=True) for v in (x, grid)]
    b = [torch.tensor(v, requires_grad=True) for v in (first(x), grid)]
    y, z = F.grid_sample(*a, **options), T.grid_sample(*b, **options)
    np.testing.assert_allclose(first(y.numpy()), z.detach().numpy(), rtol=0, atol=1e-12)
    seed = numbers(*y.shape, seed=9)
    y.backward(seed)
    z.backward(torch.tensor(first(seed)))
    np.testing.assert_allclose(first(a[0].grad.numpy()), b[0].grad.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(a[1].grad.numpy(), b[1].grad.numpy(), rtol=0, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid:UserWarning")
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("spatial", [(5, 7), (1, 3), (3, 4, 5)])
def test_affine_grid(aligned, spatial):
    d = len(spatial)
    theta = numbers(2, d, d + 1)
    a, b = hl.tensor(theta, requires_grad=True), torch.tensor(theta, requires_grad=True)
    y = F.affine_grid(a, (2, *spatial, 3), align_corners=aligned)
    z = T.affine_grid(b, (2, 3, *spatial), align_corners=aligned)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), atol=1e-14)
    seed = numbers(*y.shape, seed=9)
    y.backward(seed)
    z.backward(torch.tensor(seed))
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=0, atol=1e-12)


def test_pixel_shuffle():
    compare(lambda v: F.pixel_shuffle(v, 3), lambda v: T.pixel_shuffle(v, 3), numbers(2, 3, 4, 18))
    compare(
        lambda v: F.pixel_unshuffle(v, 2), lambda v: T.pixel_unshuffle(v, 2), numbers(2, 4, 6, 3)
    )


def test_a_blur_is_a_depthwise_convolution():
    taps = torch.tensor([1.0, 2.0, 4.0, 1.0]).double()
    w = (taps[:, None] * taps / taps.sum() ** 2).flip(0, 1).expand(3, 1, 4, 4)
    compare(
        lambda v: F.blur_downsample(v, taps.tolist()),
        lambda v: T.conv2d(T.pad(v, (1, 1, 1, 1)), w, stride=2, groups=3),
        numbers(2, 8, 6, 3),
    )
    compare(
        lambda v: F.blur(v, taps.tolist()),
        lambda v: T.conv2d(T.pad(v, (2, 1, 2, 1)), w, groups=3),
        numbers(2, 8, 6, 3),
    )
    compare(
        lambda v: F.blur_upsample(v, taps.tolist()),
        lambda v: T.conv_transpose2d(v, 4 * w.flip(2, 3), stride=2, padding=1, groups=3),
        numbers(2, 5, 6, 3),
    )


@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_layers(kind, axes):
    padding = (1, 2, 0, 3, 2, 1)[: 2 * axes]
    rest = (0.5,) if kind == "Constant" else ()
    name = f"{kind}Pad{axes}d"
    compare(
        getattr(nn, name)(padding, *rest),
        getattr(torch.nn, name)(padding, *rest),
        numbers(2, *(4, 5, 6)[:axes], 3),
    )
