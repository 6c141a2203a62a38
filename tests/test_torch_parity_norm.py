"""Norms mean what they mean in PyTorch, but for the place of the channels."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.nn.utils import spectral_norm, weight_norm

torch = pytest.importorskip("torch")
tn = torch.nn


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def same(ours, theirs, x, training=True, steps=3):
    """Values, gradients and state after a few forwards agree; x is channels last."""
    ours, theirs = ours.double().train(training), theirs.double().train(training)
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    images = x.ndim > 2 and not isinstance(ours, (nn.LayerNorm, nn.RMSNorm))
    first = (lambda a: np.moveaxis(a, -1, 1).copy()) if images else (lambda a: a)
    last = (lambda a: np.moveaxis(a, 1, -1)) if images else (lambda a: a)
    for step in range(steps):
        a = hl.tensor(x + step, requires_grad=True)
        b = torch.tensor(first(x + step), requires_grad=True)
        for p in ours.parameters():
            p.grad = None
        theirs.zero_grad()
        y, z = ours(a), theirs(b)
        np.testing.assert_allclose(y.numpy(), last(z.detach().numpy()), rtol=1e-10, atol=1e-10)
        dy = numbers(*y.shape, seed=9)
        y.backward(dy)
        z.backward(torch.tensor(first(dy)))
        np.testing.assert_allclose(a.grad.numpy(), last(b.grad.numpy()), rtol=1e-8, atol=1e-10)
        grads = {n: p.grad for n, p in theirs.named_parameters()}
        for n, p in ours.named_parameters():
            np.testing.assert_allclose(p.grad.numpy(), grads[n].numpy(), rtol=1e-8, atol=1e-9)
    for n, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[n], value.numpy(), rtol=1e-10, atol=1e-12)


def with_numbers(module):
    """Weights that are not all 1 and 0."""
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.copy_(torch.tensor(numbers(*p.shape, seed=20 + i)))
    return module


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": None},
        {"affine": False},
        {"track_running_stats": False},
        {"eps": 0.1, "momentum": 0.7},
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_batch_norm(rank, options, training):
    name, x = f"BatchNorm{rank}d", numbers(4, *[3, 4, 2][:rank], 5)
    theirs = with_numbers(getattr(tn, name)(5, **options))
    same(getattr(nn, name)(5, **options), theirs, x, training)
    if rank == 1:
        same(nn.BatchNorm1d(5, **options), tn.BatchNorm1d(5, **options), x[:, 0], training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"affine": True}, {"affine": True, "track_running_stats": True}]
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_instance_norm(rank, options, training):
    name, x = f"InstanceNorm{rank}d", numbers(4, *[3, 4, 2][:rank], 5)
    theirs = with_numbers(getattr(tn, name)(5, **options))
    same(getattr(nn, name)(5, **options), theirs, x, training)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups):
    for x in (numbers(3, 6, seed=1), numbers(3, 4, 5, 6)):
        if x.ndim == 2 and groups == 6:
            continue  # one number: 0 here, rounding errors there
        same(nn.GroupNorm(groups, 6), with_numbers(tn.GroupNorm(groups, 6)), x)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_layer_and_rms_norm(shape):
    x = numbers(3, 4, 5, 6)
    same(nn.LayerNorm(shape), with_numbers(tn.LayerNorm(shape)), x)
    same(nn.LayerNorm(shape, bias=False), with_numbers(tn.LayerNorm(shape, bias=False)), x)
    same(
        nn.LayerNorm(shape, elementwise_affine=False),
        tn.LayerNorm(shape, elementwise_affine=False),
        x,
    )
    same(nn.RMSNorm(shape), with_numbers(tn.RMSNorm(shape)), x)
    same(nn.RMSNorm(shape, eps=0.1), with_numbers(tn.RMSNorm(shape, eps=0.1)), x)


@pytest.mark.filterwarnings("ignore:.*(spectral_norm|weight_norm).*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*(spectral_norm|weight_norm).*:DeprecationWarning")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"n_power_iterations": 3}, {"dim": 1, "eps": 1e-3}])
def test_spectral_norm(options, training):
    theirs = torch.nn.utils.spectral_norm(tn.Linear(4, 6).double(), **options)
    same(spectral_norm(nn.Linear(4, 6).double(), **options), theirs, numbers(3, 4), training)


@pytest.mark.filterwarnings("ignore:.*(spectral_norm|weight_norm).*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*(spectral_norm|weight_norm).*:DeprecationWarning")
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    theirs = torch.nn.utils.weight_norm(tn.Linear(4, 6).double(), dim=dim)
    same(weight_norm(nn.Linear(4, 6).double(), dim=dim), theirs, numbers(3, 4))
