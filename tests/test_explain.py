"""Explanations of models whose explanation is known, and models that are as before."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import explain, nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4))


def linear(outputs: int = 3) -> nn.Linear:
    hl.manual_seed(0)
    return nn.Linear(4, outputs).double()


def mlp() -> nn.Sequential:
    hl.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)).double()


def convolutional() -> nn.Sequential:
    hl.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding="same"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 3),
    ).double()  # fmt: skip


IMAGES = RNG.standard_normal((2, 6, 8, 2))


@pytest.fixture(autouse=True)
def models_stay_as_they_are(request):
    """Every explanation leaves weights, gradients, modes and hooks alone."""
    model = mlp()
    model.train()
    before = [np.array(a) for a in model.state_dict().values()]
    random = hl.get_rng_state()
    explain.saliency(model, X)
    explain.integrated_gradients(model, X, steps=2)
    explain.smooth_grad(model, X, samples=2)
    explain.lime(model, X[0], samples=20)
    explain.activations(model, X)
    explain.grad_cam(convolutional(), IMAGES, "0")
    assert model.training
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert all(not m._hooks or not m._hooks["post"] for m in model.modules())
    del random
    for a, b in zip(before, model.state_dict().values()):
        np.testing.assert_array_equal(a, b)


# gradients


def test_a_linear_model_is_its_own_explanation():
    model = linear()
    w = np.array(model.weight.numpy())
    numbers = model(X).numpy().argmax(1)
    np.testing.assert_allclose(explain.saliency(model, X, signed=True), w[numbers])
    np.testing.assert_allclose(explain.saliency(model, X), np.abs(w[numbers]))
    np.testing.assert_allclose(explain.saliency(model, X, 1, signed=True), w[[1] * 5])
    np.testing.assert_allclose(
        explain.saliency(model, X, [0, 1, 2, 1, 0], signed=True), w[[0, 1, 2, 1, 0]]
    )
    np.testing.assert_allclose(explain.smooth_grad(model, X, signed=True), w[numbers])
    baseline = RNG.standard_normal(4)
    parts = explain.integrated_gradients(model, X, baseline=baseline, steps=3)
    np.testing.assert_allclose(parts, w[numbers] * (X - baseline))


def test_the_parts_of_integrated_gradients_add_up():
    model = mlp().eval()
    target = np.array([0, 1, 2, 0, 1])
    parts = explain.integrated_gradients(model, X, target, steps=400)
    rows = np.arange(5)
    gain = model(X).numpy()[rows, target] - model(np.zeros_like(X)).numpy()[rows, target]
    np.testing.assert_allclose(parts.sum(axis=1), gain, atol=1e-5)


def test_smooth_grad_without_noise_is_the_saliency():
    model = mlp()
    np.testing.assert_allclose(
        explain.smooth_grad(model, X, sigma=0.0, samples=3), explain.saliency(model, X)
    )
    one, two = (explain.smooth_grad(model, X, samples=4, seed=s) for s in (1, 2))
    assert not np.allclose(one, two)
    np.testing.assert_array_equal(one, explain.smooth_grad(model, X, samples=4, seed=1))


def test_one_output_and_frozen_weights():
    model = linear(1)
    model.freeze()
    w = np.array(model.weight.numpy())
    np.testing.assert_allclose(explain.saliency(model, X, signed=True), np.repeat(w, 5, 0))

    class Flat(nn.Module):
        def forward(self, x):
            return (x * x).sum(dim=-1)

    np.testing.assert_allclose(explain.saliency(Flat(), X, signed=True), 2 * X)


# places


def test_grad_cam_is_the_class_activation_map_behind_a_mean():
    model = convolutional()
    maps = model[1](model[0](IMAGES)).numpy()
    w = np.array(model[4].weight.numpy())
    expected = np.maximum((maps * w[2]).sum(-1), 0) / (6 * 8)
    for layer in ("1", model[1]):
        np.testing.assert_allclose(explain.grad_cam(model, IMAGES, layer, 2), expected)
    small = nn.Sequential(nn.MaxPool2d(2), *convolutional())
    assert explain.grad_cam(small, IMAGES, "1").shape == (2, 6, 8)
    assert explain.grad_cam(small, IMAGES, "1", resize=False).shape == (2, 3, 4)


def test_grad_cam_of_a_series():
    hl.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2)
    ).double()
    assert explain.grad_cam(model, IMAGES[:, 0], "1").shape == (2, 8)


class Sum(nn.Module):
    def forward(self, x):
        return x.sum(dim=(1, 2, 3)).reshape(-1, 1)


def test_occlusion_of_a_sum_is_what_was_covered():
    found = explain.occlusion(Sum(), IMAGES, window=2, stride=2, fill=0.0)
    for i, j in np.ndindex(3, 4):
        part = np.s_[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        covered = IMAGES[part].sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found[part], np.tile(covered[:, None, None], (1, 2, 2)))
    one = explain.occlusion(Sum(), IMAGES, window=1, stride=1, fill=0.0)
    np.testing.assert_allclose(one, IMAGES.sum(-1))
    wide = explain.occlusion(Sum(), IMAGES, window=(6, 5), stride=(1, 4))
    assert wide.shape == (2, 6, 8)
    assert np.isfinite(wide).all()


def test_the_pointing_game_by_hand():
    maps = np.zeros((3, 4, 5))
    maps[0, 1, 2] = maps[1, 3, 4] = maps[2, 0, 0] = 1
    boxes = np.array([[2, 1, 3, 2], [0, 0, 4, 4], [0, 0, 1, 1]])
    assert explain.pointing_game(maps, boxes) == pytest.approx(2 / 3)
    masks = np.zeros((3, 4, 5), bool)
    masks[:, 3, 4] = True
    assert explain.pointing_game(-maps[..., None], masks) == pytest.approx(1 / 3)


# features


def test_only_the_feature_that_matters_is_important():
    x = RNG.standard_normal((300, 3))
    y = (x[:, 1] > 0).astype(int)
    found = explain.permutation_importance(
        lambda rows: np.stack([-rows[:, 1], rows[:, 1]], 1), x, y, names=("a", "b", "c")
    )
    assert found.baseline == 1
    assert found.mean[1] == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(found.mean[[0, 2]], 0)
    assert str(found).splitlines()[2].startswith("b ")
    error = explain.permutation_importance(lambda rows: rows[:, 1], x, x[:, 1], metric="mse")
    assert error.mean[1] == pytest.approx(2, rel=0.3)  # the variance of a difference
    model = linear()
    again = explain.permutation_importance(model, X, model(X).numpy().argmax(1), repeats=3)
    assert again.baseline == 1


def test_lime_of_a_linear_model_is_that_model():
    model = linear()
    w = np.array(model.weight.numpy())
    means = RNG.standard_normal(4)
    found = explain.lime(model, X[0], 2, fill=means, ridge=0.0, samples=200)
    np.testing.assert_allclose(found.weights, w[2] * (X[0] - means), atol=1e-9)
    assert found.r2 == pytest.approx(1)
    assert found.intercept == pytest.approx(float(model(means[None]).numpy()[0, 2]))
    by_function = explain.lime(lambda r: model(r).numpy(), X[0], 2, fill=means, samples=200)
    assert by_function.r2 > 0.99


def test_lime_of_an_image_has_a_weight_for_each_part():
    parts = np.arange(48).reshape(6, 8) // 16  # three pairs of rows
    found = explain.lime(Sum(), IMAGES[0], segments=parts, ridge=0.0, samples=100)
    np.testing.assert_allclose(found.weights, [IMAGES[0, i : i + 2].sum() for i in (0, 2, 4)])
    assert found.map.shape == (6, 8)
    assert explain.lime(Sum(), np.zeros((16, 16, 1))).weights.shape == (64,)
    assert explain.lime(Sum(), np.ones((8, 8, 1))).r2 > 0.9


# inside


def test_activations_are_what_layers_return():
    model = convolutional()
    found = explain.activations(model, IMAGES)
    assert list(found) == ["0", "1", "2", "3", "4"]
    np.testing.assert_allclose(found["0"], model[0](IMAGES).numpy())
    np.testing.assert_allclose(found["4"], model(IMAGES).numpy())
    assert list(explain.activations(model, IMAGES, layers="1")) == ["1"]
    with pytest.raises(ValueError, match="no layer 'conv', expected some of 0, 1, 2"):
        explain.activations(model, IMAGES, layers=["conv"])


def test_attention_maps_are_the_weights_of_each_head():
    hl.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    x = RNG.standard_normal((3, 5, 8)).astype(np.float32)
    before = model.eval()(x).numpy()
    found = explain.attention_maps(model, x)
    assert [w.shape for w in found.values()] == [(3, 2, 5, 5)] * 2
    for weights in found.values():
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(model(x).numpy(), before, rtol=1e-6)
    assert all("forward" not in vars(m) for m in model.modules())
    layer = nn.MultiheadAttention(8, 2)
    _, mean = layer(x, x, x)
    (own,) = explain.attention_maps(layer, x, x, x).values()
    np.testing.assert_allclose(own.mean(1), mean.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Linear has no MultiheadAttention"):
        explain.attention_maps(linear(), X)


def test_filters_are_pictures():
    layer = nn.Conv2d(3, 4, 5)
    found = explain.filters(layer)
    assert found.shape == (4, 5, 5, 3)
    assert np.abs(found).max() == 1
    with pytest.raises(ValueError, match="Linear has no kernels"):
        explain.filters(linear())


# what is refused


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: explain.saliency(linear(), X.astype(int)), TypeError, "x is int64"),
        (lambda: explain.saliency(linear(), X[:0]), ValueError, "at least one row"),
        (lambda: explain.saliency(linear(), X, 3), ValueError, "target 3, the model has .* 0 to 2"),
        (lambda: explain.saliency(linear(), X, -1), ValueError, "target -1"),
        (lambda: explain.saliency(linear(), X, [0, 1]), ValueError, "an integer or 5 of them"),
        (lambda: explain.saliency(linear(), X, 0.5), ValueError, "an integer or 5 of them"),
        (lambda: explain.smooth_grad(linear(), X, samples=0), ValueError, "samples expects"),
        (lambda: explain.smooth_grad(linear(), X, sigma=-1), ValueError, "sigma expects"),
        (lambda: explain.integrated_gradients(linear(), X, steps=0), ValueError, "steps expects"),
        (
            lambda: explain.integrated_gradients(linear(), X, baseline=np.zeros(3)),
            ValueError,
            r"baseline \(3,\) does not broadcast",
        ),
        (lambda: explain.grad_cam(convolutional(), IMAGES, "4"), ValueError, "not the axes"),
        (lambda: explain.grad_cam(convolutional(), IMAGES, "7"), AttributeError, "'7'"),
        (
            lambda: explain.grad_cam(convolutional(), IMAGES, nn.ReLU()),
            ValueError,
            "returned no tensor",
        ),
        (lambda: explain.occlusion(Sum(), IMAGES, window=9), ValueError, "larger than x"),
        (lambda: explain.occlusion(Sum(), IMAGES, window=0), ValueError, "window expects 2"),
        (lambda: explain.occlusion(Sum(), IMAGES, window=2, stride=0), ValueError, "stride"),
        (lambda: explain.occlusion(Sum(), IMAGES, window=2, fill="x"), ValueError, "fill expects"),
        (lambda: explain.occlusion(linear(), X, window=2), ValueError, r"\(N, ..., C\)"),
        (
            lambda: explain.permutation_importance(linear(), X, np.zeros(4)),
            ValueError,
            "expected rows of both",
        ),
        (
            lambda: explain.permutation_importance(linear(), X, np.zeros(5), metric="good"),
            ValueError,
            "no metric 'good'",
        ),
        (lambda: explain.lime(linear(), X[0], samples=4), ValueError, "more than the 4 parts"),
        (lambda: explain.lime(linear(), X[0], segments=np.zeros(3, int)), ValueError, "segments"),
        (lambda: explain.lime(linear(), X[0], width=0), ValueError, "width above 0"),
        (lambda: explain.pointing_game(X, X), ValueError, r"expected \(N, H, W\)"),
        (lambda: explain.pointing_game(IMAGES * np.nan, X), ValueError, "NaN"),
        (lambda: explain.pointing_game(IMAGES, X), ValueError, "where has shape"),
    ],
)
def test_what_cannot_be_explained_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
