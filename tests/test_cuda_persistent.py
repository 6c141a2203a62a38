"""Recurrent layers in one launch: csrc/ops/rnn/together.cuh.

Three references. Where everything is a small integer, every precision is exact and so must the bits
be. The float64 oracle bounds the rest. And the steps one by one, which HANDLOOM_EMULATOR_BLOCKS=0
brings back, round at the same places: what differs is the order of float32 sums, or a number that
fell to the other side of a rounding for it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels, nn
from reference import rnn as oracle
from tensor_cores import UNIT

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

PRECISIONS = [None, "tfloat32", "bfloat16", "float16"]
CELLS = {"tanh": "rnn", "relu": "rnn", "lstm": "lstm", "gru": "gru"}
LIBRARY = os.environ.get("HANDLOOM_CUDA_LIBRARY", "")
EMULATED = "emulat" in hl.cuda.state()
emulator_only = pytest.mark.skipif(not EMULATED, reason="counts what the emulator ran")


def grids() -> int:
    """How many grids of blocks that wait for each other have run in the emulator."""
    return int(ctypes.CDLL(LIBRARY).hl_emulated_grids_together()) if EMULATED else 0


@contextmanager
def launches(at_least: int, at_most: int | None = None) -> Iterator[None]:
    before = grids()
    yield
    if EMULATED:
        assert at_least <= grids() - before <= (at_least if at_most is None else at_most)


@pytest.fixture(params=["0", "1", "7"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", request.param)
    return str(request.param)


class Layer:
    """One layer in one direction with its arrays."""

    def __init__(self, cell: str, n: int, t: int, i: int, h: int, seed: int = 0, **options: Any):
        self.kind, self.options = CELLS[cell], options
        if self.kind == "rnn":
            options["nonlinearity"] = cell
        rng = np.random.default_rng([seed, n, t, i, h])
        rows = oracle.GATES[self.kind] * h
        states = [rng.standard_normal((n, h)) for _ in range(2 if cell == "lstm" else 1)]
        weights = [rng.uniform(-1, 1, shape) * (i + h) ** -0.5 for shape in ((rows, i), (rows, h))]
        biases = [rng.uniform(-1, 1, rows) for _ in range(2)]
        arrays = [rng.standard_normal((n, t, i)), *states, *weights, *biases]
        self.arrays = [a.astype(np.float32) for a in arrays]
        self.dy = rng.standard_normal((n, t, h)).astype(np.float32)
        self.ends = [rng.standard_normal((n, h)).astype(np.float32) for _ in states]

    def card(self, dtype: str | None, before_backward: Callable[[], None] | None = None) -> Any:
        """(y, final states, gradients), on the card."""
        on = hl.cuda.array
        options = dict(self.options)
        if options.get("lengths") is not None:
            options["lengths"] = on(np.asarray(options["lengths"]))
        with hl.autocast(dtype) if dtype else nullcontext():
            arrays = [None if a is None else on(a) for a in self.arrays]
            *made, saved = getattr(kernels, self.kind)(*arrays, **options, return_saved=True)
            if before_backward:
                before_backward()
            backward = getattr(kernels, f"{self.kind}_backward")
            made += backward(on(self.dy), *map(on, self.ends), saved)
        return [a.numpy() for a in made]

    def exact(self) -> Any:
        """The same in float64: a gradient of the last state is one of y's, as far as it goes."""
        wide = [None if a is None else a.astype(np.float64) for a in self.arrays]
        made = list(oracle.recurrent(self.kind, *wide, **self.options))
        # The oracle has no gradients of final states: finite differences proved ours in float64.
        *_, saved = getattr(kernels, self.kind)(
            *wide,
            **{k: np.asarray(v) if k == "lengths" else v for k, v in self.options.items()},
            return_saved=True,
        )
        backward = getattr(kernels, f"{self.kind}_backward")
        wide_ends = [a.astype(np.float64) for a in self.ends]
        return [*made, *backward(self.dy.astype(np.float64), *wide_ends, saved)]


