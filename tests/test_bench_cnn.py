"""The networks of the training-step benchmark are the same in every library."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom.bench import agree, cnn, vocabularies
from handloom.bench.cases import Case
from handloom.bench.contenders.handloom import Handloom
from handloom.bench.inputs import make_inputs
from handloom.bench.networks import NETWORKS

STEPS = {case.option("network"): case for case in cnn.CASES if case.op == "step"}
INFER = [case for case in cnn.CASES if case.op == "infer"]
every_network = pytest.mark.parametrize("name", STEPS)


pytestmark = pytest.mark.usefixtures("settings_stay_here")


def small(case: Case, **changed) -> Case:
    """The case in float64 with two images, so that what differs is no rounding."""
    options = dict(case.options) | {"batches": 3} | changed
    shapes = ((2, *case.shapes[0][1:]),)
    return case._replace(dtype="float64", shapes=shapes, options=tuple(options.items()))


def network(case: Case):
    return lambda v, x: NETWORKS[case.option("network")](v, x, case.option("classes"))


def ours(case: Case, inputs) -> tuple[float, list[np.ndarray]]:
    model = vocabularies.Handloom(hl, network(case), cnn.sketch_of(case).slots, inputs["params"])
    x, target = inputs["batches"][0]
    loss = model.loss(hl.tensor(x), hl.tensor(target))
    loss.backward()
    return loss.item(), model.gradients()


def check_same(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    scale = max(np.abs(w).max() for w in want)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert g.shape == w.shape
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("channels_last", [False, True])
@every_network
def test_pytorchs_twin_has_the_same_loss_and_gradients(name, channels_last):
    torch = pytest.importorskip("torch")
    case = small(STEPS[name])
    inputs = make_inputs(case)
    model = vocabularies.Torch(
        torch, network(case), cnn.sketch_of(case).slots, inputs["params"], channels_last
    )
    x, target = inputs["batches"][0]
    loss = model.loss(model.image(x), torch.from_numpy(target))
    loss.backward()
    want, gradients = ours(case, inputs)
    assert loss.item() == pytest.approx(want, rel=1e-12)
    check_same(model.gradients(), gradients)
    # Timed in the format that its name says: the images and every kernel that has room for both.
    memory = torch.channels_last if channels_last else torch.contiguous_format
    for tensor in (model.image(x), *(p for p in model.parameters if p.ndim == 4)):
        assert tensor.is_contiguous(memory_format=memory)


@every_network
def test_jaxs_twin_has_the_same_loss_and_gradients(name):
    jax = pytest.importorskip("jax")
    from handloom.bench.contenders.jax import Jax

    case = small(STEPS[name])
    inputs = make_inputs(case)
    contender = Jax(1)
    model = vocabularies.Jax(jax, network(case), contender.cross_entropy)
    both = jax.jit(jax.value_and_grad(model.loss))
    loss, gradients = both(inputs["params"], *inputs["batches"][0])
    want, expected = ours(case, inputs)
    assert float(loss) == pytest.approx(want, rel=1e-12)
    check_same([np.asarray(g) for g in gradients], expected)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_steps_go_the_same_way(peer, optimiser, monkeypatch):
    """As `handloom bench` compares contenders before it times them, update included."""
    pytest.importorskip(peer)
    from handloom.bench.contenders import SPECS, load, torch

    monkeypatch.setattr(torch, "TRIAL_SECONDS", 0.01)  # the choice of a variant is not at stake

    case = small(STEPS["ResNet-8 16-32-64"], optimiser=optimiser)
    outputs = {}
    for who in ("handloom", peer):
        prepared = load(SPECS[who])(1).prepare(case, [make_inputs(case)])
        with prepared.within():
            (losses,) = prepared.check()
        outputs[who] = [(str(losses.shape), str(losses.dtype), losses)]
        assert len(set(losses.tolist())) == len(losses)  # batches and weights change
    assert agree.compare(case, outputs).complaints == ()


def test_the_work_of_a_step_is_counted_right():
    """LeNet-5: 61,706 weights; each product once forward, twice backward, the first one once."""
    sketch = cnn.sketch_of(STEPS["LeNet-5"])
    assert sum(np.prod(slot.shape) for slot in sketch.slots) == 61706
    products = [28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10]
    assert STEPS["LeNet-5"].flops == 2 * 64 * (3 * sum(products) - products[0])


@every_network
def test_the_sketch_knows_the_networks_shapes(name):
    """What it says of parameters and logits is what the network then takes and gives."""
    case = small(STEPS[name])
    inputs, sketch = make_inputs(case), cnn.sketch_of(case)
    shape = NETWORKS[name](sketch, case.shapes[0], case.option("classes"))
    model = vocabularies.Handloom(hl, network(case), cnn.sketch_of(case).slots, inputs["params"])
    x, target = inputs["batches"][0]
    model.loss(hl.tensor(x), hl.tensor(target))
    assert next(model._next, None) is None
    assert shape == (*target.shape, case.option("classes"))


def test_a_family_of_the_benchmark():
    contender = Handloom(1)
    prepared = contender.prepare(small(STEPS["LeNet-5"]), [make_inputs(small(STEPS["LeNet-5"]))])
    (losses,) = prepared.check()
    assert np.isfinite(losses).all()
    assert len(prepared.calls) == 1


@pytest.mark.parametrize("case", INFER, ids=lambda case: case.name)
def test_everyone_says_the_same_about_images(case):
    case = case._replace(dtype="float64", shapes=((2, *case.shapes[0][1:]),))
    inputs = [make_inputs(case)]
    contender = Handloom(1)
    prepared = cnn.handloom(contender, case, inputs)
    with prepared.within():
        (found,) = prepared.check()
    slots = cnn.sketch_of(case).slots
    model = vocabularies.Handloom(hl, network(case), slots, inputs[0]["params"])
    with hl.no_grad():
        batch = model.scores(hl.tensor(inputs[0]["x"])).numpy()
    assert np.abs(batch - found).max() > 1e-3  # statistics of the batch say something else
    torch = pytest.importorskip("torch")
    contender.torch = torch
    prepared = cnn.torch(contender, case, inputs)
    with prepared.within():
        (theirs,) = prepared.check()
    np.testing.assert_allclose(found, theirs, rtol=1e-9, atol=1e-11 * np.abs(theirs).max())
