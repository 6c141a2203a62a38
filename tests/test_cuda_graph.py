"""Captured training steps: replay k has the bits of eager step k, and what cannot be says so.

In the emulator a captured launch, copy or fill is kept and runs at the replay, with the arguments
of the capture: a number of the host that ought to have changed shows up here.
"""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import _C, amp, kernels, nn, optim
from handloom.nn import functional as F

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

WARM, STEPS = 2, 6


@pytest.fixture(autouse=True)
def nothing_stays_captured() -> Iterator[None]:
    yield
    assert not hl.cuda.is_current_stream_capturing()
    assert (hl.tensor([1.0], device="cuda") + 1).item() == 2


def capture(body: Callable[[], Any], g: Any = None) -> Any:
    """The graph of what `body` does."""
    g = hl.cuda.CUDAGraph() if g is None else g
    with hl.cuda.graph(g):
        body()
    return g


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 8)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.out(self.cell(x)[0][:, -1])


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(self.table(x)).mean(1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 4))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(16, 4),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "mlp": (mlp, (5, 6)),
    "cnn": (cnn, (3, 4, 4, 2)),
    "lstm": (Recurrent, (3, 4, 6)),
    "transformer": (Attending, (3, 5)),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1),
    "adam": lambda p: optim.Adam(p, lr=1e-2, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2),
    "adagrad": lambda p: optim.Adagrad(p, lr=1e-2, lr_decay=0.1),
    "nadam": lambda p: optim.NAdam(p, lr=1e-2),
    "radam": lambda p: optim.RAdam(p, lr=1e-2),
    "lion": lambda p: optim.Lion(p, lr=1e-3),
    "rmsprop": lambda p: optim.RMSprop(p, lr=1e-3, momentum=0.5, centered=True),
}


class Training:
    """A network, its optimiser and a schedule, with batches of their own."""

    def __init__(
        self, network: str = "mlp", optimizer: str = "adamw", dtype: str = "float32"
    ) -> None:
        make, shape = NETWORKS[network]
        hl.manual_seed(7)
        self.model = make().to("cuda")
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.schedule = optim.lr_scheduler.ExponentialLR(self.optimizer, 0.8)
        rng = np.random.default_rng(1)
        if network == "transformer":
            self.xs = rng.integers(0, 11, (STEPS, *shape))
        else:
            self.xs = rng.standard_normal((STEPS, *shape)).astype(np.float32)
        self.ys = rng.integers(0, 4, (STEPS, shape[0]))
        self.x = hl.tensor(self.xs[0], device="cuda")
        self.y = hl.tensor(self.ys[0], device="cuda")
        self.dtype = dtype

    def load(self, k: int) -> None:
        self.x.copy_(self.xs[k])
        self.y.copy_(self.ys[k])

    def step(self) -> Any:
        self.optimizer.zero_grad()
        with hl.autocast(self.dtype):
            loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def eager(self, steps: range) -> list[float]:
        found = []
        for k in steps:
            self.load(k)
            found.append(self.step().item())
            self.schedule.step()
        return found

    def replayed(self, steps: range) -> tuple[list[float], Any]:
        g = hl.cuda.CUDAGraph()
        with hl.cuda.graph(g):
            loss = self.step()
        found = []
        for k in steps:
            self.load(k)
            g.replay()
            self.schedule.step()
            found.append(loss.item())
        return found, g

    def state(self) -> list[Any]:
        arrays = [p.cpu().numpy() for p in self.model.parameters()]
        arrays += [b.cpu().numpy() for b in self.model.buffers()]
        for entry in self.optimizer.state_dict()["state"].values():
            arrays += [np.asarray(v.cpu() if hasattr(v, "cpu") else v) for v in entry.values()]
        return arrays


