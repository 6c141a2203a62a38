"""Attention and Transformers mean what they mean in PyTorch: weights load, numbers agree."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.nn import functional as F

torch = pytest.importorskip("torch")
tn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's about nested tensors

rng = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def near(ours, theirs, what: str = "") -> None:
    np.testing.assert_allclose(
        ours.numpy(), theirs.detach().numpy(), rtol=1e-7, atol=1e-10, err_msg=what
    )


def same(ours, theirs, call, *arrays) -> None:
    """Results and all gradients of two modules with one set of weights."""
    theirs = theirs.double()
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(numbers(*p.shape) * (0.3 if p.ndim > 1 else 1)))
    ours = ours.double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    a = [hl.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = call(ours, *a), call(theirs, *b)
    if isinstance(z, tuple):
        (y, w), (z, u) = y, z
        assert (w is None) == (u is None)
        if u is not None:
            near(w, u, "weights")
    near(y, z, "result")
    dy = numbers(*z.shape)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for i, (one, other) in enumerate(zip(a, b)):
        near(one.grad, other.grad, f"input {i}")
    grads = {n: p.grad for n, p in theirs.named_parameters()}
    for n, p in ours.named_parameters():
        near(p.grad, grads[n], n)


BOOL = rng.random((6, 9)) < 0.7
BOOL[:, 0] = True


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": BOOL},
        {"attn_mask": rng.random((2, 1, 6, 9)) < 0.9},
        {"attn_mask": numbers(2, 4, 6, 9)},
        {"attn_mask": numbers(1, 4, 1, 9)},
        {"enable_gqa": True},
    ],
    ids=str,
)
def test_scaled_dot_product_attention(options):
    heads = 2 if options.get("enable_gqa") else 4
    arrays = numbers(2, 6, 4, 5), numbers(2, 9, heads, 5), numbers(2, 9, heads, 7)
    a = [hl.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    ours, theirs = dict(options), dict(options)
    if "attn_mask" in options:
        theirs["attn_mask"] = torch.tensor(options["attn_mask"])
    y = F.scaled_dot_product_attention(*a, **ours)
    z = tn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in b), **theirs)
    z = z.transpose(1, 2)
    near(y, z)
    dy = numbers(*z.shape)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for one, other in zip(a, b):
        near(one.grad, other.grad)


PADDING = np.zeros((3, 7), bool)
PADDING[1, 4:], PADDING[2, :2] = True, True
CAUSAL = np.triu(np.ones((7, 7), bool), 1)
FLOAT = np.where(CAUSAL, -np.inf, numbers(7, 7))


def mask(framework, m):
    return None if m is None else torch.tensor(m) if isinstance(framework, tn.Module) else m


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    ("padding", "attn"),
    [
        (None, None),
        (PADDING, None),
        (None, CAUSAL),
        (None, FLOAT),
        (np.where(PADDING, -1e3, 0.0), FLOAT),
        (PADDING & (np.arange(7) != 0), CAUSAL),
        (None, numbers(12, 7, 7)),
        (None, rng.random((12, 7, 7)) < 0.3),
    ],
    ids=["plain", "padding", "bool", "float", "both float", "both bool", "heads", "bool heads"],
)
def test_self_attention(padding, attn, need_weights):
    def call(m, x):
        return m(x, x, x, mask(m, padding), need_weights, mask(m, attn), average_attn_weights=False)

    ours, theirs = nn.MultiheadAttention(8, 4), tn.MultiheadAttention(8, 4, batch_first=True)
    same(ours, theirs, call, numbers(3, 7, 8))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"kdim": 5, "vdim": 6},
        {"kdim": 5, "bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"add_bias_kv": True, "add_zero_attn": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("alike", [False, True])
def test_cross_attention(options, masked, alike):
    kdim, vdim = options.get("kdim", 8), options.get("vdim", 8)
    if alike and kdim != vdim:
        pytest.skip("one array cannot have both sizes")
    ours = nn.MultiheadAttention(8, 2, **options)
    theirs = tn.MultiheadAttention(8, 2, batch_first=True, **options)
    padding, attn = (PADDING, BOOL[:5, :7] & (np.arange(7) != 3)) if masked else (None, None)

    def call(m, q, k, *v):
        return m(q, k, v[0] if v else k, mask(m, padding), True, mask(m, attn))

    arrays = numbers(3, 5, 8), numbers(3, 7, kdim), numbers(3, 7, vdim)
    same(ours, theirs, call, *(arrays[:2] if alike else arrays))


def test_a_single_sequence_needs_no_batch_axis():
    ours, theirs = nn.MultiheadAttention(8, 2), tn.MultiheadAttention(8, 2, batch_first=True)
    same(ours, theirs, lambda m, x: m(x, x, x), numbers(5, 8))
    same(ours, theirs, lambda m, x, k: m(x, k, k), numbers(5, 8), numbers(6, 8))


LAYER = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "dropout": 0.0}


@pytest.mark.parametrize(
    "options",
    [{}, {"norm_first": True}, {"activation": "gelu"}, {"bias": False, "layer_norm_eps": 0.1}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
def test_layers(kind, options):
    name = f"Transformer{kind}Layer"
    ours = getattr(nn, name)(**LAYER, **options)
    theirs = getattr(tn, name)(**LAYER, **options, batch_first=True)
    if kind == "Encoder":

        def call(m, x):
            return m(x, mask(m, CAUSAL), mask(m, PADDING & (np.arange(7) != 0)))

        same(ours, theirs, call, numbers(3, 7, 8))
    else:

        def call(m, x, memory):
            return m(
                x, memory, mask(m, CAUSAL), mask(m, BOOL[:, :7].T & (np.arange(6) != 1)),
                mask(m, PADDING & (np.arange(7) != 0)), mask(m, PADDING[:, :6]),
            )  # fmt: skip

        same(ours, theirs, call, numbers(3, 7, 8), numbers(3, 6, 8))


@pytest.mark.parametrize("norm_first", [False, True])
def test_whole_transformer(norm_first):
    options = {
        "d_model": 8, "nhead": 2, "num_encoder_layers": 2, "num_decoder_layers": 2,
        "dim_feedforward": 12, "dropout": 0.0, "norm_first": norm_first,
    }  # fmt: skip
    ours, theirs = nn.Transformer(**options), tn.Transformer(**options, batch_first=True)
    causal = tn.Transformer.generate_square_subsequent_mask(5)
    np.testing.assert_array_equal(
        nn.Transformer.generate_square_subsequent_mask(5).numpy(), causal.numpy()
    )
    pad = np.zeros((3, 6), bool)
    pad[1, 4:] = True

    def call(m, src, tgt):
        return m(
            src, tgt, tgt_mask=mask(m, causal.double().numpy()),
            src_key_padding_mask=mask(m, pad), memory_key_padding_mask=mask(m, pad),
        )  # fmt: skip

    same(ours, theirs, call, numbers(3, 6, 8), numbers(3, 5, 8))


def test_a_functional_activation():
    ours = nn.TransformerEncoderLayer(**LAYER, activation=F.silu)
    theirs = tn.TransformerEncoderLayer(**LAYER, activation=tn.functional.silu, batch_first=True)
    same(ours, theirs, lambda m, x: m(x), numbers(2, 4, 8))


def test_weights_start_as_pytorchs_do():
    ours = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    theirs = tn.MultiheadAttention(64, 4, add_bias_kv=True)
    for name, p in theirs.state_dict().items():
        mine = ours.state_dict()[name]
        assert mine.shape == tuple(p.shape)
        assert mine.std() == pytest.approx(float(p.std(correction=0)), rel=0.35, abs=1e-12), name
