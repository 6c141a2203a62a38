"""Training in mixed precision on the GPU, and in the emulator of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import amp, kernels, nn, optim, train
from handloom.nn import functional as F

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

LOW = ["bfloat16", "float16", "tfloat32"]


def mlp() -> nn.Module:
    hl.manual_seed(3)
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4)).to("cuda")


def cnn() -> nn.Module:
    hl.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * 3 * 3, 4),
    ).to("cuda")  # fmt: skip


SHAPES: dict[Any, tuple[int, ...]] = {mlp: (12,), cnn: (6, 6, 3)}


def data(make: Any, rows: int = 24) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, *SHAPES[make])).astype(np.float32)
    return x, (x.reshape(rows, -1)[:, :4]).argmax(1)


def losses(make: Any, dtype: str, steps: int = 8) -> list[float]:
    model = make()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    scaler = amp.GradScaler(2.0**12, enabled=dtype == "float16")
    x, y = (hl.tensor(a, device="cuda") for a in data(make))
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        with hl.autocast(dtype):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        found.append(loss.item())
    for p in model.parameters():
        assert p.dtype == np.float32
    return found


@pytest.mark.parametrize("make", [mlp, pytest.param(cnn, marks=pytest.mark.slow)])
def test_training_comes_close_to_float32(make: Any) -> None:
    full = losses(make, "float32")
    assert full[-1] < 0.8 * full[0]
    for dtype in LOW:
        low = losses(make, dtype)
        assert low != full
        np.testing.assert_allclose(low, full, rtol=0.03, atol=0.01)


def seeded(kind: Any, *sizes: int) -> Any:
    hl.manual_seed(5)
    return kind(*sizes).to("cuda")


MAKERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: seeded(nn.Linear, 12, 7), (6, 12)),
    "conv": (lambda: seeded(nn.Conv2d, 3, 8, 3), (2, 6, 6, 3)),
    "transposed": (lambda: seeded(nn.ConvTranspose2d, 3, 5, 3), (2, 4, 4, 3)),
    "lstm": (lambda: seeded(nn.LSTM, 10, 12), (3, 5, 10)),
    "gru": (lambda: seeded(nn.GRU, 10, 12), (3, 5, 10)),
    "rnn": (lambda: seeded(nn.RNN, 10, 12), (3, 5, 10)),
    "attention": (lambda: seeded(nn.MultiheadAttention, 16, 2), (2, 6, 16)),
}


def gradients(name: str, dtype: str, inside: bool) -> list[Any]:
    hl.manual_seed(8)
    make, shape = MAKERS[name]
    model = make()
    a = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    x = hl.tensor(a, device="cuda", requires_grad=True)
    with hl.autocast(dtype):
        y = model(x, x, x) if name == "attention" else model(x)
        y = y[0] if isinstance(y, tuple) else y
        loss = (y * y).sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return [y.detach().cpu().numpy(), *(t.grad.cpu().numpy() for t in (x, *model.parameters()))]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", LOW)
def test_gradients_outside_the_block_are_those_inside(name: str, dtype: str) -> None:
    outside, inside = gradients(name, dtype, False), gradients(name, dtype, True)
    full = gradients(name, "float32", True)
    for u, v in zip(outside, inside):
        np.testing.assert_array_equal(u, v)
    assert np.any(outside[0] != full[0])
    assert np.any(outside[1] != full[1])
    for u, v in zip(outside, full):
        np.testing.assert_allclose(u, v, rtol=0.1, atol=0.1 * np.abs(v).max())


def test_what_ran_outside_has_full_gradients_inside() -> None:
    results = []
    for dtype in ("float32", "bfloat16"):
        model = mlp()
        x = hl.tensor(data(mlp)[0], device="cuda")
        loss = (model(x) ** 2).sum()
        with hl.autocast(dtype):
            loss.backward()
            assert hl.get_autocast_dtype() == dtype
        results.append([p.grad.cpu().numpy() for p in model.parameters()])
    for u, v in zip(*results):
        np.testing.assert_array_equal(u, v)


def test_each_node_has_its_own_precision() -> None:
    a, b = (np.random.default_rng(i).standard_normal((20, 20)).astype(np.float32) for i in (1, 2))
    x, w, v = (hl.tensor(m, device="cuda", requires_grad=True) for m in (a, b, b[::-1].copy()))
    with hl.autocast("float16"):
        h = x @ w
    y = h @ v
    y.sum().backward()
    on = hl.cuda.array
    dh = kernels.matmul(on(np.ones((20, 20), np.float32)), on(b[::-1].T.copy()))
    with hl.autocast("float16"):
        dw = kernels.matmul(on(a.T.copy()), dh)
    np.testing.assert_array_equal(w.grad.cpu().numpy(), dw.numpy())
    dv = kernels.matmul(on(h.detach().cpu().numpy().T.copy()), on(np.ones((20, 20), np.float32)))
    np.testing.assert_array_equal(v.grad.cpu().numpy(), dv.numpy())


def test_an_overflow_of_float16_leaves_the_step_out() -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scaler = amp.GradScaler(2.0**30)
    x, y = (hl.tensor(a, device="cuda") for a in data(mlp))
    before = [p.cpu().numpy() for p in model.parameters()]
    with hl.autocast("float16"):
        loss = F.cross_entropy(model(x), y)
    scaler.scale(loss).backward()  # gradients of the logits are far above 65504
    scaler.step(optimizer)
    assert scaler.found_inf(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**29
    for u, p in zip(before, model.parameters()):
        np.testing.assert_array_equal(u, p.cpu().numpy())
    for _ in range(30):  # until it finds a scale that does
        optimizer.zero_grad()
        with hl.autocast("float16"):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        if not scaler.found_inf(optimizer):
            break
        scaler.update()
    assert 2.0**8 < scaler.get_scale() < 2.0**26
    assert any(np.any(u != p.cpu().numpy()) for u, p in zip(before, model.parameters()))


def test_a_scale_saves_small_gradients() -> None:
    model = nn.Linear(8, 8).to("cuda")
    x = hl.tensor(np.ones((4, 8), np.float32), device="cuda")
    grads = {}
    for scale in (1.0, 2.0**14):
        model.weight.grad = None
        with hl.autocast("float16"):
            y = model(x)
        (y.sum() * (1e-8 * scale)).backward()
        grads[scale] = model.weight.grad.cpu().numpy() / scale
    assert np.all(grads[1.0] == 0)
    np.testing.assert_allclose(grads[2.0**14], 4e-8, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_fit(dtype: str, tmp_path: Any) -> None:
    def run(epochs: int, name: str, dtype: str = dtype) -> tuple[Any, Any]:
        model = mlp()
        history = train.fit(
            model, data(mlp), loss=F.cross_entropy, epochs=epochs, batch_size=12, seed=1,
            optimizer=optim.AdamW(model.parameters(), lr=1e-2), precision=dtype, progress=False,
            checkpoint=tmp_path / name,
        )  # fmt: skip
        return model, history

    _, full = run(3, "full", "float32")
    model, history = run(3, "whole")
    np.testing.assert_allclose(history["loss"], full["loss"], rtol=0.03, atol=0.01)
    assert history["loss"] != full["loss"]
    run(1, "parts")
    resumed, again = run(3, "parts")
    assert again["loss"] == history["loss"]
    if dtype == "float16":
        assert again["loss_scale"] == history["loss_scale"] == [2.0**16] * 3
    for u, v in zip(model.parameters(), resumed.parameters()):
        np.testing.assert_array_equal(u.cpu().numpy(), v.cpu().numpy())
