"""What is wrong with a network is found and named, and the network is as before."""

from __future__ import annotations

import math

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim, train
from handloom.gallery.depth import build

F = nn.functional


def digits(rows: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 64)).astype(np.float32), rng.integers(0, 10, rows)


def kinds(model: nn.Module, batch=None, **options) -> set[str]:
    report = train.diagnose(model, batch or digits(), show=False, **options)
    return {finding.kind for finding in report.findings}


def everything(model: nn.Module) -> list[np.ndarray]:
    state = [np.array(a) for a in model.state_dict().values()]
    return [
        *state,
        *(None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()),
    ]


# the report


def test_a_network_in_good_order_has_no_findings(capsys):
    hl.manual_seed(0)
    report = train.diagnose(build("relu", 3), digits())
    assert report.findings == ()
    text = capsys.readouterr().out
    assert text.endswith("nothing looks wrong\n")
    for expected in ("loss 2.", "|gradient|", "0.weight", "Linear", "dead units"):
        assert expected in text
    train.diagnose(build("relu", 3), digits(), show=False)
    assert capsys.readouterr().out == ""


def test_statistics_are_those_of_numpy():
    hl.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    x, y = digits()
    report = train.diagnose(model, (x, y), F.cross_entropy, show=False)
    w, b = (np.array(model.state_dict()[f"0.{name}"]) for name in ("weight", "bias"))
    z = x @ w.T + b
    linear, relu, _ = report.activations
    assert (linear.name, linear.kind) == ("0", "Linear")
    assert linear.mean == pytest.approx(z.mean(), rel=1e-4)
    assert linear.std == pytest.approx(z.std(), rel=1e-4)
    assert relu.zero == pytest.approx((z <= 0).mean(), abs=1e-3)
    assert relu.dead == (np.all(z <= 0, axis=0)).mean()
    F.cross_entropy(model(x), y).backward()
    for found, (name, p) in zip(report.weights, model.named_parameters()):
        assert found.name == name
        norm = np.linalg.norm(p.grad.numpy())
        assert found.gradient == pytest.approx(norm, rel=1e-5)
        assert found.ratio == pytest.approx(norm / np.linalg.norm(p.numpy()), rel=1e-5)
        assert found.weight == pytest.approx(np.sqrt(np.mean(p.numpy() ** 2)), rel=1e-5)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: build("sigmoid", 30), {"vanishing"}),
        (lambda: scaled(build("relu", 20), 3.0), {"exploding"}),
        (lambda: biased(build("relu", 2)), {"dead units"}),
        (lambda: scaled(build("tanh", 2), 30.0), {"saturated"}),
        (lambda: scaled(build("relu", 2), math.nan), {"not finite"}),
        (lambda: build("residual", 30), set()),
    ],
)
def test_what_is_wrong_is_named_with_remedies(model, found, capsys):
    hl.manual_seed(0)
    broken = model()
    assert kinds(broken) >= found
    if not found:
        assert kinds(broken) == set()
    train.diagnose(broken, digits())
    text = capsys.readouterr().out
    for kind in found:
        assert f"\n{kind}: " in text
        assert "\n  try " in text


def scaled(model: nn.Module, factor: float) -> nn.Module:
    for p in model.parameters():
        if p.ndim == 2:
            p.copy_((p.numpy() * factor).astype(np.float32))
    return model


def biased(model: nn.Module) -> nn.Module:
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.copy_(np.full(p.shape, -50, np.float32))
    return model


def test_the_loss_is_guessed_from_the_target():
    hl.manual_seed(0)
    model = nn.Linear(64, 10)
    x, y = digits()
    assert train.diagnose(model, (x, y), show=False).loss == pytest.approx(
        F.cross_entropy(model(x), y).item()
    )
    target = np.zeros((64, 10), np.float32)
    assert train.diagnose(model, (x, target), show=False).loss == pytest.approx(
        F.mse_loss(model(x), target).item()
    )


def test_a_diagnosis_leaves_no_trace():
    hl.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10))
    x, y = digits()
    F.cross_entropy(model(x), y).backward()
    before, random = everything(model), hl.get_rng_state()
    train.diagnose(model, (x, y), show=False)
    assert hl.get_rng_state() == random
    for a, b in zip(before, everything(model)):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(RuntimeError, match="broken"):
        train.diagnose(model, (x, y), fail, show=False)
    for a, b in zip(before, everything(model)):
        np.testing.assert_array_equal(a, b)
    assert all(not m._hooks or not m._hooks["post"] for m in model.modules())


def fail(output, target):
    raise RuntimeError("broken")


# the range test