def assert_close(found: Any, exact: Any, dtype: str | None) -> None:
    unit = UNIT[dtype] if dtype else 2.0**-20
    for k, (a, b) in enumerate(zip(found, exact, strict=True)):
        size = np.abs(b).max(initial=1.0)
        assert a.shape == b.shape
        assert a.dtype == np.float32
        assert np.abs(a - b).max(initial=0.0) <= 4 * unit * size, k


# Hidden units below, at and above what blocks own (8 to 16) and tiles of k (16, 32); sequences
# below, at and above tiles of 8 and 16; steps enough for several chunks in the emulator.
SHAPES = [
    *((1, 1, 1, 1), (1, 2, 3, 5), (2, 5, 4, 16), (3, 20, 2, 17), (8, 3, 5, 33), (9, 4, 1, 31)),
    *((16, 5, 7, 21), (17, 9, 3, 63), (33, 7, 6, 19)),
]


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(shape: tuple[int, int, int, int], cell: str, dtype: Any) -> None:
    layer = Layer(cell, *shape)
    with launches(2 if shape[1] > 1 else 0, 40):
        found = layer.card(dtype)
    # Rounding carries a sum past zero, where ReLU's slope jumps: then y alone.
    count = 2 if cell == "relu" and dtype else len(found)
    assert_close(found[:count], layer.exact()[:count], dtype)


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("schedule")
def test_lengths(cell: str, reverse: bool, dtype: Any) -> None:
    lengths = np.array([3, 0, 6, 1, 5, 6, 2, 4, 1, 0, 3])
    layer = Layer(cell, 11, 6, 3, 20, lengths=lengths, reverse=reverse)
    with launches(2, 40):
        found = layer.card(dtype)
    count = 2 if cell == "relu" and dtype else len(found)
    assert_close(found[:count], layer.exact()[:count], dtype)


@pytest.mark.parametrize("cell", CELLS)
def test_without_states_and_biases(cell: str) -> None:
    layer = Layer(cell, 3, 4, 5, 9)
    layer.arrays[1:-4] = [None] * (len(layer.arrays) - 5)
    layer.arrays[-2:] = [None, None]
    on = hl.cuda.array
    arrays = [None if a is None else on(a) for a in layer.arrays]
    with launches(2):
        *made, saved = getattr(kernels, layer.kind)(*arrays, **layer.options, return_saved=True)
        backward = getattr(kernels, f"{layer.kind}_backward")
        made += backward(on(layer.dy), *[None] * len(layer.ends), saved)
    wide = [None if a is None else a.astype(np.float64) for a in layer.arrays]
    *want, kept = getattr(kernels, layer.kind)(*wide, **layer.options, return_saved=True)
    want += backward(layer.dy.astype(np.float64), *[None] * len(layer.ends), kept)
    for a, b in zip(made, want, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-5, atol=1e-5)


