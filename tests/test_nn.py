"""Modules, layers, initialisers and utilities."""

import copy
import math

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(np.ones(4, np.float32))
        self.register_buffer("seen", np.zeros(1, np.float32))
        self.register_buffer("scratch", np.zeros(2, np.float32), persistent=False)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
        self.none = None

    def forward(self, x):
        x = self.first(x) * self.scale
        for block in self.blocks:
            x = block(x)
        return x


NAMES = [
    "scale", "seen", "first.weight", "first.bias", "blocks.0.0.weight", "blocks.0.0.bias",
    "blocks.1.0.weight", "blocks.1.0.bias",
]  # fmt: skip


# modules


def test_what_a_module_is_made_of():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [n for n in NAMES if n != "seen"]
    assert [n for n, _ in net.named_buffers()] == ["seen", "scratch"]
    assert len(list(net.parameters())) == 7
    assert [n for n, _ in net.named_children()] == ["first", "blocks"]
    assert [n for n, _ in net.named_modules()][:4] == ["", "first", "blocks", "blocks.0"]
    assert net.get_submodule("blocks.1.0") is net.blocks[1][0]
    with pytest.raises(AttributeError, match=r"blocks\.7"):
        net.get_submodule("blocks.7")


def test_shared_parameters_count_once_but_are_in_the_state_twice():
    a = nn.Linear(2, 2)
    net = nn.Sequential(a, nn.Tanh(), a)
    assert len(list(net.parameters())) == 2
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_state_dict_has_pytorchs_order_and_shares_memory():
    net = Net()
    state = net.state_dict()
    assert list(state) == NAMES
    state["scale"][0] = 7
    assert net.scale[0].item() == 7
    assert all(isinstance(v, np.ndarray) for v in state.values())


def test_load_state_dict_copies_and_counts_the_write():
    a, b = Net(), Net()
    x = hl.ones(2, 3)
    y = b(x).sum()
    b.load_state_dict(a.state_dict())
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())
    assert b.scale.numpy() is not a.scale.numpy()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    b.load_state_dict({k: hl.tensor(v) for k, v in a.state_dict().items()})


def test_load_state_dict_lists_every_problem_and_changes_nothing():
    net = Net()
    state = {k: v + 1 for k, v in net.state_dict().items()}
    del state["seen"], state["first.bias"]
    state["extra"] = np.zeros(1, np.float32)
    state["scale"] = np.zeros(5, np.float32)
    before = net.first.weight.numpy().copy()
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert "missing: seen, first.bias" in text
    assert "unexpected: extra" in text
    assert "scale has shape (5,), expected (4,)" in text
    np.testing.assert_array_equal(net.first.weight.numpy(), before)
    del state["scale"]
    net.load_state_dict(state, strict=False)
    assert not np.array_equal(net.first.weight.numpy(), before)
    with pytest.raises(TypeError, match="expected a dict"):
        net.load_state_dict([])


def test_modes_apply_freeze_and_dtype():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train().blocks[0].training
    order = []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order[-1] == "Net"
    assert order[0] == "Linear"
    net.freeze()
    assert not net(hl.ones(1, 3)).requires_grad
    net.unfreeze()
    net(hl.ones(1, 3)).sum().backward()
    net.double()
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert net.seen.dtype == np.float64
    assert net.first.weight.grad.dtype == np.float64
    assert net(hl.ones(1, 3, dtype="float64")).dtype == np.float64
    assert net.float().to("float32").to("cpu").scale.dtype == np.float32
    with pytest.raises(TypeError, match="int64"):
        net.to("int64")
    if not hl.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda' cannot be used"):
            net.to("cuda")
    with pytest.raises(ValueError, match="'cuda:one' is unknown"):
        net.to("cuda:one")


def test_frozen_prefix_saves_its_backward():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].freeze()
    y = net(hl.ones(2, 3))
    assert y.grad_fn.inputs[0] is None
    y.sum().backward()
    assert net[0].weight.grad is None
    assert net[2].weight.grad is not None


