"""What cannot be captured or replayed says so, and everything goes on."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import handloom as hl
from graph_training import Training, capture
from handloom import _C, amp, kernels, nn, optim
from handloom.nn import functional as F

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)


@pytest.fixture(autouse=True)
def nothing_stays_captured() -> Iterator[None]:
    yield
    assert not hl.cuda.is_current_stream_capturing()
    assert (hl.tensor([1.0], device="cuda") + 1).item() == 2


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


def test_no_memory_inside() -> None:
    x = hl.cuda.array(np.ones(3, np.float32))
    everything = hl.cuda.mem_get_info()[1]

    def body() -> None:
        kernels.exp(x)
        _C.gpu.empty((everything,), np.dtype("float32"), 0)

    with pytest.raises(MemoryError):
        capture(body)


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
