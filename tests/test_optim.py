"""Optimisers: PyTorch's steps, groups, state, checks; moving averages."""

import copy

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.9), "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.8, "weight_decay": 0.1}),
    ("Adamax", {}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.9, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
]


def gradients(step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(step)
    return [rng.standard_normal(s) for s in ((4, 3), (3,), ())]


def weights() -> list[np.ndarray]:
    return gradients(99)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_twelve_steps_equal_pytorchs(name, options):
    torch = pytest.importorskip("torch")
    ours = [nn.Parameter(w.copy()) for w in weights()]
    theirs = [torch.nn.Parameter(torch.tensor(w)) for w in weights()]
    a = getattr(optim, name)(ours, **options)
    b = getattr(torch.optim, name)(theirs, **options)
    for t in range(12):
        for p, q, g in zip(ours, theirs, gradients(t)):
            late = t == 0 and p.shape == (3,)  # one parameter starts a step later
            p.grad = None if late else hl.tensor(g)
            q.grad = None if late else torch.tensor(g)
        a.step()
        b.step()
    # PyTorch keeps NAdam's product of momenta in float32.
    rtol = 1e-6 if name == "NAdam" else 1e-12
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=rtol, atol=1e-13)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in dict.fromkeys(n for n, _ in CASES):
        ours = getattr(optim, name)([nn.Parameter(np.ones(1))]).param_groups[0]
        theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))]).param_groups[0]
        for key in set(ours) - {"params"}:
            assert ours[key] == theirs[key], (name, key)


def test_lion_against_its_formula():
    w, m = np.array([1.0, -2.0, 3.0]), np.zeros(3)
    p = nn.Parameter(w.copy())
    opt = optim.Lion([p], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    for t in range(5):
        g = np.random.default_rng(t).standard_normal(3)
        p.grad = hl.tensor(g)
        opt.step()
        w = w * (1 - 0.1 * 0.5) - 0.1 * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    np.testing.assert_allclose(p.numpy(), w, rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), [*CASES, ("Lion", {"lr": 1e-2})])
def test_every_optimiser_descends_in_float32(name, options):
    hl.manual_seed(0)
    x, t = hl.randn(64, 5), hl.randn(64, 1)
    net = nn.Linear(5, 1)
    if options.pop("maximize", False):
        options["maximize"] = False
    opt = getattr(optim, name)(net.parameters(), **options)

    def loss():
        opt.zero_grad()
        value = nn.functional.mse_loss(net(x), t)
        value.backward()
        return value

    first = opt.step(loss).item()
    for _ in range(30):
        last = opt.step(loss).item()
    assert last < first


def test_groups_have_hyperparameters_of_their_own():
    a, b = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    a.grad = b.grad = hl.ones(1, dtype="float64")
    opt.step()
    assert a.item() == pytest.approx(0.9)
    assert b.item() == pytest.approx(0.5)
    opt.param_groups[0]["lr"] = 0.4
    opt.step()
    assert a.item() == pytest.approx(0.5)
    c = nn.Parameter(np.ones(1))
    opt.add_param_group({"params": [c], "momentum": 0.9})
    c.grad = hl.ones(1, dtype="float64")
    opt.step()
    opt.step()
    assert c.item() == pytest.approx(1 - 0.1 - 0.19)


def test_one_group_may_mix_dtypes_and_idle_parameters():
    a = nn.Parameter(np.ones(2, np.float32))
    b = nn.Parameter(np.ones(2))
    idle = nn.Parameter(np.ones(2))
    frozen = nn.Parameter(np.ones(2), requires_grad=False)
    opt = optim.Adam([a, b, idle, frozen], lr=0.1)
    for p in (a, b):
        p.grad = hl.ones_like(p)
    opt.step()
    np.testing.assert_allclose(a.numpy(), 0.9, rtol=1e-6)
    np.testing.assert_allclose(b.numpy(), 0.9, rtol=1e-6)
    assert idle.tolist() == frozen.tolist() == [1, 1]


