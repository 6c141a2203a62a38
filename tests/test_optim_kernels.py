"""Optimiser steps: the published formulas, over any list of tensors, in one call."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import kernels
from reference import optim as oracle

BETAS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
# name → (kind, numbers): every option of every kind, alone and together.
RECIPES = {
    "sgd": ("sgd", {"lr": 0.1}),
    "sgd-decay-maximize": ("sgd", {"lr": 0.1, "weight_decay": 0.1, "maximize": 1}),
    "sgd-momentum": ("sgd", {"lr": 0.1, "momentum": 0.9}),
    "sgd-dampening": ("sgd", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "sgd-nesterov": ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": 1, "weight_decay": 0.01}),
    "adagrad": ("adagrad", {"lr": 0.1, "eps": 1e-10}),
    "adagrad-decay": ("adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-10}),
    "rmsprop": ("rmsprop", {"lr": 0.01, "alpha": 0.99, "eps": 1e-8}),
    "rmsprop-momentum": ("rmsprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-8, "momentum": 0.9}),
    "rmsprop-centered": (
        "rmsprop",
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "centered": 1, "weight_decay": 0.1},
    ),
    "rmsprop-all": (
        "rmsprop",
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "centered": 1, "momentum": 0.9, "maximize": 1},
    ),
    "adam": ("adam", {"lr": 0.01, **BETAS}),
    "adam-decay": ("adam", {"lr": 0.01, "weight_decay": 0.1, **BETAS}),
    "adam-amsgrad": ("adam", {"lr": 0.01, "amsgrad": 1, **BETAS, "maximize": 1}),
    "adamw": ("adamw", {"lr": 0.01, "weight_decay": 0.1, **BETAS}),
    "adamw-amsgrad": ("adamw", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": 1, **BETAS}),
    "adadelta": ("adadelta", {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    "adadelta-decay": ("adadelta", {"lr": 0.5, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.1}),
    "adamax": ("adamax", {"lr": 0.01, **BETAS, "weight_decay": 0.1}),
    "nadam": ("nadam", {"lr": 0.01, **BETAS, "momentum_decay": 4e-3, "weight_decay": 0.1}),
    "nadam-decoupled": (
        "nadam",
        {"lr": 0.01, **BETAS, "momentum_decay": 4e-3, "weight_decay": 0.1, "decoupled": 1},
    ),
    "radam": ("radam", {"lr": 0.01, **BETAS, "weight_decay": 0.1}),
    "radam-decoupled": ("radam", {"lr": 0.01, **BETAS, "weight_decay": 0.1, "decoupled": 1}),
    "lion": ("lion", {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}),
}
SHAPES = ((3, 5), (), (0, 4), (7,), (20011,), (1,), (16, 33))
STEPS = 10


@pytest.fixture(params=hl.available_isas())
def isa(request):
    with hl.use_isa(request.param):
        yield request.param


@pytest.fixture
def threads():
    before = hl.get_num_threads()
    yield hl.set_num_threads
    hl.set_num_threads(before)


def data(dtype: str, shapes=SHAPES, steps=STEPS):
    rng = np.random.default_rng(1)
    params = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    params = [np.asarray(p) for p in params]
    grads = [
        [np.asarray(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
        for _ in range(steps)
    ]
    return params, grads


def train(kind, numbers, params, grads, lr_factor=1.0):
    """Our steps, in place; returns states and progress."""
    hyper = kernels.optim_hyper(kind, **numbers)
    states, progress = kernels.optim_state(kind, params, hyper)
    plist = kernels.ParamList(kind, params, states, progress, hyper)
    for grad in grads:
        plist.step(grad)
        hyper[0] *= lr_factor
    return states, progress


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_ten_steps_against_the_oracle(recipe, dtype, isa):
    kind, numbers = RECIPES[recipe]
    params, grads = data(dtype)
    runs = []
    for precision in ("float64", dtype):
        copies = [p.astype(precision) for p in params]
        moved = [np.zeros(p.shape) for p in params]
        states = [{} for _ in params]
        for i, grad in enumerate(grads):
            h = {**numbers, "lr": numbers["lr"] * 0.9**i}
            for w, g, s, way in zip(copies, grad, states, moved):
                before = w.copy()
                oracle.step(kind, w, g.astype(precision), s, h)
                way += np.abs(w - before)
        runs.append((copies, moved))
    train(kind, numbers, params, grads, lr_factor=0.9)
    (exact, moved), (rounded, _) = runs
    eps = np.finfo(dtype).eps
    for w, y64, y32, start, way in zip(params, exact, rounded, data(dtype)[0], moved):
        assert w.dtype == dtype
        # The tolerance of the kernels: S is all that was added up, once a step.
        size = np.abs(start) + way
        own = float(np.abs(y32 - y64).max(initial=0.0))
        assert (np.abs(w - y64) <= 2 * np.maximum(own, 4 * eps * size)).all()


TORCH = {
    "sgd": ("SGD", {"momentum": "momentum", "dampening": "dampening", "nesterov": "nesterov"}),
    "adagrad": ("Adagrad", {"lr_decay": "lr_decay"}),
    "rmsprop": ("RMSprop", {"alpha": "alpha", "momentum": "momentum", "centered": "centered"}),
    "adam": ("Adam", {"amsgrad": "amsgrad"}),
    "adamw": ("AdamW", {"amsgrad": "amsgrad"}),
    "adadelta": ("Adadelta", {"rho": "rho"}),
    "adamax": ("Adamax", {}),
    "nadam": ("NAdam", {"momentum_decay": "momentum_decay", "decoupled": "decoupled_weight_decay"}),
    "radam": ("RAdam", {"decoupled": "decoupled_weight_decay"}),
}
FLAGS = {"nesterov", "centered", "amsgrad", "decoupled", "maximize"}


@pytest.mark.parametrize("recipe", [r for r in RECIPES if RECIPES[r][0] in TORCH])
def test_ten_steps_against_torch(recipe, request):
    """In float64, where the two may differ by rounding only."""
    torch = pytest.importorskip("torch")
    kind, numbers = RECIPES[recipe]
    name, renamed = TORCH[kind]
    names = {
        "lr": "lr",
        "weight_decay": "weight_decay",
        "maximize": "maximize",
        "eps": "eps",
        **renamed,
    }
    options = {
        names[key]: bool(value) if key in FLAGS else value
        for key, value in numbers.items()
        if key in names
    }
    if "beta1" in numbers:
        options["betas"] = (numbers["beta1"], numbers["beta2"])
    params, grads = data("float64", SHAPES)
    # torch keeps NAdam's product of momenta in the default type.
    torch.set_default_dtype(torch.float64)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    theirs = [torch.tensor(p.copy(), requires_grad=True) for p in params]
    optimizer = getattr(torch.optim, name)(theirs, **options)
    for grad in grads:
        for w, g in zip(theirs, grad):
            w.grad = torch.tensor(g)
        optimizer.step()
    train(kind, numbers, params, grads)
    for ours, w in zip(params, theirs):
        np.testing.assert_allclose(ours, w.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in RECIPES.values()}))
def test_threads_do_not_change_bits(kind, threads):
    numbers = RECIPES[kind][1]
    results = []
    for n in (1, 2, 4):
        threads(n)
        params, grads = data("float32", ((50000,), (3, 5), (40000,)), 3)
        train(kind, numbers, params, grads)
        results.append(b"".join(p.tobytes() for p in params))
    assert results[0] == results[1] == results[2]


def test_grouping_does_not_change_bits():
    """A tensor's numbers do not depend on its neighbours in the list."""
    params, grads = data("float32")
    alone = [p.copy() for p in params]
    kind, numbers = RECIPES["adam"]
    train(kind, numbers, params, grads)
    for i, w in enumerate(alone):
        train(kind, numbers, [w], [[g[i]] for g in grads])
        assert w.tobytes() == params[i].tobytes()


