"""Networks that are trained by eager steps or by replays of a captured one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import handloom as hl
from handloom import nn, optim
from handloom.nn import functional as F

WARM, STEPS = 2, 6


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
