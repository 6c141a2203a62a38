"""A profile counts what ran, puts it down to its layer, and is gone afterwards."""

from __future__ import annotations

import json
import threading
from collections import Counter

import numpy as np
import pytest

import handloom as hl
from handloom import _profile, nn, optim
from handloom._tape import watchers

F = nn.functional


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 48), nn.Tanh())
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        return self.head(self.norm(self.body(x)))


X = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
Y = np.arange(64) % 10


def step(net: nn.Module, opt: optim.Optimizer) -> None:
    F.cross_entropy(net(X), Y).backward()
    opt.step()
    opt.zero_grad()


@pytest.fixture
def profiled():
    hl.manual_seed(0)
    net = Net()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    step(net, opt)
    with hl.profile() as p:
        for _ in range(3):
            step(net, opt)
    return p


def test_kernels_and_layers_add_up_to_the_same(profiled):
    p = profiled
    assert sum(r.calls for r in p.rows) == sum(r.calls for r in p.layers) == len(p.events)
    for what in ("seconds", "flops", "bytes"):
        by_kernel, by_layer = (sum(getattr(r, what) for r in rows) for rows in (p.rows, p.layers))
        assert by_kernel == pytest.approx(by_layer)
    assert [r.seconds for r in p.rows] == sorted((r.seconds for r in p.rows), reverse=True)
    begins = [e.begin for e in p.events]
    assert begins == sorted(begins)
    assert all(e.seconds > 0 for e in p.events)


def test_every_layer_has_its_forward_and_backward(profiled):
    rows = {(r.layer, r.phase): r for r in profiled.layers}
    for layer in ("body.0", "body.2", "norm", "head"):
        assert rows[layer, "forward"].calls >= 3
        assert rows[layer, "backward"].calls >= 3
    assert rows["body.0", "forward"].kind == "Linear"
    # Multiplications and additions of 64 × 32 → 48; backward has two such products, but that by
    # the input, which needs no gradient.
    product = 3 * 2 * 64 * 32 * 48
    assert rows["body.0", "forward"].flops == pytest.approx(product, rel=0.1)
    assert rows["body.0", "backward"].flops == pytest.approx(product, rel=0.1)
    both = rows["body.2", "backward"].flops
    assert both == pytest.approx(2 * 3 * 2 * 64 * 48 * 48, rel=0.1)
    assert rows["(optimizer)", ""].kind == "Adam"
    assert rows["(other)", ""].calls >= 3  # the loss
    assert ("body.1", "forward") not in rows  # in one kernel with the layer before it


def test_tables_have_every_row(profiled):
    text = str(profiled)
    assert "% of roofline" in text
    assert all(r.kernel in text for r in profiled.rows)
    layers = profiled.by_layer().splitlines()
    assert len(layers) == 2 + len(profiled.layers)
    assert sum(int(line.split()[-4]) for line in layers[2:]) == pytest.approx(100, abs=5)


def test_the_share_of_the_roofline_is_that_of_the_nearer_limit(monkeypatch):
    monkeypatch.setattr(_profile, "_limits", lambda threads: (100.0, 10.0))
    assert _profile.share(50.0, 1.0, 1.0) == 0.5
    assert _profile.share(1.0, 8.0, 1.0) == 0.8
    assert _profile.share(1.0, 8.0, 2.0) == 0.4
    assert _profile.share(1.0, 8.0, 0.0) == 0.0


def test_the_machine_is_measured_once(monkeypatch):
    monkeypatch.setattr(_profile, "_measured", {})
    peak, bandwidth = _profile._limits(hl.get_num_threads())
    assert 1e9 < bandwidth < peak < 1e14
    assert _profile._limits(hl.get_num_threads()) == (peak, bandwidth)


def test_the_trace_is_chromes(profiled, tmp_path):
    path = tmp_path / "trace.json"
    profiled.save_trace(path)
    events = json.loads(path.read_text())["traceEvents"]
    assert len(events) == len(profiled.events)
    for event in events:
        assert event["ph"] == "X"
        assert event["dur"] > 0
        assert {"name", "ts", "pid", "tid", "args"} <= event.keys()
    layers = Counter(event["args"]["layer"] for event in events)
    assert layers["head"] == sum(r.calls for r in profiled.layers if r.layer == "head")


def test_nothing_is_left_behind(profiled):
    before = (nn.Module.__call__, nn.Linear._forward_fused, optim.Optimizer.step)
    with pytest.raises(ZeroDivisionError), hl.profile():
        print(1 / (nn.Module.__call__ is before[0]))
    assert before == (nn.Module.__call__, nn.Linear._forward_fused, optim.Optimizer.step)
    assert not hasattr(before[0], "__wrapped__")
    assert not watchers
    with hl.profile() as empty:
        pass
    assert (empty.events, empty.rows, empty.layers) == ([], [], [])
    assert str(empty).startswith("kernel")
    assert empty.by_layer().startswith("layer")


def test_a_profile_changes_no_bit():
    def weights(watch: bool) -> list[np.ndarray]:
        hl.manual_seed(0)
        net = Net()
        opt = optim.SGD(net.parameters(), lr=0.1)
        if watch:
            with hl.profile():
                step(net, opt)
        else:
            step(net, opt)
        return [p.numpy() for p in net.parameters()]

    for a, b in zip(weights(True), weights(False)):
        np.testing.assert_array_equal(a, b)


def test_one_at_a_time_and_other_threads_are_counted():
    with hl.profile() as p:
        with pytest.raises(RuntimeError, match="another profile is under way"), hl.profile():
            pass
        other = threading.Thread(target=lambda: nn.Linear(4, 4)(np.ones((2, 4), np.float32)))
        other.start()
        other.join()
        hl.ones(8, 8) @ hl.ones(8, 8)
    assert len({e.thread for e in p.events}) == 2
    assert {r.layer for r in p.layers} == {"(other)"}


def test_anomalies_are_detected_within_a_profile():
    net = Net()
    x = X.copy()
    x[0, 0] = np.nan
    with (
        hl.detect_anomaly(),
        hl.profile() as p,
        pytest.raises(RuntimeError, match=r"(?i)nan|finite"),
    ):
        F.cross_entropy(net(x), Y).backward()
    assert p.events
    assert not watchers
