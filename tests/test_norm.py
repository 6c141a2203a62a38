"""Norms on arrays: data far from zero, single numbers, nothing at all, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handloom as hl
from handloom import kernels

NAN, INF = np.nan, np.inf


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def normal(x: np.ndarray, axes: tuple[int, ...], eps: float = 1e-5) -> np.ndarray:
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def batch(x: np.ndarray) -> np.ndarray:
    return kernels.batch_norm(x, None, None, None, None, training=True)[0]


FUNCTIONS = {
    "batch": (batch, lambda x: (0, 1, 2)),
    "instance": (kernels.instance_norm, lambda x: (1, 2)),
    "layer": (kernels.layer_norm, lambda x: (-1,)),
}


# accuracy


@pytest.mark.parametrize("shape", [(4, 50, 60, 33), (2, 20, 20, 3), (2, 6, 7, 600)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_data_far_from_zero_lose_nothing(name, shape, isa):
    f, axes = FUNCTIONS[name]
    if name == "layer" and shape[-1] == 3:
        shape = (2, 20, 20, 65)
    x = 1e4 + numbers(*shape)  # neighbouring float32 are 0.001 apart here
    # E[x^2] - E[x]^2 would be wrong by 10 or more, a mean rounded to float32 by 5e-4.
    assert np.abs(f(x) - normal(x, axes(x))).max() < 1e-4


def test_an_outlier_in_the_first_row_does_not_spoil_the_variance(isa):
    x = np.zeros((20000, 2), np.float32)
    x[0] = 1e4
    x[1:, 1] = 1e-2 * numbers(19999)
    _, mean, rstd = kernels.batch_norm(x, None, None, None, None, training=True, eps=0)
    x = x.astype(np.float64)
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-6 * x.std())
    np.testing.assert_allclose(rstd, 1 / x.std(0), rtol=1e-5)
    tail = x[1:, 1:].astype(np.float32)
    _, mean, rstd = kernels.batch_norm(tail, None, None, None, None, training=True, eps=0)
    np.testing.assert_allclose(rstd, 1 / x[1:, 1:].std(0), rtol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_constants_have_no_variance(name, isa):
    f, _ = FUNCTIONS[name]
    for value in (0.1, -7.3e5):  # sums of 0.1 are not exact
        assert (
            np.abs(f(np.full((3, 11, 13, 37), value, np.float32))).max() < 0.3 * (value < 0) + 1e-5
        )


def test_running_statistics_are_pytorchs():
    x = numbers(5, 4, 3, dtype="float64")
    mean, var = np.full(3, 2.0), np.full(3, 3.0)
    kernels.batch_norm(x, None, None, mean, var, training=True, momentum=0.25)
    flat = x.reshape(-1, 3)
    np.testing.assert_allclose(mean, 1.5 + 0.25 * flat.mean(0))
    np.testing.assert_allclose(var, 2.25 + 0.25 * flat.var(0, ddof=1))
    mean, var = np.full(3, 2.0), np.full(3, 3.0)
    kernels.instance_norm(x, running_mean=mean, running_var=var, momentum=0.25)
    np.testing.assert_allclose(mean, 1.5 + 0.25 * x.mean(1).mean(0))
    np.testing.assert_allclose(var, 2.25 + 0.25 * x.var(1, ddof=1).mean(0))


def test_evaluation_uses_and_keeps_the_running_statistics(isa):
    x, w, b = numbers(6, 5, 7), numbers(7, seed=1), numbers(7, seed=2)
    mean, var = numbers(7, seed=3), 1 + numbers(7, seed=4) ** 2
    before = mean.copy(), var.copy()
    y = kernels.batch_norm(x, w, b, mean, var, training=False)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5) * w + b, rtol=1e-5, atol=1e-5)
    assert (mean == before[0]).all()
    assert (var == before[1]).all()
    rstd = 1 / np.sqrt(var + np.float32(1e-5))
    dy = numbers(6, 5, 7, seed=5)
    dx, dw, db = kernels.batch_norm_backward(dy, x, w, mean, rstd, training=False)
    np.testing.assert_allclose(dx, dy * w * rstd, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dw, (dy * (x - mean) * rstd).sum((0, 1)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(db, dy.sum((0, 1)), rtol=1e-4, atol=1e-4)


# what is fused and what is left out


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu", "tanh", "gelu", "elu"])
@pytest.mark.parametrize("shape", [(9, 5), (3, 40, 41, 6), (2, 30, 700)])
def test_a_fused_activation_gives_the_same_bits(activation, shape, isa):
    x, c = numbers(*shape), shape[-1]
    w, b = numbers(c, seed=1), numbers(c, seed=2)
    dy = numbers(*shape, seed=3)
    act, slope = getattr(kernels, activation), getattr(kernels, activation + "_backward")
    z, mean, rstd = kernels.batch_norm(x, w, b, None, None, training=True)
    y, *_ = kernels.batch_norm(x, w, b, None, None, training=True, activation=activation)
    assert (y == act(z)).all()
    got = kernels.batch_norm_backward(dy, x, w, mean, rstd, bias=b, activation=activation)
    dz = slope(dy, z, y=y)
    for one, other in zip(got, kernels.batch_norm_backward(dz, x, w, mean, rstd)):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


def test_only_wanted_gradients_are_made():
    x, w = numbers(4, 5, 6), numbers(6)
    _, mean, rstd = kernels.batch_norm(x, w, w, None, None, training=True)
    full = kernels.batch_norm_backward(x, x, w, mean, rstd)
    for i, name in enumerate(("x", "weight", "bias")):
        one = kernels.batch_norm_backward(x, x, w, mean, rstd, need=(name,))
        assert [g is not None for g in one] == [k == i for k in range(3)]
        assert (one[i] == full[i]).all()
    for shape in ((40, 6), (3, 20000)):
        x, w = numbers(*shape), numbers(shape[1])
        _, saved = kernels.layer_norm(x, w, w, return_saved=True)
        full = kernels.layer_norm_backward(x, x, w, saved=saved)
        for i, name in enumerate(("x", "weight", "bias")):
            one = kernels.layer_norm_backward(x, x, w, saved=saved, need=(name,))
            assert [g is not None for g in one] == [k == i for k in range(3)]
            assert (one[i] == full[i]).all()


def test_no_weight_is_a_weight_of_one(isa):
    x, dy = numbers(7, 33), numbers(7, 33, seed=1)
    one, none = np.ones(33, np.float32), np.zeros(33, np.float32)
    assert (kernels.layer_norm(x) == kernels.layer_norm(x, one, none)).all()
    assert (batch(x) == kernels.batch_norm(x, one, none, None, None, training=True)[0]).all()
    y, rstd = kernels.pixel_norm(x, return_saved=True)
    assert (y == kernels.rms_norm(x, one, eps=1e-8)).all()
    (dx, _) = kernels.rms_norm_backward(dy, x, one, saved=rstd)
    assert (kernels.pixel_norm_backward(dy, x, saved=rstd) == dx).all()


def test_results_past_the_caches_are_the_same(isa):
    x = numbers(1 << 13, 520)  # 16.25 MB: stored past the caches
    part, w = np.ascontiguousarray(x[: 1 << 10]), numbers(520, seed=1)
    _, saved = kernels.layer_norm(x, w, return_saved=True)
    assert (kernels.layer_norm(x, w)[: 1 << 10] == kernels.layer_norm(part, w)).all()
    mean, var = x.mean(0), x.var(0)
    for c in (520, 64, 3):  # strips of columns, wide rows, channels folded into rows
        y = x.reshape(-1)[: x.size // c * c].reshape(-1, c)
        m, v = mean[:c].copy(), var[:c].copy()
        whole = kernels.batch_norm(y, None, None, m, v, training=False, activation="relu")
        half = kernels.batch_norm(y[: len(y) // 4], None, None, m, v, training=False)
        assert (whole[: len(half)] == np.maximum(half, 0)).all()
        dx, *_ = kernels.batch_norm_backward(y, y, None, m, v, training=False, need=("x",))
        np.testing.assert_allclose(dx, y * v, rtol=1e-6)
    del saved


# not a number, one number, no number


def test_nan_stays_in_its_channel_or_row(isa):
    x = numbers(20, 37)
    x[3, 5], x[4, 36] = NAN, INF
    y = batch(x)
    assert np.isnan(y[:, [5, 36]]).all()
    assert np.isfinite(np.delete(y, [5, 36], axis=1)).all()
    y = kernels.layer_norm(x)
    assert np.isnan(y[[3, 4]]).all()
    assert np.isfinite(np.delete(y, [3, 4], axis=0)).all()


def test_two_numbers_and_one():
    x = np.array([[1.0], [3.0]])
    y, mean, rstd = kernels.batch_norm(x, None, None, None, None, training=True)
    np.testing.assert_allclose(y, [[-1], [1]], rtol=1e-5)
    np.testing.assert_allclose(kernels.batch_norm_backward(x, x, None, mean, rstd)[0], 0, atol=1e-4)
    assert kernels.layer_norm(np.array([[7.0]]), np.array([2.0]), np.array([3.0])) == 3
    np.testing.assert_allclose(kernels.pixel_norm(np.array([[-7.0]])), -1)


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 4), (1, 1, 1, 4)])
def test_one_value_per_channel_cannot_be_normalised(shape):
    x = np.ones(shape, np.float32)
    with pytest.raises(ValueError, match=r"batch_norm: x has shape .*: one value per channel"):
        kernels.batch_norm(x, None, None, None, None, training=True)
    mean = np.zeros(4, np.float32)
    assert (kernels.batch_norm(x, None, None, mean, mean + 1, training=False) > 0.99).all()
    if len(shape) > 2:
        with pytest.raises(ValueError, match=r"instance_norm: .*: one spatial position"):
            kernels.instance_norm(np.ones((5, *shape[1:]), np.float32))
    with pytest.raises(ValueError, match=r"group_norm: .*: one value per group"):
        kernels.group_norm(x, 4)
    kernels.group_norm(x, 2)


def test_nothing_is_normalised_to_nothing():
    for shape in ((0, 4), (3, 0), (0, 5, 5, 4), (2, 0, 4), (2, 5, 0)):
        x = np.ones(shape, np.float32)
        c = shape[-1]
        stats = np.full(c, 5, np.float32), np.full(c, 6, np.float32)
        y, mean, rstd = kernels.batch_norm(x, None, None, *stats, training=True)
        assert y.shape == shape
        assert np.isnan(mean).all()
        assert (stats[0] == 5).all()
        dx, dw, db = kernels.batch_norm_backward(x, x, None, mean, rstd)
        assert dx.shape == shape
        assert (dw == 0).all()
        assert (db == 0).all()
        y, saved = kernels.layer_norm(x, return_saved=True)
        assert y.shape == shape
        dx, dw, db = kernels.layer_norm_backward(x, x, saved=saved)
        assert (dw == 0).all()
        assert kernels.minibatch_stddev(x[..., :1]).shape[-1] == min(c, 1) + 1 if c else True


# minibatch standard deviation


def test_minibatch_stddev_is_zero_for_equal_images_and_sees_groups_apart():
    x = np.repeat(numbers(1, 4, 4, 6), 8, axis=0)
    y = kernels.minibatch_stddev(x)
    assert (y[..., :6] == x).all()
    np.testing.assert_allclose(y[..., 6], 1e-4, rtol=1e-3)
    x[1] += 2  # images 1, 3, 5, 7 are a group
    y = kernels.minibatch_stddev(x)
    np.testing.assert_allclose(y[::2, ..., 6], 1e-4, rtol=1e-3)
    np.testing.assert_allclose(y[1::2, ..., 6], np.std([2, 0, 0, 0]), rtol=1e-4)


# the whole space


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.integers(1, 70),
    st.sampled_from(["float32", "float64"]),
    st.floats(-3, 3),
)
def test_every_shape_comes_out_with_mean_zero_and_variance_one(lead, c, dtype, offset):
    x = (numbers(*lead, c, dtype=dtype) + offset).astype(dtype)
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    rows = tuple(range(x.ndim - 1))
    if x.size > c:
        np.testing.assert_allclose(batch(x), normal(x, rows), atol=tolerance)
    if np.prod(lead[1:]) > 1:
        np.testing.assert_allclose(
            kernels.instance_norm(x), normal(x, rows[1:]), atol=30 * tolerance
        )
    np.testing.assert_allclose(kernels.layer_norm(x), normal(x, (-1,)), atol=30 * tolerance)
    y = kernels.layer_norm(x, normalized_shape=x.shape[1:])
    np.testing.assert_allclose(y, normal(x, tuple(range(1, x.ndim))), atol=30 * tolerance)


def attempt(call):
    try:
        y = call()
    except (ValueError, TypeError):
        return None
    return y[0] if isinstance(y, tuple) else y


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 4), st.integers(0, 6), st.integers(-1, 6), st.data())
def test_wrong_arguments_raise_and_never_crash(ndim, c, groups, data):
    shape = tuple(data.draw(st.integers(0, 3)) for _ in range(max(ndim - 1, 0)))
    x = np.ones((*shape, c)[:ndim], data.draw(st.sampled_from(["float32", "int64", "float64"])))
    w = np.ones(data.draw(st.integers(0, 6)), x.dtype)
    for call in (
        lambda: kernels.batch_norm(x, w, w, None, None, training=True),
        lambda: kernels.instance_norm(x, w, w),
        lambda: kernels.group_norm(x, groups, w, w),
        lambda: kernels.adain(x, w, w),
        lambda: kernels.layer_norm(x, w, w),
        lambda: kernels.rms_norm(x, w),
        lambda: kernels.pixel_norm(x),
        lambda: kernels.minibatch_stddev(x, groups, 1),
    ):
        y = attempt(call)
        assert y is None or y.shape[:-1] == x.shape[:-1]


def test_errors_name_the_argument():
    x, w = np.ones((2, 3, 4, 5), np.float32), np.ones(3, np.float32)
    with pytest.raises(
        ValueError,
        match=r"batch_norm: weight has shape \(3,\), expected \(5,\) for x \(2, 3, 4, 5\); "
        r"x is \(N, ..., C\) here, features last",
    ):
        kernels.batch_norm(x, w, None, None, None, training=True)
    with pytest.raises(ValueError, match="running_mean and running_var are None"):
        kernels.batch_norm(x, None, None, None, None, training=False)
    frozen = np.zeros(5, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="batch_norm: running_mean is read-only"):
        kernels.batch_norm(x, None, None, frozen, None, training=True)
    with pytest.raises(TypeError, match="bias is float64 but x is float32"):
        kernels.batch_norm(x, None, np.ones(5), None, None, training=True)
    with pytest.raises(ValueError, match="group_norm: num_groups is 2, which does not"):
        kernels.group_norm(x, 2)
    with pytest.raises(ValueError, match=r"adain: scale has shape \(5,\), expected \(2, 5\)"):
        kernels.adain(x, np.ones(5, np.float32), np.ones(5, np.float32))
    with pytest.raises(ValueError, match=r"layer_norm: x has shape .* normalized_shape \(3, 5\)"):
        kernels.layer_norm(x, normalized_shape=(3, 5))
    with pytest.raises(ValueError, match=r"layer_norm: bias has shape \(3,\), expected \(5,\)"):
        kernels.layer_norm(x, np.ones(5, np.float32), w)
    with pytest.raises(ValueError, match=r"layer_norm: eps is -1\.0"):
        kernels.layer_norm(x, eps=-1)
    with pytest.raises(ValueError, match="x is not contiguous"):
        kernels.layer_norm(x.swapaxes(1, 2))
    with pytest.raises(ValueError, match="unknown activation 'sign'"):
        kernels.instance_norm(x, activation="sign")
    with pytest.raises(ValueError, match="group_size is 3, which does not divide the 4 images"):
        kernels.minibatch_stddev(np.ones((4, 2), np.float32), 3)
    with pytest.raises(ValueError, match="need has 'w', choose from x, weight, bias"):
        kernels.layer_norm_backward(x, x, saved=(x[..., 0], x[..., 0]), need=("w",))


def test_explain_counts_the_passes():
    (forward,) = kernels.explain(
        "batch_norm", (8, 32, 32, 64), None, None, None, None, training=True
    )
    assert forward.kernel == "channel_norm_forward"
    assert forward.bytes == 2 * 8 * 32 * 32 * 64 * 4
    assert forward.bound == "memory"