def test_zero_grad():
    net = nn.Linear(2, 2)
    net(hl.ones(1, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert not net.weight.grad.numpy().any()
    net.zero_grad()
    assert net.weight.grad is None


def test_forward_hooks():
    net = nn.Linear(2, 2)
    log = []
    pre = net.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    post = net.register_forward_hook(lambda m, args, out: log.append(args[0].tolist()))
    other = nn.Linear(2, 2)
    net(hl.ones(1, 2))
    other(hl.ones(1, 2))
    assert log == [[[2.0, 2.0]]]
    post.remove()
    pre.remove()
    handle = net.register_forward_hook(lambda m, args, out: out * 0)
    assert not net(hl.ones(1, 2)).numpy().any()
    handle.remove()
    assert net(hl.ones(1, 2)).numpy().any()
    assert len(log) == 1


def test_deep_copies_are_apart():
    net = Net()
    twin = copy.deepcopy(net)
    twin.scale.data[0] = 5.0
    twin.blocks[0][0].weight.fill_(0)
    assert net.scale[0].item() == 1
    assert net.blocks[0][0].weight.numpy().any()
    assert list(twin.state_dict()) == NAMES
    twin(hl.ones(1, 3)).sum().backward()
    assert net.scale.grad is None


def test_reassigned_parameters_stay_in_place():
    net = Net()
    net.scale = nn.Parameter(np.zeros(4, np.float32))
    assert next(iter(net.state_dict())) == "scale"
    net.first = nn.Identity()
    assert "first.weight" not in net.state_dict()


def test_buffers_are_checked():
    net = nn.Module()
    net.x = 1
    with pytest.raises(ValueError, match="has an attribute 'x'"):
        net.register_buffer("x", 1.0)
    with pytest.raises(ValueError, match="without dots"):
        net.register_buffer("a.b", 1.0)
    net.register_buffer("none", None)
    assert net.state_dict() == {}
    with pytest.raises(NotImplementedError, match="Module: forward"):
        net(1)


def test_repr_nests_as_pytorchs():
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (blocks): ModuleList(\n"
        "    (0): Sequential(\n"
        "      (0): Linear(in_features=4, out_features=4, bias=True)\n"
        "      (1): ReLU()\n"
        "    )\n"
        "    (1): Sequential(\n"
        "      (0): Linear(in_features=4, out_features=4, bias=True)\n"
        "      (1): ReLU()\n"
        "    )\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Parameter(np.ones(1, np.float32))) == (
        "Parameter containing:\ntensor([1.], requires_grad=True)"
    )


def test_parameters_are_floats():
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter(np.arange(3))
    assert nn.Parameter(np.ones((2, 3)).T).is_contiguous()
    assert not nn.Parameter(np.ones(2), requires_grad=False).requires_grad


# containers


def test_sequential():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3
    assert [type(m).__name__ for m in net[:2]] == ["Linear", "ReLU"]
    assert net[-1].out_features == 1
    net[1] = nn.Tanh()
    net.append(nn.Sigmoid())
    x = hl.tensor(np.ones((1, 2), np.float32))
    want = F.sigmoid(net[2](F.tanh(net[0](x))))
    np.testing.assert_array_equal(net(x).numpy(), want.numpy())
    named = nn.Sequential({"a": nn.Identity(), "b": nn.Flatten()})
    assert [n for n, _ in named.named_children()] == ["a", "b"]
    with pytest.raises(TypeError, match="got function"):
        nn.Sequential(lambda x: x)


def test_module_list_and_dict():
    layers = nn.ModuleList(nn.Linear(i, i) for i in (1, 2, 3))
    layers.insert(1, nn.ReLU())
    assert [type(m).__name__ for m in layers] == ["Linear", "ReLU", "Linear", "Linear"]
    del layers[0]
    assert next(iter(layers.state_dict())) == "1.weight"
    assert len(layers[1:]) == 2
    table = nn.ModuleDict({"a": nn.Linear(1, 1)})
    table["b"] = nn.ReLU()
    assert "b" in table
    assert list(table) == ["a", "b"]
    del table["a"]
    assert len(table) == 1
    with pytest.raises(KeyError):
        table["forward"] = nn.ReLU()
    with pytest.raises(KeyError):
        table["a"]


# layers


def test_linear():
    layer = nn.Linear(3, 2)
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    want = x @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(x).numpy(), want, rtol=1e-5)
    assert nn.Linear(3, 2, bias=False).bias is None
    fused = nn.Linear(3, 2, activation="tanh")
    np.testing.assert_allclose(
        fused(x).numpy(), np.tanh(x @ fused.weight.numpy().T + fused.bias.numpy()), rtol=1e-5
    )
    assert nn.Linear(3, 2, dtype="float64").weight.dtype == np.float64
    bound = 1 / math.sqrt(300)
    w = nn.Linear(300, 200).weight.numpy()
    assert abs(w).max() <= bound
    assert abs(w).max() > 0.99 * bound
    with pytest.raises(ValueError, match=r"linear: x \(2, 4\).*features"):
        layer(hl.ones(2, 4))
    with pytest.raises(ValueError, match="in_features is -1"):
        nn.Linear(-1, 2)


def test_flatten_unflatten_identity():
    x = hl.zeros(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Unflatten(1, (3, 1))(x).shape == (2, 3, 1, 4)
    assert nn.Identity(1, a=2)(x) is x


def test_equalised_linear_learns_at_the_same_pace_whatever_the_fan():
    hl.manual_seed(0)
    for n in (16, 1024):
        layer = nn.EqualizedLinear(n, 64, bias=False, gain=1.0)
        assert abs(layer.weight.numpy().std() - 1) < 0.1
        y = layer(hl.randn(256, n)).numpy()
        assert abs(y.std() - 1) < 0.1


ACTIVATIONS = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu", "ReLU6": "relu6", "SELU": "selu",
    "SiLU": "silu", "Mish": "mish", "Softsign": "softsign", "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish", "LogSigmoid": "logsigmoid", "LeakyReLU": "leaky_relu",
    "ELU": "elu", "GELU": "gelu", "Softplus": "softplus", "Hardtanh": "hardtanh",
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "GLU": "glu", "SwiGLU": "swiglu",
    "Heaviside": "heaviside",
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_modules_are_their_functions(name):
    x = np.linspace(-4, 4, 24, dtype=np.float32).reshape(3, 8)
    module, function = getattr(nn, name)(), getattr(F, ACTIVATIONS[name])
    np.testing.assert_array_equal(module(x).numpy(), function(x).numpy())
    assert repr(module).startswith(name + "(")


def test_prelu_and_heaviside():
    layer = nn.PReLU(3, init=0.5)
    y = layer(hl.tensor([[-2.0, 0.0, 4.0]]))
    assert y.tolist() == [[-1, 0, 4]]
    assert nn.Heaviside(0.5)(np.float32([-1, 0, 2])).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("kind", ["Dropout", "Dropout1d", "Dropout2d", "AlphaDropout"])
def test_dropout(kind):
    layer = getattr(nn, kind)(0.4)
    x = hl.ones(8, 6, 5, 16) if kind == "Dropout2d" else hl.ones(8, 30, 16)
    hl.manual_seed(1)
    y = layer(x).numpy()
    hl.manual_seed(1)
    np.testing.assert_array_equal(layer(x).numpy(), y)
    assert not np.array_equal(layer(x).numpy(), y)
    values = np.unique(y)
    assert len(values) == 2
    dropped = (y == values[0]).mean()
    assert 0.25 < dropped < 0.55
    if kind in ("Dropout1d", "Dropout2d"):
        assert (y == y[:, :1]).all()
        np.testing.assert_allclose(values, [0, 1 / 0.6], rtol=1e-6)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())
    assert getattr(nn, kind)(0.0)(x) is x
    with pytest.raises(ValueError, match=r"p is 1\.5"):
        getattr(nn, kind)(1.5)


def test_dropout_of_everything_is_zero():
    assert not F.dropout(hl.ones(4), 1.0).numpy().any()


LOSSES = {
    "MSELoss": "mse_loss", "L1Loss": "l1_loss", "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "HingeEmbeddingLoss": "hinge_embedding_loss", "HingeLoss": "hinge_loss",
    "FocalLoss": "focal_loss", "KLDivLoss": "kl_div", "GaussianKLLoss": "gaussian_kl",
    "DiceLoss": "dice_loss",
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_loss_modules_are_their_functions(name):
    x, t = hl.rand(3, 4), hl.rand(3, 4)
    for reduction in ("mean", "sum", "none"):
        got = getattr(nn, name)(reduction=reduction)(x, t)
        want = getattr(F, LOSSES[name])(x, t, reduction=reduction)
        np.testing.assert_array_equal(got.numpy(), want.numpy())
    with pytest.raises(ValueError, match="expected one of none, mean, sum"):
        getattr(nn, name)(reduction="average")


def test_class_losses_take_weights_as_buffers():
    weight = np.float32([1, 2, 3])
    x, t = hl.randn(5, 3), np.array([0, 1, 2, 1, 0])
    loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1)
    np.testing.assert_array_equal(
        loss(x, t).numpy(), F.cross_entropy(x, t, weight, label_smoothing=0.1).numpy()
    )
    assert list(loss.state_dict()) == ["weight"]
    lp = F.log_softmax(x)
    np.testing.assert_array_equal(
        nn.NLLLoss(weight, ignore_index=1)(lp, t).numpy(), F.nll_loss(lp, t, weight, 1).numpy()
    )
    np.testing.assert_allclose(
        F.cross_entropy(x, list(t)).item(), F.nll_loss(lp, t).item(), rtol=1e-5
    )
    p = F.sigmoid(x)
    target = (hl.rand(5, 3) > 0.5).astype("float32")
    np.testing.assert_allclose(
        nn.BCELoss()(p, target).item(), nn.BCEWithLogitsLoss()(x, target).item(), rtol=1e-4
    )


@pytest.mark.parametrize(
    "kind", ["minimax", "non_saturating", "wasserstein", "least_squares", "hinge"]
)
def test_gan_losses_fall_when_the_player_gains(kind):
    real, fake = hl.tensor([0.5, 0.2]), hl.tensor([-0.1, -0.6])
    judge, maker = nn.GANDiscriminatorLoss(kind), nn.GANGeneratorLoss(kind)
    assert judge(real + 0.1, fake - 0.1).item() < judge(real, fake).item()
    assert maker(fake + 0.1).item() < maker(fake).item()
    assert kind in repr(judge)


def test_gan_loss_kinds_are_checked():
    with pytest.raises(ValueError, match="minimax, non_saturating"):
        nn.GANGeneratorLoss("nonsense")


def test_pad_counts_spatial_axes_from_the_last():
    x = hl.ones(1, 2, 3, 1)
    assert F.pad(x, (1, 1, 2, 2)).shape == (1, 6, 5, 1)
    assert F.pad(x, (0, 1), value=4.0).numpy()[0, 0, :, 0].tolist() == [1, 1, 1, 4]
    for pad, text in (((1,), "expected pairs"), ((1,) * 6, "has 2 spatial")):
        with pytest.raises(ValueError, match=text):
            F.pad(x, pad)
    with pytest.raises(ValueError, match="expected one of constant, reflect"):
        F.pad(x, (1, 1), mode="mirror")


def test_one_hot():
    assert F.one_hot(hl.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert F.one_hot(np.array([1]), 4).dtype == np.int64
    with pytest.raises(ValueError, match="5"):
        F.one_hot(np.array([5]), 3)


# initialisers


def big(*shape):
    return hl.zeros(*shape)


@pytest.mark.parametrize(
    ("draw", "shape", "std"),
    [
        (lambda w: nn.init.uniform_(w, -1, 1), (400, 300), 1 / math.sqrt(3)),
        (lambda w: nn.init.normal_(w, 0, 0.5), (400, 300), 0.5),
        (nn.init.xavier_uniform_, (400, 300), math.sqrt(2 / 700)),
        (nn.init.xavier_normal_, (400, 300), math.sqrt(2 / 700)),
        (
            lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
            (400, 300),
            math.sqrt(2 / 300),
        ),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out"), (400, 300), math.sqrt(2 / 400)),
        (nn.init.lecun_normal_, (400, 300), 1 / math.sqrt(300)),
        (nn.init.lecun_uniform_, (400, 300), 1 / math.sqrt(300)),
        (nn.init.xavier_uniform_, (64, 3, 5, 32), math.sqrt(2 / (32 * 15 + 64 * 15))),
        (nn.init.kaiming_normal_, (64, 3, 5, 32), math.sqrt(2 / (32 * 15))),
        (nn.init.trunc_normal_, (400, 300), 0.8796),
    ],
)
def test_spread_of_initial_values(draw, shape, std):
    hl.manual_seed(0)
    w = big(*shape)
    assert draw(w) is w
    values = w.numpy()
    assert abs(values.std() / std - 1) < 0.02
    assert abs(values.mean()) < 0.02 * std


def test_truncated_normal_stays_inside():
    hl.manual_seed(0)
    w = nn.init.trunc_normal_(big(100, 100), mean=1.0, std=2.0, a=0.0, b=1.5).numpy()
    assert w.min() >= 0
    assert w.max() <= 1.5
    assert w.max() > 1.49
    with pytest.raises(ValueError, match="expected a < b"):
        nn.init.trunc_normal_(big(2), a=1.0, b=1.0)


def test_fixed_initial_values():
    assert (nn.init.constant_(big(2, 2), 3.5).numpy() == 3.5).all()
    assert (nn.init.ones_(big(2)).numpy() == 1).all()
    assert not nn.init.zeros_(hl.ones(2)).numpy().any()
    np.testing.assert_array_equal(nn.init.eye_(big(2, 3)).numpy(), np.eye(2, 3))
    w = nn.init.sparse_(big(10, 20), 0.3).numpy()
    assert ((w == 0).sum(axis=0) == 3).all()


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (4, 3, 3, 2)])
def test_orthogonal(shape):
    w = nn.init.orthogonal_(hl.zeros(*shape, dtype="float64"), gain=2.0).numpy()
    flat = w.reshape(shape[0], -1)
    flat = flat if flat.shape[0] <= flat.shape[1] else flat.T
    np.testing.assert_allclose(flat @ flat.T, 4 * np.eye(len(flat)), atol=1e-12)


