"""Networks that generate in the benchmark: every twin takes the steps that ours takes."""

from __future__ import annotations

import numpy as np
import pytest

from handloom.bench import generative
from handloom.bench.contenders import load
from handloom.bench.contenders.handloom import Handloom

pytestmark = pytest.mark.usefixtures("settings_stay_here")
CASES = [case for case in generative.CASES if case.shapes[0][0] <= 64]


def prepared(case, seed=0):
    inputs = [generative.make_inputs(np.random.default_rng(seed), case)]
    return generative.handloom(Handloom(2), case, inputs), inputs


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_torch_agrees(case):
    pytest.importorskip("torch")
    ours, inputs = prepared(case)
    torch = load("handloom.bench.contenders.torch:Torch")(2)
    theirs = generative.torch(torch, case, inputs)
    for a, b in zip(ours.check(), theirs.check(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4)
    with theirs.within():
        theirs.calls[0]()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_what_is_timed_runs(case):
    made, _ = prepared(case, seed=1)
    result = made.calls[0]()
    values = result if isinstance(result, tuple) else (result,)
    assert all(np.isfinite(value).all() for value in values)
