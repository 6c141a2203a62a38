"""Embeddings, positions and neighbours: PyTorch's numbers, float64 gradients, the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import kernels, nn
from handloom.nn import functional as F

TABLE = np.random.default_rng(0).standard_normal((7, 4))
INDICES = np.array([[1, 3, 1], [0, 3, 3]])


def test_gradient_against_finite_differences():
    assert hl.gradcheck(
        lambda w: F.embedding(INDICES, w, padding_idx=5) ** 2,
        [hl.tensor(TABLE, requires_grad=True)],
    )


@pytest.mark.parametrize("padding", [None, 3, -4])
def test_as_pytorch_with_a_padding_row(padding):
    torch = pytest.importorskip("torch")
    ours, theirs = hl.tensor(TABLE, requires_grad=True), torch.tensor(TABLE, requires_grad=True)
    y = F.embedding(INDICES, ours, padding_idx=padding)
    z = torch.nn.functional.embedding(torch.tensor(INDICES), theirs, padding_idx=padding)
    (y**2).sum().backward()
    (z**2).sum().backward()
    np.testing.assert_array_equal(y.numpy(), z.detach().numpy())
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-15)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_as_pytorch_with_rows_that_are_too_long(p):
    torch = pytest.importorskip("torch")
    ours, theirs = hl.tensor(TABLE), torch.tensor(TABLE)
    y = F.embedding(INDICES, ours, max_norm=1.0, norm_type=p)
    z = torch.nn.functional.embedding(torch.tensor(INDICES), theirs, max_norm=1.0, norm_type=p)
    np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)  # in place
    np.testing.assert_array_equal(ours.numpy()[[2, 4, 5, 6]], TABLE[[2, 4, 5, 6]])


def test_the_gradient_has_the_same_bits_on_any_number_of_threads():
    rng = np.random.default_rng(1)
    table = rng.standard_normal((50, 33)).astype(np.float32)
    indices = rng.integers(0, 50, (64, 128))
    dy = rng.standard_normal((64, 128, 33)).astype(np.float32)
    threads, found = hl.get_num_threads(), []
    try:
        for n in (1, 2, 4):
            hl.set_num_threads(n)
            w = hl.tensor(table, requires_grad=True)
            F.embedding(indices, w).backward(hl.tensor(dy))
            found.append(w.grad.numpy().tobytes())
    finally:
        hl.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_layer():
    hl.manual_seed(0)
    layer = nn.Embedding(7, 4, padding_idx=-1)
    assert layer.padding_idx == 6
    assert not layer.weight.numpy()[6].any()
    y = layer(INDICES)
    assert y.shape == (2, 3, 4)
    np.testing.assert_allclose(
        layer.attend(y).numpy(), y.numpy() @ layer.weight.numpy().T, rtol=1e-5, atol=1e-6
    )
    layer.attend(y).sum().backward()  # one table, two uses, one gradient
    assert layer.weight.grad.shape == (7, 4)
    frozen = nn.Embedding.from_pretrained(TABLE)
    assert not frozen.weight.requires_grad
    np.testing.assert_array_equal(frozen(INDICES).numpy(), TABLE[INDICES])


def test_bad_input():
    w = hl.tensor(TABLE)
    with pytest.raises(ValueError, match="7"):
        F.embedding(np.array([7]), w)
    with pytest.raises(ValueError, match="-1"):
        F.embedding(np.array([-1]), w)
    with pytest.raises(TypeError, match="expected integers"):
        F.embedding(np.array([1.0]), w)
    with pytest.raises(ValueError, match="padding_idx is 7, but there are 7 rows"):
        nn.Embedding(7, 4, padding_idx=7)
    with pytest.raises(ValueError, match="at least 1"):
        nn.Embedding(0, 4)
    assert F.embedding(np.empty((2, 0), np.int64), w).shape == (2, 0, 4)


def test_neighbours():
    table = np.float32([[1, 0], [0.9, 0.1], [0, 1], [-1, 0], [2, 0]])
    cosines, rows = F.nearest_neighbours(np.float32([[3, 0], [0, -1]]), table, k=2)
    np.testing.assert_array_equal(rows.numpy(), [[0, 4], [0, 3]])
    np.testing.assert_allclose(cosines.numpy()[0], [1, 1], rtol=1e-6)
    _, rows = F.nearest_neighbours(np.float32([3, 0]), table, k=2, exclude=np.array([0, 4]))
    np.testing.assert_array_equal(rows.numpy(), [1, 2])
    with pytest.raises(ValueError, match="k is 4, expected 1 to 3"):
        F.nearest_neighbours(table, table, k=4, exclude=np.array([0, 4]))
    with pytest.raises(ValueError, match="does not go with"):
        F.nearest_neighbours(np.ones(3), table)


# positions


def test_sine_positions_are_those_of_the_paper():
    table = nn.sine_positions(6, 8)
    for p in range(6):
        for i in range(4):
            angle = p / 10000 ** (2 * i / 8)
            np.testing.assert_allclose(table[p, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)],
                                       rtol=1e-6, atol=1e-7)  # fmt: skip
    x = np.zeros((2, 3, 8), np.float32)
    y = nn.SinePositionEncoding(8, 6)(hl.tensor(x), start=2)
    np.testing.assert_array_equal(y.numpy()[1], table[2:5])
    with pytest.raises(ValueError, match="positions 4 to 6, but max_length is 6"):
        nn.SinePositionEncoding(8, 6)(hl.tensor(x), start=4)
    with pytest.raises(ValueError, match="even"):
        nn.sine_positions(6, 7)


def test_learned_positions_learn():
    layer = nn.PositionEmbedding(6, 4, dtype="float64")
    x = hl.tensor(np.ones((2, 3, 4)))
    layer(x, start=1).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy()[:, 0], [0, 2, 2, 2, 0, 0])


def test_rotary_scores_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 1, 1, 1, 8))
    turn = nn.RotaryEmbedding(8)

    def score(p: int, r: int) -> float:
        return float((turn(hl.tensor(q), p) * turn(hl.tensor(k), r)).sum().item())

    np.testing.assert_allclose(score(5, 3), score(9, 7), rtol=1e-12)
    assert abs(score(5, 3) - score(5, 4)) > 1e-3
    np.testing.assert_allclose(score(4, 4), (q * k).sum(), rtol=1e-12)
    x = rng.standard_normal((2, 3, 2, 8))
    whole = turn(hl.tensor(x)).numpy()
    np.testing.assert_allclose(turn(hl.tensor(x[:, 2:]), 2).numpy(), whole[:, 2:], rtol=1e-12)
    assert hl.gradcheck(lambda x: turn(x, 3), [hl.tensor(x, requires_grad=True)])


def test_alibi_takes_its_slope_for_each_step():
    np.testing.assert_allclose(nn.alibi_slopes(8), 0.5 ** np.arange(1, 9))
    np.testing.assert_allclose(nn.alibi_slopes(6), [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3])
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 1, 5, 2, 4))
    distance = np.abs(np.arange(5)[:, None] - np.arange(5))
    slopes = nn.alibi_slopes(2).astype(np.float64)
    y = kernels.attention(q, k, v, slopes=slopes, causal=True)
    z = kernels.attention(q, k, v, bias=-slopes[:, None, None] * distance, causal=True)
    np.testing.assert_allclose(y, z, rtol=1e-12)


def test_an_index_outside_names_the_function_that_was_called() -> None:
    table = np.zeros((5, 3), np.float32)
    bad = np.array([0, 7])
    for call, name in (
        (lambda: F.embedding(bad, hl.tensor(table)), "embedding"),
        (lambda: kernels.embedding(bad, table), "embedding"),
        (lambda: kernels.take(table, bad), "take"),
        (lambda: kernels.take(table.T.copy(), bad, axis=1), "take"),
    ):
        with pytest.raises(ValueError, match=rf"^{name}: indices\[1\] is 7"):
            call()
