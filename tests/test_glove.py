"""GloVe: counts by hand, the paper's loss, and words that stand in the same places."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import models, optim
from handloom.models.glove import cooccurrences
from handloom.nn import functional as F


def test_counts_by_hand():
    # a b a c: neighbours a-b, b-a, a-c (1 each), two apart a-a, b-c (1/2).
    i, j, x = cooccurrences([0, 1, 0, 2], 2, 3)
    table = np.zeros((3, 3))
    table[i, j] = x
    np.testing.assert_allclose(table, [[1, 2, 1], [2, 0, 0.5], [1, 0.5, 0]])
    assert x.dtype == np.float32
    assert all(len(part) == 0 for part in cooccurrences(np.empty(0, int), 2, 3))
    assert all(len(part) == 0 for part in cooccurrences([1], 5, 3))


def test_the_papers_loss():
    model = models.GloVe(5, 3, most=10.0)
    i, j, x = np.array([0, 4, 4]), np.array([1, 1, 2]), np.array([2.0, 10.0, 40.0])
    w, c, a, b = (p.numpy() for p in model.parameters())
    said = (w[i] * c[j]).sum(1) + a[i, 0] + b[j, 0]
    weight = np.array([0.2**0.75, 1, 1])
    want = (weight * (said - np.log(x)) ** 2).mean()
    found = model(i, j)
    np.testing.assert_allclose(found.numpy(), said, rtol=1e-6)
    loss = model.loss(found, x)
    assert loss.item() == pytest.approx(want, rel=1e-6)
    loss.backward()
    assert model.words.weight.grad.indices().numpy().tolist() == [[0, 4]]


def test_words_in_the_same_places_come_together():
    hl.manual_seed(0)
    rng = np.random.default_rng(0)
    # Two languages of five words each; a sentence has words of one of them.
    text = np.concatenate([rng.integers(0, 5, 8) + 5 * (k % 2) for k in range(400)])
    i, j, x = cooccurrences(text, 3, 10)
    model = models.GloVe(10, 4)
    optimizer = optim.Adagrad(model.parameters(), lr=0.1)
    losses = []
    for epoch in range(60):
        order = np.random.default_rng(epoch).permutation(len(x))
        total = 0.0
        for k in range(0, len(order), 25):
            rows = order[k : k + 25]
            loss = model.loss(model(i[rows], j[rows]), x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total)
    assert losses[-1] < 0.1 * losses[0]
    vectors = model.vectors()
    vectors = vectors - vectors.mean(0)
    _, near = F.nearest_neighbours(vectors, vectors, 5)
    assert (near.numpy() // 5 == np.arange(10)[:, None] // 5).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cooccurrences([0.5], 1, 3), TypeError, "dtype float64"),
        (lambda: cooccurrences([[0]], 1, 3), ValueError, r"shape \(1, 1\)"),
        (lambda: cooccurrences([0, 1], 0, 3), ValueError, "size is 0"),
        (lambda: cooccurrences([0, 3], 1, 3), ValueError, "0 to 3, expected 0 to 2"),
        (lambda: models.GloVe(3, 2, most=0), ValueError, "most is 0"),
        (
            lambda: models.GloVe(3, 2).loss(hl.zeros(2), np.array([1.0, 0.0])),
            ValueError,
            "all above 0",
        ),
        (lambda: models.GloVe(3, 2)(np.array([3]), np.array([0])), ValueError, "3"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