def test_a_missing_gradient_leaves_parameter_state_and_step_alone():
    kind, numbers = RECIPES["nadam"]
    params, grads = data("float64", ((4,), (5,)), 6)
    expected = [p.copy() for p in params]
    hyper = kernels.optim_hyper(kind, **numbers)
    states, progress = kernels.optim_state(kind, params, hyper)
    plist = kernels.ParamList(kind, params, states, progress, hyper)
    for i, (a, b) in enumerate(grads):
        plist.step([a, b if i % 2 else None])
    train(kind, numbers, expected[:1], [[a] for a, _ in grads])
    train(kind, numbers, expected[1:], [[b] for _, b in grads[1::2]])
    for w, y in zip(params, expected):
        np.testing.assert_array_equal(w, y)
    assert progress[:, 0].tolist() == [6, 3]
    plist.step([None, None])
    assert progress[:, 0].tolist() == [6, 3]


def test_resuming_from_saved_state():
    for kind in ("sgd", "nadam", "adam"):
        numbers = RECIPES["sgd-momentum" if kind == "sgd" else kind][1]
        whole, grads = data("float32")
        parts = [p.copy() for p in whole]
        train(kind, numbers, whole, grads)
        states, progress = train(kind, numbers, parts, grads[:4])
        states = [[None if a is None else a.copy() for a in s] for s in states]
        hyper = kernels.optim_hyper(kind, **numbers)
        for grad in grads[4:]:
            kernels.optim_step(kind, parts, grad, states, progress, hyper)
        for a, b in zip(whole, parts):
            assert a.tobytes() == b.tobytes()


