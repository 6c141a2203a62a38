"""Random numbers: the published generator, the same bits everywhere, right distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import _C, kernels
from reference import random as oracle

ISAS = hl.available_isas()
SEEDS = ((0, 0), (1, 2), (2**64 - 1, 2**64 - 1), (0x123456789ABCDEF0, 7))

# Random123's kat_vectors for philox4x32, 10 rounds: counter, key, result.
KNOWN = (
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
)


def parse(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.fixture(params=ISAS)
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


@pytest.fixture
def threads():
    before = hl.get_num_threads()
    yield hl.set_num_threads
    hl.set_num_threads(before)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected, isa):
    c, k = parse(counter), parse(key)
    words = _C.random_words(1, k[0] | k[1] << 32, c[2] | c[3] << 32, c[0] | c[1] << 32)
    assert words.view(np.uint32).ravel().tolist() == parse(expected)
    assert oracle.philox(np.array([c], np.uint64), tuple(k))[0].tolist() == parse(expected)


def test_block_number_carries_into_its_upper_half(isa):
    start = 2**32 - 3
    together = _C.random_words(64, 5, 6, start)
    for i in (0, 2, 3, 4, 40):
        assert together[i].tolist() == _C.random_words(1, 5, 6, start + i)[0].tolist()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 1023, 1024, 1025, 2049, 70003])
@pytest.mark.parametrize(("seed", "call"), SEEDS)
def test_bits_equal_the_oracle_on_every_isa(n, seed, call, isa):
    kw = {"seed": seed, "call": call}
    for dtype in ("float32", "float64"):
        u = kernels.uniform(n, dtype=dtype, **kw)
        assert u.dtype == dtype
        assert u.tobytes() == oracle.uniform(n, dtype, seed, call).tobytes()
    words = oracle.words(n, seed, call)
    for dtype in ("bool", "float32", "float64"):
        flags = kernels.bernoulli(n, 0.3, dtype=dtype, **kw)
        assert flags.dtype == dtype
        np.testing.assert_array_equal(flags, words < round(0.3 * 2**32))
    if n <= 2049:
        np.testing.assert_array_equal(
            kernels.integers(-7, 5, n, **kw), oracle.integers(n, -7, 5, seed, call)
        )
        np.testing.assert_array_equal(
            kernels.permutation(n, **kw), oracle.permutation(n, seed, call)
        )


@pytest.mark.parametrize(
    ("low", "high"), [(0, 2**63 - 1), (-(2**63), 2**63 - 1), (-5, 2**62 + 2**61)]
)
def test_wide_integers_redraw(low, high, isa):
    """A range near 2^64 rejects a good share of the draws: the redrawn ones must be right too."""
    got = kernels.integers(low, high, 500, seed=9, call=4)
    np.testing.assert_array_equal(got, oracle.integers(500, low, high, 9, 4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_is_accurate(dtype, isa):
    n = 20000
    got = kernels.normal(n, dtype=dtype, seed=11, call=3)
    exact = oracle.normal(n, dtype, 11, 3)
    # A unit of r, not of y: near an axis the cosine vanishes, its error does not.
    r = np.repeat(np.hypot(exact[::2], exact[1::2]), 2)
    assert float(np.max(np.abs(got - exact) / r)) <= 2 * np.finfo(dtype).eps


def test_normal_reaches_its_tails(isa):
    x = kernels.normal(1 << 22, seed=5)
    assert np.isfinite(x).all()
    # 4.2 million draws: beyond 5 standard deviations 2.4 are expected, beyond 4.5 28.
    assert 10 <= int((np.abs(x) > 4.5).sum()) <= 55


@pytest.mark.parametrize("n", [1, 5, 1000, 100001])
def test_threads_and_length_do_not_change_bits(n, threads):
    for make in (
        lambda m: kernels.normal(m, seed=1, call=9),
        lambda m: kernels.normal(m, seed=1, call=9, dtype="float64"),
        lambda m: kernels.uniform(m, seed=1, call=9, low=-2, high=3),
        lambda m: kernels.integers(0, 1000, m, seed=1, call=9),
    ):
        threads(1)
        once = make(n)
        for count in (2, 4):
            threads(count)
            assert make(n).tobytes() == once.tobytes()
        assert make(n + 1000)[:n].tobytes() == once.tobytes()


def test_uniform_stays_below_its_limit(isa):
    for low, high in ((1.0, 1.0000002), (-3.0, -2.9999998), (-1e30, 1e30), (0.5, 0.5), (-1.0, 0.0)):
        for dtype in ("float32", "float64"):
            x = kernels.uniform(100000, low=low, high=high, dtype=dtype, seed=1)
            lower, upper = np.dtype(dtype).type(low), np.dtype(dtype).type(high)
            assert x.min() >= lower
            assert x.max() < upper if lower < upper else (x == lower).all()


def test_distributions_by_chi_square():
    """Statistics with one seed: a broken generator is off by hundreds."""
    n, cells = 1 << 20, 256
    limit = cells + 6 * (2 * cells) ** 0.5  # six standard deviations

    def chi(counts):
        mean = counts.sum() / len(counts)
        return float(((counts - mean) ** 2).sum() / mean)

    for dtype in ("float32", "float64"):
        u = kernels.uniform(n, dtype=dtype, seed=3)
        assert chi(np.histogram(u, cells, (0, 1))[0]) < limit
        # neighbours, as pairs
        pairs = (u[::2] * 16).astype(int) * 16 + (u[1::2] * 16).astype(int)
        assert chi(np.bincount(pairs, minlength=256)) < limit
    assert chi(np.bincount(kernels.integers(0, cells, n, seed=3), minlength=cells)) < limit
    x = kernels.normal(n, seed=3, dtype="float64")
    assert abs(x.mean()) < 5 / n**0.5
    assert abs(x.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((x[::2] * x[1::2]).mean()) < 5 * (2 / n) ** 0.5
    assert abs(kernels.bernoulli(n, 0.1, seed=3).mean() - 0.1) < 5 * (0.09 / n) ** 0.5


def test_permutations_are_unbiased():
    counts: dict[tuple[int, ...], int] = {}
    trials = 24 * 1000
    for call in range(trials):
        order = tuple(kernels.permutation(4, seed=8, call=call).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    chi = sum((c - 1000) ** 2 / 1000 for c in counts.values())
    assert chi < 23 + 6 * 46**0.5


@given(n=st.integers(0, 5000), seed=st.integers(0, 2**64 - 1), call=st.integers(0, 2**64 - 1))
@settings(max_examples=50, deadline=None)
def test_permutation_is_one(n, seed, call):
    assert np.array_equal(np.sort(kernels.permutation(n, seed=seed, call=call)), np.arange(n))


def test_calls_and_seeds_differ_and_repeat():
    draws = {
        kernels.uniform(4, seed=seed, call=call).tobytes()
        for seed in range(20)
        for call in range(20)
    }
    assert len(draws) == 400
    assert kernels.uniform(4, seed=3, call=5).tobytes() in draws
    assert kernels.uniform(4).tobytes() != kernels.uniform(4).tobytes()


# ---- dropout -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["element", "feature", "alpha", "feature_alpha"])
def test_dropout_masks_are_the_same_in_both_types_and_in_backward(kind, isa):
    x = np.ones((4, 6, 37))
    options = {"p": 0.4, "seed": 2, "call": 5, "kind": kind}
    dx = kernels.dropout_backward(x, **options)
    dx32 = kernels.dropout_backward(x.astype(np.float32), **options)
    np.testing.assert_array_equal(dx == 0, dx32 == 0)
    assert 0 < (dx == 0).mean() < 1
    y = kernels.dropout(x, **options)
    # Backward knows nothing of x: the difference of two forward calls is its proof.
    np.testing.assert_allclose(kernels.dropout(x + 1, **options) - y, dx, atol=1e-12)


def test_alpha_dropout_keeps_mean_and_variance():
    x = kernels.normal((1000, 1000), seed=1, dtype="float64")
    y = kernels.dropout(x, 0.3, seed=2, kind="alpha")
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02


def test_dropout_rate_and_scale():
    y = kernels.dropout(np.ones(1 << 20, np.float32), 0.25, seed=7)
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert abs((y == 0).mean() - 0.25) < 5 * (0.25 * 0.75 / 2**20) ** 0.5


def test_dropout_is_nan_where_x_is(isa):
    x = np.zeros(50, np.float32)
    x[::7] = np.nan
    y = kernels.dropout(x, 0.5, seed=1)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


# ---- errors --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: kernels.uniform((2, -1)), ValueError, r"random\.uniform: a size of -1"),
        (
            lambda: kernels.uniform(2, dtype="float16"),
            TypeError,
            "dtype is float16, expected float32",
        ),
        (lambda: kernels.uniform(2, low=1, high=0), ValueError, r"low is 1\.0 and high is 0\.0"),
        (lambda: kernels.uniform(2, low=float("nan")), ValueError, "low is nan"),
        (lambda: kernels.uniform(2, low=-3e38, high=3e38), ValueError, "finite difference"),
        (
            lambda: kernels.uniform(2, seed=-1),
            ValueError,
            r"seed is -1, expected 0 <= seed < 2\*\*64",
        ),
        (lambda: kernels.uniform(2, seed=2**64), ValueError, "seed is 18446744073709551616"),
        (lambda: kernels.uniform(2, seed=1.5), TypeError, "seed is a float, expected an integer"),
        (lambda: kernels.uniform((2**40, 2**40)), ValueError, "more elements than memory"),
        (lambda: kernels.normal(2, std=-1), ValueError, r"std is -1\.0"),
        (lambda: kernels.normal(2, mean=float("inf")), ValueError, "mean is inf"),
        (lambda: kernels.bernoulli(2, 1.5), ValueError, r"p is 1\.5, expected 0 <= p <= 1"),
        (
            lambda: kernels.bernoulli(2, dtype="int64"),
            TypeError,
            "expected bool, float32 or float64",
        ),
        (lambda: kernels.integers(3, 3, 2), ValueError, r"low is 3 and high is 3"),
        (lambda: kernels.permutation(-1), ValueError, "n is -1"),
        (lambda: kernels.dropout(np.ones(3), float("nan")), ValueError, "dropout: p is nan"),
        (lambda: kernels.dropout(np.ones(3, int)), TypeError, "dropout: x has dtype int64"),
        (
            lambda: kernels.dropout(np.ones((3, 3)).T[:2]),
            ValueError,
            "dropout: x is not contiguous",
        ),
        (
            lambda: kernels.dropout(np.ones(3), kind="row"),
            ValueError,
            "kind 'row' is unknown, expected one of",
        ),
        (
            lambda: kernels.dropout(np.ones(3), kind="feature"),
            ValueError,
            r"expected \(N, \.\.\., C\)",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("name", ["uniform", "normal", "bernoulli"])
def test_shapes_are_integers(name):
    draw = getattr(kernels, name)
    assert draw(np.int64(3)).shape == draw(np.array([3])).shape == (3,)
    for shape in (2.5, (2, 1.5), np.ones(2), "ab", np.ones(2, np.complex64)):
        with pytest.raises(TypeError, match=f"{name}: shape is .*, expected integers"):
            draw(shape)
    with pytest.raises(TypeError, match=r"permutation: n is 1\.5, expected an integer"):
        kernels.permutation(1.5)
