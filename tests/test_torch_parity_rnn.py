"""Recurrent layers beside PyTorch's: results, gradients, weights. Skipped without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import io, nn

torch: Any = pytest.importorskip("torch")

LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2}),
    ("LSTM", {}),
    ("LSTM", {"num_layers": 3, "bias": False}),
    ("LSTM", {"bidirectional": True}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 4}),
    ("LSTM", {"proj_size": 4, "num_layers": 2, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
]


def pair(kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """PyTorch's layer and ours with its weights, in float64."""
    torch.manual_seed(1)
    theirs = getattr(torch.nn, kind)(5, 7, batch_first=True, **options).double()
    ours = getattr(nn, kind)(5, 7, dtype="float64", **options)
    assert tuple(ours.state_dict()) == tuple(theirs.state_dict())
    ours.load_state_dict(io.from_torch(theirs))
    return theirs, ours


def states(kind: str, options: dict[str, Any], n: int) -> list[Any]:
    number = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    sizes = [options.get("proj_size", 7), 7] if kind == "LSTM" else [7]
    return [torch.randn(number, n, size, dtype=torch.float64) for size in sizes]


def compare_gradients(theirs: Any, ours: Any) -> None:
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-11, err_msg=name)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_layers(kind: str, options: dict[str, Any], with_state: bool) -> None:
    theirs, ours = pair(kind, options)
    x = torch.randn(3, 6, 5, dtype=torch.float64, requires_grad=True)
    mine = hl.tensor(x.detach().numpy(), requires_grad=True)
    begin = [s.requires_grad_() for s in states(kind, options, 3)] if with_state else None
    begin_mine = begin and [hl.tensor(s.detach().numpy(), requires_grad=True) for s in begin]

    def as_state(parts: Any) -> Any:
        return parts and (tuple(parts) if len(parts) > 1 else parts[0])

    y, end = theirs(x, as_state(begin))
    z, end_mine = ours(mine, as_state(begin_mine))
    ends, ends_mine = (e if isinstance(e, tuple) else (e,) for e in (end, end_mine))
    for a, b in zip((y, *ends), (z, *ends_mine)):
        np.testing.assert_allclose(b.numpy(), a.detach().numpy(), atol=1e-12)
    weights = [torch.randn_like(part) for part in (y, *ends)]
    sum((part * w).sum() for part, w in zip((y, *ends), weights)).backward()
    terms = [(part * hl.tensor(w.numpy())).sum() for part, w in zip((z, *ends_mine), weights)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    total.backward()
    np.testing.assert_allclose(mine.grad.numpy(), x.grad.numpy(), atol=1e-11)
    for a, b in zip(begin or (), begin_mine or ()):
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), atol=1e-11)
    compare_gradients(theirs, ours)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_lengths_are_packed_sequences(kind: str, options: dict[str, Any]) -> None:
    theirs, ours = pair(kind, options)
    x = torch.randn(4, 6, 5, dtype=torch.float64, requires_grad=True)
    lengths = np.array([2, 6, 1, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
    )
    out, end = theirs(packed)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=6)
    mine = hl.tensor(x.detach().numpy(), requires_grad=True)
    z, end_mine = ours(mine, lengths=lengths)
    ends, ends_mine = (e if isinstance(e, tuple) else (e,) for e in (end, end_mine))
    for a, b in zip((y, *ends), (z, *ends_mine)):
        np.testing.assert_allclose(b.numpy(), a.detach().numpy(), atol=1e-12)
    w = torch.randn_like(y)
    ((y * w).sum() + ends[0].sum()).backward()
    ((z * hl.tensor(w.numpy())).sum() + ends_mine[0].sum()).backward()
    np.testing.assert_allclose(mine.grad.numpy(), x.grad.numpy(), atol=1e-11)
    compare_gradients(theirs, ours)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [False, True])
def test_cells(kind: str, bias: bool) -> None:
    torch.manual_seed(2)
    theirs = getattr(torch.nn, kind)(5, 7, bias=bias).double()
    ours = getattr(nn, kind)(5, 7, bias=bias, dtype="float64")
    assert tuple(ours.state_dict()) == tuple(theirs.state_dict())
    ours.load_state_dict(io.from_torch(theirs))
    xs = torch.randn(4, 3, 5, dtype=torch.float64)
    state = state_mine = None
    for x in xs:
        state = theirs(x, state)
        state_mine = ours(hl.tensor(x.numpy()), state_mine)
    last, last_mine = (s if isinstance(s, tuple) else (s,) for s in (state, state_mine))
    for a, b in zip(last, last_mine):
        np.testing.assert_allclose(b.numpy(), a.detach().numpy(), atol=1e-12)
    sum((part**2).sum() for part in last).backward()
    total = (last_mine[0] * last_mine[0]).sum()
    if kind == "LSTMCell":
        total = total + (last_mine[1] * last_mine[1]).sum()
    total.backward()
    compare_gradients(theirs, ours)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_float32_and_starts(kind: str) -> None:
    theirs, ours = getattr(torch.nn, kind)(32, 48, batch_first=True), getattr(nn, kind)(32, 48)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert abs(a.numpy()).max() == pytest.approx(float(b.detach().abs().max()), rel=0.1)
    ours.load_state_dict(io.from_torch(theirs))
    x = torch.randn(20, 30, 32)
    y = theirs(x)[0].detach().numpy()
    np.testing.assert_allclose(ours(hl.tensor(x.numpy()))[0].numpy(), y, atol=2e-6)


def test_weights_go_back() -> None:
    theirs, ours = pair("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 4})
    before = {k: v.clone() for k, v in theirs.state_dict().items()}
    theirs.load_state_dict(io.to_torch(ours))
    assert all(torch.equal(v, before[k]) for k, v in theirs.state_dict().items())