def test_the_range_test_finds_a_rate_that_trains_and_leaves_no_trace():
    hl.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 8)).astype(np.float32)
    y = (x @ rng.standard_normal((8, 1))).astype(np.float32)
    model = nn.Sequential(nn.Linear(8, 1), nn.Dropout(0.0))
    optimizer = optim.SGD(model.parameters(), lr=0.123, momentum=0.9)
    F.mse_loss(model(x), y).backward()
    optimizer.step()
    before, random = everything(model), hl.get_rng_state()
    found = train.lr_range_test(model, (x, y), loss=F.mse_loss, optimizer=optimizer, steps=120)
    assert 1e-3 < found.suggestion < found.largest < 2
    assert len(found.rates) < 120  # it ended where the loss rose
    assert found.losses[-1] > 2 * found.losses.min()
    assert hl.get_rng_state() == random
    assert optimizer.param_groups[0]["lr"] == 0.123
    for a, b in zip(before, everything(model)):
        np.testing.assert_array_equal(a, b)
    best = {}
    for rate in (found.suggestion / 100, found.suggestion, found.largest * 10):
        hl.manual_seed(0)
        again = nn.Linear(8, 1)
        opt = optim.SGD(again.parameters(), lr=rate, momentum=0.9)
        history = train.fit(
            again, (x, y), loss=F.mse_loss, optimizer=opt, epochs=3, progress=False, seed=0,
            callbacks=[train.TerminateOnNaN()],
        )  # fmt: skip
        best[rate] = history["loss"][-1]
    rates = list(best)
    assert best[rates[1]] < best[rates[0]]
    assert not best[rates[1]] > best[rates[2]]
    assert "falls fastest at" in str(found)


def test_the_range_test_checks_what_it_gets():
    model = nn.Linear(2, 1)
    x = np.zeros((8, 2), np.float32)

    def tried(data=(x, x[:, :1]), **options):
        opt = optim.SGD(model.parameters(), lr=0.1)
        return train.lr_range_test(model, data, loss=F.mse_loss, optimizer=opt, **options)

    with pytest.raises(ValueError, match=r"expected 0 < low < high, got 1 and 0\.1"):
        tried(low=1, high=0.1)
    with pytest.raises(ValueError, match="steps expects at least 2"):
        tried(steps=1)
    with pytest.raises(ValueError, match="the loss is nan at once"):
        tried((x * np.nan, x[:, :1]))
    with pytest.raises(ValueError, match="never there"):
        tried([])


# the landscape


def test_a_quadratic_loss_has_a_quadratic_slice():
    hl.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    model = nn.Linear(4, 1, bias=False).double()
    x = x.astype(np.float64)
    y = model(x).numpy()
    before = everything(model)
    found = train.loss_landscape(model, (x, y), F.mse_loss, points=11, span=2.0)
    np.testing.assert_allclose(found.losses, found.losses[0] * (found.steps / 2) ** 2, atol=1e-12)
    assert found.losses[5] == 0
    plane = train.loss_landscape(model, (x, y), F.mse_loss, directions=2, points=5)
    assert plane.losses.shape == (5, 5)
    line = train.loss_landscape(model, (x, y), F.mse_loss, points=5)
    np.testing.assert_allclose(plane.losses[:, 2], line.losses, atol=1e-12)
    for a, b in zip(before, everything(model)):
        np.testing.assert_array_equal(a, b)


def test_directions_are_as_long_as_the_filters():
    from handloom.train.landscape import _direction

    w = np.random.default_rng(1).standard_normal((3, 2, 2, 5)).astype(np.float32)
    way = _direction(np.random.default_rng(0), w)
    np.testing.assert_allclose(
        np.linalg.norm(way.reshape(3, -1), axis=1), np.linalg.norm(w.reshape(3, -1), axis=1)
    )


def test_the_landscape_checks_what_it_gets():
    model, batch = nn.Linear(2, 1), (np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32))
    for options, text in (
        ({"directions": 3}, "directions expects 1 or 2"),
        ({"points": 4}, "odd number from 3 on"),
        ({"span": 0}, "span expects more than 0"),
    ):
        with pytest.raises(ValueError, match=text):
            train.loss_landscape(model, batch, F.mse_loss, **options)
    with pytest.raises(ValueError, match="no matrix or kernel"):
        train.loss_landscape(nn.BatchNorm1d(2), batch, F.mse_loss)


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    model, batch = nn.Linear(2, 1), (np.ones((3, 2), np.float32), np.ones((3, 1), np.float32))
    train.loss_landscape(model, batch, F.mse_loss).plot(tmp_path / "line.png")
    plane = train.loss_landscape(model, batch, F.mse_loss, directions=2, points=9)
    plane.plot(tmp_path / "plane.png")
    opt = optim.SGD(model.parameters(), lr=0.1)
    found = train.lr_range_test(model, [batch], loss=F.mse_loss, optimizer=opt, high=100.0)
    found.plot(tmp_path / "rates.png")
    for name in ("line", "plane", "rates"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