def test_initialisers_follow_the_seed_and_count_their_write():
    hl.manual_seed(5)
    a = nn.Linear(4, 4).weight.numpy()
    hl.manual_seed(5)
    np.testing.assert_array_equal(nn.Linear(4, 4).weight.numpy(), a)
    w = nn.Parameter(np.ones((2, 2), np.float32))
    y = (w * w).sum()
    nn.init.zeros_(w)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_gains_and_fans():
    assert nn.init.calculate_gain("tanh") == 5 / 3
    assert nn.init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert nn.init.calculate_gain("leaky_relu", 0) == math.sqrt(2)
    assert nn.init.fans(big(6, 3, 3, 4)) == (36, 54)
    for call, text in (
        (lambda: nn.init.calculate_gain("nonsense"), "expected one of linear"),
        (lambda: nn.init.xavier_normal_(big(3)), "has no fans"),
        (lambda: nn.init.kaiming_normal_(big(3, 3), mode="fan_avg"), "fan_in"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


# utilities


def test_clip_grad_norm():
    a, b = (nn.Parameter(np.zeros(n, np.float32)) for n in (2, 1))
    idle = nn.Parameter(np.zeros(3, np.float32))
    a.grad, b.grad = hl.tensor([3.0, 0.0]), hl.tensor([4.0])
    assert nn.utils.clip_grad_norm_([a, b, idle], 10.0) == pytest.approx(5.0)
    assert a.grad.tolist() == [3, 0]
    assert nn.utils.clip_grad_norm_([a, b], 1.0) == pytest.approx(5.0)
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0], rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), [0.8], rtol=1e-5)
    assert nn.utils.clip_grad_norm_(a, 9.0, float("inf")) == pytest.approx(0.6, rel=1e-5)
    b.grad = hl.tensor([np.nan])
    with pytest.raises(RuntimeError, match="nan"):
        nn.utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="max_norm is -1"):
        nn.utils.clip_grad_norm_([a], -1)
    assert nn.utils.clip_grad_norm_([idle], 1.0) == 0


