"""Recurrent layers in one launch: csrc/ops/rnn/together.cuh.

Three references. Where everything is a small integer, every precision is exact and so must the bits
be. The float64 oracle bounds the rest. And the steps one by one, which HANDLOOM_EMULATOR_BLOCKS=0
brings back, round at the same places: what differs is the order of float32 sums, or a number that
fell to the other side of a rounding for it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels, nn
from handloom.bench.cases import Case
from harness import check_forward, check_gradient_dtype, on_device
from recurrent_layers import CELLS, PRECISIONS, Layer, assert_close, integers
from reference import CASES, OPS
from tensor_cores import UNIT
from test_kernels import name

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

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
@pytest.mark.parametrize("case", [c for c in CASES if c.op in CELLS.values()], ids=name)
def test_the_cases_of_the_oracle_step_by_step(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """test_cuda.py has them together."""
    monkeypatch.setenv("HANDLOOM_EMULATOR_BLOCKS", "0")
    op = on_device(OPS[case.op])
    check_forward(op, case, "float32")
    check_gradient_dtype(op, case)


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
