"""Loss scaling where every number is known: on the CPU, with overflows made by hand."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import amp, nn, optim, train
from handloom.nn import functional as F


def model_and_optimizer(seed: int = 0) -> tuple[nn.Module, optim.Optimizer]:
    hl.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, optim.AdamW(model.parameters(), lr=1e-2)


def batch(seed: int, rows: int = 16) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 3, rows)


def weights(model: nn.Module) -> list[Any]:
    return [p.numpy().copy() for p in model.parameters()]


def one_step(model: Any, optimizer: Any, scaler: Any, seed: int, spoil: bool = False) -> None:
    x, y = batch(seed)
    optimizer.zero_grad()
    scaler.scale(F.cross_entropy(model(hl.tensor(x)), y)).backward()
    if spoil:
        model[2].bias.grad.numpy()[1] = np.inf
    scaler.step(optimizer)
    scaler.update()


def test_a_scale_that_is_a_power_of_two_changes_no_bit() -> None:
    (a, one), (b, other) = model_and_optimizer(), model_and_optimizer()
    for seed in range(4):
        one_step(a, one, amp.GradScaler(2.0**16), seed)
        one_step(b, other, amp.GradScaler(enabled=False), seed)
    for u, v in zip(weights(a), weights(b)):
        np.testing.assert_array_equal(u, v)


def test_an_overflow_leaves_the_step_out_and_halves_the_scale() -> None:
    model, optimizer = model_and_optimizer()
    scaler = amp.GradScaler(1024.0, growth_interval=2)
    one_step(model, optimizer, scaler, 0)
    before = weights(model)
    one_step(model, optimizer, scaler, 1, spoil=True)
    for u, v in zip(weights(model), before):
        np.testing.assert_array_equal(u, v)
    assert optimizer.state_dict()["state"][0]["step"] == 1
    assert scaler.get_scale() == 512
    one_step(model, optimizer, scaler, 2)
    assert scaler.get_scale() == 512
    one_step(model, optimizer, scaler, 3)
    assert scaler.get_scale() == 1024


@pytest.mark.parametrize("overflow", [np.inf, -np.inf, np.nan])
def test_found_inf_of_any_kind(overflow: float) -> None:
    model, optimizer = model_and_optimizer()
    scaler = amp.GradScaler()
    x, y = batch(0)
    scaler.scale(F.cross_entropy(model(hl.tensor(x)), y)).backward()
    model[0].weight.grad.numpy()[0, 0] = overflow
    assert not scaler.found_inf(optimizer)
    scaler.unscale_(optimizer)
    assert scaler.found_inf(optimizer)
    assert scaler.step(optimizer) is None


def test_scales_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch")
    theirs_w = torch.nn.Parameter(torch.ones(3))
    their_optimizer = torch.optim.SGD([theirs_w], lr=0.1)
    ours_w = nn.Parameter(np.ones(3, np.float32))
    our_optimizer = optim.SGD([ours_w], lr=0.1)
    options: dict[str, Any] = {
        "init_scale": 64.0,
        "growth_factor": 4.0,
        "backoff_factor": 0.25,
        "growth_interval": 3,
    }
    theirs, ours = torch.amp.GradScaler("cpu", **options), amp.GradScaler(**options)
    assert set(theirs.state_dict()) == set(ours.state_dict())
    for bad in [0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]:
        with np.errstate(all="ignore"):
            factor = float("inf") if bad else 2.0
            for optimizer, w, scaler in (
                (their_optimizer, theirs_w, theirs),
                (our_optimizer, ours_w, ours),
            ):
                optimizer.zero_grad()
                scaler.scale((w * w).sum() * factor).backward()
                scaler.step(optimizer)
                scaler.update()
        assert ours.get_scale() == theirs.get_scale()
        assert ours.state_dict() == {**theirs.state_dict(), "scale": ours.get_scale()}
        np.testing.assert_allclose(ours_w.numpy(), theirs_w.detach().numpy(), rtol=1e-6)


def test_the_state_goes_on() -> None:
    model, optimizer = model_and_optimizer()
    scaler = amp.GradScaler(256.0, growth_interval=3)
    for seed in range(2):
        one_step(model, optimizer, scaler, seed)
    other = amp.GradScaler()
    other.load_state_dict(scaler.state_dict())
    one_step(model, optimizer, other, 2)
    assert other.get_scale() == 512
    with pytest.raises(ValueError, match="_growth_tracker"):
        other.load_state_dict({"scale": 3.0})


def test_what_is_out_of_order_is_said() -> None:
    model, optimizer = model_and_optimizer()
    scaler = amp.GradScaler()
    with pytest.raises(RuntimeError, match="step\\(\\) was not called"):
        scaler.update()
    with pytest.raises(RuntimeError, match="no parameter of the optimizer has a gradient"):
        scaler.step(optimizer)
    scaler = amp.GradScaler()
    x, y = batch(0)
    scaler.scale(F.cross_entropy(model(hl.tensor(x)), y)).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already called for this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already called since"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="closure"):
        scaler.step(optimizer, lambda: None)
    with pytest.raises(TypeError, match="float"):
        scaler.scale(3.0)
    for options in (
        {"init_scale": 0},
        {"growth_factor": 1.0},
        {"backoff_factor": 1.0},
        {"growth_interval": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            amp.GradScaler(**options)  # type: ignore[arg-type]


def test_several_losses_are_scaled_in_their_container() -> None:
    scaler = amp.GradScaler(8.0)
    a, b = scaler.scale([hl.tensor(1.0), hl.tensor(2.0)])
    assert (a.item(), b.item()) == (8, 16)


def test_autocast_as_a_decorator_and_by_its_names() -> None:
    @hl.autocast("tf32")
    def inside() -> str:
        return hl.get_autocast_dtype()

    assert inside() == "tfloat32"
    assert not hl.is_autocast_enabled()
    seen = []
    with hl.autocast("bfloat16"):
        assert hl.is_autocast_enabled()
        thread = threading.Thread(target=lambda: seen.append(hl.is_autocast_enabled()))
        thread.start()
        thread.join()
        with hl.autocast("float16", enabled=False):
            assert hl.get_autocast_dtype() == "float32"
        assert hl.get_autocast_dtype() == "bfloat16"
    assert seen == [False]


# ---- fit -----------------------------------------------------------------------------------------


class Spoil(train.Callback):
    """Adds an infinity to the data of some steps' gradients, by a hook on a parameter."""

    def __init__(self, model: Any, steps: set[int]) -> None:
        self.count, self.steps = 0, steps
        model[2].bias.register_hook(self.hook)

    def hook(self, g: Any) -> Any:
        self.count += 1
        return g * np.inf if self.count in self.steps else g


