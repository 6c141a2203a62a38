"""Autoencoders: what is asked of each code, proved penalties, and clear errors."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim
from handloom.models import (
    VAE,
    Autoencoder,
    ContractiveAutoencoder,
    ConvAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    contraction,
    dense_autoencoder,
    dense_vae,
    sparsity,
)
from handloom.train import fit

F = nn.functional


def rows(n=200, width=12, seed=0):
    """Points near a plane of two dimensions."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(9).standard_normal((2, width))
    x = rng.standard_normal((n, 2)) @ plane + 0.05 * rng.standard_normal((n, width))
    return (x / 3).astype("float32")


def trained(model, x, epochs=40, lr=1e-2, target=None):
    data = (x, x if target is None else target)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    return fit(
        model, data, loss=model.loss, optimizer=optimizer, epochs=epochs, progress=False, seed=0
    )


def test_a_small_code_is_enough_for_a_plane():
    x, test = rows(), rows(seed=1)
    model = dense_autoencoder((12, 24, 2))
    trained(model, x, epochs=80)
    assert model.encode(test).shape == (len(test), 2)
    error = np.mean((model.reconstruct(test) - test) ** 2)
    assert error < 0.1 * np.mean((test - test.mean(axis=0)) ** 2)
    odd = np.random.default_rng(2).standard_normal(test.shape).astype("float32")
    assert np.median(model.anomaly(odd)) > 5 * np.median(model.anomaly(test))


def test_batches_do_not_change_codes():
    model = dense_autoencoder((12, 24, 2))
    model.train()
    x = rows(70)
    np.testing.assert_allclose(
        model.encode(x), np.concatenate([model.encode(x[:33]), model.encode(x[33:])]), rtol=1e-5
    )
    assert model.training


def test_denoising_spoils_in_training_only():
    model = DenoisingAutoencoder(nn.Identity(), nn.Identity(), noise=0.5, masking=0.25)
    x = np.ones((400, 50), "float32")
    model.eval()
    np.testing.assert_array_equal(np.asarray(model(x).reconstruction), x)
    model.train()
    seen = np.asarray(model(x).reconstruction)
    assert abs(seen.mean() - 0.75) < 0.02
    assert abs(seen.var() - (0.25 + 0.75 * 0.25)) < 0.02
    # The kept ones are not scaled up: noise lies around 0 and 1.
    assert abs(np.mean(np.abs(seen - 1) < 0.5) - (0.75 * 0.683 + 0.25 * 0.157)) < 0.02


def test_denoising_learns_to_clean():
    x, test = rows(400), rows(300, seed=1)
    noise = 0.5 * np.random.default_rng(3).standard_normal(test.shape).astype("float32")
    down, up = nn.Linear(12, 2), nn.Linear(2, 12)
    model = DenoisingAutoencoder(down, up, noise=0.5)
    trained(model, x, epochs=60)
    assert np.mean((model.reconstruct(test + noise) - test) ** 2) < 0.5 * np.mean(noise**2)


def test_sparsity_is_the_divergence():
    rng = np.random.default_rng(0)
    code = rng.uniform(0.05, 0.9, (6, 4))
    mean, rho = code.mean(axis=0), 0.1
    exact = np.sum(rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean)))
    assert sparsity(hl.tensor(code), rho).item() == pytest.approx(exact, rel=1e-12)
    x = hl.tensor(code, requires_grad=True)
    assert hl.gradcheck(lambda c: sparsity(c, rho), [x])


@pytest.mark.parametrize("kind", ["kl", "l1"])
def test_penalties_make_the_code_sparse(kind):
    x = rows()
    means = []
    for weight in (0.0, 0.5):
        hl.manual_seed(0)
        act = nn.Sigmoid() if kind == "kl" else nn.ReLU()
        encoder = nn.Sequential(nn.Linear(12, 20), act)
        model = SparseAutoencoder(encoder, nn.Linear(20, 12), kind=kind, weight=weight)
        trained(model, x)
        means.append(model.encode(x).mean())
    assert means[1] < 0.5 * means[0]
    if kind == "kl":
        assert means[1] < 0.16  # rho is 0.05


