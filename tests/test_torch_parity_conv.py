"""Convolution beside PyTorch's: results, gradients, weights and starts. Skipped without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import nn

torch: Any = pytest.importorskip("torch")


def last(a: Any) -> Any:
    """Channels last."""
    return np.ascontiguousarray(np.moveaxis(a.detach().numpy(), 1, -1))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": 2, "groups": 2},
        {"padding": 1, "groups": 4, "bias": False},
        {"padding": 2, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "circular", "stride": 2},
    ],
)
def test_conv_layers(n: int, options: dict[str, Any]) -> None:
    torch.manual_seed(n)
    theirs = getattr(torch.nn, f"Conv{n}d")(4, 8, 3, **options).double()
    ours = getattr(nn, f"Conv{n}d")(4, 8, 3, **options, dtype="float64")
    compare(theirs, ours, n)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": 2, "dilation": 2, "groups": 2},
        {"stride": 3, "output_padding": 2, "groups": 4, "bias": False},
    ],
)
def test_conv_transpose_layers(n: int, options: dict[str, Any]) -> None:
    torch.manual_seed(n)
    theirs = getattr(torch.nn, f"ConvTranspose{n}d")(4, 8, 3, **options).double()
    ours = getattr(nn, f"ConvTranspose{n}d")(4, 8, 3, **options, dtype="float64")
    compare(theirs, ours, n)


def compare(theirs: Any, ours: Any, n: int) -> None:
    assert tuple(ours.state_dict()) == tuple(theirs.state_dict())
    ours.load_state_dict(
        {k: last(v) if v.ndim > 1 else v.numpy() for k, v in theirs.state_dict().items()}
    )
    x = torch.randn(2, 4, *(7, 6, 5)[:n], dtype=torch.float64, requires_grad=True)
    mine = hl.tensor(last(x), requires_grad=True)
    y, z = theirs(x), ours(mine)
    np.testing.assert_allclose(z.numpy(), last(y), atol=1e-11)
    dy = torch.randn_like(y)
    y.backward(dy)
    z.backward(hl.tensor(last(dy)))
    np.testing.assert_allclose(mine.grad.numpy(), last(x.grad), atol=1e-11)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        grad = last(q.grad) if q.ndim > 1 else q.grad.numpy()
        np.testing.assert_allclose(p.grad.numpy(), grad, atol=1e-10, err_msg=name)


def test_weights_start_as_pytorchs() -> None:
    for make in ("Conv2d", "ConvTranspose2d"):
        ours = getattr(nn, make)(16, 32, 3, groups=2)
        theirs = getattr(torch.nn, make)(16, 32, 3, groups=2)
        for a, b in zip(ours.parameters(), theirs.parameters()):
            assert abs(a.numpy()).max() == pytest.approx(float(b.detach().abs().max()), rel=0.1)
