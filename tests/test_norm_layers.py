"""Norm layers: what is trained, what is kept, and what PyTorch computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.nn import functional as F
from handloom.nn.utils import (
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)


def numbers(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# state


def test_states_have_pytorchs_names():
    running = ["running_mean", "running_var", "num_batches_tracked"]
    assert list(nn.BatchNorm2d(3).state_dict()) == ["weight", "bias", *running]
    assert list(nn.BatchNorm1d(3, affine=False).state_dict()) == running
    assert list(nn.BatchNorm3d(3, track_running_stats=False).state_dict()) == ["weight", "bias"]
    assert list(nn.InstanceNorm2d(3).state_dict()) == []
    assert list(nn.InstanceNorm1d(3, affine=True).state_dict()) == ["weight", "bias"]
    assert list(nn.GroupNorm(1, 3).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.LayerNorm(3, elementwise_affine=False).state_dict()) == []
    assert list(nn.RMSNorm((2, 3)).state_dict()) == ["weight"]
    assert list(spectral_norm(nn.Linear(3, 2)).state_dict()) == [
        "bias", "weight_orig", "weight_u", "weight_v",
    ]  # fmt: skip
    assert list(weight_norm(nn.Linear(3, 2)).state_dict()) == ["bias", "weight_g", "weight_v"]


def test_batch_norm_counts_batches_in_training_only():
    layer = nn.BatchNorm1d(3)
    x = numbers(8, 3, dtype="float32")
    layer(x)
    layer(x)
    assert layer.num_batches_tracked.item() == 2
    assert layer.state_dict()["num_batches_tracked"].dtype == np.int64
    before = {k: v.copy() for k, v in layer.state_dict().items()}
    layer.eval()
    layer(x)
    assert all((before[k] == v).all() for k, v in layer.state_dict().items())
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    assert (layer.running_var.numpy() == 1).all()


def test_momentum_none_is_the_average_of_all_batches():
    layer = nn.BatchNorm1d(4, momentum=None).double()
    batches = [numbers(10, 4, seed=s) + s for s in range(5)]
    for x in batches:
        layer(x)
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean(batches, (0, 1)))
    expected = np.mean([x.var(0, ddof=1) for x in batches], 0)
    np.testing.assert_allclose(layer.running_var.numpy(), expected)


def test_without_running_statistics_evaluation_uses_the_batch():
    x = numbers(9, 2, dtype="float32")
    layer = nn.BatchNorm1d(2, track_running_stats=False).eval()
    np.testing.assert_allclose(layer(x).numpy().mean(0), 0, atol=1e-6)
    layer = nn.InstanceNorm1d(2, track_running_stats=True).eval()
    np.testing.assert_allclose(layer(x[None]).numpy()[0], x, rtol=1e-4)


def test_the_running_statistics_are_a_write_that_the_tape_sees():
    layer = nn.BatchNorm1d(3)
    layer.eval()
    y = (layer(numbers(4, 3, dtype="float32")) * layer.running_mean).sum()
    layer.train()
    layer(numbers(4, 3, dtype="float32"))
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_sequential_runs_norm_and_activation_as_one():
    norm = nn.BatchNorm2d(5)
    pair = nn.Sequential(norm, nn.LeakyReLU(0.2))
    apart = copy.deepcopy(pair)
    x, dy = numbers(3, 4, 4, 5, dtype="float32"), numbers(3, 4, 4, 5, seed=1, dtype="float32")
    y = pair(hl.tensor(x))
    z = apart[1](apart[0](hl.tensor(x)))
    assert y.grad_fn.name == "batch_norm"
    assert (y.numpy() == z.numpy()).all()
    y.backward(dy)
    z.backward(dy)
    for p, q in zip(pair.parameters(), apart.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_layers_learn():
    hl.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    x, t = numbers(64, 4, dtype="float32"), numbers(64, 1, seed=1, dtype="float32")
    opt = hl.optim.Adam(net.parameters(), lr=0.05)
    first = None
    for _ in range(30):
        loss = F.mse_loss(net(x), t)
        first = loss.item() if first is None else first
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss.item() < 0.6 * first


def test_adain_gives_its_output_the_styles_statistics():
    layer = nn.AdaIN(3, 6)
    assert (layer.style.bias.numpy() == [1, 1, 1, 0, 0, 0]).all()
    w = numbers(2, 6, dtype="float32")
    scale, shift = np.split(layer.style(w).numpy(), 2, axis=-1)
    y = layer(numbers(2, 8, 8, 3, dtype="float32"), w).numpy()
    np.testing.assert_allclose(y.mean((1, 2)), shift, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), np.abs(scale), rtol=1e-3)


def test_minibatch_stddev_appends_features():
    x = numbers(8, 4, 4, 6, dtype="float32")
    y = nn.MinibatchStdDev(group_size=4, num_features=2)(x)
    assert y.shape == (8, 4, 4, 8)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True, activation="silu"),
        lambda x, w, b: F.batch_norm(x, np.arange(5.0), np.arange(1.0, 6), w, b),
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        lambda x, w, b: F.group_norm(x, 1, w, b),
        lambda x, w, b: F.layer_norm(x, 5, w, b),
        lambda x, w, b: F.rms_norm(x, 5, w) + b,
        lambda x, w, b: F.adain(x, hl.stack([w] * 4), hl.stack([b] * 4)),
        lambda x, w, b: F.pixel_norm(x) * w + b,
        lambda x, w, b: F.minibatch_stddev(x * w + b),
    ],
)
def test_gradients(f):
    arrays = (numbers(4, 3, 5), numbers(5, seed=1), numbers(5, seed=2))
    assert hl.gradcheck(f, [hl.tensor(a, requires_grad=True) for a in arrays])


# refusals


def test_layers_refuse_what_does_not_fit():
    with pytest.raises(
        ValueError,
        match=r"BatchNorm2d: x has shape \(2, 3, 8, 8\), expected 3 channels, \(N, H, W, C\); "
        "channels come last here",
    ):
        nn.BatchNorm2d(3)(np.ones((2, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"BatchNorm1d: x has shape \(2, 2, 2, 3\), expected"):
        nn.BatchNorm1d(3)(np.ones((2, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="one value per channel"):
        nn.BatchNorm1d(3)(np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="GroupNorm: num_groups is 2, which does not divide"):
        nn.GroupNorm(2, 3)
    with pytest.raises(ValueError, match="C = 4 channels last"):
        nn.GroupNorm(2, 4)(np.ones((2, 4, 3), np.float32))
    with pytest.raises(ValueError, match="activation 'sgn' is unknown"):
        F.batch_norm(np.ones((2, 3)), None, None, training=True, activation="sgn")
    with pytest.raises(ValueError, match="spectral_norm: Linear has no parameter 'w'"):
        spectral_norm(nn.Linear(2, 2), "w")
    with pytest.raises(ValueError, match="remove_weight_norm: Linear has no such norm"):
        remove_weight_norm(nn.Linear(2, 2))


# weights computed from others


def test_spectral_norm_converges_to_a_largest_singular_value_of_one():
    layer = spectral_norm(nn.Linear(7, 5))
    x = numbers(2, 7, dtype="float32")
    for _ in range(100):
        layer(x)
    assert np.linalg.svd(layer.weight.numpy())[1][0] == pytest.approx(1, rel=1e-4)
    u = layer.weight_u.numpy().copy()
    layer.eval()
    layer(x)
    assert (layer.weight_u.numpy() == u).all()
    twin = copy.deepcopy(layer.train())
    assert (twin(x).numpy() == layer(x).numpy()).all()
    assert twin.weight_orig is not layer.weight_orig
    y = layer.eval()(x).numpy()
    plain = remove_spectral_norm(layer)
    assert sorted(plain.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(plain(x).numpy(), y, rtol=1e-6)


def test_weight_norm_starts_at_the_weight_and_goes():
    layer = nn.Linear(7, 5)
    w, x = layer.weight.numpy().copy(), numbers(2, 7, dtype="float32")
    y = layer(x).numpy()
    weight_norm(layer)
    assert layer.weight_g.shape == (5, 1)
    np.testing.assert_allclose(layer(x).numpy(), y, rtol=1e-5, atol=1e-6)
    copy.deepcopy(layer)
    np.testing.assert_allclose(remove_weight_norm(layer).weight.numpy(), w, rtol=1e-6)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
