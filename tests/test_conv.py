"""Convolution: the whole space of parameters against the oracle, paddings by name, bad input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels, nn
from handloom.nn import functional as F
from reference import conv as oracle

rng = np.random.default_rng(0)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, Any, dict[str, Any]]:
    """x, w and options of any convolution that has a result."""
    n = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    width, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    if draw(st.booleans()):
        groups, width, outputs = width * groups, 1, 1

    def one(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    kernel, stride, dilation = one(1, 4), one(1, 4), one(1, 3)
    pads = [tuple(draw(st.lists(st.integers(0, 3), min_size=2, max_size=2))) for _ in range(n)]
    least = [max(1, d * (k - 1) + 1 - sum(p)) for d, k, p in zip(dilation, kernel, pads)]
    size = [draw(st.integers(low, low + 6)) for low in least]
    x = rng.standard_normal((draw(st.integers(0, 2)), *size, groups * width))
    w = rng.standard_normal((groups * outputs, *kernel, width))
    options = {"stride": tuple(stride), "dilation": tuple(dilation), "groups": groups}
    return x, w, {**options, "padding": tuple(pads)}


@settings(max_examples=300, deadline=None)
@given(convolutions())
def test_every_convolution_is_the_oracles(case: tuple[Any, Any, dict[str, Any]]) -> None:
    x, w, options = case
    n = x.ndim - 2
    forward = getattr(kernels, f"conv{n}d")
    y = forward(x, w, **options)
    np.testing.assert_allclose(y, oracle.conv(x, w, **options), atol=1e-10)
    # Backward is the transpose of forward: <dy, A x> = <Aᵀ dy, x>, and so in w.
    dy = rng.standard_normal(y.shape)
    dx, dw, db = getattr(kernels, f"conv{n}d_backward")(dy, x, w, **options)
    total = np.sum(dy * y)
    assert np.sum(dx * x) == pytest.approx(total, abs=1e-9)
    assert np.sum(dw * w) == pytest.approx(total, abs=1e-9)
    np.testing.assert_allclose(db, dy.sum(tuple(range(n + 1))), atol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "leaky_relu", "silu"])
@pytest.mark.parametrize("groups", [1, 4])
def test_an_activation_is_the_function_on_top(activation: str, groups: int) -> None:
    x = rng.standard_normal((2, 6, 7, 4))
    w = rng.standard_normal((4, 3, 3, 4 // groups))
    b = rng.standard_normal(4)
    act = getattr(kernels, activation)
    options: dict[str, Any] = {"padding": 1, "groups": groups}
    z = kernels.conv2d(x, w, b, **options)
    y = kernels.conv2d(x, w, b, activation=activation, **options)
    assert np.array_equal(y, act(z))
    dy = rng.standard_normal(y.shape)
    dz = getattr(kernels, f"{activation}_backward")(dy, z, y=y)
    with_it = kernels.conv2d_backward(
        dy, x, w, y=y, saved=z if activation in ("gelu", "silu", "leaky_relu") else None,
        activation=activation, **options,
    )  # fmt: skip
    for ours, plain in zip(with_it, kernels.conv2d_backward(dz, x, w, **options)):
        np.testing.assert_allclose(ours, plain, atol=1e-12)
    # A transposed convolution alike.
    zt = kernels.conv_transpose2d(x, w, None, stride=2, groups=groups)
    yt = kernels.conv_transpose2d(x, w, None, stride=2, groups=groups, activation=activation)
    assert np.array_equal(yt, act(zt))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 6, 7])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_gives_the_size_divided_by_the_stride(size: int, kernel: int, stride: int) -> None:
    x, w = rng.standard_normal((1, size, 2)), rng.standard_normal((3, kernel, 2))
    y = kernels.conv1d(x, w, stride=stride, padding="same")
    assert y.shape == (1, -(-size // stride), 3)
    total = max(0, (y.shape[1] - 1) * stride + kernel - size)
    pairs = ((total // 2, total - total // 2),)  # the odd zero goes after, as in TensorFlow
    assert np.array_equal(y, kernels.conv1d(x, w, stride=stride, padding=pairs))


def test_full_is_numpys_and_causal_sees_no_future() -> None:
    x, w = rng.standard_normal((1, 9, 1)), rng.standard_normal((1, 4, 1))
    full = kernels.conv1d(x, w, padding="full")[0, :, 0]
    np.testing.assert_allclose(full, np.convolve(x[0, :, 0], w[0, ::-1, 0]), atol=1e-12)
    causal = kernels.conv1d(x, w, padding="causal", dilation=2)
    later = x.copy()
    later[:, 5:] = 7.0
    assert causal.shape == x.shape
    assert np.array_equal(
        causal[:, :5], kernels.conv1d(later, w, padding="causal", dilation=2)[:, :5]
    )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_a_padded_image(mode: str) -> None:
    numpy_mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    x, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((4, 3, 3, 3))
    options: dict[str, Any] = {"padding": ((1, 2), (2, 0)), "padding_mode": mode, "stride": (1, 2)}
    padded = np.pad(x, ((0, 0), (1, 2), (2, 0), (0, 0)), mode=numpy_mode)  # type: ignore[call-overload]
    y = kernels.conv2d(x, w, **options)
    np.testing.assert_allclose(y, oracle.conv(padded, w, stride=(1, 2)), atol=1e-12)
    dy = rng.standard_normal(y.shape)
    dx, dw, _ = kernels.conv2d_backward(dy, x, w, **options)
    assert np.sum(dx * x) == pytest.approx(np.sum(dy * y))
    assert np.sum(dw * w) == pytest.approx(np.sum(dy * y))


def test_the_vertical_edge_kernel_of_the_books() -> None:
    """Bright left half, dark right half; [1 0 −1] down three rows answers 30 along the edge."""
    x = np.zeros((1, 6, 6, 1), np.float32)
    x[:, :, :3] = 10.0
    w = np.array([[1, 0, -1]] * 3, np.float32).reshape(1, 3, 3, 1)
    assert np.array_equal(kernels.conv2d(x, w)[0, :, :, 0], [[0, 30, 30, 0]] * 4)


X = np.zeros((2, 8, 9, 4), np.float32)
W = np.zeros((6, 3, 3, 4), np.float32)
BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: kernels.conv2d(np.zeros((2, 4, 8, 9), "f4"), W), ValueError, "channels-first"),
    # one whose channels, taken for its height, are fewer than the kernel's rows
    (lambda: kernels.conv2d(np.zeros((2, 1, 8, 9), "f4"), W[..., :1].copy()), ValueError, "-first"),
    (
        lambda: kernels.conv2d(X, W[..., :3].copy()),
        ValueError,
        "3 input channels per group, x has 4",
    ),
    (lambda: kernels.conv2d(X[0], W), ValueError, r"expected \(N, H, W, C\)"),
    (lambda: kernels.conv2d(X, W[0]), ValueError, "w has shape"),
    (lambda: kernels.conv2d(X, W, stride=0), ValueError, "stride is 0"),
    (lambda: kernels.conv2d(X, W, stride=-1), ValueError, "stride is -1"),
    (lambda: kernels.conv2d(X, W, dilation=0), ValueError, "dilation is 0"),
    (lambda: kernels.conv2d(X, W, dilation=9), ValueError, "does not fit the padded input"),
    (lambda: kernels.conv2d(X, W, padding=-1), ValueError, "padding is -1"),
    (lambda: kernels.conv2d(X, W, padding="some"), ValueError, "padding is 'some'"),
    (lambda: kernels.conv2d(X, W, padding="causal"), ValueError, "causal"),
    (lambda: kernels.conv2d(X, W, stride=(1, 2, 3)), ValueError, "stride"),
    (lambda: kernels.conv2d(X, W, groups=0), ValueError, "groups is 0"),
    (lambda: kernels.conv2d(X, W[..., :1].copy(), groups=4), ValueError, "4 groups do not divide"),
    (lambda: kernels.conv2d(X, W, padding=8, padding_mode="reflect"), ValueError, "does not fit"),
    (
        lambda: kernels.conv2d(X[:, :0].copy(), W, padding=1, padding_mode="replicate"),
        ValueError,
        "axis 0 of x is empty, so replicate padding has nothing to repeat",
    ),
    (lambda: kernels.conv2d(X, W, padding_mode="mirror"), ValueError, "padding_mode"),
    (lambda: kernels.conv2d(X, W, np.zeros(5, "f4")), ValueError, r"b has shape \(5,\)"),
    (lambda: kernels.conv2d(X, W, activation="step"), ValueError, "unknown activation"),
    (lambda: kernels.conv2d(X, W.astype("f8")), TypeError, "w is float64 but x is float32"),
    (lambda: kernels.conv2d(X.astype("i4"), W), TypeError, "expected float32 or float64"),
    (lambda: kernels.conv2d(X[:, ::2], W), ValueError, "not contiguous"),
    (lambda: kernels.conv2d([[1.0]], W), TypeError, "expected a numpy.ndarray"),
    (lambda: kernels.conv2d_backward(X, X, W), ValueError, r"dy has shape .* expected"),
    (lambda: kernels.conv2d_backward(X, X, W, need=("y",)), ValueError, "need has 'y'"),
    (
        lambda: kernels.conv_transpose2d(X, np.zeros((4, 3, 3, 2), "f4"), output_padding=1),
        ValueError,
        "output_padding",
    ),
    (
        lambda: kernels.conv_transpose2d(X, np.zeros((4, 1, 1, 2), "f4"), padding=4),
        ValueError,
        "result of size 0",
    ),
    (
        lambda: kernels.conv_transpose2d(X, np.zeros((3, 3, 3, 2), "f4")),
        ValueError,
        "input channels",
    ),
    (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, "must divide out_channels 6"),
    (lambda: nn.Conv2d(0, 6, 3), ValueError, "in_channels is 0"),
]


@pytest.mark.parametrize(("call", "error", "text"), BAD)
def test_bad_input_is_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        call()
    assert re.match(r"conv\w*\dd(_backward)?: |Conv2d: ", str(caught.value))


def test_layers_fuse_their_activation_to_the_same_numbers() -> None:
    hl.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, padding="same"),
        nn.GELU(),
        nn.ConvTranspose2d(8, 2, 2, 2),
        nn.ReLU(),
    ]
    model = nn.Sequential(*layers)
    x = hl.tensor(rng.standard_normal((2, 5, 6, 3)).astype("f4"), requires_grad=True)
    fused = model(x)
    fused.sum().backward()
    grads = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    y = x
    for layer in layers:
        y = layer(y)
    y.sum().backward()
    assert np.array_equal(fused.numpy(), y.numpy())
    assert all(np.array_equal(g, p.grad.numpy()) for g, p in zip(grads, model.parameters()))


def test_gradcheck_through_the_tape() -> None:
    x = hl.tensor(rng.standard_normal((1, 4, 5, 2)), requires_grad=True)
    w = hl.tensor(rng.standard_normal((4, 2, 3, 1)), requires_grad=True)
    b = hl.tensor(rng.standard_normal(4), requires_grad=True)

    def f(x: Any, w: Any, b: Any) -> Any:
        y = F.conv2d(x, w, b, stride=2, padding=1, groups=2, padding_mode="replicate")
        return F.conv_transpose2d(y, w, stride=2, output_padding=1, groups=2, activation="silu")

    assert hl.gradcheck(f, (x, w, b))


def test_scratch_stays_small() -> None:
    """No matrix of patches: two megabytes a thread and one copy of the weights at most."""
    threads = hl.get_num_threads()
    for x, w, algorithm in (
        ((16, 28, 28, 128), (128, 5, 5, 128), "direct"),
        ((8, 224, 224, 3), (64, 7, 7, 3), "direct"),
        *(((8, 32, 32, c), (c, 3, 3, c), "winograd F(2, 3)") for c in (16, 64, 128, 512, 2000)),
    ):
        weights = 4 * int(np.prod(w))
        options: dict[str, Any] = {"padding": w[1] // 2}
        (plan,) = kernels.explain("conv2d", x, w, **options)
        assert plan.algorithm == algorithm
        assert plan.scratch <= (2 << 20) * threads + weights
        out = (*x[:-1], w[0])
        for plan in kernels.explain("conv2d_backward", out, x, w, **options):
            assert plan.scratch <= (2 << 20) * (threads + 1) + weights


def test_a_channel_that_overflows_stays_where_it_is_seen() -> None:
    """Winograd's sums meet numbers that cancel: none of them may lie outside the kernel."""
    x = np.ones((2, 12, 12, 32), np.float32)
    w = rng.standard_normal((32, 3, 3, 32)).astype(np.float32)
    assert kernels.explain("conv2d", x.shape, w.shape)[0].algorithm.startswith("winograd")
    for bad in (np.nan, np.inf):
        x[0, 5, 6, 3] = bad
        seen = ~np.isfinite(kernels.conv2d(x, w))
        expected = np.zeros((2, 10, 10, 32), bool)
        expected[0, 3:6, 4:7] = True
        assert np.array_equal(seen, expected)