def test_clip_grad_norm_over_two_dtypes():
    a, b = nn.Parameter(np.zeros(1, np.float32)), nn.Parameter(np.zeros(1))
    a.grad, b.grad = hl.tensor([3.0]), hl.tensor(np.array([4.0]))
    assert nn.utils.clip_grad_norm_([a, b], 2.5) == pytest.approx(5.0)
    assert a.grad.item() == pytest.approx(1.5, rel=1e-5)
    assert b.grad.item() == pytest.approx(2.0, rel=1e-5)


def test_clip_grad_value():
    p = nn.Parameter(np.zeros(3, np.float32))
    p.grad = hl.tensor([-5.0, 0.5, 5.0])
    nn.utils.clip_grad_value_(p, 1.0)
    assert p.grad.tolist() == [-1, 0.5, 1]


def test_parameters_as_a_vector():
    net = nn.Linear(2, 3)
    v = nn.utils.parameters_to_vector(net.parameters())
    assert v.shape == (9,)
    nn.utils.vector_to_parameters(np.arange(9, dtype=np.float32), net.parameters())
    assert net.bias.tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match=r"expected \(9,\)"):
        nn.utils.vector_to_parameters(np.zeros(8, np.float32), net.parameters())


def test_summary():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Dropout(), nn.Linear(5, 2))
    net[1].freeze()
    table = nn.summary(net, (7, 3, 4))
    assert [r.output_shape for r in table.rows] == [(7, 12), (7, 5), (7, 5), (7, 2)]
    assert table.parameters == 12 * 5 + 5 + 12
    assert table.trainable == 12
    lines = str(table).splitlines()
    assert lines[0].split() == ["layer", "output", "shape", "parameters"]
    assert lines[3].split() == ["Linear", "(1)", "(7,", "5)", "65"]
    assert "frozen: 65" in lines[-1]
    assert net.training
    assert not net[0]._hooks["post"]


def test_what_is_no_array_is_named():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    for model in (net, nn.Linear(3, 2), nn.Linear(3, 2, activation="relu")):
        for x, kind in (("a", "str"), ([[1.0, 2.0, 3.0]], "list"), (None, "NoneType")):
            with pytest.raises(TypeError, match=f"linear: x is a {kind}, expected a numpy.ndarray"):
                model(x)
    with pytest.raises(TypeError, match=r"list, expected a numpy\.ndarray"):
        F.cross_entropy([[1.0, 2.0]], np.array([0]))


def test_linear_checks_its_arguments():
    with pytest.raises(ValueError, match="Linear: activation 'foo' is unknown, expected one of"):
        nn.Linear(2, 2, activation="foo")
    with pytest.raises(TypeError, match=r"Linear: in_features is 2\.5, expected an integer"):
        nn.Linear(2.5, 2)
    assert nn.Linear(np.int64(2), 2).weight.shape == (2, 2)