def test_steps_bump_versions():
    p = nn.Parameter(np.ones(2))
    idle = nn.Parameter(np.ones(2))
    opt = optim.SGD([p, idle], lr=0.1)
    y = (p * p).sum() + (idle * idle).sum()
    z = (idle * idle).sum()
    p.grad = hl.ones(2, dtype="float64")
    opt.step()
    z.backward()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_momentum_switched_on_later():
    p = nn.Parameter(np.ones(1))
    opt = optim.SGD([p], lr=0.1)
    p.grad = hl.ones(1, dtype="float64")
    opt.step()
    opt.param_groups[0]["momentum"] = 0.9
    opt.step()
    opt.step()
    assert p.item() == pytest.approx(1 - 0.1 - 0.1 - 0.19)


def test_data_that_is_replaced_is_followed():
    p = nn.Parameter(np.ones(2, np.float32))
    opt = optim.Adam([p], lr=0.1)
    p.grad = hl.ones(2)
    opt.step()
    p.data = np.full(2, 5.0, np.float32)
    p.grad = hl.ones(2)
    opt.step()
    np.testing.assert_allclose(p.numpy(), 4.9, rtol=1e-6)
    layer = nn.Linear(2, 1)
    opt = optim.Adam(layer.parameters(), lr=0.1)
    layer(hl.ones(1, 2)).sum().backward()
    opt.step()
    layer.double()
    layer.zero_grad()
    layer(hl.ones(1, 2, dtype="float64")).sum().backward()
    opt.step()
    assert opt.state[layer.weight]["exp_avg"].dtype == np.float64


@pytest.mark.parametrize(("name", "options"), [*CASES, ("Lion", {})])
def test_state_goes_on_where_it_was_saved(name, options):
    def run(params, opt, steps):
        for t in steps:
            for p, g in zip(params, gradients(t)):
                p.grad = hl.tensor(g)
            opt.step()

    a = [nn.Parameter(w.copy()) for w in weights()]
    first = getattr(optim, name)(a, **options)
    run(a, first, range(3))
    saved = copy.deepcopy(first.state_dict())
    b = [nn.Parameter(p.numpy().copy()) for p in a]
    second = getattr(optim, name)(b)
    second.load_state_dict(saved)
    run(a, first, range(3, 6))
    run(b, second, range(3, 6))
    for p, q in zip(a, b):
        np.testing.assert_array_equal(p.numpy(), q.numpy())
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"]


def test_state_of_other_shapes_is_refused():
    a = optim.Adam([nn.Parameter(np.ones(2))])
    b = optim.Adam([nn.Parameter(np.ones(3))])
    a.param_groups[0]["params"][0].grad = hl.ones(2, dtype="float64")
    a.step()
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(2,\)"):
        b.load_state_dict(a.state_dict())
    two = optim.Adam([nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))])
    with pytest.raises(ValueError, match=r"\[2\] parameters, the saved ones \[1\]"):
        two.load_state_dict(a.state_dict())


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([p], lr=-1), ValueError, "SGD: lr is -1"),
        (lambda p: optim.SGD([p], lr=float("nan")), ValueError, "lr is nan"),
        (lambda p: optim.SGD([p], lr="fast"), TypeError, "lr is 'fast'"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "nesterov needs momentum"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, r"betas\[0\] is 1.0"),
        (lambda p: optim.Adam([p], betas=0.9), ValueError, "expected two numbers"),
        (lambda p: optim.Adam([p], eps=-1), ValueError, "eps is -1"),
        (lambda p: optim.Adadelta([p], rho=1.5), ValueError, "rho is 1.5"),
        (lambda p: optim.RMSprop([p], alpha=-0.1), ValueError, "alpha is -0.1"),
        (lambda p: optim.Adagrad([p], lr_decay=-1), ValueError, "lr_decay is -1"),
        (lambda p: optim.NAdam([p], momentum_decay=-1), ValueError, "momentum_decay is -1"),
        (lambda p: optim.Lion([p], weight_decay=-1), ValueError, "weight_decay is -1"),
        (lambda p: optim.SGD([]), ValueError, "params is empty"),
        (lambda p: optim.SGD(p), TypeError, "params is a Tensor"),
        (lambda p: optim.SGD([p, p]), ValueError, r"params\[1\] is there twice"),
        (lambda p: optim.SGD([p * 2]), ValueError, "not a leaf"),
        (lambda p: optim.SGD([np.ones(1)]), TypeError, "is a ndarray"),
        (lambda p: optim.SGD([{"params": [p], "beta": 1}]), ValueError, "has 'beta', expected"),
        (lambda p: optim.SGD([{"lr": 1}]), ValueError, "no 'params'"),
    ],
)
def test_bad_arguments_are_named(make, error, text):
    with pytest.raises(error, match=text):
        make(nn.Parameter(np.ones(1)))


