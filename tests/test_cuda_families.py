"""What tests/test_cuda.py does not reach by cases: functions in place, random numbers, and sizes
that a card takes apart. The CPU is the reference here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import handloom as hl
from handloom import kernels

if not hl.cuda.is_available():
    pytest.skip(f"CUDA: {hl.cuda.state()}", allow_module_level=True)

DTYPES = ["float32", "float64"]
KINDS: list[tuple[str, dict[str, float]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "dampening": 0.1}),
    ("sgd", {"momentum": 0.9, "nesterov": 1, "maximize": 1}),
    ("adagrad", {"lr_decay": 0.1, "eps": 1e-10}),
    ("rmsprop", {"alpha": 0.99, "eps": 1e-8}),
    ("rmsprop", {"alpha": 0.9, "eps": 1e-8, "momentum": 0.9, "centered": 1}),
    ("adam", {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    ("adam", {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": 1}),
    ("adamw", {"beta1": 0.4, "beta2": 0.999, "eps": 1e-8}),
    ("adadelta", {"rho": 0.9, "eps": 1e-6}),
    ("adamax", {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    ("nadam", {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum_decay": 0.004}),
    ("radam", {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "decoupled": 1}),
    ("lion", {"beta1": 0.9, "beta2": 0.99}),
]


def device(values: Any) -> Any:
    return [None if v is None else hl.cuda.array(v) for v in values]


def close(got: Any, expected: Any, factor: float = 16) -> None:
    got = got.numpy() if isinstance(got, hl.cuda.Array) else np.asarray(got)
    assert got.dtype == expected.dtype
    tolerance = factor * np.finfo(got.dtype).eps
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda v: str(v))
def test_optimisers(kind: str, options: dict[str, float], dtype: str) -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (0,), (7,), (70, 70), ()]
    host = [np.asarray(rng.standard_normal(s), dtype) for s in shapes]
    params = device(host)
    hyper = kernels.optim_hyper(kind, lr=0.01, weight_decay=0.1, **options)
    kept, counted = kernels.optim_state(kind, host, hyper)
    states, progress = kernels.optim_state(kind, params, hyper)
    for step in range(7):
        grads: list[Any] = [np.asarray(rng.standard_normal(s), dtype) for s in shapes]
        grads[2] = grads[2] if step % 3 else None
        kernels.optim_step(kind, host, grads, kept, counted, hyper)
        kernels.optim_step(kind, params, device(grads), states, progress, hyper)
    np.testing.assert_array_equal(progress, counted)
    for w, expected in zip(params, host, strict=True):
        close(w, expected, 64)


def test_an_optimiser_steps_rows() -> None:
    w = np.ones((6, 3), np.float32)
    rows, values = np.array([1, 4]), np.full((2, 3), 2.0, np.float32)
    params = device([w])
    hyper = kernels.optim_hyper("sgd", lr=0.5)
    states, progress = kernels.optim_state("sgd", params, hyper)
    grads = [tuple(device([rows, values]))]
    kernels.optim_step("sgd", params, grads, states, progress, hyper)  # type: ignore[arg-type]
    w[rows] -= 1
    close(params[0], w)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_tensors_at_once(dtype: str) -> None:
    rng = np.random.default_rng(1)
    host = [np.asarray(rng.standard_normal(n), dtype) for n in (1, 5000, 0, 9000)]
    for order in (1.0, 2.0, np.inf):
        expected = kernels.multi_norm(host, order)
        assert kernels.multi_norm(device(host), order) == pytest.approx(expected, rel=1e-12)
    assert kernels.multi_norm(device([np.empty(0, dtype)])) == 0
    for function, args in (
        (kernels.multi_scale, (0.3,)),
        (kernels.multi_clamp, (-0.1, 0.2)),
    ):
        arrays = device(host)
        function(arrays, *args)
        function(host, *args)
        for got, expected in zip(arrays, host, strict=True):
            close(got, expected)
    arrays, others = device(host), [h + 1 for h in host]
    kernels.multi_lerp(arrays, device(others), 0.25)
    kernels.multi_lerp(host, others, 0.25)
    for got, expected in zip(arrays, host, strict=True):
        close(got, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(30000,), (3, 20000), (12000, 3)])
def test_long_sums_are_cut_into_pieces(shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    d = hl.cuda.array(x)
    for axis in (None, *range(x.ndim)):
        for name in ("sum", "var", "logsumexp", "max", "norm"):
            function = getattr(kernels, name)
            close(function(d, axis), function(x, axis), 64)
        np.testing.assert_array_equal(kernels.argmax(d, axis).numpy(), kernels.argmax(x, axis))
    bias = np.zeros(shape[-1:], dtype)
    _, db = kernels.add_backward(d, d, hl.cuda.array(bias))
    close(db, kernels.add_backward(x, x, bias)[1], 64)


def test_long_lines_are_sorted_in_runs() -> None:
    x = np.random.default_rng(3).integers(0, 50, (2, 2500)).astype(np.float32)
    x[0, 3], x[1, 5] = np.nan, -0.0
    for descending in (False, True):
        got = kernels.sort(hl.cuda.array(x), descending=descending)
        for g, expected in zip(got, kernels.sort(x, descending=descending), strict=True):
            np.testing.assert_array_equal(g.numpy(), expected)


def test_a_place_that_is_named_twice_adds_up() -> None:
    dy, at = np.arange(6.0).reshape(2, 3), np.array([[0, 2, 0], [1, 0, 2]])
    got = kernels.sort_backward(hl.cuda.array(dy), hl.cuda.array(at), 3)
    np.testing.assert_array_equal(got.numpy(), kernels.sort_backward(dy, at, 3))


@pytest.mark.parametrize("repeats", [1, 700])
def test_rows_and_places_add_up(repeats: int) -> None:
    rng = np.random.default_rng(4)
    at = rng.integers(0, 5, 3 * repeats)
    dy = rng.standard_normal((3 * repeats, 4))
    got = kernels.take_backward(hl.cuda.array(dy), hl.cuda.array(at), 7)
    close(got, kernels.take_backward(dy, at, 7), 64)
    index = rng.integers(0, 5, dy.shape)
    got = kernels.gather_backward(hl.cuda.array(dy), hl.cuda.array(index), (9, 4), axis=0)
    close(got, kernels.gather_backward(dy, index, (9, 4), axis=0), 64)


def drawn() -> list[Any]:
    """A draw of every sort, on the device that is set."""
    bits = {"seed": 2**63 + 5, "call": 3}
    return [
        kernels.uniform(1001, low=-0.3, high=1.7, dtype="float32", **bits),
        kernels.uniform((7, 13), dtype="float64", **bits),
        kernels.bernoulli(77, p=0.3, dtype="bool", **bits),
        kernels.bernoulli(77, p=1.0, dtype="float32", **bits),
        kernels.integers(-5, 2**62 + 2**61, 501, **bits),
        kernels.permutation(3000, **bits),
        kernels.permutation(1, **bits),
        kernels.permutation(0, **bits),
        kernels.uniform((0, 3), **bits),
        hl._C.random_words(700, seed=3, call=5, block=2),
    ]


@contextmanager
def made_on_device() -> Iterator[None]:
    before = hl._C.gpu.set_default(0)
    try:
        yield
    finally:
        hl._C.gpu.set_default(before)


def test_random_numbers_have_the_same_bits() -> None:
    expected = drawn()
    with made_on_device():
        got = drawn()
        normal = [kernels.normal(999, mean=1, std=2, dtype=d, seed=1, call=4) for d in DTYPES]
    for g, e in zip(got, expected, strict=True):
        assert isinstance(g, hl.cuda.Array)
        assert g.dtype == e.dtype
        np.testing.assert_array_equal(g.numpy(), e)
    for g, dtype in zip(normal, DTYPES, strict=True):
        close(g, kernels.normal(999, mean=1, std=2, dtype=dtype, seed=1, call=4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_masks_have_the_same_bits(dtype: str) -> None:
    calls = np.array([5, 0, 9])
    on_card = hl.cuda.array(calls)
    got = kernels.uniform_rows(on_card, 11, dtype=dtype, seed=2)
    np.testing.assert_array_equal(got.numpy(), kernels.uniform_rows(calls, 11, dtype=dtype, seed=2))
    close(kernels.normal_rows(on_card, 11, seed=2), kernels.normal_rows(calls, 11, seed=2))
    x = np.random.default_rng(5).standard_normal((3, 5, 7)).astype(dtype)
    for kind in ("element", "feature", "alpha", "feature_alpha"):
        got = kernels.dropout(hl.cuda.array(x), 0.4, kind=kind, seed=8)
        np.testing.assert_array_equal(got.numpy(), kernels.dropout(x, 0.4, kind=kind, seed=8))
        got = kernels.dropout_backward(hl.cuda.array(x), 0.4, kind=kind, seed=8)
        np.testing.assert_array_equal(
            got.numpy(), kernels.dropout_backward(x, 0.4, kind=kind, seed=8)
        )


# ---- what looks at all of an array, or makes one -------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_number_that_is_not_finite_is_found(dtype: str) -> None:
    for x in (np.zeros(0, dtype), np.full((3, 700), np.finfo(dtype).max, dtype)):
        assert hl._C.isfinite_all(hl.cuda.array(x)) is True
    for value in (np.nan, np.inf, -np.inf):
        for at in (0, 1234, 2099):
            x = np.zeros((3, 700), dtype)
            x.flat[at] = value
            assert hl._C.isfinite_all(hl.cuda.array(x)) is False


@pytest.mark.parametrize("shape", [(7,), (300, 5), (0,), ()])
def test_one_hot(shape: tuple[int, ...]) -> None:
    index = np.random.default_rng(3).integers(0, 9, shape)
    got = hl._C.one_hot(hl.cuda.array(index), 9)
    assert isinstance(got, hl.cuda.Array)
    np.testing.assert_array_equal(got.numpy(), np.eye(9, dtype=np.int64)[index])


def test_regions_are_proposed() -> None:
    rng = np.random.default_rng(4)
    image = np.repeat(np.repeat(rng.random((5, 6, 3)), 6, 0), 5, 1).astype("float32")
    expected = kernels.selective_search(image, scale=(1.0, 3.0), min_size=4)
    assert len(expected) > 3
    got = kernels.selective_search(hl.cuda.array(image), scale=(1.0, 3.0), min_size=4)
    np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("kind", ["read", "write", "copy"])
def test_the_ruler_of_bandwidth_runs(kind: str) -> None:
    with made_on_device():
        assert hl._C.bench_bandwidth(kind, 1 << 20, 0.0) > 0
