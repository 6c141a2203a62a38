"""Sequential runs a linear layer and the activation behind it as one kernel; nobody can tell."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import handloom as hl
from handloom import nn

FUSABLE = {
    "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "ReLU6": nn.ReLU6, "SELU": nn.SELU,
    "SiLU": nn.SiLU, "Mish": nn.Mish, "Softsign": nn.Softsign, "Hardsigmoid": nn.Hardsigmoid,
    "Hardswish": nn.Hardswish, "LogSigmoid": nn.LogSigmoid, "LeakyReLU": nn.LeakyReLU,
    "LeakyReLU 0.3": lambda: nn.LeakyReLU(0.3), "LeakyReLU -0.5": lambda: nn.LeakyReLU(-0.5),
    "ELU": nn.ELU, "ELU 0.3": lambda: nn.ELU(0.3), "ELU -2": lambda: nn.ELU(-2.0),
    "GELU": nn.GELU, "GELU tanh": lambda: nn.GELU("tanh"), "Softplus": nn.Softplus,
    "Softplus 2 1": lambda: nn.Softplus(2.0, 1.0), "Hardtanh": nn.Hardtanh,
    "Hardtanh 0 0.5": lambda: nn.Hardtanh(0.0, 0.5),
}  # fmt: skip


@pytest.fixture
def fused(monkeypatch):
    """Counts the pairs that ran as one kernel."""
    calls = []
    run = nn.Linear._forward_fused

    def counted(self, x, activation):
        calls.append(activation)
        return run(self, x, activation)

    monkeypatch.setattr(nn.Linear, "_forward_fused", counted)
    return calls


def outcome(run, x, parameters):
    """The output and all gradients."""
    x = hl.tensor(x, requires_grad=True)
    y = run(x)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    y.backward(dy)
    return [y.numpy(), x.grad.numpy(), *(p.grad.numpy() for p in parameters)]


@pytest.mark.parametrize("isa", hl.available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUSABLE)
def test_fused_layers_give_the_bits_of_two(name, dtype, isa, fused):
    rng = np.random.default_rng(0)
    for rows, features, outputs in ((1, 7, 5), (33, 20, 17), (6, 300, 64)):
        pair = nn.Sequential(nn.Linear(features, outputs), FUSABLE[name]()).to(dtype)
        linear, activation = pair
        x = 3 * rng.standard_normal((rows, features)).astype(dtype)
        with hl.use_isa(isa):
            together = outcome(pair, x, pair.parameters())
            assert len(fused) == 1
            pair.zero_grad()
            apart = outcome(lambda t: activation(linear(t)), x, pair.parameters())  # noqa: B023
            with hl.no_grad():
                np.testing.assert_array_equal(pair(x).numpy(), together[0])
        for got, want in zip(together, apart):
            np.testing.assert_array_equal(got, want)
        fused.clear()


def test_every_activation_of_the_kernel_can_be_fused():
    names = {make()._fusable[0] for make in FUSABLE.values()}
    assert names == set(hl.ops.dense.ACTIVATIONS)


def test_parameters_are_read_at_every_call(fused):
    net = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.1))
    x = hl.randn(5, 3)
    net(x)
    net[1].negative_slope = 0.7
    np.testing.assert_array_equal(net(x).numpy(), net[1](net[0](x)).numpy())
    assert fused == [("leaky_relu", 0.1, 0.0), ("leaky_relu", 0.7, 0.0)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("when", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_see_both_layers(which, when, fused):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    seen = []
    getattr(net[which], when)(lambda module, args, *out: seen.append(args[0].shape))
    x = hl.randn(5, 3)
    assert (net(x).numpy() >= 0).all()
    assert seen == [((5, 3), (5, 4))[which]]
    assert not fused


class Doubled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


class Shifted(nn.ReLU):
    def forward(self, x):
        return super().forward(x) + 1


class SteeperReLU(nn.LeakyReLU):
    def forward(self, x):
        return super().forward(x) * 3


class Called(nn.Tanh):
    def __call__(self, x):
        return super().__call__(x) - 1


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (Doubled(3, 4), nn.ReLU()),
        lambda: (nn.Linear(3, 4), Shifted()),
        lambda: (nn.Linear(3, 4), SteeperReLU()),
        lambda: (nn.Linear(3, 4), Called()),
    ],
)
def test_a_subclass_with_a_forward_of_its_own_is_not_bypassed(layers, fused):
    first, second = layers()
    x = hl.randn(5, 3)
    want = second(first(x)).numpy()
    np.testing.assert_array_equal(nn.Sequential(first, second)(x).numpy(), want)
    assert not fused


@pytest.mark.parametrize("which", [0, 1])
def test_a_forward_of_one_instance_is_not_bypassed(which, fused):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    usual = net[which].forward
    net[which].forward = lambda x: usual(x) + 1
    x = hl.randn(5, 3)
    np.testing.assert_array_equal(net(x).numpy(), net[1](net[0](x)).numpy())
    assert not fused


def test_a_subclass_without_a_forward_is_fused(fused):
    class Named(nn.Linear):
        pass

    nn.Sequential(Named(3, 4), nn.ReLU())(hl.randn(5, 3))
    assert len(fused) == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_layer_with_an_activation_keeps_it(late):
    first = nn.Linear(3, 4, activation=None if late else "tanh")
    if late:
        first.activation = "tanh"
    net = nn.Sequential(first, nn.LeakyReLU(0.2))
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    z = np.tanh(x @ first.weight.numpy().T + first.bias.numpy())
    np.testing.assert_allclose(net(x).numpy(), np.where(z > 0, z, 0.2 * z), rtol=1e-5, atol=1e-6)


def test_copies_are_fused_too_and_independent(fused):
    net = nn.Sequential(nn.Linear(3, 4), nn.ELU(0.5), nn.Linear(4, 2), nn.Tanh())
    x = hl.randn(5, 3)
    want = net(x).numpy()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        fused.clear()
        np.testing.assert_array_equal(twin(x).numpy(), want)
        assert fused == [("elu", 0.5, 0.0), ("tanh", 0.0, 0.0)]
        with hl.no_grad():
            twin[0].weight.fill_(0.0)
        np.testing.assert_array_equal(net(x).numpy(), want)


def test_the_last_layer_and_repeated_activations():
    relu, last = nn.ReLU(), nn.Linear(4, 2)
    first = nn.Linear(3, 4)
    x = hl.randn(5, 3)
    want = last(relu(relu(first(x)))).numpy()
    np.testing.assert_array_equal(nn.Sequential(first, relu, nn.ReLU(), last)(x).numpy(), want)
    np.testing.assert_array_equal(nn.Sequential(relu)(x).numpy(), relu(x).numpy())
    assert nn.Sequential()(x) is x
