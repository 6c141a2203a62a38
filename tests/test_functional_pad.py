"""`F.pad`: PyTorch's rules for widths, names and signs, on the spatial axes only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom.nn import functional as F

NUMPY = {
    "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
    "symmetric": "symmetric",
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_negative_widths_cut_off_what_the_margins_leave(data):
    axes = data.draw(st.integers(1, 3))
    size = [data.draw(st.integers(1, 6)) for _ in range(axes)]
    mode = data.draw(st.sampled_from(sorted(NUMPY)))
    most = {"reflect": -1, "circular": 0, "symmetric": 0}.get(mode, 3)
    pairs = []
    for n in size:
        low = data.draw(st.integers(-n, max(n + most, 0)))
        high = data.draw(st.integers(max(-n - low, -n), max(n + most, 0)))
        pairs.append((low, high))
    x = np.random.default_rng(0).standard_normal((2, *size, 3))
    wider = [(0, 0), *((max(a, 0), max(b, 0)) for a, b in pairs), (0, 0)]
    padded = np.pad(x, wider, NUMPY[mode])
    kept = [slice(None)]
    kept += [slice(-min(a, 0), n + min(b, 0)) for n, (a, b) in zip(padded.shape[1:], pairs)]
    flat = [side for pair in reversed(pairs) for side in pair]
    t = hl.tensor(x, requires_grad=True)
    y = F.pad(t, flat, mode)
    np.testing.assert_array_equal(y.numpy(), padded[tuple(kept)])
    assert y.is_contiguous()
    y.sum().backward()
    assert t.grad.sum().item() == y.numel() if mode != "constant" else True


def test_a_cut_has_a_gradient():
    x = hl.tensor(np.arange(10.0).reshape(1, 5, 2), requires_grad=True)
    hl.gradcheck(lambda x: F.pad(x, (2, -1), "reflect"), [x])
    hl.gradcheck(lambda x: F.pad(x, (-2, 1)), [x])


@pytest.mark.parametrize(
    ("pad", "mode", "text"),
    [
        ((4, 0), "reflect", r"pad: padding \(4, 0\) of an axis of 4, expected at most 3"),
        ((0, 5), "circular", r"padding \(0, 5\) of an axis of 4, expected at most 4"),
        ((-3, -2), "constant", r"padding \(-3, -2\) cuts more off than the 4 of an axis"),
        ((1,), "constant", "pad has 1 sizes, expected pairs"),
        ((1, 1, 1, 1), "constant", "2 pairs for x of 3 axes, which has 1 spatial"),
        ((1, 1), "mirror", "mode 'mirror' is unknown"),
    ],
)
def test_margins_that_cannot_be_are_named(pad, mode, text):
    with pytest.raises(ValueError, match=text):
        F.pad(hl.ones(2, 4, 3), pad, mode)
    if mode in ("reflect", "circular"):
        layer = getattr(hl.nn, {"reflect": "Reflection", "circular": "Circular"}[mode] + "Pad1d")
        with pytest.raises(ValueError, match=f"{layer.__name__}: padding"):
            layer(pad)(hl.ones(2, 4, 3))


def test_the_value_is_the_constant_modes():
    x = hl.ones(1, 1, 1)
    assert F.pad(x, (1, 1), value=None).tolist() == [[[0], [1], [0]]]
    assert F.pad(x, (1, 0), value=2.5).tolist() == [[[2.5], [1]]]
    with pytest.raises(ValueError, match=r"value is 2\.5, which only mode 'constant' takes"):
        F.pad(x, (1, 0), "replicate", 2.5)
    with pytest.raises(TypeError):
        F.pad(x, (1.5, 0))
