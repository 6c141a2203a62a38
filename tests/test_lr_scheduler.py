"""Learning-rate schedules: PyTorch's values, state, and the errors."""

import math

import numpy as np
import pytest

from handloom import nn, optim
from handloom.optim import lr_scheduler as ours

CASES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.25, "total_iters": 4}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 7}),
    ("PolynomialLR", {"total_iters": 6, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: 1.0]}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 15}),
    ("OneCycleLR", {"max_lr": [0.3, 0.5], "epochs": 5, "steps_per_epoch": 3, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 15, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 15, "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 14}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.9 + 0.01 * t}),
    ("MultiplicativeLR", {"lr_lambda": [lambda t: 0.9, lambda t: 1.1]}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3}),
    (
        "CyclicLR",
        {
            "base_lr": [0.01, 0.02],
            "max_lr": [0.2, 0.3],
            "step_size_up": 2,
            "step_size_down": 3,
            "mode": "triangular2",
            "base_momentum": 0.7,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.2,
            "step_size_up": 2,
            "mode": "exp_range",
            "gamma": 0.9,
            "cycle_momentum": False,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.2,
            "step_size_up": 2,
            "scale_fn": lambda t: 1 / (1 + t),
            "scale_mode": "iterations",
        },
    ),
]


def optimiser(kind: str = "SGD") -> optim.Optimizer:
    a, b = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.05}], lr=0.1, **options)


def twin(torch, kind: str = "SGD"):
    a, b = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(torch.optim, kind)(
        [{"params": [a]}, {"params": [b], "lr": 0.05}], lr=0.1, **options
    )


def rates(opt) -> list[float]:
    keys = ("lr", "momentum", "betas")
    return [
        v
        for g in opt.param_groups
        for k in keys
        if k in g
        for v in (g[k] if k == "betas" else [g[k]])
    ]


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_values_equal_pytorchs(name, options, kind):
    torch = pytest.importorskip("torch")
    a, b = optimiser(kind), twin(torch, kind)
    s = getattr(ours, name)(a, **options)
    r = getattr(torch.optim.lr_scheduler, name)(b, **options)
    for t in range(14):
        np.testing.assert_allclose(rates(a), rates(b), rtol=1e-9, atol=1e-15, err_msg=str(t))
        assert s.get_last_lr() == [g["lr"] for g in a.param_groups]
        b.step()
        s.step()
        r.step()


def test_one_after_the_other_equals_pytorchs():
    torch = pytest.importorskip("torch")
    import torch.optim.lr_scheduler as theirs

    a, b = optimiser(), twin(torch)

    def build(module, opt):
        return module.SequentialLR(
            opt,
            [
                module.LinearLR(opt, 0.1, total_iters=4),
                module.CosineAnnealingLR(opt, 6),
                module.ExponentialLR(opt, 0.5),
            ],
            milestones=[4, 9],
        )

    s, r = build(ours, a), build(theirs, b)
    for t in range(13):
        np.testing.assert_allclose(rates(a), rates(b), rtol=1e-9, atol=1e-15, err_msg=str(t))
        b.step()
        s.step()
        r.step()


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"patience": 0, "cooldown": 2, "factor": 0.5},
        {"mode": "max", "patience": 1, "threshold": 0.1},
        {"threshold_mode": "abs", "threshold": 0.3, "patience": 1, "min_lr": [0.02, 0.04]},
    ],
)
def test_plateau_equals_pytorchs(options):
    torch = pytest.importorskip("torch")
    a, b = optimiser(), twin(torch)
    s = ours.ReduceLROnPlateau(a, **options)
    r = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    for value in (5.0, 4.0, 4.1, 4.2, 3.9, 3.85, 3.9, 4.0, float("nan"), 3.0, 3.0, 3.0, 3.0, 3.0):
        s.step(value)
        r.step(value)
        np.testing.assert_allclose(rates(a), rates(b), rtol=1e-12)


def test_warm_up_and_cosine():
    opt = optimiser()
    s = ours.WarmupCosineLR(opt, warmup_steps=4, total_steps=10, eta_min=0.01)
    seen = []
    for _ in range(12):
        seen.append(opt.param_groups[0]["lr"])
        s.step()
    np.testing.assert_allclose(seen[:4], [0.025, 0.05, 0.075, 0.1])
    assert seen[4] == pytest.approx(0.1)
    assert seen[7] == pytest.approx((0.1 + 0.01) / 2)
    assert seen[10] == seen[11] == pytest.approx(0.01)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_state_goes_on(name, options):
    a, b = optimiser(), optimiser()
    s, r = getattr(ours, name)(a, **options), getattr(ours, name)(b, **options)
    for _ in range(4):
        s.step()
    r.load_state_dict(s.state_dict())
    assert rates(b) == rates(a)
    s.step()
    r.step()
    assert rates(b) == rates(a)
    assert "optimizer" not in s.state_dict()


