"""Losses: reductions, ignored rows, edges, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels

POINTWISE = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "hinge_embedding_loss",
    "hinge_loss",
    "focal_loss",
)
RNG = np.random.default_rng(5)


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


# ---- cross-entropy ------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_but_ignored_rows(reduction, isa):
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    labels = np.full(4, -100)
    loss = kernels.cross_entropy(x, labels, reduction=reduction)
    want = {"mean": np.nan, "sum": 0, "none": np.zeros(4)}[reduction]
    np.testing.assert_array_equal(loss, want)
    dy = np.ones_like(loss)
    assert not kernels.cross_entropy_backward(dy, x, labels, reduction=reduction).any()
    np.testing.assert_array_equal(kernels.nll_loss(x, labels, reduction=reduction), want)


def test_an_ignored_row_may_hold_anything(isa):
    x = np.array([[1.0, 2, 3], [np.nan, np.inf, 0], [0, 0, 0]])
    labels = np.array([2, -100, 1])
    kept = [0, 2]
    assert kernels.cross_entropy(x, labels) == kernels.cross_entropy(x[kept], labels[kept])
    dx = kernels.cross_entropy_backward(np.array(1.0), x, labels)
    assert not dx[1].any()
    want = kernels.cross_entropy_backward(np.array(1.0), x[kept], labels[kept])
    np.testing.assert_array_equal(dx[kept], want)


def test_labels_one_hot_and_int32_say_the_same(isa):
    x = RNG.standard_normal((6, 5))
    labels = RNG.integers(0, 5, 6)
    weight = RNG.uniform(0.5, 2, 5)
    for options in ({}, {"label_smoothing": 0.2}, {"weight": weight, "reduction": "sum"}):
        a = kernels.cross_entropy(x, labels, **options)
        b = kernels.cross_entropy(x, np.eye(5)[labels], **options)
        assert a == kernels.cross_entropy(x, labels.astype(np.int32), **options)
        np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("bad", [3, -1, 1 << 40, -(1 << 62)])
def test_a_label_out_of_range_is_named(bad):
    x = np.zeros((2, 2, 3))
    labels = np.zeros((2, 2), np.int64)
    labels[1, 0] = bad
    message = f"label {bad} at position 2, expected 0 to 2 or ignore_index = -100"
    for function in (kernels.cross_entropy, kernels.nll_loss):
        with pytest.raises(ValueError, match=f"{function.__name__}: target has {message}"):
            function(x, labels)
    with pytest.raises(ValueError, match=message):
        kernels.cross_entropy_backward(np.array(1.0), x, labels)


def test_certain_and_hopeless_logits(isa):
    x = np.array([[1e4, 0], [-np.inf, 0]], np.float32)
    np.testing.assert_array_equal(
        kernels.cross_entropy(x, np.array([0, 1]), reduction="none"), [0, 0]
    )
    np.testing.assert_array_equal(
        kernels.cross_entropy(x, np.array([1, 0]), reduction="none"), [1e4, np.inf]
    )


def test_gradient_uses_what_forward_saved():
    x = RNG.standard_normal((5, 7)).astype(np.float32)
    labels = RNG.integers(0, 7, 5)
    loss, saved = kernels.cross_entropy(x, labels, return_saved=True)
    assert loss == kernels.cross_entropy(x, labels)
    dy = np.array(2, np.float32)
    np.testing.assert_array_equal(
        kernels.cross_entropy_backward(dy, x, labels, saved=saved),
        kernels.cross_entropy_backward(dy, x, labels),
    )


def test_one_row_of_logits_has_a_single_label():
    x = np.array([1.0, 2, 3])
    loss = kernels.cross_entropy(x, np.array(2), reduction="none")
    assert loss.shape == ()
    np.testing.assert_allclose(loss, np.log(np.exp(x - 3).sum()), rtol=1e-15)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 9), st.integers(1, 40), st.floats(0, 1), st.booleans())
def test_cross_entropy_of_any_size(n, classes, smoothing, weighted):
    rng = np.random.default_rng(n * 41 + classes)
    x = 4 * rng.standard_normal((n, classes))
    labels = rng.integers(0, classes, n)
    weight = rng.uniform(0.1, 2, classes) if weighted else np.ones(classes)
    logp = kernels.log_softmax(x)
    q = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    each = -(logp * q * weight).sum(1)
    options = {"label_smoothing": smoothing, "weight": weight if weighted else None}
    got = kernels.cross_entropy(x, labels, reduction="none", **options)
    np.testing.assert_allclose(got, each, rtol=1e-12, atol=1e-13)
    mean = kernels.cross_entropy(x, labels, **options)
    with np.errstate(invalid="ignore"):
        want = each.sum() / weight[labels].sum()
    np.testing.assert_allclose(mean, want, rtol=1e-12, atol=1e-13)


# ---- elements -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POINTWISE)
def test_means_of_nothing_and_sums_of_nothing(name):
    empty = np.empty((0, 3), np.float32)
    function = getattr(kernels, name)
    assert np.isnan(function(empty, empty))
    assert function(empty, empty, reduction="sum") == 0
    assert function(empty, empty, reduction="none").shape == (0, 3)


@pytest.mark.parametrize("name", POINTWISE)
def test_nan_gives_nan_and_only_there(name, isa):
    n = 37
    x = np.full(n, 0.5, np.float32)
    t = np.ones(n, np.float32)
    x[20] = np.nan
    loss = getattr(kernels, name)(x, t, reduction="none")
    np.testing.assert_array_equal(np.isnan(loss), np.isnan(x))
    assert np.isnan(getattr(kernels, name)(x, t))


def test_logits_far_out(isa):
    x = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    t = np.array([1, 0, 0, 1], np.float32)
    for name, slope in (("binary_cross_entropy_with_logits", [0, 0, 1, -1]),):
        loss = getattr(kernels, name)(x, t, reduction="none")
        np.testing.assert_array_equal(loss, [0, 0, 1e4, 1e4])
        dx, dt = getattr(kernels, f"{name}_backward")(np.ones_like(x), x, t, reduction="none")
        np.testing.assert_array_equal(dx, slope)
        assert dt is None
    focal = kernels.focal_loss(x, t, reduction="none")
    np.testing.assert_allclose(focal, [0, 0, 7500, 2500], rtol=1e-6)


def test_certain_probabilities_are_bounded(isa):
    x = np.array([0.0, 1, 0, 1])
    t = np.array([0.0, 1, 1, 0])
    loss = kernels.binary_cross_entropy(x, t, reduction="none")
    np.testing.assert_array_equal(loss, [0, 0, 100, 100])
    dx, _ = kernels.binary_cross_entropy_backward(np.ones(4), x, t, reduction="none")
    np.testing.assert_array_equal(dx, [0, 0, -1e12, 1e12])


def test_kl_of_a_target_of_zero_is_zero(isa):
    x, t = np.array([-np.inf, -1.0]), np.array([0.0, 1.0])
    np.testing.assert_array_equal(kernels.kl_div(x, t, reduction="none"), [0, 1])


def test_weights_repeat_over_neighbouring_axes():
    x, t = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((2, 3, 4, 5))
    for shape in ((5,), (4, 5), (4, 1), (3, 4, 1), (2, 1, 1, 1), (1, 1, 1, 1), (), (2, 3, 4, 5)):
        w = RNG.uniform(0.5, 2, shape)
        got = kernels.huber_loss(x, t, weight=w, reduction="none")
        np.testing.assert_array_equal(got, kernels.huber_loss(x, t, reduction="none") * w)
    with pytest.raises(ValueError, match=r"weight has shape \(3, 1, 5\), which does not repeat"):
        kernels.huber_loss(x, t, weight=np.ones((3, 1, 5)))
    with pytest.raises(ValueError, match=r"weight has shape \(4,\), which does not repeat"):
        kernels.huber_loss(x, t, weight=np.ones(4))


# ---- adversarial ---------------------------------------------------------------------------------


def plus(x):
    return np.log1p(np.exp(x))


GAN = {
    "minimax": (lambda r, f: (plus(-r) + plus(f)).mean(), lambda f: -plus(f).mean()),
    "non_saturating": (lambda r, f: (plus(-r) + plus(f)).mean(), lambda f: plus(-f).mean()),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
    "least_squares": (
        lambda r, f: ((r - 1) ** 2 + f**2).mean() / 2,
        lambda f: ((f - 1) ** 2).mean() / 2,
    ),
    "hinge": (
        lambda r, f: (np.maximum(0, 1 - r) + np.maximum(0, 1 + f)).mean(),
        lambda f: -f.mean(),
    ),
}


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("kind", GAN)
def test_adversarial_losses_and_their_gradients(kind, player):
    critic = player == "discriminator"
    name, formula = f"gan_{player}_loss", GAN[kind][not critic]
    inputs = [RNG.standard_normal((7, 1)) for _ in range(2 if critic else 1)]
    loss = getattr(kernels, name)(*inputs, kind=kind)
    assert isinstance(loss, np.ndarray)
    np.testing.assert_allclose(loss, formula(*inputs), rtol=1e-12)
    in_layers = getattr(hl.nn.functional, name)(*inputs, kind=kind)
    np.testing.assert_allclose(loss, in_layers.item(), rtol=1e-12)
    single = getattr(kernels, name)(*(x.astype(np.float32) for x in inputs), kind=kind)
    assert single.dtype == np.float32
    grads = getattr(kernels, f"{name}_backward")(np.array(3.0), *inputs, kind=kind)
    for i, grad in enumerate(grads if critic else [grads]):
        v, h = RNG.standard_normal((7, 1)), 1e-6
        moved = [[x + (k == i) * s * h * v for k, x in enumerate(inputs)] for s in (1, -1)]
        slope = 3 * (formula(*moved[0]) - formula(*moved[1])) / (2 * h)
        np.testing.assert_allclose((grad * v).sum(), slope, rtol=1e-6)


def test_adversarial_kinds_are_those_of_the_layers():
    assert set(GAN) == set(hl.ops.GAN_KINDS)
    for name in ("gan_discriminator_loss", "gan_generator_loss"):
        scores = [np.zeros(2)] * (2 if "disc" in name else 1)
        for module in (kernels, hl.nn.functional):
            with pytest.raises(ValueError, match=f"{name}: kind 'x' is unknown, expected one of"):
                getattr(module, name)(*scores, kind="x")
        with pytest.raises(TypeError, match="has dtype int64, expected float32 or float64"):
            getattr(kernels, name)(*(x.astype(np.int64) for x in scores))


# ---- a mean and a variance ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4,)])
def test_gaussian_nll_takes_one_variance_a_row(shape, isa):
    x, t, var = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3)), RNG.uniform(0.1, 2, shape)
    wide = np.broadcast_to(var if var.ndim == 2 else var[:, None], (4, 3)).copy()
    dy = np.array(2.0)
    got = kernels.gaussian_nll_loss(x, t, var, full=True)
    assert got == kernels.gaussian_nll_loss(x, t, wide, full=True)
    want = 0.5 * (np.log(2 * np.pi * wide) + (x - t) ** 2 / wide).mean()
    np.testing.assert_allclose(got, want, rtol=1e-13)
    dx, dt, dvar = kernels.gaussian_nll_loss_backward(dy, x, t, var, need=("x", "target", "var"))
    wx, wt, wv = kernels.gaussian_nll_loss_backward(dy, x, t, wide, need=("x", "target", "var"))
    np.testing.assert_array_equal(dx, wx)
    np.testing.assert_array_equal(dt, wt)
    assert dvar.shape == shape
    total = wv if shape == (4, 3) else wv.sum(1).reshape(shape)
    np.testing.assert_allclose(dvar, total, rtol=1e-13)


def test_gaussian_nll_of_hard_variances(isa):
    x, t = np.array([1.0, 1.0, 1.0]), np.array([3.0, 1.0, 1.0])
    var = np.array([0.0, np.nan, np.inf])
    loss = kernels.gaussian_nll_loss(x, t, var, eps=0.5, reduction="none")
    np.testing.assert_allclose(loss, [(np.log(0.5) + 8) / 2, np.nan, np.inf])
    for call, message in (
        (lambda: kernels.gaussian_nll_loss(x, t, -x), "var has -1.0 at position 0, expected 0 or"),
        (lambda: kernels.gaussian_nll_loss(x, t, x, eps=0.0), "eps is 0.0, expected more than 0"),
        (lambda: kernels.gaussian_nll_loss(x, t, x[:2]), r"var has shape \(2,\), expected \(3,\)"),
        (lambda: hl.nn.functional.gaussian_nll_loss(x, t, x[:2]), r"var has shape \(2,\), expec"),
    ):
        with pytest.raises(ValueError, match=f"gaussian_nll_loss: {message}"):
            call()


# ---- errors -------------------------------------------------------------------------------------


def test_errors_name_what_came():
    x, labels = np.zeros((2, 3)), np.zeros(2, np.int64)
    for message, call in (
        (
            "cross_entropy: reduction 'avg' is unknown",
            lambda: kernels.cross_entropy(x, labels, reduction="avg"),
        ),
        (
            r"cross_entropy: target has shape \(3,\), expected \(2,\)",
            lambda: kernels.cross_entropy(x, np.zeros(3, np.int64)),
        ),
        (
            r"cross_entropy: target has the shape of class indices, \(2,\), and floating-point "
            "numbers, expected int64 or int32; class probabilities have the shape of logits",
            lambda: kernels.cross_entropy(x, np.zeros(2)),
        ),
        (
            r"cross_entropy: target has shape \(3,\), expected \(2, 3\)",
            lambda: kernels.cross_entropy(x, np.zeros(3)),
        ),
        (
            r"cross_entropy: weight has shape \(2,\), expected \(3,\)",
            lambda: kernels.cross_entropy(x, labels, weight=np.ones(2)),
        ),
        (
            r"label_smoothing is 1\.5, expected 0 to 1",
            lambda: kernels.cross_entropy(x, labels, label_smoothing=1.5),
        ),
        (
            "logits is not contiguous",
            lambda: kernels.cross_entropy(np.zeros((3, 2)).T, labels),
        ),
        ("at least one class", lambda: kernels.cross_entropy(np.zeros((2, 0)), labels)),
        (
            r"dy has shape \(\), expected \(2,\)",
            lambda: kernels.cross_entropy_backward(np.array(1.0), x, labels, reduction="none"),
        ),
        (
            r"mse_loss: target has shape \(3,\), expected \(2, 3\)",
            lambda: kernels.mse_loss(x, np.zeros(3)),
        ),
        (
            r"binary_cross_entropy: x has 1\.5 at position 1, expected probabilities",
            lambda: kernels.binary_cross_entropy(np.array([0.5, 1.5]), np.zeros(2)),
        ),
        ("huber_loss: delta is 0", lambda: kernels.huber_loss(x, x, delta=0.0)),
        ("smooth_l1_loss: beta is -1", lambda: kernels.smooth_l1_loss(x, x, beta=-1.0)),
        ("need has 'y'", lambda: kernels.mse_loss_backward(np.array(1.0), x, x, need=("y",))),
        (
            "dice_loss: p is a single number",
            lambda: kernels.dice_loss(np.array(1.0), np.array(1.0)),
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for message, call in (
        (
            "mse_loss: target is float32 but x is float64",
            lambda: kernels.mse_loss(x, x.astype("f4")),
        ),
        ("nll_loss: target has dtype float64", lambda: kernels.nll_loss(x, np.zeros(2))),
        (
            "cross_entropy: target has dtype bool",
            lambda: kernels.cross_entropy(x, np.zeros(2, bool)),
        ),
    ):
        with pytest.raises(TypeError, match=message):
            call()