def test_contraction_is_the_norm_of_the_jacobian():
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in ((5, 7), (4, 7), (4,)))

    def code(points):
        return 1 / (1 + np.exp(-(points @ w.T + b)))

    step = 1e-6
    jacobian = np.stack(
        [(code(x + step * e) - code(x - step * e)) / (2 * step) for e in np.eye(7)], axis=-1
    )
    exact = np.square(jacobian).sum(axis=(1, 2))
    found = contraction(hl.tensor(code(x)), hl.tensor(w)).numpy()
    np.testing.assert_allclose(found, exact, rtol=1e-8)


def test_contraction_has_the_right_gradient():
    """By x, w and b, through the sigmoid: what others need second derivatives for."""
    rng = np.random.default_rng(1)
    x, w, b = (
        hl.tensor(rng.standard_normal(s), requires_grad=True) for s in ((5, 7), (4, 7), (4,))
    )

    def penalty(x, w, b):
        return contraction(F.sigmoid(F.linear(x, w, b)), w).mean()

    assert hl.gradcheck(penalty, [x, w, b])


def test_contraction_against_double_backward():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    x, w, b = (rng.standard_normal(s) for s in ((5, 7), (4, 7), (4,)))
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
    h = torch.sigmoid(torch.nn.functional.linear(tx, tw, tb))
    total = 0.0
    for j in range(4):
        (row,) = torch.autograd.grad(h[:, j].sum(), tx, create_graph=True)
        total = total + (row**2).sum(1).mean()
    total.backward()
    ours = [hl.tensor(a, requires_grad=True) for a in (x, w, b)]
    code = F.sigmoid(F.linear(*ours))
    loss = contraction(code, ours[1]).mean()
    loss.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-10)
    for mine, theirs in zip(ours, (tx, tw, tb), strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=1e-8, atol=1e-12)


def test_contractive_autoencoder_contracts():
    x = rows()
    norms = []
    for weight in (0.0, 0.1):
        hl.manual_seed(0)
        model = ContractiveAutoencoder(12, 6, weight)
        trained(model, x)
        h = hl.tensor(model.encode(x))
        norms.append(contraction(h, model.layer.weight).mean().item())
    assert norms[1] < 0.5 * norms[0]


def test_convolutional_shapes():
    model = ConvAutoencoder(28, 5, (4, 8))
    x = np.random.default_rng(0).random((3, 28, 28, 1)).astype("float32")
    coded = model(x)
    assert coded.code.shape == (3, 5)
    assert coded.reconstruction.shape == x.shape
    assert 0 <= coded.reconstruction.numpy().min() <= coded.reconstruction.numpy().max() <= 1
    squares = np.zeros((16, 16, 16, 1), "float32")
    for i, square in enumerate(squares):
        square[i % 8 : i % 8 + 8, i // 8 * 6 : i // 8 * 6 + 8] = 1
    hl.manual_seed(0)
    model = ConvAutoencoder(16, 8, (16, 32))
    history = trained(model, squares, epochs=80, lr=3e-3)
    assert history["loss"][-1] < 0.1 * history["loss"][0]


# ---- variational -------------------------------------------------------------------------------


def bits(n=300, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    x = np.where(kind[:, None] == 1, [1] * 5 + [0] * 5, [0] * 5 + [1] * 5)
    return np.abs(x - (rng.random(x.shape) < 0.03)).astype("float32"), kind


def test_vae_loss_is_minus_the_elbo():
    hl.manual_seed(0)
    model = dense_vae(10, 16, 3)
    x, _ = bits(5)
    model.eval()
    guess = model(x)
    p = 1 / (1 + np.exp(-guess.logits.numpy()))
    mu, logvar = guess.mu.numpy(), guess.logvar.numpy()
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)
    exact = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1) + kl
    assert model.loss(guess, x).item() == pytest.approx(exact.mean(), rel=1e-5)
    model.beta = 4.0
    assert model.loss(guess, x).item() == pytest.approx((exact + 3 * kl).mean(), rel=1e-5)


