"""Training steps of convolutional networks: forward, loss, backward, update, on a fresh batch.

The networks are in `networks`, what they are made of in each library in `vocabularies`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import vocabularies
from .cases import Case, Shape, Target
from .contenders import Prepared, trajectory
from .networks import NETWORKS, Sketch

Inputs = dict[str, Any]


def step(name: str, x: Shape, classes: int, optimiser: str, **rest: Any) -> Case:
    """A step of a network of `NETWORKS` on images x (N, H, W, C)."""
    sketch = Sketch()
    NETWORKS[name](sketch, x, classes)
    options = (
        ("network", name), ("classes", classes), ("optimiser", optimiser),
        ("lr", rest.pop("lr", 1e-3 if optimiser == "adam" else 1e-2)),
        ("batches", rest.pop("batches", 16)),
    )  # fmt: skip
    return Case(
        "cnn",
        f"{name} B{x[0]} {'×'.join(map(str, x[1:]))} {optimiser}",
        "step",
        (x,),
        options=options,
        # Two products a layer going back, but none for the gradient of the images.
        flops=3 * sketch.flops - sketch.first,
        depth=max(int(np.prod(slot.shape[1:])) for slot in sketch.slots),
        roofs=("peak",),
        **rest,
    )


def _faster(ratio: float) -> Target:
    return Target(ratio=ratio, over=("torch",))


# Adam's first steps are as long for a gradient of nearly nothing as for any other, and batch norm
# has many such: roundings grow a thousandfold in six steps, and contenders could not be compared.
CASES: tuple[Case, ...] = (
    step("LeNet-5", (64, 28, 28, 1), 10, "adam", target=_faster(2.5), batches=64),
    step(
        "LeNet 16-32-128", (64, 28, 28, 1), 10, "adam", target=_faster(2.5), batches=64, quick=True
    ),
    step("MNIST example 32-64-128", (64, 28, 28, 1), 10, "adam", target=_faster(2.0)),
    step("CIFAR tutorial 6-16-120", (64, 32, 32, 3), 10, "sgd", target=_faster(2.5), batches=64),
    step("ResNet-8 16-32-64", (64, 32, 32, 3), 10, "sgd", target=_faster(1.5)),
    step("ResNet-8 64-128-256", (32, 32, 32, 3), 10, "sgd", target=_faster(1.0)),
    step("U-Net 16-32-64-128", (8, 64, 64, 1), 2, "sgd", target=_faster(1.0)),
    step("YOLO 16-32-64-96", (16, 64, 64, 1), 30, "sgd", target=_faster(1.8), lr=1e-4),
)


def sketch_of(case: Case) -> Sketch:
    """The parameters and the work of the case's network."""
    sketch = Sketch()
    NETWORKS[case.option("network")](sketch, case.shapes[0], case.option("classes"))
    return sketch


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``params`` as PyTorch would draw them, ``batches`` of noise with labels of chance.

    A network that could learn them would drive its gradients to denormals during the timing.
    """
    kind: Any = np.dtype(case.dtype).type
    params = []
    for slot in sketch_of(case).slots:
        if slot.bound is None:
            params.append(np.full(slot.shape, slot.start, kind))
        else:
            params.append(rng.uniform(-slot.bound, slot.bound, slot.shape).astype(kind))
    (x,), classes = case.shapes, case.option("classes")
    labels = NETWORKS[case.option("network")](Sketch(), x, classes)[:-1]
    batches = [
        (rng.standard_normal(x, dtype=kind), rng.integers(0, classes, labels))
        for _ in range(case.option("batches"))
    ]
    return {"params": params, "batches": batches}


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """Its layers as functions; activations are fused into what comes before them."""

    def make() -> Callable[[], Any]:
        network, slots = NETWORKS[case.option("network")], sketch_of(case).slots
        classes = case.option("classes")
        model = vocabularies.Handloom(
            contender.hl, lambda v, x: network(v, x, classes), slots, inputs[0]["params"]
        )
        step: Callable[[], Any] = contender.training(
            case, model.parameters, model.loss, inputs[0]["batches"]
        )
        return step

    check, timed = make(), make()
    return Prepared([timed], trajectory(lambda: check().item()))


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The better of its memory formats, with the fastest of its optimisers there."""
    from .contenders.torch import VARIANTS, pace

    library = contender.torch
    network, slots = NETWORKS[case.option("network")], sketch_of(case).slots
    classes = case.option("classes")

    def make(channels_last: bool, variant: str) -> Callable[[], Any]:
        model = vocabularies.Torch(
            library, lambda v, x: network(v, x, classes), slots, inputs[0]["params"], channels_last
        )
        batches = [(model.image(x), library.from_numpy(t)) for x, t in inputs[0]["batches"]]
        step: Callable[[], Any] = contender.training(
            case, variant, model.parameters, model.loss, batches
        )
        return step

    last = min((False, True), key=lambda last: pace(make(last, "fused")))
    best = min(VARIANTS, key=lambda name: pace(make(last, name)))
    check, timed = make(last, best), make(last, best)
    note = f"format: {'channels_last' if last else 'NCHW'}, optimiser: {best}"
    return Prepared([timed], trajectory(lambda: check().item()), note)


def jax(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """One compiled function on NHWC for the whole step."""
    network, classes = NETWORKS[case.option("network")], case.option("classes")

    def make() -> Callable[[], Any]:
        model = vocabularies.Jax(
            contender.jax, lambda v, x: network(v, x, classes), contender.cross_entropy
        )
        step: Callable[[], Any] = contender.training(
            case, inputs[0]["params"], model.loss, inputs[0]["batches"]
        )
        return step

    check, timed = make(), make()
    return Prepared([timed], trajectory(lambda: float(check())))
