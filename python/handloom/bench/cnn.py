"""Training steps of convolutional networks: forward, loss, backward, update, on a fresh batch.

And what they say about images once they are trained: images per second are N over the time.

The networks are in `networks`, what they are made of in each library in `vocabularies`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import vocabularies
from .cases import Case, Shape, Target
from .contenders import Call, Prepared, once, trajectory
from .networks import NETWORKS, Sketch

Inputs = dict[str, Any]

TRIALS = 5


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


def infer(name: str, x: Shape, classes: int, **rest: Any) -> Case:
    """What a network of `NETWORKS` says about images x (N, H, W, C), without a tape."""
    sketch = Sketch()
    NETWORKS[name](sketch, x, classes)
    return Case(
        "cnn",
        f"{name} B{x[0]} {'×'.join(map(str, x[1:]))} inference",
        "infer",
        (x,),
        options=(("network", name), ("classes", classes)),
        flops=sketch.flops,
        # Roundings of a layer go through all that follow.
        depth=4 * max(int(np.prod(slot.shape[1:])) for slot in sketch.slots),
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
    *(infer("U-Net 16-32-64-128", (n, 64, 64, 1), 2, target=_faster(1.8)) for n in (8, 1)),
    *(infer("YOLO 16-32-64-96", (n, 64, 64, 1), 30, target=_faster(1.8)) for n in (16, 1)),
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
    if case.op == "infer":
        return {"params": params, "x": rng.standard_normal(x, dtype=kind)}
    labels = NETWORKS[case.option("network")](Sketch(), x, classes)[:-1]
    batches = [
        (rng.standard_normal(x, dtype=kind), rng.integers(0, classes, labels))
        for _ in range(case.option("batches"))
    ]
    return {"params": params, "batches": batches}


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """Its layers as functions; activations are fused into what comes before them."""
    if case.op == "infer":
        return _handloom_infer(contender, case, inputs)

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
    if case.op == "infer":
        return _torch_infer(contender, case, inputs)
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
    """One compiled function on NHWC for the whole step, or for all that the network says."""
    if case.op == "infer":
        return _jax_infer(contender, case, inputs)
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


def _network_of(case: Case) -> Any:
    network, classes = NETWORKS[case.option("network")], case.option("classes")
    return lambda v, x: network(v, x, classes)


def _handloom_infer(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    hl, slots = contender.hl, sketch_of(case).slots
    model = vocabularies.Handloom(hl, _network_of(case), slots, inputs[0]["params"])
    model.training = False
    images = [hl.tensor(i["x"]) for i in inputs]
    calls: list[Call] = [partial(model.scores, x) for x in images]
    return Prepared(calls, once(calls[0], lambda y: y.numpy()), "", hl.no_grad)


def _torch_infer(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    library, slots = contender.torch, sketch_of(case).slots

    def prepared(channels_last: bool) -> list[Call]:
        model = vocabularies.Torch(
            library, _network_of(case), slots, inputs[0]["params"], channels_last
        )
        model.training = False
        images = [model.image(i["x"]) for i in inputs]
        return [partial(model.scores, x) for x in images]

    def seconds(channels_last: bool) -> float:
        (call, *_) = prepared(channels_last)
        call()
        begin = time.perf_counter()
        for _ in range(TRIALS):
            call()
        return time.perf_counter() - begin

    with library.inference_mode():
        last = min((False, True), key=seconds)
        calls = prepared(last)

    def features_last(y: Any) -> Any:
        return y.permute(0, 2, 3, 1).contiguous().numpy()

    note = f"format: {'channels_last' if last else 'NCHW'}"
    return Prepared(calls, once(calls[0], features_last), note, library.inference_mode)


def _jax_infer(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    library = contender.jax
    model = vocabularies.Jax(library, _network_of(case), contender.cross_entropy)
    model.training = False
    params = [library.device_put(p) for p in inputs[0]["params"]]
    jitted = library.jit(model.scores)

    def call(x: Any) -> Call:
        return lambda: library.block_until_ready(jitted(params, x))

    calls = [call(library.device_put(i["x"])) for i in inputs]
    return Prepared(calls, once(calls[0]))
