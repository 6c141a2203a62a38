"""Options of layers and containers that PyTorch has, each with its effect."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.nn import functional as F


@pytest.mark.parametrize(
    "make",
    [
        lambda bias: nn.BatchNorm1d(3, bias=bias),
        lambda bias: nn.BatchNorm2d(3, bias=bias),
        lambda bias: nn.InstanceNorm2d(3, affine=True, bias=bias),
        lambda bias: nn.GroupNorm(3, 3, bias=bias),
        lambda bias: nn.LayerNorm(3, bias=bias),
    ],
)
def test_norms_without_a_bias(make):
    plain, bare = make(True), make(False)
    assert bare.bias is None
    assert [n for n, _ in bare.named_parameters()] == ["weight"]
    shape = (4, 3) if isinstance(plain, (nn.BatchNorm1d, nn.LayerNorm)) else (2, 4, 5, 3)
    x = hl.randn(*shape)
    np.testing.assert_array_equal(bare(x).numpy(), plain(x).numpy())
    if hasattr(bare, "reset_parameters"):
        bare.weight.fill_(3)
        bare.reset_parameters()
        assert bare.weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
             "FeatureAlphaDropout", "ReLU", "Tanh", "LeakyReLU", "ELU", "Hardtanh"]
)  # fmt: skip
def test_inplace_is_accepted_and_changes_nothing(name):
    x = hl.ones(2, 3, 4)
    y = getattr(nn, name)(inplace=True)(x)
    assert y is not x
    assert x.tolist() == hl.ones(2, 3, 4).tolist()
    F.relu(x, inplace=True)
    F.dropout(x, 0.5, True, True)
    F.hardtanh(x, -0.5, 0.5, True)
    assert x.tolist() == hl.ones(2, 3, 4).tolist()


def test_transposed_convolutions_pad_with_zeros_only():
    nn.ConvTranspose2d(2, 3, 3, padding_mode="zeros")
    with pytest.raises(ValueError, match="ConvTranspose2d: padding_mode is 'reflect', expected 'z"):
        nn.ConvTranspose2d(2, 3, 3, padding_mode="reflect")


def test_huber_loss_has_a_weight():
    x, t = hl.tensor([0.0, 0.5, 3.0]), hl.zeros(3)
    each = F.huber_loss(x, t, "none", 1.0, weight=hl.tensor([1.0, 2.0, 0.5]))
    np.testing.assert_allclose(each.numpy(), [0, 0.25, 1.25])
    mean = F.huber_loss(x, t, weight=hl.tensor([1.0, 2.0, 0.5]))
    np.testing.assert_allclose(mean.item(), 0.5)
    for delta in (0.0, float("nan")):
        with pytest.raises(ValueError, match="delta"):
            F.huber_loss(x, t, delta=delta)


def test_target_of_logits_at_infinity_has_a_gradient():
    x = hl.tensor([np.inf, -np.inf, 1.0])
    t = hl.tensor([1.0, 0.0, 1.0], requires_grad=True)
    F.binary_cross_entropy_with_logits(x, t, reduction="sum").backward()
    assert t.grad.tolist() == [-np.inf, np.inf, -1.0]


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_lists_of_modules_change_like_lists(kind):
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    m = kind(a, b) if kind is nn.Sequential else kind([a, b])
    assert m.append(c) is m
    assert list(m) == [a, b, c]
    assert m.pop() is c
    assert list(m.insert(1, c)) == [a, c, b]
    del m[0]
    assert list(m) == [c, b]
    assert [n for n, _ in m.named_children()] == ["0", "1"]
    assert list(m.extend([a])) == [c, b, a]
    del m[1:]
    assert list(m) == [c]
    with pytest.raises(IndexError):
        m.pop(5)
    with pytest.raises(TypeError, match=f"{kind.__name__}: expected a Module, got int"):
        m.insert(0, 3)


def test_module_lists_add_and_module_dicts_pop():
    a, b = nn.ReLU(), nn.Tanh()
    m = nn.ModuleList()
    m += [a]
    assert list(m.__add__([b])) == [a, b]
    assert list(m) == [a]
    assert len(nn.ModuleList(None)) == 0
    d = nn.ModuleDict({"a": a, "b": b})
    assert d.pop("a") is a
    d.clear()
    assert len(d) == 0
    with pytest.raises(KeyError):
        d.pop("a")


def test_dirac_leaves_an_image_as_it_is():
    x = hl.randn(2, 5, 6, 4)
    w = nn.init.dirac_(hl.zeros(4, 3, 3, 4))
    np.testing.assert_array_equal(F.conv2d(x, w, padding=1).numpy(), x.numpy())
    w = nn.init.dirac_(hl.zeros(4, 3, 3, 2), groups=2)
    np.testing.assert_array_equal(F.conv2d(x, w, padding=1, groups=2).numpy(), x.numpy())
    assert nn.init.dirac_(hl.zeros(5, 2, 3)).numpy().sum() == 3
    for shape, groups in (((3, 3), 1), ((3, 3, 3), 2)):
        with pytest.raises(ValueError, match="dirac_"):
            nn.init.dirac_(hl.zeros(*shape), groups)


@pytest.mark.parametrize("p", [0.5, 1.5, 2, 4, "inf", float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1e9])
def test_gradients_are_clipped_by_any_norm(p, max_norm):
    rng = np.random.default_rng(0)
    params = [nn.Parameter(hl.zeros(*s)) for s in ((3, 4), (5,), (2, 2, 2))]
    for w in params:
        w.grad = hl.tensor(rng.standard_normal(w.shape).astype(np.float32))
    flat = np.concatenate([w.grad.numpy().reshape(-1).astype(np.float64) for w in params])
    q = float(p)
    expected = np.abs(flat).max() if np.isinf(q) else (np.abs(flat) ** q).sum() ** (1 / q)
    norm = nn.utils.clip_grad_norm_(params, max_norm, norm_type=p)
    np.testing.assert_allclose(norm, expected, rtol=1e-5)
    after = np.concatenate([w.grad.numpy().reshape(-1) for w in params])
    np.testing.assert_allclose(after, flat * min(1, max_norm / expected), rtol=1e-5)
    assert nn.utils.clip_grad_norm_([], 1.0, p) == 0.0
    with pytest.raises(ValueError, match="norm: the order is 0"):
        nn.utils.clip_grad_norm_(params, 1.0, 0)
