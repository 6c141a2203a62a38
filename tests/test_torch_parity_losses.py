"""Reductions, softmax and losses beside PyTorch, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from handloom import kernels

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(9)


def both(ours, theirs, inputs, dy=None):
    """Compare values and gradients of the float inputs in float64."""
    tensors = [
        torch.tensor(x, requires_grad=x.dtype.kind == "f") if isinstance(x, np.ndarray) else x
        for x in inputs
    ]
    y = theirs(*tensors)
    got, grads = ours(*inputs)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-12, atol=1e-13)
    y.backward(torch.ones_like(y))
    for grad, t in zip(grads, tensors):
        if grad is not None:
            np.testing.assert_allclose(grad, t.grad.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [(0,), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize(
    "name", ["sum", "mean", "amax", "amin", "var", "std", "logsumexp", "vector_norm"]
)
def test_reductions(name, axis, keepdims):
    ours = {"amax": "max", "amin": "min", "vector_norm": "norm"}.get(name, name)
    needs_y = ours in ("max", "min", "std", "logsumexp", "norm")
    extra = {"ddof": 1} if name in ("var", "std") else {}
    function = torch.linalg.vector_norm if name == "vector_norm" else getattr(torch, name)

    def run(x):
        y = getattr(kernels, ours)(x, axis, keepdims, **extra)
        args = (np.ones_like(y), x, y) if needs_y else (np.ones_like(y), x)
        return y, (getattr(kernels, f"{ours}_backward")(*args, axis=axis, **extra),)

    x = RNG.integers(-3, 4, (4, 5, 6)).astype(np.float64)  # ties
    both(run, lambda t: function(t, dim=axis, keepdim=keepdims), (x,))


def test_product_with_zeros():
    x = RNG.integers(-2, 3, (6, 4)).astype(np.float64)

    def run(x):
        y = kernels.prod(x, 1)
        return y, (kernels.prod_backward(np.ones_like(y), x, axis=1),)

    both(run, lambda t: torch.prod(t, 1), (x,))


@pytest.mark.parametrize("descending", [False, True])
def test_sort_with_nan(descending):
    x = RNG.integers(-3, 4, (5, 40)).astype(np.float64)
    x[0, [3, 9]] = np.nan
    values, indices = kernels.sort(x, 1, descending)
    want = torch.sort(torch.tensor(x), dim=1, descending=descending, stable=True)
    np.testing.assert_array_equal(values, want.values.numpy())
    np.testing.assert_array_equal(indices, want.indices.numpy())


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_edges(axis):
    x = 5 * RNG.standard_normal((4, 5, 6))
    x[0, 0, 0], x[1, 2, 3], x[:, 4, 4] = np.nan, np.inf, -np.inf
    for name in ("softmax", "log_softmax"):
        y = getattr(kernels, name)(x, axis)
        want = getattr(F, name)(torch.tensor(x), dim=axis).numpy()
        np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["labels", "ignored", "soft", "all ignored"])
def test_cross_entropy(target, weighted, smoothing, reduction):
    x = 3 * RNG.standard_normal((9, 5))
    t = RNG.integers(0, 5, 9)
    if target == "ignored":
        t[[1, 4]] = -100
    if target == "all ignored":
        t[:] = -100
    if target == "soft":
        t = RNG.uniform(0, 1, (9, 5))
    weight = RNG.uniform(0.2, 2, 5) if weighted else None
    options = {"label_smoothing": smoothing, "reduction": reduction}

    def run(x, t):
        y = kernels.cross_entropy(x, t, weight=weight, **options)
        return y, (kernels.cross_entropy_backward(np.ones_like(y), x, t, weight=weight, **options),)

    w = None if weight is None else torch.tensor(weight)
    tt = torch.tensor(t)
    x_torch = torch.tensor(x, requires_grad=True)
    y = F.cross_entropy(x_torch, tt, w, **options)
    got, (dx,) = run(x, t)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-12)
    if target != "all ignored":  # there PyTorch's gradient is NaN for the mean
        y.backward(torch.ones_like(y))
        np.testing.assert_allclose(dx, x_torch.grad.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_regression_losses(name, weighted, reduction):
    x, t = RNG.standard_normal((2, 4, 6))
    weight = RNG.uniform(0.2, 2, (4, 6)) if weighted else None

    def run(x, t):
        y = getattr(kernels, name)(x, t, weight=weight, reduction=reduction)
        return y, getattr(kernels, f"{name}_backward")(
            np.ones_like(y), x, t, weight=weight, reduction=reduction, need=("x", "target")
        )

    w = None if weight is None else torch.tensor(weight)
    both(run, lambda a, b: getattr(F, name)(a, b, weight=w, reduction=reduction), (x, t))


@pytest.mark.filterwarnings("ignore:reduction")  # PyTorch advises batchmean for kl_div
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("smooth_l1_loss", {"beta": 0.5}),
        ("binary_cross_entropy", {}),
        ("binary_cross_entropy_with_logits", {}),
        ("kl_div", {}),
        ("kl_div", {"log_target": True}),
        ("hinge_embedding_loss", {"margin": 0.7}),
    ],
)
def test_other_pointwise_losses(name, options, reduction):
    x, t = RNG.standard_normal((2, 4, 6))
    if name == "binary_cross_entropy":
        x, t = RNG.uniform(0, 1, (2, 4, 6))
    if name == "binary_cross_entropy_with_logits" or (name == "kl_div" and not options):
        t = RNG.uniform(0.1, 1, (4, 6))
    need = ("x",) if name.startswith("hinge") else ("x", "target")
    if name.startswith("hinge"):
        t = np.sign(t)

    def run(x, t):
        y = getattr(kernels, name)(x, t, reduction=reduction, **options)
        return y, getattr(kernels, f"{name}_backward")(
            np.ones_like(y), x, t, reduction=reduction, need=need, **options
        )

    both(run, lambda a, b: getattr(F, name)(a, b, reduction=reduction, **options), (x, t))


def test_pos_weight_and_weight():
    x, t = RNG.standard_normal((4, 6)), RNG.uniform(0, 1, (4, 6))
    weight, pos = RNG.uniform(0.2, 2, (4, 1)), RNG.uniform(1, 3, 6)
    name = "binary_cross_entropy_with_logits"

    def run(x, t):
        y = getattr(kernels, name)(x, t, weight=weight, pos_weight=pos)
        return y, getattr(kernels, f"{name}_backward")(
            np.ones_like(y), x, t, weight=weight, pos_weight=pos
        )

    w, p = torch.tensor(weight), torch.tensor(pos)
    both(run, lambda a, b: getattr(F, name)(a, b, w, pos_weight=p), (x, t))
