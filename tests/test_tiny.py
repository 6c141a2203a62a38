"""The whole library in ten seconds: a first sign of life after a build or an install."""

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim
from handloom.nn import functional as F


def spirals(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arms that no line separates."""
    t = np.linspace(0.3, 3.0, n)
    arms = [np.stack([t * np.cos(3 * t + a), t * np.sin(3 * t + a)], 1) for a in (0, np.pi)]
    return np.concatenate(arms).astype(np.float32), np.repeat([0, 1], n)


def train(make, steps: int = 300, **options) -> tuple[nn.Module, float, float]:
    x, labels = spirals(100)
    hl.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    opt = make(model.parameters(), **options)
    first = F.cross_entropy(model(x), labels).item()
    for _ in range(steps):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        opt.step()
        opt.zero_grad()
    right = (model(x).argmax(1) == labels).mean().item()
    return model, right, loss.item() / first


def test_a_network_learns_what_a_line_cannot():
    _, right, _ = train(optim.Adam, lr=1e-2)
    assert right > 0.97
    x, labels = spirals(100)
    line = nn.Linear(2, 2)
    opt = optim.Adam(line.parameters(), lr=1e-2)
    for _ in range(300):
        F.cross_entropy(line(x), labels).backward()
        opt.step()
        opt.zero_grad()
    assert (line(x).argmax(1) == labels).mean().item() < 0.8


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adagrad", {"lr": 0.05}),
        ("RMSprop", {"lr": 1e-3}),
        ("AdamW", {"lr": 5e-3}),
        ("Adadelta", {}),
        ("Adamax", {"lr": 5e-3}),
        ("NAdam", {}),
        ("RAdam", {"lr": 2e-2}),
        ("Lion", {"lr": 1e-3}),
    ],
)
def test_every_optimiser_learns(name, options):
    assert train(getattr(optim, name), 60, **options)[2] < 0.9


def test_zero_weights_stay_equal_and_learn_nothing():
    x, labels = spirals(50)
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    net.apply(lambda m: [nn.init.zeros_(p) for p in m.parameters(recurse=False)])
    opt = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(20):
        F.cross_entropy(net(x), labels).backward()
        opt.step()
        opt.zero_grad()
    assert not net[0].weight.numpy().any()


def test_training_is_bitwise_equal_for_every_thread_count():
    before = hl.get_num_threads()
    weights = []
    try:
        for n in (1, 2, 4):
            hl.set_num_threads(n)
            model, _, _ = train(optim.Adam, 20, lr=1e-2)
            weights.append(model.state_dict())
    finally:
        hl.set_num_threads(before)
    for other in weights[1:]:
        for name, w in weights[0].items():
            np.testing.assert_array_equal(w, other[name])


def test_the_readme_example():
    x = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32)
    labels = np.arange(32) % 10
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = optim.Adam(model.parameters(), lr=1e-3)
    loss = nn.functional.cross_entropy(model(hl.tensor(x)), labels)
    loss.backward()
    opt.step()
    opt.zero_grad()
    assert F.cross_entropy(model(x), labels).item() < loss.item()


def test_a_little_of_everything():
    hl.manual_seed(0)
    x = hl.randn(6, 4, requires_grad=True)
    w = hl.randn(4, 4, requires_grad=True)
    h = F.gelu(F.dropout(x @ w + hl.arange(4), 0.2)) * hl.where(x > 0, x, -x)
    h = hl.cat([h[:, :2].cumsum(1), h.flip(1).softmax(-1)], 1).permute(1, 0).reshape(-1, 9)
    loss = h.std() + h.topk(3).values.mean() + F.normalize(h).sum() + hl.einsum("ij,ij->", h, h)
    loss = loss + F.mse_loss(h, hl.zeros(4, 9)) + F.huber_loss(h.T, hl.ones(9, 4))
    loss.backward()
    for p in (x, w):
        assert np.isfinite(p.grad.numpy()).all()
        assert p.grad.numpy().any()