def test_far_taps_read_no_more_than_near_ones() -> None:
    """A window holds what its taps read, not what lies between them: DeepLab has rates of 36."""
    x, w = (1, 40, 40, 128), (128, 3, 3, 128)
    for rate in (1, 6, 24, 36):
        options = {"padding": rate, "dilation": rate}
        plans = [
            *kernels.explain("conv2d", x, w, **options),
            *kernels.explain("conv2d_backward", x, x, w, **options),
        ]
        weights, threads = 4 * int(np.prod(w)), hl.get_num_threads()
        assert all(p.scratch <= (2 << 20) * (threads + 1) + 2 * weights for p in plans)


@pytest.mark.parametrize("rate", [1, 2, 5, 9, 30])
@pytest.mark.parametrize("stride", [1, 2, 40])
def test_far_taps_and_long_strides(rate: int, stride: int) -> None:
    """Against the sum over taps of shifted images; both gradients are its transposes."""
    x = rng.standard_normal((2, 11, 14, 3))
    w = rng.standard_normal((4, 3, 2, 3))
    options = {"padding": rate, "dilation": rate, "stride": stride}
    y = kernels.conv2d(x, w, **options)
    wide = np.pad(x, ((0, 0), (rate, rate), (rate, rate), (0, 0)))
    expected, dx, dw = np.zeros_like(y), np.zeros_like(wide), np.zeros_like(w)
    dy = rng.standard_normal(y.shape)
    for i in range(3):
        for j in range(2):
            rows = slice(i * rate, i * rate + (y.shape[1] - 1) * stride + 1, stride)
            columns = slice(j * rate, j * rate + (y.shape[2] - 1) * stride + 1, stride)
            expected += wide[:, rows, columns] @ w[:, i, j].T
            dx[:, rows, columns] += dy @ w[:, i, j]
            dw[:, i, j] = np.einsum("nhwo,nhwc->oc", dy, wide[:, rows, columns])
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    grads = kernels.conv2d_backward(dy, x, w, need=("x", "w"), **options)
    inner = dx[:, rate : rate + 11, rate : rate + 14]
    np.testing.assert_allclose(grads[0], inner, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads[1], dw, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 2])