def assert_same(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for u, v in zip(one, other):
        np.testing.assert_array_equal(u, v)


@pytest.mark.parametrize("network", NETWORKS)
def test_replays_are_the_eager_steps(network: str) -> None:
    a = Training(network)
    losses = a.eager(range(STEPS))
    b = Training(network)
    assert b.eager(range(WARM)) == losses[:WARM]
    found, _ = b.replayed(range(WARM, STEPS))
    assert found == losses[WARM:]
    assert_same(a.state(), b.state())
    assert hl.get_rng_state() is not None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_counts_its_steps(optimizer: str) -> None:
    a = Training("mlp", optimizer)
    a.eager(range(STEPS))
    b = Training("mlp", optimizer)
    b.eager(range(WARM))
    b.replayed(range(WARM, STEPS))
    assert_same(a.state(), b.state())


@pytest.mark.parametrize("dtype", ["bfloat16", "tfloat32"])
def test_captured_in_mixed_precision(dtype: str) -> None:
    a = Training("mlp", dtype=dtype)
    losses = a.eager(range(STEPS))
    b = Training("mlp", dtype=dtype)
    b.eager(range(WARM))
    assert b.replayed(range(WARM, STEPS))[0] == losses[WARM:]


def test_a_schedule_inside_the_block_steps_with_each_replay() -> None:
    a = Training()
    a.eager(range(STEPS))
    b = Training()
    b.eager(range(WARM))
    g = hl.cuda.CUDAGraph()
    before = b.optimizer.param_groups[0]["lr"]
    with hl.cuda.graph(g):
        b.step()
        b.schedule.step()
    assert b.optimizer.param_groups[0]["lr"] == before
    for k in range(WARM, STEPS):
        b.load(k)
        g.replay()
    assert_same(a.state(), b.state())


def test_eager_steps_between_replays() -> None:
    a = Training()
    losses = a.eager(range(STEPS))
    b = Training()
    found = b.eager(range(2))
    some, g = b.replayed(range(2, 3))
    found += some + b.eager(range(3, 5))
    b.load(5)
    g.replay()
    assert found == losses[:5]
    assert_same(a.state()[:4], b.state()[:4])


def test_the_capture_itself_changes_nothing() -> None:
    t = Training("cnn")
    t.eager(range(WARM))
    before, random = t.state(), hl.get_rng_state()
    capture(t.step)
    assert_same(before, t.state())
    assert random == hl.get_rng_state()


def test_pure_random_numbers_stay_as_they_are() -> None:
    x = hl.cuda.array(np.ones(50, np.float32))
    hl.manual_seed(3)
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        pure = kernels.dropout(x, 0.5, seed=9, call=1)
        drawn = F.dropout(hl.ops.to_device(x, "cuda"), 0.5)
    g.replay()
    one, first = pure.numpy(), drawn.cpu().numpy()
    g.replay()
    assert_same([one], [pure.numpy()])
    assert np.any(first != drawn.cpu().numpy())
    hl.manual_seed(3)
    g.replay()
    assert_same([first], [drawn.cpu().numpy()])
    np.testing.assert_array_equal(one, kernels.dropout(x.numpy(), 0.5, seed=9, call=1))


def test_an_average_of_weights_is_captured() -> None:
    a = Training()
    ea = optim.EMA(a.model, 0.9)
    for k in range(4):
        a.eager(range(k, k + 1))
        ea.update()
    b = Training()
    eb = optim.EMA(b.model, 0.9)
    b.eager(range(1))
    eb.update()
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        b.step()
        eb.update()
        b.schedule.step()
    for k in range(1, 4):
        b.load(k)
        g.replay()
    assert ea.updates == eb.updates == 4
    assert_same([x.numpy() for x in ea.averages], [x.numpy() for x in eb.averages])


# ---- memory --------------------------------------------------------------------------------------


def used() -> int:
    gc.collect()
    free, total = hl.cuda.mem_get_info()
    return total - free


def test_a_graph_keeps_what_it_reads_and_frees_its_memory() -> None:
    before = used()
    a = hl.cuda.array(np.arange(1000, dtype=np.float32))
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        b = kernels.exp(kernels.sin(kernels.exp(a)))
    del a
    gc.collect()
    noise = hl.cuda.array(np.full(1000, np.nan, np.float32))
    g.replay()
    expected = np.exp(np.sin(np.exp(np.arange(5, dtype=np.float64).astype(np.float32))))
    np.testing.assert_allclose(b.numpy()[:3], expected[:3], rtol=1e-5)
    del noise
    g.reset()
    np.testing.assert_allclose(b.numpy()[:3], expected[:3], rtol=1e-5)
    del b, g
    assert used() == before


def test_temporaries_share_memory_within_a_graph() -> None:
    a = hl.cuda.array(np.zeros(1 << 16, np.float32))
    before = used()
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        x = a
        for _ in range(20):
            x = kernels.sin(x)
    assert used() - before <= 4 * (a.nbytes + 1024)
    g.replay()
    np.testing.assert_array_equal(x.numpy(), 0)


def test_results_of_a_dead_graph_are_not_overwritten() -> None:
    g = hl.cuda.CUDAGraph()
    a = hl.cuda.array(np.full(10, 2.0, np.float32))
    with hl.cuda.graph(g):
        b = kernels.exp(a)
    g.replay()
    del g
    gc.collect()
    others = [hl.cuda.array(np.zeros(10, np.float32)) for _ in range(20)]
    np.testing.assert_allclose(b.numpy(), math.exp(2), rtol=1e-6)
    del others


# ---- what cannot be ------------------------------------------------------------------------------

HOST: dict[str, Callable[[Any], Any]] = {
    "item": lambda t: (t.x * 2).sum().item(),
    "numpy": lambda t: t.x.cpu(),
    "print": lambda t: repr(t.x),
    "upload": lambda t: hl.tensor([1.0], device="cuda"),
    "copy_": lambda t: t.load(0),
    "synchronize": lambda t: hl.cuda.synchronize(),
    "event": lambda t: hl.cuda.Event().record(),
    "stream": lambda t: hl.cuda.stream(hl.cuda.Stream()).__enter__(),
    "norm": lambda t: nn.utils.clip_grad_norm_(t.model.parameters(), 1.0),
    "finite": lambda t: _C.multi_norm([t.x._array], 2.0),
}


@pytest.mark.parametrize("what", HOST)
def test_the_host_reads_nothing_inside(what: str) -> None:
    losses = Training().eager(range(3))
    t = Training()
    assert t.eager(range(1)) == losses[:1]
    g = hl.cuda.CUDAGraph()

    def body() -> None:
        t.optimizer.zero_grad()
        F.cross_entropy(t.model(t.x), t.y).backward()
        HOST[what](t)

    with pytest.raises(RuntimeError, match="graph is captured"):
        capture(body, g)
    with pytest.raises(RuntimeError, match="no captured graph"):
        g.replay()
    assert t.eager(range(1, 3)) == losses[1:]


def test_an_error_of_the_program_comes_out() -> None:
    x = hl.cuda.array(np.ones(3, np.float32))
    g = hl.cuda.CUDAGraph()

    def body() -> None:
        kernels.exp(x)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        capture(body, g)
    with hl.cuda.graph(g):  # what failed left nothing behind
        y = kernels.exp(x)
    g.replay()
    np.testing.assert_allclose(y.numpy(), math.e, rtol=1e-6)


def test_an_error_that_is_swallowed_spoils_the_graph() -> None:
    x = hl.cuda.array(np.ones(3, np.float32))

    def body() -> None:
        kernels.exp(x)
        with pytest.raises(RuntimeError):
            _C.multi_norm([x], 2.0)

    with pytest.raises(RuntimeError, match="spoilt"):
        capture(body)


def test_one_capture_at_a_time() -> None:
    x = hl.cuda.array(np.ones(3, np.float32))
    g, other = hl.cuda.CUDAGraph(), hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        kernels.exp(x)
        with pytest.raises(RuntimeError, match="captured already"):
            other.capture_begin()
        with pytest.raises(RuntimeError, match="no captured graph"):
            g.replay()
    with pytest.raises(RuntimeError, match="reset"):
        g.capture_begin()
    g.replay()
    g.reset()
    with pytest.raises(RuntimeError, match="no captured graph"):
        g.replay()
    with hl.cuda.graph(g):
        y = kernels.exp(x)
    g.replay()
    np.testing.assert_allclose(y.numpy(), math.e, rtol=1e-6)


def test_nothing_on_the_gpu() -> None:
    with pytest.raises(RuntimeError, match="nothing ran on the GPU"):
        capture(lambda: kernels.exp(np.ones(3, np.float32)))
    with pytest.raises(ValueError, match="does not exist"):
        hl.cuda.CUDAGraph(7)


def test_draws_that_the_host_makes_are_refused() -> None:
    x = hl.cuda.array(np.ones(3, np.float32))
    with pytest.raises(RuntimeError, match="random numbers were drawn"):
        capture(lambda: (kernels.exp(x), hl.rand(3)))


def test_what_counts_on_the_host_is_refused_or_captured() -> None:
    t = Training()
    t.eager(range(1))
    scaler = amp.GradScaler()

    def scaled() -> None:
        t.optimizer.zero_grad()
        scaler.scale(F.cross_entropy(t.model(t.x), t.y)).backward()
        scaler.step(t.optimizer)

    with pytest.raises(RuntimeError, match="outside the block of"):
        capture(scaled)
    ema = optim.EMA(t.model, 0.9, warmup=True)
    with pytest.raises(RuntimeError, match="warmup"):
        capture(ema.update)


def test_what_was_replaced_is_noticed() -> None:
    t = Training("mlp", "sgd")
    t.eager(range(1))
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        t.step()
    g.replay()
    t.optimizer.param_groups[0]["momentum"] = 0.5
    g.replay()
    t.optimizer.param_groups[0]["momentum"] = 0.0
    with pytest.raises(RuntimeError, match="capture it again"):
        g.replay()
    t.optimizer.param_groups[0]["momentum"] = 0.5
    t.optimizer.load_state_dict(t.optimizer.state_dict())
    with pytest.raises(RuntimeError, match="capture it again"):
        g.replay()


def test_a_label_out_of_range_is_told_later() -> None:
    t = Training("transformer")
    t.eager(range(1))
    g = hl.cuda.CUDAGraph()
    with hl.cuda.graph(g):
        loss = t.step()
    good = t.ys[0].copy()
    for bad in ("label", "index"):
        if bad == "label":
            t.ys[0][1] = 99
        else:
            t.ys[0], t.xs[0, 0, 0] = good, 99
        t.load(0)
        g.replay()
        hl.cuda.synchronize()
        with pytest.raises(IndexError, match="out of range"):
            g.replay()
        assert math.isfinite(loss.item())
    t.xs[0, 0, 0] = 1
    t.load(0)
    g.replay()
    g.replay()


def test_another_thread_works_on_meanwhile() -> None:
    x = hl.cuda.array(np.ones(3, np.float32))
    g = hl.cuda.CUDAGraph()
    found: list[Any] = []
    with hl.cuda.graph(g):
        y = kernels.exp(x)
        thread = threading.Thread(target=lambda: found.append(kernels.exp(x).numpy()))
        thread.start()
        thread.join()
    g.replay()
    np.testing.assert_array_equal(found[0], y.numpy())


# ---- callables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "cnn", "transformer"])
def test_a_graphed_module_trains_the_same(network: str) -> None:
    a, b = Training(network), Training(network)
    hl.cuda.make_graphed_callables(b.model, (b.x,), num_warmup_iters=0)
    hl.manual_seed(11)
    losses = a.eager(range(4))
    hl.manual_seed(11)
    assert b.eager(range(4)) == losses
    assert_same([p.cpu().numpy() for p in a.model.parameters()],
                [p.cpu().numpy() for p in b.model.parameters()])  # fmt: skip
    a.model.eval(), b.model.eval()
    assert_same([a.model(a.x).detach().cpu().numpy()], [b.model(b.x).detach().cpu().numpy()])


def test_a_graphed_function() -> None:
    def function(x: Any, w: Any) -> Any:
        return (x @ w).tanh(), x.sum()

    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((4, 4)).astype(np.float32) for _ in range(2))
    results = []
    sample = hl.tensor(x, device="cuda", requires_grad=True)
    fast = hl.cuda.make_graphed_callables(function, (sample, sample))
    for f in (function, fast):
        u, v = (hl.tensor(m, device="cuda", requires_grad=True) for m in (x, w))
        y, s = f(u, v)
        ((y * y).sum() + 3 * s).backward()
        results.append([t.cpu().numpy() for t in (y.detach(), s.detach(), u.grad, v.grad)])
    assert_same(*results)
    with pytest.raises(ValueError, match="argument 1"):
        fast(sample, hl.tensor(x[:2], device="cuda"))
    with pytest.raises(TypeError, match="on a GPU"):
        hl.cuda.make_graphed_callables(function, (hl.tensor(x), hl.tensor(w)))