def fitted(precision: str | None, **options: Any) -> tuple[Any, Any]:
    model, optimizer = model_and_optimizer()
    history = train.fit(
        model, batch(9, 64), loss=F.cross_entropy, optimizer=optimizer, epochs=3, seed=1,
        precision=precision, progress=False, **options,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"accumulate": 2}, {"ema": 0.9}])
def test_fit_scales_without_a_trace(options: dict[str, Any]) -> None:
    (a, first), (b, second) = fitted(None, **options), fitted("float16", **options)
    assert first["loss"] == second["loss"]
    assert second["loss_scale"] == [2.0**16] * 3
    for u, v in zip(weights(a), weights(b)):
        np.testing.assert_array_equal(u, v)
    assert not hl.is_autocast_enabled()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_fit_leaves_overflows_out() -> None:
    model, optimizer = model_and_optimizer()
    spoil = Spoil(model, {2, 5})
    history = train.fit(
        model, batch(9, 64), loss=F.cross_entropy, optimizer=optimizer, epochs=3, seed=1,
        precision="float16", progress=False, callbacks=[spoil], scheduler="one_cycle",
    )  # fmt: skip
    assert history["loss_scale"] == [2.0**15, 2.0**15, 2.0**14]
    assert optimizer.state_dict()["state"][0]["step"] == spoil.count - 2


def test_fit_says_what_it_takes() -> None:
    model, optimizer = model_and_optimizer()
    rest: dict[str, Any] = {"loss": F.cross_entropy, "optimizer": optimizer, "epochs": 1}
    with pytest.raises(ValueError, match="float8"):
        train.fit(model, batch(0), precision="float8", **rest)
    with pytest.raises(TypeError, match="GradScaler"):
        train.fit(model, batch(0), scaler=3, **rest)


def test_a_checkpoint_keeps_the_scale(tmp_path: Any) -> None:
    def run(epochs: int, path: Any) -> tuple[Any, Any, Any]:
        model, optimizer = model_and_optimizer()
        scaler = amp.GradScaler(64.0, growth_interval=3)
        history = train.fit(
            model, batch(9, 64), loss=F.cross_entropy, optimizer=optimizer, epochs=epochs, seed=1,
            precision="float16", scaler=scaler, progress=False, checkpoint=path, batch_size=16,
        )  # fmt: skip
        return model, history, scaler

    whole, _, scaler = run(3, tmp_path / "whole.safetensors")
    run(1, tmp_path / "parts.safetensors")
    parts, history, later = run(3, tmp_path / "parts.safetensors")
    assert scaler.state_dict() == later.state_dict()
    assert scaler.get_scale() == 64 * 2**4
    assert len(history.epochs) == 3
    for u, v in zip(weights(whole), weights(parts)):
        np.testing.assert_array_equal(u, v)
    model, optimizer = model_and_optimizer()
    with pytest.raises(ValueError, match="scales the loss"):
        train.fit(
            model, batch(9, 64), loss=F.cross_entropy, optimizer=optimizer, epochs=3, seed=1,
            progress=False, checkpoint=tmp_path / "parts.safetensors", batch_size=16,
        )  # fmt: skip