def test_values_changed_on_the_way_are_checked():
    p = nn.Parameter(np.ones(1))
    opt = optim.SGD([p], lr=0.1)
    p.grad = hl.ones(1, dtype="float64")
    opt.step()
    opt.param_groups[0]["lr"] = -3.0
    with pytest.raises(ValueError, match="lr is -3"):
        opt.step()
    assert p.item() == pytest.approx(0.9)


def test_zero_grad_keeps_or_drops():
    p = nn.Parameter(np.ones(2))
    opt = optim.SGD([p], lr=0.1)
    p.grad = hl.ones(2, dtype="float64")
    opt.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    opt.zero_grad()
    assert p.grad is None
    opt.step()
    assert p.tolist() == [1, 1]


def test_gradient_accumulation_equals_one_large_batch():
    hl.manual_seed(0)
    x, t = hl.randn(8, 3), hl.randn(8, 1)
    a = nn.Linear(3, 1)
    b = copy.deepcopy(a)
    nn.functional.mse_loss(a(x), t).backward()
    for i in (0, 4):
        (nn.functional.mse_loss(b(x[i : i + 4]), t[i : i + 4]) / 2).backward()
    np.testing.assert_allclose(a.weight.grad.numpy(), b.weight.grad.numpy(), rtol=1e-5)


def test_repr_lists_the_groups():
    text = repr(optim.SGD([nn.Parameter(np.ones(1))], lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n")
    assert "    lr: 0.5" in text


# moving averages


def test_ema_follows_its_formula():
    p = nn.Parameter(np.array([1.0, 2.0]))
    ema = optim.EMA([p], decay=0.9)
    p.data = np.array([3.0, 0.0])
    ema.update()
    np.testing.assert_allclose(ema.averages[0], [1.2, 1.8])
    with ema.applied():
        np.testing.assert_allclose(p.numpy(), [1.2, 1.8])
    assert p.tolist() == [3, 0]
    other = optim.EMA([p], decay=0.5)
    other.load_state_dict(ema.state_dict())
    assert other.decay == 0.9
    np.testing.assert_allclose(other.averages[0], [1.2, 1.8])
    ema.copy_to()
    np.testing.assert_allclose(p.numpy(), [1.2, 1.8])


def test_ema_warmup_and_checks():
    net = nn.Linear(2, 2)
    ema = optim.EMA(net, decay=0.999, warmup=True)
    with hl.no_grad():
        net.weight.fill_(1.0)
    before = ema.averages[0].copy()
    ema.update()
    np.testing.assert_allclose(ema.averages[0], 0.1 * before + 0.9, rtol=1e-5)
    with pytest.raises(ValueError, match="decay is 1"):
        optim.EMA(net, decay=1.0)
    with pytest.raises(ValueError, match="no parameters"):
        optim.EMA(nn.ReLU())
    with pytest.raises(ValueError, match="shapes other than"):
        ema.load_state_dict({"decay": 0.9, "updates": 0, "averages": []})


@pytest.mark.parametrize("state", [{}, {"a": 1}, {"state": {}}, [1]])
def test_what_is_no_state_is_refused(state):
    o = optim.Adam([nn.Parameter(np.ones(2, np.float32))])
    with pytest.raises(ValueError, match="Adam: load_state_dict expects a dict with 'state' and"):
        o.load_state_dict(state)