def test_a_graphed_module_within_others() -> None:
    hl.manual_seed(2)
    inner = nn.Linear(6, 5).to("cuda")
    model = nn.Sequential(inner, nn.ReLU())
    x = hl.tensor(np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32), "float32")
    x = x.to("cuda")
    before = model(x).detach().cpu().numpy()
    hl.cuda.make_graphed_callables(inner, (x,))
    assert_same([before], [model(x).detach().cpu().numpy()])
    first, second = inner(x).sum(), inner(x).sum()
    second.backward()
    with pytest.raises(RuntimeError, match="ran again"):
        first.backward()
    inner.to("float64")
    with pytest.raises(RuntimeError, match="replaced"):
        inner(x)


def test_copies_into_arrays_on_the_gpu() -> None:
    x = hl.zeros(3, 4).to("cuda")
    a = np.arange(12).reshape(3, 4)
    x.copy_(a)
    np.testing.assert_array_equal(x.cpu().numpy(), a)
    x.copy_(a[0].astype(np.float64))
    np.testing.assert_array_equal(x.cpu().numpy(), np.broadcast_to(a[0], (3, 4)))
    x.copy_(hl.tensor(a[::-1].astype(np.float32)))
    np.testing.assert_array_equal(x.cpu().numpy(), a[::-1])
    with pytest.raises(ValueError, match="shape|broadcast"):
        x.copy_(np.zeros((2, 4)))
