"""Arguments of the wrong kind are refused by name, wherever they come in."""

from __future__ import annotations

import numpy as np
import pytest

from handloom import explain, nn, optim, train, tune

F = nn.functional
X, Y = np.zeros((6, 3), np.float32), np.array([0, 1] * 3)
MODEL = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
ODD = [None, "x", b"x", [], {}, np.zeros(2), object()]


def fit(**options):
    optimizer = optim.SGD(MODEL.parameters(), lr=0.1)
    base = {"loss": F.cross_entropy, "optimizer": optimizer, "epochs": 1, "progress": False}
    return train.fit(MODEL, (X, Y), **{**base, **options})


def ranged(**options):
    optimizer = optim.SGD(MODEL.parameters(), lr=0.1)
    return train.lr_range_test(MODEL, (X, Y), loss=F.cross_entropy, optimizer=optimizer, **options)


def landscape(**options):
    return train.loss_landscape(MODEL, (X, Y), F.cross_entropy, **{"points": 3, **options})


CALLS = {
    **{f"fit: {n}": (lambda v, n=n: fit(**{n: v})) for n in ("epochs", "accumulate")},
    "fit: callbacks": lambda v: fit(callbacks=[v]),
    **{f"lr_range_test: {n}": (lambda v, n=n: ranged(**{n: v})) for n in ("low", "high", "steps")},
    **{
        f"loss_landscape: {n}": (lambda v, n=n: landscape(**{n: v}))
        for n in ("directions", "span", "points", "seed")
    },
    "Penalty: l1": lambda v: train.Penalty(l1=v),
    "MaxNorm: limit": train.MaxNorm,
    "GaussianNoise: std": nn.GaussianNoise,
    "smooth_grad: samples": lambda v: explain.smooth_grad(MODEL, X, samples=v),
    "smooth_grad: sigma": lambda v: explain.smooth_grad(MODEL, X, sigma=v),
    "integrated_gradients: steps": lambda v: explain.integrated_gradients(MODEL, X, steps=v),
    **{
        f"lime: {n}": (lambda v, n=n: explain.lime(MODEL, X[0], **{"samples": 9, n: v}))
        for n in ("samples", "width", "ridge", "seed")
    },
    "permutation_importance: repeats": lambda v: explain.permutation_importance(
        MODEL, X, Y, repeats=v
    ),
    "random_search: trials": lambda v: tune.random_search(lambda t: 0.0, {"a": [1]}, v),
    "Uniform: low": lambda v: tune.Uniform(v, 1),
    "cross_validate: k": lambda v: tune.cross_validate(lambda a, b: 0.0, (X, Y), v),
}


@pytest.mark.parametrize("value", ODD, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("name", CALLS)
def test_the_argument_is_named(name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[name](value)
    op, argument = name.split(": ")
    assert str(caught.value).startswith(f"{op}: ")
    assert argument in str(caught.value)