def test_plateau_state_goes_on():
    a, b = optimiser(), optimiser()
    s, r = ours.ReduceLROnPlateau(a, patience=0), ours.ReduceLROnPlateau(b, patience=0)
    s.step(1.0)
    r.load_state_dict(s.state_dict())
    r.step(1.0)
    assert b.param_groups[0]["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda o: ours.StepLR(o, 0), ValueError, "step_size is 0"),
        (lambda o: ours.ConstantLR(o, factor=2), ValueError, "factor is 2"),
        (lambda o: ours.LinearLR(o, start_factor=0), ValueError, "start_factor is 0"),
        (lambda o: ours.LinearLR(o, end_factor=2), ValueError, "end_factor is 2"),
        (lambda o: ours.CosineAnnealingLR(o, 0), ValueError, "T_max is 0"),
        (lambda o: ours.CosineAnnealingWarmRestarts(o, 2, 1.5), ValueError, "T_mult is 1.5"),
        (lambda o: ours.PolynomialLR(o, 0), ValueError, "total_iters is 0"),
        (lambda o: ours.LambdaLR(o, [len]), ValueError, "1 functions for 2"),
        (lambda o: ours.OneCycleLR(o, 0.1), ValueError, "expects total_steps"),
        (lambda o: ours.OneCycleLR(o, 0.1, 5, pct_start=2), ValueError, "pct_start is 2"),
        (lambda o: ours.OneCycleLR(o, 0.1, 5, anneal_strategy="x"), ValueError, "'x'"),
        (lambda o: ours.OneCycleLR(o, [0.1], 5), ValueError, "1 max_lr for 2"),
        (lambda o: ours.MultiplicativeLR(o, [len]), ValueError, "1 functions for 2"),
        (lambda o: ours.CyclicLR(o, 0.1, 1.0, mode="up"), ValueError, "mode is 'up'"),
        (lambda o: ours.CyclicLR(o, 0.1, 1.0, 0), ValueError, "step_size_up is 0"),
        (lambda o: ours.CyclicLR(o, [0.1], 1.0), ValueError, "1 base_lr for 2"),
        (lambda o: ours.ChainedScheduler([]), ValueError, "schedulers is empty"),
        (lambda o: ours.ChainedScheduler([ours.ReduceLROnPlateau(o)]), ValueError, "metric"),
        (lambda o: ours.WarmupCosineLR(o, 5, 5), ValueError, "warmup_steps is 5"),
        (lambda o: ours.SequentialLR(o, [], [1]), ValueError, "0 schedulers for 1"),
        (lambda o: ours.ReduceLROnPlateau(o, factor=1), ValueError, "factor is 1"),
        (lambda o: ours.ReduceLROnPlateau(o, mode="least"), ValueError, "'least'"),
        (lambda o: ours.ReduceLROnPlateau(o).step(), TypeError, "expects the metric"),
        (lambda o: ours.StepLR("sgd", 1), TypeError, "is a str"),
    ],
)
def test_bad_arguments_are_named(make, error, text):
    with pytest.raises(error, match=text):
        make(optimiser())


def test_one_cycle_ends():
    """A loop that steps after each of its batches makes `total_steps` steps."""
    s = ours.OneCycleLR(optimiser(), 0.1, total_steps=3)
    for _ in range(3):
        s.step()
    with pytest.raises(ValueError, match="total_steps = 3"):
        s.step()


def test_schedulers_of_another_optimiser_are_refused():
    o = optimiser()
    with pytest.raises(ValueError, match="another optimizer"):
        ours.SequentialLR(o, [ours.ExponentialLR(optimiser(), 0.5)], [])
    assert math.isclose(o.param_groups[0]["lr"], 0.1)


BACK_TO_BACK = [
    lambda m, o: [m.ConstantLR(o, 0.1, 4), m.ExponentialLR(o, 0.9)],
    lambda m, o: [m.ExponentialLR(o, 0.9), m.StepLR(o, 3, 0.5)],
    lambda m, o: [m.LinearLR(o, 0.2, total_iters=5), m.CosineAnnealingLR(o, 20, 0.001)],
    lambda m, o: [m.MultiStepLR(o, [2, 6], 0.5), m.PolynomialLR(o, 8, 2.0)],
    lambda m, o: [m.MultiplicativeLR(o, lambda t: 0.95), m.StepLR(o, 2, 0.5), m.ConstantLR(o)],
]


@pytest.mark.parametrize("build", BACK_TO_BACK)
@pytest.mark.parametrize("chained", [False, True])
def test_schedules_back_to_back_multiply_as_pytorchs_do(build, chained):
    torch = pytest.importorskip("torch")
    import torch.optim.lr_scheduler as theirs

    a, b = optimiser(), twin(torch)
    s, r = build(ours, a), build(theirs, b)
    if chained:
        s, r = [ours.ChainedScheduler(s)], [theirs.ChainedScheduler(r)]
    for t in range(14):
        np.testing.assert_allclose(rates(a), rates(b), rtol=1e-9, atol=1e-15, err_msg=str(t))
        b.step()
        for mine, other in zip(s, r):
            mine.step()
            other.step()
        if t == 6:  # by hand
            for opt in (a, b):
                opt.param_groups[0]["lr"] *= 0.5


def test_chained_state_goes_on():
    def build(o):
        return ours.ChainedScheduler([ours.ConstantLR(o, 0.1, 4), ours.ExponentialLR(o, 0.9)])

    a, b = optimiser(), optimiser()
    s, r = build(a), build(b)
    for _ in range(3):
        s.step()
    r.load_state_dict(s.state_dict())
    for _ in range(4):
        assert rates(a) == rates(b)
        assert s.get_last_lr() == r.get_last_lr()
        s.step()
        r.step()