def integers(n: int, t: int, h: int, seed: int) -> Layer:
    """A network with ReLU whose numbers are all small integers: w_hh moves and negates units."""
    layer = Layer("relu", n, t, 2, h)
    rng = np.random.default_rng(seed)
    w = np.zeros((h, h), np.float32)
    w[np.arange(h), rng.permutation(h)] = rng.choice([-1.0, 1.0, 1.0], h)
    small = [rng.integers(-2, 3, a.shape).astype(np.float32) for a in layer.arrays]
    layer.arrays = [*small[:-3], w, *small[-2:]]
    layer.dy = rng.integers(-2, 3, layer.dy.shape).astype(np.float32)
    layer.ends = [rng.integers(-2, 3, a.shape).astype(np.float32) for a in layer.ends]
    return layer


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(
    "shape", [(1, 4, 7), (5, 6, 40), (16, 5, 64), (21, 4, 97), (33, 6, 128), (40, 3, 70)], ids=str
)
def test_small_integers_are_exact(shape: tuple[int, int, int], dtype: Any, schedule: str) -> None:
    layer = integers(*shape, seed=int(schedule))
    with launches(2, 40):
        found = layer.card(dtype)
    for a, b in zip(found, layer.exact(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_either_way_is_the_same(cell: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step or together, also forward one way and backward the other."""
    layer = Layer(cell, 10, 5, 4, 25, lengths=[5, 4, 3, 5, 1, 2, 5, 5, 4, 3])

    def way(forward: str, backward: str) -> Any:
        monkeypatch.setenv("HANDLOOM_EMULATOR_BLOCKS", forward)
        return layer.card(dtype, lambda: monkeypatch.setenv("HANDLOOM_EMULATOR_BLOCKS", backward))

    with launches(0):
        plain = way("0", "0")
    for blocks in (("8", "8"), ("8", "0"), ("0", "8")):
        with launches(1, 20):
            found = way(*blocks)
        for a, b in zip(found, plain, strict=True):
            off = np.abs(a - b) / np.abs(b).max(initial=1.0)
            assert np.median(off) <= 2.0**-20
            assert off.max() <= (UNIT[dtype] if dtype else 2.0**-19)


@emulator_only
def test_what_does_not_fit_goes_step_by_step() -> None:
    with launches(1):  # 8 units a block forward, 16 backward; 8 blocks
        wide = Layer("lstm", 2, 3, 2, 70)
        assert_close(wide.card(None), wide.exact(), None)
    with launches(0):
        wide = Layer("gru", 2, 3, 2, 130)
        assert_close(wide.card("bfloat16"), wide.exact(), "bfloat16")
    with launches(0):  # 5 tiles of sequences a block
        many = Layer("relu", 65, 2, 2, 120)
        assert_close(many.card(None), many.exact(), None)
    with launches(0):
        before = Layer("gru", 2, 3, 2, 10, reset_after=False)
        before.card(None)


@pytest.mark.parametrize("blocks", ["2", "3", "5"])
def test_blocks_go_through_several_tiles(blocks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDLOOM_EMULATOR_BLOCKS", blocks)
    for cell in ("tanh", "lstm", "gru"):
        layer = Layer(cell, 50, 4, 3, 15)
        with launches(2, 40):
            found = layer.card("float16")
        assert_close(found, layer.exact(), "float16")


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_the_schedule_does_not_change_bits(
    cell: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(cell, 18, 6, 3, 37)
    found = []
    for seed in ("0", "3", "4", "5"):
        monkeypatch.setenv("HANDLOOM_EMULATOR_SEED", seed)
        found.append(layer.card(dtype))
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_special_numbers_stay_in_their_sequence() -> None:
    layer = Layer("lstm", 5, 4, 3, 20)
    layer.arrays[0][2, 1] = np.nan
    y = layer.card("bfloat16")[0]
    bad = np.isnan(y)
    assert bad[2, 1:].all()
    assert not bad[2, 0].any()
    assert not np.delete(bad, 2, axis=0).any()


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_bidirectional_layers_in_a_graph(dtype: Any) -> None:
    """A replay has the eager bits and as many launches."""
    hl.manual_seed(3)
    net = nn.LSTM(5, 12, num_layers=2, bidirectional=True, batch_first=True).to("cuda")
    x = hl.tensor(np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32))
    x = x.to("cuda")

    def step() -> Any:
        net.zero_grad()
        with hl.autocast(dtype) if dtype else nullcontext():
            y = net(x)[0]
        (y * y).sum().backward()
        return y

    def results(y: Any) -> list[Any]:
        return [y.cpu().numpy(), *(p.grad.cpu().numpy() for p in net.parameters())]

    with launches(8):
        eager = results(step())
    graph = hl.cuda.CUDAGraph()
    with launches(0), hl.cuda.graph(graph):
        y = step()
    for _ in range(2):
        with launches(8):
            graph.replay()
            again = results(y)
        for a, b in zip(again, eager, strict=True):
            np.testing.assert_array_equal(a, b)
