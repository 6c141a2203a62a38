"""Penalties are gradients of what they say, limits hold, noise is noise."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim, train

F = nn.functional
X = np.random.default_rng(0).standard_normal((24, 3)).astype(np.float32)


def model() -> nn.Sequential:
    hl.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def fitted(*callbacks: train.Callback, loss=F.mse_loss, epochs: int = 3) -> nn.Sequential:
    net = model()
    opt = optim.SGD(net.parameters(), lr=0.1)
    train.fit(
        net, (X, X[:, :1]), loss=loss, optimizer=opt, epochs=epochs, callbacks=callbacks,
        progress=False, seed=0,
    )  # fmt: skip
    return net


def test_a_penalty_is_what_it_says_added_to_the_loss():
    net = model()
    opt = optim.SGD(net.parameters(), lr=0.1)

    def penalised(output, target):
        weights = [p for p in net.parameters() if p.ndim == 2]
        total = sum(0.02 * w.abs().sum() + 0.03 * (w * w).sum() for w in weights)
        return F.mse_loss(output, target) + total

    train.fit(net, (X, X[:, :1]), loss=penalised, optimizer=opt, epochs=3, progress=False, seed=0)
    found = fitted(train.Penalty(l1=0.02, l2=0.03))
    for a, b in zip(found.parameters(), net.parameters()):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)


def test_l2_is_weight_decay():
    net = model()
    groups = [
        {"params": [p for p in net.parameters() if p.ndim == n], "weight_decay": decay}
        for n, decay in ((2, 0.1), (1, 0.0))
    ]
    opt = optim.SGD(groups, lr=0.1)
    train.fit(net, (X, X[:, :1]), loss=F.mse_loss, optimizer=opt, epochs=3, progress=False, seed=0)
    for a, b in zip(fitted(train.Penalty(l2=0.05)).parameters(), net.parameters()):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


def test_l1_leaves_few_large_weights():
    sparse, plain = (
        np.abs(fitted(*hooks, epochs=60)[0].weight.numpy())
        for hooks in ([train.Penalty(l1=0.05)], [])
    )
    assert np.mean(sparse < 0.02) > np.mean(plain < 0.02) + 0.3


def test_max_norm_bounds_every_unit():
    net = fitted(train.MaxNorm(0.4))
    for p in net.parameters():
        if p.ndim == 2:
            assert np.linalg.norm(p.numpy(), axis=1).max() <= 0.4 * (1 + 1e-6)
    wide = fitted(train.MaxNorm(1e6))
    for a, b in zip(wide.parameters(), fitted().parameters()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_noise_is_normal_in_training_and_nothing_else():
    layer = nn.GaussianNoise(0.5)
    x = np.full((400, 50), 3, np.float32)
    hl.manual_seed(0)
    y = layer(x).numpy()
    assert y.dtype == np.float32
    assert abs((y - 3).mean()) < 0.02
    assert (y - 3).std() == pytest.approx(0.5, rel=0.02)
    assert not np.array_equal(layer(x).numpy(), y)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x)
    assert repr(layer) == "GaussianNoise(std=0.5)"
    leaf = hl.tensor(x[:2], requires_grad=True)
    layer.train()(leaf).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), 1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: train.Penalty(l1=-1), "Penalty: l1 is -1"),
        (lambda: train.Penalty(l2=float("nan")), "Penalty: l2 is nan"),
        (lambda: train.MaxNorm(0), "MaxNorm: limit is 0"),
        (lambda: nn.GaussianNoise(-0.1), "GaussianNoise: std is -0.1"),
        (lambda: nn.GaussianNoise(float("inf")), "GaussianNoise: std is inf"),
    ],
)
def test_numbers_out_of_range_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