def test_numbers_too_large_are_refused_and_large_ones_work(dims: int) -> None:
    x, w = np.ones((1, *(4,) * dims, 2)), np.ones((2, *(3,) * dims, 2))
    conv = getattr(kernels, f"conv{dims}d")
    for name in ("padding", "stride", "dilation", "groups"):
        for huge in (2**31, 2**62, 2**63, 10**30):
            with pytest.raises((ValueError, TypeError), match=rf"conv{dims}d: .*{name}"):
                conv(x, w, **{name: huge})
    far = 2**30
    y = conv(x, w, padding=far, dilation=far - 3)  # between them the taps meet 4 pixels
    assert y.shape == (1, *(10,) * dims, 2)
    assert np.isfinite(y).all()
    grads = getattr(kernels, f"conv{dims}d_backward")(y, x, w, padding=far, dilation=far - 3)
    assert all(np.isfinite(g).all() for g in grads)
    assert conv(x, w, stride=2**30).shape == (1, *(1,) * dims, 2)
    dx = getattr(kernels, f"conv{dims}d_backward")(
        np.ones((1, *(1,) * dims, 2)), x, w, stride=2**30, need=("x",)
    )[0]
    assert dx.sum() == w.sum()


def test_the_receptive_field_is_what_a_pixel_depends_on() -> None:
    convs = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, (3, 2), stride=2), nn.Conv2d(1, 1, 2, dilation=3)
    model = nn.Sequential(*convs)
    sizes, jumps = nn.utils.receptive_field(model)
    assert jumps == (2, 2)
    x = hl.tensor(rng.standard_normal((1, 20, 20, 1)).astype("f4"), requires_grad=True)
    model(x)[0, 1, 1, 0].backward()
    seen = np.argwhere(x.grad.numpy()[0, :, :, 0])
    assert tuple(seen.min(0)) == jumps
    assert tuple(seen.max(0) - seen.min(0) + 1) == sizes
    with pytest.raises(ValueError, match="spreads"):
        nn.utils.receptive_field(nn.ConvTranspose2d(1, 1, 2))


@pytest.mark.parametrize("padding", ["sam", (1, 2, 3), -1, ((1, 2),)])
def test_a_layer_tells_of_a_wrong_padding_when_it_is_made(padding: Any) -> None:
    with pytest.raises(ValueError, match=r"Conv2d: padding is"):
        nn.Conv2d(3, 4, 3, padding=padding)