def test_holds_knows_its_arrays():
    params, _ = data("float32")
    hyper = kernels.optim_hyper("sgd", lr=1.0)
    plist = kernels.ParamList("sgd", params, *kernels.optim_state("sgd", params, hyper), hyper)
    assert plist.holds(list(params))
    assert not plist.holds(params[:-1])
    assert not plist.holds([p.copy() for p in params])
    assert len(plist) == len(params)
    assert plist.kind == "sgd"


# ---- norms and all that is done to every gradient ------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multi_norm(dtype, isa):
    arrays, _ = data(dtype)
    flat = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
    for order in (1.0, 2.0, np.inf):
        exact = (
            float(np.linalg.norm(flat.astype(np.longdouble), order))
            if order != 2
            else float(np.sqrt((flat.astype(np.longdouble) ** 2).sum()))
        )
        assert abs(kernels.multi_norm(arrays, order) - exact) <= 1e-13 * exact
    assert kernels.multi_norm([]) == 0.0
    assert kernels.multi_norm([np.empty(0, dtype)]) == 0.0


def test_multi_norm_of_huge_floats_does_not_overflow():
    assert kernels.multi_norm([np.full(100, 1e38, np.float32)]) == pytest.approx(1e39)


@pytest.mark.parametrize("order", [1.0, 2.0, np.inf])
def test_multi_norm_sees_nan_and_infinity_anywhere(order, isa):
    for at in (0, 5, 16, 30, 16383, 16384, 40000):
        x = np.ones(40001, np.float32)
        x[at] = np.nan
        assert np.isnan(kernels.multi_norm([np.ones(3, np.float32), x], order))
        x[at] = -np.inf
        assert kernels.multi_norm([x], order) == np.inf


def test_multi_norm_bits_do_not_depend_on_threads(threads):
    arrays = [np.random.default_rng(i).standard_normal(70000).astype(np.float32) for i in range(3)]
    results = set()
    for n in (1, 2, 4):
        threads(n)
        results.add(kernels.multi_norm(arrays))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scale_clamp_lerp(dtype, isa):
    arrays, (others,) = data(dtype, steps=1)
    before = [a.copy() for a in arrays]
    kernels.multi_scale(arrays, 0.3)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(a, b * np.dtype(dtype).type(0.3))
    arrays[0][0, 0] = np.nan
    before = [a.copy() for a in arrays]
    kernels.multi_clamp(arrays, -0.1, 0.2)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(
            a, np.clip(b, np.dtype(dtype).type(-0.1), np.dtype(dtype).type(0.2))
        )
    before = [a.copy() for a in arrays]
    kernels.multi_lerp(arrays, others, 0.01)
    for a, b, c in zip(arrays, before, others):
        expected = b + 0.01 * (c.astype(np.float64) - b)
        scale = np.finfo(dtype).eps * (np.abs(b) + np.abs(c))
        assert not (np.abs(a - expected) > 2 * scale).any()
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