def test_vae_learns_and_samples():
    x, _ = bits()
    model = dense_vae(10, 32, 2)
    trained(model, x, epochs=60, lr=3e-3)
    model.eval()
    test, _ = bits(200, 1)
    # A fair coin a bit is 6.9 nats; the two kinds with their noise are 2.0.
    assert -model.elbo(test, samples=5).mean() < 4.5
    samples = model.sample(200)
    assert samples.shape == (200, 10)
    left, right = samples[:, :5].mean(axis=1), samples[:, 5:].mean(axis=1)
    assert np.mean(np.abs(left - right) > 0.5) > 0.8
    assert 0.2 < np.mean(left > right) < 0.8  # both kinds


def test_conditional_vae_does_as_it_is_told():
    x, kind = bits()
    model = dense_vae(10, 32, 2, classes=2)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    fit(
        model, (x, kind, x), loss=model.loss, optimizer=optimizer, epochs=60, progress=False, seed=0
    )
    model.eval()
    wanted = np.arange(100) % 2
    samples = model.sample(100, wanted)
    assert np.mean((samples[:, :5].mean(axis=1) > 0.5) == (wanted == 1)) > 0.95


def test_the_gradient_goes_through_the_noise():
    model = dense_vae(6, 8, 2).double()
    x = np.random.default_rng(0).random((4, 6))

    def value():
        hl.manual_seed(3)  # the same noise every time
        return model.loss(model(x), x)

    model.train()
    value().backward()
    for p in (model.to_mu.weight, model.to_logvar.weight):
        step, found = 1e-6, p.grad.numpy()[0, 0]
        kept = p.numpy()[0, 0]
        p.numpy()[0, 0] = kept + step
        high = value().item()
        p.numpy()[0, 0] = kept - step
        low = value().item()
        p.numpy()[0, 0] = kept
        assert (high - low) / (2 * step) == pytest.approx(found, rel=1e-5)


# ---- bad input ---------------------------------------------------------------------------------


def test_errors():
    plain = nn.Identity()
    with pytest.raises(ValueError, match=r"sizes is \(5,\)"):
        dense_autoencoder((5,))
    with pytest.raises(ValueError, match="noise is -1"):
        DenoisingAutoencoder(plain, plain, noise=-1)
    with pytest.raises(ValueError, match="masking is 1"):
        DenoisingAutoencoder(plain, plain, masking=1)
    with pytest.raises(ValueError, match="kind is 'l2', expected one of kl, l1"):
        SparseAutoencoder(plain, plain, kind="l2")
    with pytest.raises(ValueError, match="rho is 0"):
        SparseAutoencoder(plain, plain, rho=0)
    with pytest.raises(ValueError, match="size is 30, 2 halvings expect a multiple of 4"):
        ConvAutoencoder(30, 4)
    with pytest.raises(ValueError, match=r"Autoencoder.encode: x has no row"):
        Autoencoder(plain, plain).encode(np.zeros((0, 3), "float32"))


def test_vae_errors():
    x = np.zeros((3, 6), "float32")
    plain, asked = dense_vae(6, 8, 2), dense_vae(6, 8, 2, classes=4)
    with pytest.raises(ValueError, match=r"VAE.decode: z has shape \(3, 5\), expected \(N, 2\)"):
        plain.decode(np.zeros((3, 5), "float32"))
    with pytest.raises(ValueError, match="there is a label, but the model has no classes"):
        plain(x, np.zeros(3, int))
    with pytest.raises(ValueError, match="the model is conditional, expected labels"):
        asked(x)
    with pytest.raises(ValueError, match="label 4, expected 0 <= label < 4"):
        asked(x, np.array([0, 4, 1]))
    with pytest.raises(ValueError, match="label -1, expected 0 <= label < 4"):
        asked(x, np.array([0, -1, 1]))
    with pytest.raises(ValueError, match=r"labels int64 \(2,\), expected integers \(3,\)"):
        asked(x, np.array([0, 1]))
    with pytest.raises(ValueError, match="float64"):
        asked(x, np.zeros(3))
    with pytest.raises(ValueError, match="latent is 0"):
        VAE(nn.Identity(), nn.Identity(), 4, 0)
