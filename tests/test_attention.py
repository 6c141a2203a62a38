"""Attention: the whole space of options against the oracle, isolation, layers' masks, bad input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels, nn
from handloom.nn import functional as F
from reference import attention as oracle

rng = np.random.default_rng(0)
NAN = np.nan


def numbers(*shape: int, dtype: str = "float64") -> Any:
    return rng.standard_normal(shape).astype(dtype)


@st.composite
def attentions(draw: st.DrawFn) -> tuple[Any, Any, Any, dict[str, Any]]:
    """q, k, v and options of any attention."""
    n, kv, group = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    tq, tk = draw(st.integers(0, 40)), draw(st.integers(0, 70))
    d, dv, h = draw(st.integers(1, 20)), draw(st.integers(1, 20)), kv * group
    options: dict[str, Any] = {}

    def shape() -> tuple[int, ...]:
        full = (n, h, tq, tk)
        sizes = tuple(1 if draw(st.booleans()) else size for size in full)
        return sizes[draw(st.integers(0, 4)) :]

    if draw(st.booleans()):
        options["mask"] = np.asarray(rng.random(shape()) < 0.8)
    if draw(st.booleans()):
        options["bias"] = np.asarray(rng.standard_normal(shape()))
    if draw(st.booleans()):
        options["lengths"] = rng.integers(0, tk + 1, n)
    if draw(st.booleans()):
        options["starts"] = rng.integers(-5, tk + 5, n)
    if draw(st.booleans()):
        options["slopes"] = rng.random(draw(st.sampled_from([(h,), (n, h)])))
    options["causal"] = draw(st.sampled_from([False, True, "upper_left"]))
    side = st.none() | st.integers(0, 40)
    options["window"] = draw(st.none() | st.integers(0, 40) | st.tuples(side, side))
    options["scale"] = draw(st.none() | st.just(0.3))
    if draw(st.integers(0, 4)) == 0:
        options |= {"dropout": 0.3, "seed": draw(st.integers(0, 99)), "call": 2}
    if draw(st.booleans()):  # slices of something larger
        q = numbers(n, tq, h + 2, d + 1)[:, :, 1:-1, :-1]
        k = numbers(tk, n, kv, 2, d).transpose(1, 0, 2, 3, 4)[:, :, :, 0]
        v = numbers(n, 2 * tk, kv, dv)[:, ::-2]
    else:
        q, k, v = numbers(n, tq, h, d), numbers(n, tk, kv, d), numbers(n, tk, kv, dv)
    return q, k, v, options


@settings(max_examples=400, deadline=None)
@given(attentions())
def test_every_attention_is_the_oracles(case: tuple[Any, Any, Any, dict[str, Any]]) -> None:
    q, k, v, options = case
    got = kernels.attention(q, k, v, **options, return_saved=True, return_weights=True)
    plain = {name: value for name, value in options.items() if name != "bias"}
    for ours, theirs in zip(got, oracle.attention(q, k, v, options.get("bias"), **plain)):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    # y is linear in v, and each gradient is a derivative along its own input.
    y, saved, _ = got
    dy = numbers(*y.shape)
    grads = kernels.attention_backward(dy, q, k, v, y, saved=saved, **options)
    assert np.sum(grads[2] * v) == pytest.approx(np.sum(dy * y), abs=1e-9)
    # The scores do not change when the gradients by q and k are weighed against each other.
    assert np.sum(grads[0] * q) == pytest.approx(np.sum(grads[1] * k), abs=1e-9)
    if "bias" in options:
        assert grads[3].shape == options["bias"].shape
        assert np.sum(grads[3]) == pytest.approx(0, abs=1e-9)  # softmax ignores constants


@pytest.mark.parametrize("tq", [1, 3, 30])
def test_padding_is_never_read(tq: int) -> None:
    q, k, v = numbers(2, tq, 2, 8), numbers(2, 50, 2, 8), numbers(2, 50, 2, 8)
    lengths = np.array([31, 0])
    clean = kernels.attention(q, k, v, lengths=lengths, return_saved=True)
    for n, length in enumerate(lengths):
        k[n, length:], v[n, length:] = NAN, NAN
    y, saved = kernels.attention(q, k, v, lengths=lengths, return_saved=True)
    assert np.array_equal(y, clean[0])
    assert not y[1].any()
    dq, dk, dv, _ = kernels.attention_backward(y, q, k, v, y, saved=saved, lengths=lengths)
    assert np.isfinite(dq).all()
    for n, length in enumerate(lengths):
        assert not dk[n, length:].any()
        assert not dv[n, length:].any()


@pytest.mark.parametrize("tq", [1, 3, 30])
@pytest.mark.parametrize("tk", [50, 700])
def test_nan_stays_in_its_sequence_and_head(tq: int, tk: int) -> None:
    q, k, v = (numbers(3, t, 2, 8, dtype="float32") for t in (tq, tk, tk))
    clean = kernels.attention(q, k, v)
    for name in "qkv":
        arrays = {"q": q.copy(), "k": k.copy(), "v": v.copy()}
        arrays[name][1, 0, 1] = NAN
        y, saved = kernels.attention(*arrays.values(), return_saved=True)
        bad = np.zeros((3, tq, 2), bool)
        bad[1, slice(0, 1) if name == "q" else slice(None), 1] = True
        assert np.array_equal(np.isnan(y).all(-1), bad)
        assert np.array_equal(y[~bad], clean[~bad])
        grads = kernels.attention_backward(y, *arrays.values(), y, saved=saved)[:3]
        for g in grads:
            assert np.isfinite(np.delete(g.reshape(3, -1, 2, 8)[1], 1, axis=1)).all()
            assert np.isfinite(np.delete(g, 1, axis=0)).all()


def test_scores_of_any_size_do_not_overflow() -> None:
    q, k, v = (numbers(1, t, 1, 8, dtype="float32") for t in (20, 30, 30))
    for scale in (1e5, 1e10, -1e10):
        y, saved = kernels.attention(q, k, v, scale=scale, return_saved=True)
        best = np.argmax(np.einsum("nihd,njhd->nij", q, k) * np.sign(scale), axis=-1)[0]
        np.testing.assert_allclose(y[0, :, 0], v[0, best, 0], rtol=1e-5)
        if abs(scale) < 1e9:  # beyond, float32 does not hold lse to within 1
            grads = kernels.attention_backward(y, q, k, v, y, saved=saved, scale=scale)[:3]
            assert all(np.isfinite(g).all() for g in grads)


def test_infinite_scores_are_nan_as_in_softmax() -> None:
    q, k, v = (numbers(1, t, 1, 4) for t in (3, 6, 6))
    bias = np.zeros((3, 6))
    bias[1, 2] = np.inf
    y = kernels.attention(q, k, v, bias=bias)
    assert np.array_equal(np.isnan(y).all(-1)[0, :, 0], [False, True, False])


def test_dropout_is_that_of_the_weights() -> None:
    q, k, v = numbers(2, 30, 3, 8), numbers(2, 40, 3, 8), numbers(2, 40, 3, 8)
    for dtype in ("float32", "float64"):
        arrays = [a.astype(dtype) for a in (q, k, v)]
        _, kept = kernels.attention(*arrays, return_weights=True)
        _, dropped = kernels.attention(*arrays, dropout=0.4, seed=7, call=3, return_weights=True)
        assert np.array_equal(dropped, kernels.dropout(kept, 0.4, seed=7, call=3))
    assert not kernels.attention(q, k, v, dropout=1.0).any()
    one, other = (kernels.attention(q, k, v, dropout=0.5) for _ in range(2))
    assert (one != other).any()


def test_a_cache_gives_what_the_whole_sequence_gives() -> None:
    q, k, v = (numbers(2, 60, 4, 16, dtype="float32") for _ in range(3))
    whole = kernels.attention(q, k, v, causal=True)
    for first, last in ((59, 60), (57, 60), (50, 60), (20, 60)):
        part = kernels.attention(q[:, first:last], k[:, :last], v[:, :last], causal=True)
        np.testing.assert_allclose(part, whole[:, first:last], rtol=2e-5, atol=2e-6)
    # A cache with room left, each sequence at its own length.
    lengths = np.array([17, 41])
    for count in (1, 3, 6):
        starts = lengths - count
        mine = np.stack([q[i, s : s + count] for i, s in enumerate(starts)])
        part = kernels.attention(mine, k, v, causal=True, lengths=lengths, starts=starts)
        there = np.stack([whole[i, s : s + count] for i, s in enumerate(starts)])
        np.testing.assert_allclose(part, there, rtol=2e-5, atol=2e-6)


def test_only_wanted_gradients_are_made() -> None:
    q, k, v, bias = numbers(1, 20, 2, 8), numbers(1, 30, 2, 8), numbers(1, 30, 2, 8), numbers(30)
    y, saved = kernels.attention(q, k, v, bias=bias, return_saved=True)
    full = kernels.attention_backward(y, q, k, v, y, saved=saved, bias=bias)
    for i, name in enumerate(("q", "k", "v", "bias")):
        one = kernels.attention_backward(y, q, k, v, y, saved=saved, bias=bias, need=(name,))
        assert [g is not None for g in one] == [j == i for j in range(4)]
        assert np.array_equal(one[i], full[i])


def test_few_queries_agree_with_many() -> None:
    # Up to four queries take another way through the kernel.
    q, k, v = numbers(1, 40, 2, 24), numbers(1, 300, 2, 24), numbers(1, 300, 2, 24)
    many = kernels.attention(q, k, v)
    for count in (1, 2, 3, 4):
        np.testing.assert_allclose(kernels.attention(q[:, :count], k, v), many[:, :count])


# bad input


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"k": numbers(2, 7, 3, 4)}, ValueError, "q has 4 heads and k has 3, expected a number"),
        ({"k": numbers(2, 7, 0, 4)}, ValueError, "k has 0"),
        ({"k": numbers(2, 7, 2, 5)}, ValueError, "k has shape (2, 7, 2, 5), expected (2, *, *, 4)"),
        ({"v": numbers(2, 8, 2, 4)}, ValueError, "v has shape (2, 8, 2, 4)"),
        ({"q": numbers(5, 4, 4)}, ValueError, "expected (N, T, heads, D)"),
        ({"q": numbers(2, 5, 4, 4, dtype="float32")}, TypeError, "float32"),
        ({"q": np.zeros((2, 5, 4, 4), int)}, TypeError, "expected float32 or float64"),
        ({"q": [[1.0]]}, TypeError, "list"),
        ({"k": numbers(2, 7, 2, 8)[..., ::2]}, ValueError, "np.ascontiguousarray(k)"),
        ({"mask": np.ones((2, 4, 5, 6), bool)}, ValueError, "does not broadcast to (N, heads, Tq"),
        ({"mask": np.ones((1, 2, 4, 5, 7), bool)}, ValueError, "does not broadcast"),
        ({"mask": np.ones((5, 7))}, TypeError, "mask"),
        ({"bias": numbers(4, 5, 1, 7)}, ValueError, "bias has shape (4, 5, 1, 7)"),
        ({"bias": numbers(5, 7, dtype="float32")}, TypeError, "bias"),
        ({"lengths": np.array([3, 8])}, ValueError, "lengths[1] is 8, expected 0 to 7"),
        ({"lengths": np.array([-1, 3])}, ValueError, "lengths[0] is -1"),
        ({"lengths": np.array([3.0, 4.0])}, TypeError, "lengths"),
        ({"lengths": np.array([3])}, ValueError, "lengths"),
        ({"starts": np.array([3])}, ValueError, "starts"),
        ({"slopes": numbers(3)}, ValueError, "slopes"),
        ({"causal": "left"}, ValueError, "causal is 'left', expected False, True or 'upper_left'"),
        ({"window": -1}, ValueError, "window is -1"),
        ({"window": (1, 2, 3)}, ValueError, "window is (1, 2, 3)"),
        ({"dropout": 1.5}, ValueError, "dropout is 1.5, expected 0 to 1"),
        ({"dropout": NAN}, ValueError, "dropout is nan"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(change: Any, error: Any, text: str) -> None:
    arguments: dict[str, Any] = {
        "q": numbers(2, 5, 4, 4), "k": numbers(2, 7, 2, 4), "v": numbers(2, 7, 2, 4),
    }  # fmt: skip
    with pytest.raises(error, match=re.escape(text)) as caught:
        kernels.attention(**(arguments | change))
    assert str(caught.value).startswith("attention: ")


def test_backward_refuses_what_does_not_fit() -> None:
    q, k, v = numbers(2, 5, 2, 4), numbers(2, 7, 2, 4), numbers(2, 7, 2, 4)
    y, saved = kernels.attention(q, k, v, return_saved=True)
    with pytest.raises(ValueError, match="dy has shape"):
        kernels.attention_backward(y[:, :4], q, k, v, y, saved=saved)
    with pytest.raises(ValueError, match="saved has shape"):
        kernels.attention_backward(y, q, k, v, y, saved=saved[:, :1])
    with pytest.raises(ValueError, match="need has 'w'"):
        kernels.attention_backward(y, q, k, v, y, saved=saved, need=("w",))


def test_explain_says_what_will_run() -> None:
    shape = (4, 512, 8, 64)
    (row,) = kernels.explain("attention", shape, shape, shape)
    assert row.flops == 4 * 4 * 8 * 512 * 512 * 64
    assert row.scratch < 1 << 22
    (half,) = kernels.explain("attention", shape, shape, shape, causal=True)
    assert half.flops == pytest.approx(row.flops / 2, rel=0.01)
    (few,) = kernels.explain("attention", (1, 1, 8, 64), (1, 4096, 8, 64), (1, 4096, 8, 64))
    assert few.algorithm == "streaming, few queries"
    (long,) = kernels.explain("attention", *[(1, 8192, 8, 64)] * 3)
    assert long.scratch < 1 << 22  # no square matrix


# tensors


def test_gradients_reach_every_input() -> None:
    arrays = [numbers(2, 6, 4, 8), numbers(2, 9, 2, 8), numbers(2, 9, 2, 8), numbers(4, 6, 9)]
    assert hl.gradcheck(
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, enable_gqa=True),
        [hl.tensor(a, requires_grad=True) for a in arrays],
    )


def test_functional_refuses_heads_that_differ_unless_told() -> None:
    q, k = hl.tensor(numbers(1, 3, 4, 8)), hl.tensor(numbers(1, 3, 2, 8))
    with pytest.raises(ValueError, match="enable_gqa=True"):
        F.scaled_dot_product_attention(q, k, k)


def test_dropout_draws_anew_each_time_and_replays_in_backward() -> None:
    hl.manual_seed(5)
    q, k, v = (hl.tensor(numbers(1, 8, 2, 4), requires_grad=True) for _ in range(3))
    one = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    two = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    assert (one.numpy() != two.numpy()).any()
    dy = numbers(*one.shape)
    one.backward(dy)
    # y is linear in v with the same weights in both directions.
    assert np.sum(v.grad.numpy() * v.numpy()) == pytest.approx(np.sum(dy * one.numpy()))


def test_a_mask_that_hides_the_future_is_seen_to_be_causal() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2)
    x = hl.tensor(numbers(2, 9, 16, dtype="float32"))
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    with hl.profile() as profile:
        by_mask = model(x, mask)
    assert np.array_equal(by_mask.numpy(), model(x, is_causal=True).numpy())
    assert np.array_equal(by_mask.numpy(), model(x, np.isneginf(mask.numpy())).numpy())
    assert any(row.kernel == "attention_forward" for row in profile)
    changed = x.numpy().copy()
    changed[:, 5:] += 1
    np.testing.assert_allclose(
        model(hl.tensor(changed), mask).numpy()[:, :5], by_mask.numpy()[:, :5], atol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.MultiheadAttention(10, 3), "embed_dim is 10 and num_heads 3"),
        (lambda: nn.MultiheadAttention(8, 2, batch_first=False), "batch_first is False"),
        (lambda: nn.MultiheadAttention(8, 2, dropout=2), "dropout is 2"),
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="no"), "activation 'no' is unknown"),
    ],
)
def test_layers_refuse_what_cannot_be(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_layers_refuse_masks_and_inputs_that_do_not_fit() -> None:
    m, x = nn.MultiheadAttention(8, 2), numbers(2, 5, 8, dtype="float32")
    with pytest.raises(ValueError, match="key_padding_mask has shape"):
        m(x, key_padding_mask=np.zeros((2, 4), bool))
    with pytest.raises(ValueError, match=r"attn_mask has shape \(5, 4\), expected \(5, 5\) or"):
        m(x, attn_mask=np.zeros((5, 4), bool))
    with pytest.raises(ValueError, match="query has shape"):
        m(x[..., :4])
