"""Gradients of rows: PyTorch's numbers, the bits of whole gradients, errors that name what fits."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim
from handloom._rows import RowGradient
from handloom.nn import functional as F

RNG = np.random.default_rng(0)
V, E = 40, 5
BATCHES = [RNG.integers(0, V, (3, 7)) for _ in range(4)] + [np.empty((2, 0), np.int64)]
SCALES = [RNG.standard_normal((*b.shape, E)) for b in BATCHES]

RULES = {
    "sgd": lambda o, p: o.SGD(p, lr=0.1),
    "sgd, up": lambda o, p: o.SGD(p, lr=0.1, maximize=True),
    "momentum": lambda o, p: o.SGD(p, lr=0.1, momentum=0.9),
    "adagrad": lambda o, p: o.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.2),
}


def _trained(rule: str, steps: int = 5, **options):
    hl.manual_seed(0)
    layer = nn.Embedding(V, E, dtype="float64", **options)
    opt = RULES[rule](optim, layer.parameters())
    for batch, scale in zip(BATCHES[:steps], SCALES):
        opt.zero_grad()
        (layer(batch) * hl.tensor(scale)).sum().backward()
        opt.step()
    return layer, opt


@pytest.mark.parametrize("padding", [None, 3])
@pytest.mark.parametrize("rule", RULES)
def test_steps_by_rows_have_the_bits_of_whole_steps(rule, padding):
    (rows, a), (whole, b) = (_trained(rule, padding_idx=padding, sparse=s) for s in (True, False))
    assert isinstance(rows.weight.grad, RowGradient)
    np.testing.assert_array_equal(rows.weight.numpy(), whole.weight.numpy())
    for k, state in a.state_dict()["state"].items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, b.state_dict()["state"][k][name])


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_steps_as_pytorch(rule, by_frequency):
    torch = pytest.importorskip("torch")
    hl.manual_seed(0)
    start = nn.Embedding(V, E, dtype="float64").weight.numpy().copy()
    # PyTorch refuses both at once.
    theirs = torch.nn.Embedding(
        V, E, sparse=not by_frequency, scale_grad_by_freq=by_frequency, dtype=torch.float64
    )
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(start))
    opt = RULES[rule](torch.optim, theirs.parameters())
    for batch, scale in zip(BATCHES, SCALES):
        opt.zero_grad()
        (theirs(torch.tensor(batch)) * torch.tensor(scale)).sum().backward()
        opt.step()
    for sparse in (False, True):
        ours, _ = _trained(rule, sparse=sparse, scale_grad_by_freq=by_frequency)
        np.testing.assert_allclose(
            ours.weight.numpy(), theirs.weight.detach().numpy(), rtol=1e-12, atol=1e-14
        )


def test_the_gradient_as_pytorch():
    torch = pytest.importorskip("torch")
    ours = nn.Embedding(V, E, padding_idx=2, sparse=True)
    theirs = torch.nn.Embedding(V, E, padding_idx=2, sparse=True)
    batch = np.array([[2, 7, 7], [0, 2, 39]])
    scale = RNG.standard_normal((2, 3, E)).astype("f4")
    for _ in range(2):  # the second one is added to the first
        (ours(batch) * scale).sum().backward()
        (theirs(torch.tensor(batch)) * torch.tensor(scale)).sum().backward()
    g, h = ours.weight.grad, theirs.weight.grad.coalesce()
    assert g.is_sparse
    assert h.is_sparse
    assert g.shape == tuple(h.shape)
    assert g.indices().shape == (1, 3)
    assert g.values().shape == (3, E)
    dense = h.to_dense().numpy()
    np.testing.assert_allclose(g.to_dense().numpy(), dense, rtol=1e-6)
    np.testing.assert_array_equal(g.indices().numpy(), [[0, 7, 39]])
    np.testing.assert_allclose(np.asarray(g), dense, rtol=1e-6)


def test_rows_and_a_whole_gradient_add_up_in_any_order():
    for order in ([True, False, True], [False, True, True], [True, True, False]):
        w = hl.tensor(RNG.standard_normal((V, E)), requires_grad=True)
        want = np.zeros((V, E))
        for sparse, batch, scale in zip(order, BATCHES, SCALES):
            (F.embedding(batch, w, sparse=sparse) * hl.tensor(scale)).sum().backward()
            np.add.at(want, batch, scale)
        assert isinstance(w.grad, hl.Tensor)
        np.testing.assert_allclose(w.grad.numpy(), want, rtol=1e-12, atol=1e-14)


def test_a_table_with_two_uses_in_one_pass():
    w = hl.tensor(RNG.standard_normal((V, E)), requires_grad=True)
    both = F.embedding(BATCHES[0], w, sparse=True).sum() + (w * w).sum()
    both.backward()
    want = 2 * w.numpy()
    np.add.at(want, BATCHES[0], 1.0)
    np.testing.assert_allclose(w.grad.numpy(), want)


def test_a_computed_table_hooks_and_grad_get_the_whole_gradient():
    w = hl.tensor(RNG.standard_normal((V, E)), requires_grad=True)
    F.embedding(BATCHES[0], w * 2.0, sparse=True).sum().backward()
    want = np.zeros((V, E))
    np.add.at(want, BATCHES[0], 2.0)
    np.testing.assert_array_equal(w.grad.numpy(), want)
    (g,) = hl.grad(F.embedding(BATCHES[0], w, sparse=True).sum(), w)
    np.testing.assert_array_equal(g.numpy(), want / 2)
    w.grad, seen = None, []
    w.register_hook(lambda g: seen.append(g.numpy()))
    F.embedding(BATCHES[0], w, sparse=True).sum().backward()
    np.testing.assert_array_equal(seen[0], want / 2)
    np.testing.assert_array_equal(w.grad.numpy(), want / 2)


def test_clipping_copies_zeros_and_anomalies():
    layer, opt = _trained("sgd", sparse=True, steps=1)
    whole = layer.weight.grad.to_dense().numpy()
    copied = copy.deepcopy(layer.weight.grad)
    norm = nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
    assert norm == pytest.approx(np.linalg.norm(whole))
    clipped = layer.weight.grad.to_dense().numpy()
    np.testing.assert_allclose(clipped, whole * 0.5 / norm, rtol=1e-5)
    np.testing.assert_array_equal(copied.to_dense().numpy(), whole)
    before = layer.weight.numpy().copy()
    opt.zero_grad(set_to_none=False)
    opt.step()
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    with hl.detect_anomaly(), pytest.raises(RuntimeError, match="NaN"):
        (layer(BATCHES[0]) * float("nan")).sum().backward()


def test_no_whole_gradient_is_made():
    rows, features = 1_000_000, 64
    w = hl.tensor(np.zeros((rows, features), np.float32), requires_grad=True)
    F.embedding(np.array([5, 999_999, 5]), w, sparse=True).sum().backward()
    assert w.grad.values().shape == (2, features)
    optim.SGD([w], lr=1.0).step()
    np.testing.assert_array_equal(w.numpy()[[5, 999_999]].T, np.tile([-2.0, -1.0], (features, 1)))
    assert np.count_nonzero(w.numpy()) == 2 * features


@pytest.mark.parametrize("threads", [2, 4])
def test_same_bits_on_any_number_of_threads(threads):
    def run(n: int) -> bytes:
        before = hl.get_num_threads()
        hl.set_num_threads(n)
        try:
            w = hl.tensor(RNG_TABLE, requires_grad=True)
            opt = optim.Adagrad([w])
            for _ in range(2):
                opt.zero_grad()
                (F.embedding(RNG_TOKENS, w, sparse=True) ** 2).sum().backward()
                opt.step()
            return w.numpy().tobytes()
        finally:
            hl.set_num_threads(before)

    assert run(1) == run(threads)


RNG_TABLE = RNG.standard_normal((5000, 33)).astype("f4")
RNG_TOKENS = RNG.integers(0, 5000, (64, 128))


def test_what_does_not_fit_is_named():
    w = hl.tensor(np.ones((V, E)), requires_grad=True)
    F.embedding(BATCHES[0], w, sparse=True).sum().backward()
    with pytest.raises(RuntimeError, match=r"Adam: a gradient has \d+ of 40 rows .* SGD and Adag"):
        optim.Adam([w]).step()
    for rule in (optim.SGD, optim.Adagrad):
        with pytest.raises(RuntimeError, match=rf"{rule.__name__}: weight_decay is 0.1, but"):
            rule([w], lr=0.1, weight_decay=0.1).step()
    np.testing.assert_array_equal(w.numpy(), np.ones((V, E)))


@pytest.mark.parametrize(
    ("rows", "values", "error", "text"),
    [
        (np.array([1, 1]), np.ones((2, E)), ValueError, r"grads\[0\]\[0\]\[1\] is 1, expected ris"),
        (np.array([0, V]), np.ones((2, E)), ValueError, r"\[1\] is 40, expected .* 0 to 39"),
        (np.array([-1]), np.ones((1, E)), ValueError, r"is -1, expected rising"),
        (np.array([0, 1]), np.ones((3, E)), ValueError, r"grads\[0\]\[1\] has shape \(3, 5\)"),
        (np.array([0], "i4"), np.ones((1, E)), TypeError, "int32, expected int64"),
        (np.array([0]), np.ones((1, E), "f4"), TypeError, "float32"),
        (np.array(0), np.ones((1, E)), ValueError, "0 axes"),
    ],
)
def test_rows_that_do_not_fit_move_nothing(rows, values, error, text):
    from handloom import _C

    w = np.ones((V, E))
    made = _C.ParamList("sgd", [w], [(None,)], np.array([[0.0, 1.0]]), np.array([0.1, *[0.0] * 7]))
    with pytest.raises(error, match=text):
        made.step([(rows, values)])
    np.testing.assert_array_equal(w, np.ones((V, E)))
