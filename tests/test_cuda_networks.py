"""Whole networks on the GPU: the same layers and optimisers, the same losses as on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim
from handloom.nn import functional as F

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

rng = np.random.default_rng(5)


def images(n: int = 4, size: int = 8, channels: int = 3) -> np.ndarray:
    return rng.standard_normal((n, size, size, channels)).astype("float32")


def labels(n: int = 4, classes: int = 3) -> np.ndarray:
    return rng.integers(0, classes, n)


def perceptron() -> Any:
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 3))
    return model, (rng.standard_normal((4, 6)).astype("float32"),), labels(), F.cross_entropy


def convolutional() -> Any:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    return model, (images(),), labels(), F.cross_entropy


class Recurrent(nn.Module):
    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self.rnn = kind(5, 6, num_layers=2, bidirectional=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x: hl.Tensor) -> hl.Tensor:
        y, _ = self.rnn(x)
        return self.head(y[:, -1])


def recurrent(kind: type[Any]) -> Callable[[], Any]:
    def make() -> Any:
        x = rng.standard_normal((4, 7, 5)).astype("float32")
        return Recurrent(kind), (x,), labels(), F.cross_entropy

    return make


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.encode = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: hl.Tensor) -> hl.Tensor:
        return self.head(self.encode(self.embed(tokens)))


def transformer() -> Any:
    tokens = rng.integers(0, 11, (3, 6))
    return Reader(), (tokens,), np.roll(tokens, -1, 1), F.cross_entropy


def autoencoder() -> Any:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=2, padding=1),
        nn.InstanceNorm2d(4, affine=True),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    x = images()
    return model, (x,), x, F.mse_loss


NETWORKS = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "rnn": recurrent(nn.RNN),
    "lstm": recurrent(nn.LSTM),
    "gru": recurrent(nn.GRU),
    "transformer": transformer,
    "autoencoder": autoencoder,
}


def trained(name: str, device: str, optimizer: Callable[[Any], Any]) -> tuple[list[float], Any]:
    """Losses of four steps, and the state after them."""
    global rng
    rng = np.random.default_rng(5)
    hl.manual_seed(3)
    model, inputs, target, loss_of = NETWORKS[name]()
    model.to(device)
    step = optimizer(model.parameters())
    inputs = tuple(hl.tensor(x, device=device) for x in inputs)
    target = hl.tensor(target, device=device)
    losses = []
    for _ in range(4):
        loss = loss_of(model(*inputs), target)
        step.zero_grad()
        loss.backward()
        step.step()
        assert loss.device == ("cpu" if device == "cpu" else "cuda:0")
        losses.append(loss.item())
    return losses, model.cpu().state_dict()


@pytest.mark.parametrize("name", NETWORKS)
def test_training_agrees_with_the_cpu(name: str) -> None:
    def sgd(
        parameters: Any,
    ) -> Any:  # Adam would make much of a gradient that is 0 but for rounding
        return optim.SGD(parameters, lr=0.05, momentum=0.9)

    here, state = trained(name, "cpu", sgd)
    there, moved = trained(name, "cuda", sgd)
    np.testing.assert_allclose(there, here, rtol=2e-4)
    assert here[-1] < here[0]
    for key, value in state.items():
        np.testing.assert_allclose(moved[key], value, rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        lambda p: optim.Adam(p, lr=0.01),
        lambda p: optim.RMSprop(p, lr=0.01),
        lambda p: optim.Adagrad(p, lr=0.05),
    ],
    ids=["sgd", "adam", "rmsprop", "adagrad"],
)
def test_optimisers_agree_with_the_cpu(optimizer: Callable[[Any], Any]) -> None:
    here, _ = trained("perceptron", "cpu", optimizer)
    there, _ = trained("perceptron", "cuda", optimizer)
    np.testing.assert_allclose(there, here, rtol=2e-4)


def test_a_network_comes_back_from_a_file(tmp_path: Any) -> None:
    _, state = trained("convolutional", "cpu", lambda p: optim.SGD(p, lr=0.01))
    model = convolutional()[0].to("cuda")
    hl.io.save(tmp_path / "weights.safetensors", state)
    model.load_state_dict(hl.io.load(tmp_path / "weights.safetensors"))
    hl.io.save(tmp_path / "again.safetensors", model.state_dict())
    again = hl.io.load(tmp_path / "again.safetensors")
    for key, value in state.items():
        np.testing.assert_array_equal(again[key], value)


def test_fit_moves_the_batches() -> None:
    model, (x,), y, loss = perceptron()
    model.to("cuda")
    history = hl.train.fit(
        model,
        (np.repeat(x, 4, 0), np.repeat(y, 4, 0)),
        loss=loss,
        optimizer=optim.Adam(model.parameters(), lr=0.01),
        epochs=2,
        batch_size=4,
        metrics="accuracy",
        clip_norm=1.0,
        progress=False,
    )
    assert history["loss"][-1] < history["loss"][0]
    assert all(p.device == "cuda:0" for p in model.parameters())