def make(kind="adam", params=None, states=None, progress=None, hyper=None):
    params = [np.ones(3, np.float32)] if params is None else params
    hyper = kernels.optim_hyper(kind, lr=0.1) if hyper is None else hyper
    own_states, own_progress = kernels.optim_state(kind, params, hyper)
    return kernels.ParamList(
        kind,
        params,
        own_states if states is None else states,
        own_progress if progress is None else progress,
        hyper,
    )


A = np.ones(3, np.float32)
READ_ONLY = np.ones(3, np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: kernels.optim_hyper("ftrl"), ValueError, "kind is 'ftrl', expected one of sgd"),
        (lambda: kernels.optim_hyper("sgd", beta1=1), ValueError, "sgd has no 'beta1'"),
        (
            lambda: kernels.ParamList("ftrl", [], [], A, A),
            ValueError,
            "kind is ftrl, expected one of sgd",
        ),
        (
            lambda: make(params=[A, A]),
            ValueError,
            r"params\[0\] and params\[1\] are the same memory",
        ),
        (lambda: make(params=[READ_ONLY]), ValueError, r"params\[0\] is read-only"),
        (
            lambda: make(params=[A, np.ones(2)]),
            TypeError,
            r"params\[1\] is float64 but params\[0\]",
        ),
        (lambda: make(params=[np.ones(2, int)]), TypeError, r"params\[0\] has dtype int64"),
        (
            lambda: make(params=[np.ones((4, 4))[:, 1]]),
            ValueError,
            r"params\[0\] is not contiguous",
        ),
        (lambda: make(states=[]), ValueError, "states has 0 entries, expected 1"),
        (
            lambda: make(states=[[A, np.ones(2, np.float32)]]),
            ValueError,
            r"states\[0\]\[1\] has shape",
        ),
        (lambda: make(states=[3]), TypeError, r"states\[0\] is not a sequence"),
        (lambda: make(progress=np.zeros((2, 2))), ValueError, r"progress has shape \(2, 2\)"),
        (lambda: make(hyper=np.zeros(8, np.float32)), TypeError, "hyper has dtype float32"),
        (lambda: make().step([]), ValueError, "grads has 0 entries, expected 1"),
        (lambda: make().step([np.ones(3)]), TypeError, r"grads\[0\] is float64 but params\[0\]"),
        (lambda: make().step([np.ones(4, np.float32)]), ValueError, r"grads\[0\] has shape \(4,\)"),
        (
            lambda: make().step([np.ones(6, np.float32)[::2]]),
            ValueError,
            r"grads\[0\] is not contiguous",
        ),
        (lambda: make().step([[1.0]]), TypeError, "grads is a list"),
        (
            lambda: make(states=[[A.copy(), None]]).step([A]),
            ValueError,
            r"states\[0\]\[1\] is None, but adam with these options keeps exp_avg_sq there",
        ),
        (lambda: kernels.multi_norm([A], 3), ValueError, r"ord is 3\.0, expected 1, 2 or inf"),
        (lambda: kernels.multi_norm([A, np.ones(3)]), TypeError, r"arrays\[1\] is float64"),
        (lambda: kernels.multi_scale([READ_ONLY], 2), ValueError, r"arrays\[0\] is read-only"),
        (lambda: kernels.multi_clamp([A], 2, 1), ValueError, r"low is 2\.0 and high is 1\.0"),
        (lambda: kernels.multi_lerp([A], [], 0.1), ValueError, "dst has 1 arrays, src has 0"),
        (lambda: kernels.multi_lerp([A.copy()], [A[:2]], 0.1), ValueError, r"src\[0\] has shape"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
