"""Captured training steps: replay k has the bits of eager step k, and what cannot be says so.

In the emulator a captured launch, copy or fill is kept and runs at the replay, with the arguments
of the capture: a number of the host that ought to have changed shows up here.
"""

from __future__ import annotations

import gc
import math
from typing import Any

import numpy as np
import pytest

import handloom as hl
from graph_training import (
    NETWORKS,
    OPTIMIZERS,
    STEPS,
    WARM,
    Training,
    assert_same,
    capture,
)
from handloom import kernels, nn, optim
from handloom.nn import functional as F

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)


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
    with pytest.raises(ValueError, match="broadcast"):
        x.copy_(np.zeros((2, 4)))
