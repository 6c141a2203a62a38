"""Restricted Boltzmann machines: right samples and gradients, the same bits whatever runs them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels
from handloom.models import DBN, RBM
from reference import rbm as oracle

DTYPES = ("float32", "float64")
# The products' few rows, whole tiles, edges, a long sum cut in pieces, and no row.
SIZES = ((1, 3, 2), (5, 7, 9), (17, 64, 33), (40, 130, 64), (64, 784, 96), (3, 40, 4100))


def machine(sizes, dtype, seed=0, scale=0.3):
    n, visible, hidden = sizes
    rng = np.random.default_rng(seed)
    v = (rng.random((n, visible)) < 0.4).astype(dtype)
    w = (rng.standard_normal((hidden, visible)) * scale / np.sqrt(visible)).astype(dtype)
    b, c = (rng.standard_normal(k).astype(dtype) * dtype_one(dtype) for k in (visible, hidden))
    return v, w, b, c


def dtype_one(dtype):
    return np.dtype(dtype).type(0.5)


def close(actual, exact, dtype, terms):
    """Within the rounding of so many terms of size one."""
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        actual, exact, rtol=8 * eps * np.sqrt(terms), atol=8 * eps * terms**0.5
    )


def wide(*arrays):
    return tuple(None if a is None else a.astype(np.float64) for a in arrays)


@pytest.mark.parametrize("isa", hl.available_isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_hidden_layer(sizes, dtype, isa):
    v, w, _, c = machine(sizes, dtype)
    with hl.use_isa(isa):
        p, h = kernels.rbm_hidden(v, w, c, seed=11, call=2**33)
    exact = oracle.hidden(*wide(v, w, c))
    close(p, exact, dtype, sizes[1])
    assert p.dtype == h.dtype == dtype
    np.testing.assert_array_equal(h, oracle.drawn(p, False, 11, 2**33, dtype))


@pytest.mark.parametrize("isa", hl.available_isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("sizes", SIZES)
def test_visible_layer(sizes, kind, dtype, isa):
    v, w, b, c = machine(sizes, dtype)
    h = oracle.drawn(oracle.hidden(v, w, c), False, 1, 2, dtype)
    gaussian = kind == "gaussian"
    with hl.use_isa(isa):
        mean, drawn = kernels.rbm_visible(h, w, b, visible=kind, seed=11, call=3)
    close(mean, oracle.visible(*wide(h, w, b), gaussian), dtype, sizes[2])
    if gaussian:
        close(drawn, oracle.drawn(mean, True, 11, 3, dtype), dtype, 30)
    else:
        np.testing.assert_array_equal(drawn, oracle.drawn(mean, False, 11, 3, dtype))


@pytest.mark.parametrize("isa", hl.available_isas())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
@pytest.mark.parametrize(
    ("chains", "steps", "means"), [(0, 1, False), (0, 3, True), (12, 2, False)]
)
@pytest.mark.parametrize("sizes", SIZES[:-1])
def test_contrastive_divergence(sizes, chains, steps, means, kind, dtype, isa):
    v, w, b, c = machine(sizes, dtype)
    chain = None
    if chains:
        rng = np.random.default_rng(3)
        chain = (rng.random((chains, sizes[2])) < 0.5).astype(dtype)
    with hl.use_isa(isa):
        found = kernels.rbm_contrastive_divergence(
            v, w, b, c, chain=chain, steps=steps, visible=kind, visible_means=means, seed=5, call=9
        )
    args = (*wide(v, w, b, c, chain), steps, kind == "gaussian", means, 5, 9, dtype)
    exact = oracle.contrast(*args)
    for actual, expected in zip(found, exact, strict=True):
        assert actual.dtype == dtype
        close(actual, expected, dtype, 20 * (sizes[0] + sizes[1] + sizes[2]))


def test_threads_do_not_change_bits():
    v, w, b, c = machine((150, 300, 520), "float32")
    before = hl.get_num_threads()
    results = []
    try:
        for n in (1, 2, 4):
            hl.set_num_threads(n)
            results.append(kernels.rbm_contrastive_divergence(v, w, b, c, steps=2, seed=1))
    finally:
        hl.set_num_threads(before)
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            assert x.tobytes() == y.tobytes()


def test_gibbs_goes_on_where_contrastive_divergence_left():
    v, w, b, c = machine((6, 20, 10), "float32")
    found = kernels.rbm_contrastive_divergence(v, w, b, c, steps=3, seed=1)
    from_v = kernels.rbm_gibbs(w, b, c, v=v, steps=3, seed=1)
    np.testing.assert_array_equal(from_v[0], found.v)
    np.testing.assert_array_equal(from_v[1], found.h)
    start = kernels.rbm_hidden(v, w, c, seed=1)[1]
    np.testing.assert_array_equal(kernels.rbm_gibbs(w, b, c, h=start, steps=3, seed=1)[0], found.v)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_free_energy(kind, dtype):
    v, w, b, c = machine((9, 33, 20), dtype)
    found = kernels.rbm_free_energy(v, w, b, c, visible=kind)
    close(found / 20, oracle.free_energy(*wide(v, w, b, c), kind == "gaussian") / 20, dtype, 60)


def test_many_steps_give_the_gradient_of_the_likelihood():
    """CD-k with a long chain is the maximum-likelihood gradient: nothing may be biased."""
    v, w, b, c = machine((40, 5, 3), "float64", scale=2.0)
    many = np.repeat(v, 500, axis=0)
    dw, db, dc, *_ = kernels.rbm_contrastive_divergence(many, w, b, c, steps=60, seed=2)
    step = 1e-5
    for at, grad in ((w, dw), (b, db), (c, dc)):
        numeric = np.empty_like(at)
        for i in np.ndindex(at.shape):
            kept = at[i]
            at[i] = kept + step
            high = oracle.log_likelihood(v, w, b, c)
            at[i] = kept - step
            numeric[i] = -(high - oracle.log_likelihood(v, w, b, c)) / (2 * step)
            at[i] = kept
        # 20,000 samples of a state leave 0.5 / sqrt(20000) = 0.0035.
        assert np.abs(grad - numeric).max() < 0.018


def test_nan_stays_nan():
    v, w, _, c = machine((4, 6, 5), "float32")
    v[2, 1] = np.nan
    p, h = kernels.rbm_hidden(v, w, c, seed=1)
    assert np.isnan(p[2]).all()
    assert np.isnan(h[2]).all()
    assert np.isfinite(h[[0, 1, 3]]).all()


@given(
    st.integers(0, 9),
    st.integers(0, 70),
    st.integers(0, 70),
    st.sampled_from(DTYPES),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_size(n, visible, hidden, dtype, gaussian):
    v, w, b, c = machine((n, max(visible, 1), max(hidden, 1)), dtype)
    v, w, b, c = v[:, :visible].copy(), w[:hidden, :visible].copy(), b[:visible], c[:hidden]
    kind = "gaussian" if gaussian else "bernoulli"
    p, h = kernels.rbm_hidden(v, w, c, seed=1)
    assert p.shape == h.shape == (n, hidden)
    np.testing.assert_array_equal(h, oracle.drawn(p, False, 1, 0, dtype))
    assert kernels.rbm_visible(h, w, b, visible=kind, seed=1)[1].shape == (n, visible)
    assert kernels.rbm_free_energy(v, w, b, c, visible=kind).shape == (n,)
    if n:
        found = kernels.rbm_contrastive_divergence(v, w, b, c, visible=kind, seed=1)
        assert [x.shape for x in found] == [w.shape, b.shape, c.shape, v.shape, h.shape]


# ---- bad input ---------------------------------------------------------------------------------


def test_kernel_errors():
    v, w, b, c = machine((4, 6, 5), "float32")
    cd = kernels.rbm_contrastive_divergence
    with pytest.raises(ValueError, match=r"rbm_hidden: v \(4, 5\) has 5 units, w \(5, 6\).* 6"):
        kernels.rbm_hidden(v[:, :5].copy(), w, c)
    with pytest.raises(TypeError, match="rbm_hidden: v is float64"):
        kernels.rbm_hidden(v.astype("float64"), w, c)
    with pytest.raises(ValueError, match=r"rbm_visible: .*b"):
        kernels.rbm_visible(c[None], w, c)
    with pytest.raises(ValueError, match="visible 'binary' is unknown"):
        kernels.rbm_visible(c[None], w, b, visible="binary")
    with pytest.raises(ValueError, match="steps is 0, expected at least 1"):
        cd(v, w, b, c, steps=0)
    with pytest.raises(ValueError, match="v has no row"):
        cd(v[:0], w, b, c)
    with pytest.raises(ValueError, match="chain has no row"):
        cd(v, w, b, c, chain=np.zeros((0, 5), "float32"))
    with pytest.raises(ValueError, match=r"chain \(2, 6\) has 6 units"):
        cd(v, w, b, c, chain=v[:2])
    with pytest.raises(ValueError, match="ascontiguousarray"):
        cd(v[:, ::-1], w, b, c)
    with pytest.raises(TypeError, match="v is None"):
        cd(None, w, b, c)
    with pytest.raises(TypeError, match=r"rbm_contrastive_divergence: steps is 1\.5"):
        cd(v, w, b, c, steps=1.5)
    with pytest.raises(ValueError, match=r"rbm_free_energy: v \(4, 6\), w \(5, 6\), b \(5,\)"):
        kernels.rbm_free_energy(v, w, c, c)
    with pytest.raises(TypeError, match=r"rbm_free_energy: .* float64"):
        kernels.rbm_free_energy(v, w, b.astype("float64"), c)
    with pytest.raises(TypeError, match="rbm_free_energy: b"):
        kernels.rbm_free_energy(v, w, [0.0] * 6, c)
    with pytest.raises(ValueError, match="exactly one of v and h"):
        kernels.rbm_gibbs(w, b, c)
    with pytest.raises(ValueError, match=r"seed is -1, expected 0 <= seed"):
        cd(v, w, b, c, seed=-1)


def test_machine_errors():
    x = np.random.default_rng(0).random((20, 6)).astype("float32")
    for bad, text in (
        ({"n_components": 0}, "n_components is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"steps": -1}, "steps is -1"),
        ({"visible": "real"}, "'real' is unknown"),
    ):
        with pytest.raises(ValueError, match=text):
            RBM(**{"n_components": 4, **bad}).fit(x)
    with pytest.raises(ValueError, match=r"X goes from .* Bernoulli units expect"):
        RBM(4).fit(x * 3)
    with pytest.raises(ValueError, match="NaN or infinite"):
        RBM(4).fit(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"X has shape \(6,\), expected \(N, n_features\)"):
        RBM(4).fit(x[0])
    with pytest.raises(TypeError, match="expected numbers"):
        RBM(4).fit(np.array([["a"]]))
    with pytest.raises(ValueError, match="not fitted yet"):
        RBM(4).transform(x)
    fitted = RBM(4, n_iter=1, random_state=0).fit(x)
    with pytest.raises(ValueError, match="X has 5 features, this machine was fitted to 6"):
        fitted.transform(x[:, :5])
    with pytest.raises(TypeError, match="X is float64, this machine was fitted to float32"):
        fitted.transform(x.astype("float64"))
    with pytest.raises(ValueError, match="no parameter 'depth'"):
        fitted.set_params(depth=3)
    with pytest.raises(ValueError, match="sizes is empty"):
        DBN(())
    with pytest.raises(ValueError, match="not fitted yet"):
        DBN((4,)).unroll(3)
    with pytest.raises(ValueError, match="start has 20 rows, expected 3"):
        DBN((4,), n_iter=1).fit(x).generate(3, start=x)


# ---- machines ----------------------------------------------------------------------------------


def patterns(n, seed=0):
    """Two prototypes of 12 bits with a few bits flipped."""
    rng = np.random.default_rng(seed)
    kinds = np.array([[1] * 6 + [0] * 6, [0] * 6 + [1] * 6], "float32")
    x = kinds[rng.integers(0, 2, n)]
    return np.abs(x - (rng.random(x.shape) < 0.05)).astype("float32")


@pytest.mark.parametrize("persistent", [True, False])
def test_a_machine_learns_its_data(persistent):
    x = patterns(400)
    machine = RBM(8, n_iter=20, random_state=0, persistent=persistent, learning_rate=0.05).fit(x)
    # 12 fair coins are worth 12 log 0.5 = -8.3; each bit told by the others to 95% -2.4.
    assert machine.score_samples(patterns(300, 1)).mean() > -4.0
    noise = np.random.default_rng(2).integers(0, 2, (300, 12)).astype("float32")
    assert machine.free_energy(x).mean() < machine.free_energy(noise).mean() - 2
    dreams = machine.gibbs(noise, steps=100)
    left, right = dreams[:, :6].mean(axis=1), dreams[:, 6:].mean(axis=1)
    assert np.mean(np.abs(left - right) > 0.5) > 0.9  # almost all are one of the two kinds


def test_gaussian_units_learn_means_and_directions():
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], 2000)[:, None]
    x = (sign * np.array([2.0, -2.0, 0.0]) + rng.standard_normal((2000, 3))).astype("float32")
    machine = RBM(
        4, visible="gaussian", learning_rate=0.01, n_iter=30, random_state=1, persistent=False
    ).fit(x)
    dreams = machine.gibbs(np.zeros((2000, 3), "float32"), steps=200)
    assert np.corrcoef(dreams[:, 0], dreams[:, 1])[0, 1] < -0.6  # data: -0.8
    assert abs(dreams[:, 2].mean()) < 0.2
    assert machine.score_samples(x).mean() > machine.score_samples(x[:, ::-1] * -1).mean()


def test_the_same_seed_gives_the_same_machine():
    x = patterns(64)
    a, b, other = (RBM(5, n_iter=2, random_state=s).fit(x) for s in (3, 3, 4))
    assert a.components_.tobytes() == b.components_.tobytes()
    assert a.components_.tobytes() != other.components_.tobytes()
    hl.manual_seed(8)
    c = RBM(5, n_iter=2).fit(x)
    hl.manual_seed(8)
    assert c.components_.tobytes() == RBM(5, n_iter=2).fit(x).components_.tobytes()


def test_partial_fit_and_dtypes():
    machine = RBM(5, random_state=0, batch_size=8)
    for _ in range(3):
        assert machine.partial_fit(patterns(8).astype(bool)) is machine
    assert machine.components_.dtype == np.float32
    assert machine.h_samples_.shape == (8, 5)
    with pytest.raises(ValueError, match="was fitted to 12"):
        machine.partial_fit(np.zeros((8, 11), "float32"))
    assert RBM(5, n_iter=1).fit(patterns(8).astype("float64")).components_.dtype == np.float64


def test_as_scikit_learn():
    """The same numbers as BernoulliRBM of these weights, and a place in its pipelines."""
    network = pytest.importorskip("sklearn.neural_network")
    base = pytest.importorskip("sklearn.base")
    pipeline = pytest.importorskip("sklearn.pipeline")
    linear = pytest.importorskip("sklearn.linear_model")
    x = patterns(60).astype("float64")
    ours = RBM(7, n_iter=3, random_state=0).fit(x)
    theirs = network.BernoulliRBM(7, n_iter=1, random_state=0).fit(x)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        setattr(theirs, name, getattr(ours, name).copy())
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), rtol=1e-12)
    np.testing.assert_allclose(ours.free_energy(x), theirs._free_energy(x), rtol=1e-9)
    assert ours.h_samples_.shape == theirs.h_samples_.shape
    chance = [np.mean([m.score_samples(x).mean() for _ in range(40)]) for m in (ours, theirs)]
    assert abs(chance[0] - chance[1]) < 0.3
    names = set(theirs.get_params())
    assert names <= set(ours.get_params())
    assert base.clone(ours).get_params() == ours.get_params()
    labels = x[:, 0].astype(int)
    pipe = pipeline.make_pipeline(RBM(6, n_iter=5, random_state=0), linear.LogisticRegression())
    assert pipe.fit(x, labels).score(x, labels) > 0.8


# ---- deep belief networks ----------------------------------------------------------------------


def test_deep_belief_network():
    x = patterns(300)
    dbn = DBN((10, 6), n_iter=15, random_state=0, learning_rate=0.05).fit(x)
    assert dbn.transform(x).shape == (300, 6)
    assert np.mean((dbn.reconstruct(x) - x) ** 2) < np.mean((x - x.mean(axis=0)) ** 2) / 2
    dreams = dbn.generate(200, steps=100)
    assert dreams.shape == (200, 12)
    assert np.mean(np.abs(dreams[:, :6].mean(1) - dreams[:, 6:].mean(1)) > 0.5) > 0.8
    again = dbn.generate(5, steps=1, start=x[:5])
    assert again.shape == (5, 12)


def test_unrolling_keeps_the_weights_and_copies_them():
    x = patterns(50)
    dbn = DBN((10, 6), n_iter=2, random_state=0).fit(x)
    network = dbn.unroll(3)
    assert [type(m).__name__ for m in network] == [
        "Linear",
        "Sigmoid",
        "Linear",
        "Sigmoid",
        "Linear",
    ]
    below = network[1](network[0](x))
    top = network[3](network[2](below)).numpy()
    np.testing.assert_allclose(top, dbn.transform(x), rtol=1e-5)
    network[0].weight.data[:] = 0
    assert dbn.machines[0].components_.any()
    assert network(x).shape == (50, 3)
